"""Where an engine answers, and which kind of engine it is."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast, get_args
from urllib.parse import urlsplit

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EngineAddress", "EngineCommand", "EngineKind", "engines_of"]

EngineKind = Literal["vllm", "sglang", "llama.cpp"]
"""The engines whose own wire is known here."""

_KINDS: tuple[str, ...] = get_args(EngineKind)
_EXAMPLE = "vllm=http://127.0.0.1:8001"


@dataclass(frozen=True, kw_only=True)
class EngineAddress:
    """One engine that answers in place of this program.

    Args:
        kind: `vllm`, `sglang` or `llama.cpp`.
        url: its address; `/v1` behind it may be left out.
        key: the key that it asks for, None where it asks for none. It stands in no text that is made of an address.

    Raises:
        BackendError: the kind is not known here, or the address is none.

    Example:
        ```python
        from ragtune.local import EngineAddress

        address = EngineAddress.parse("vllm=http://127.0.0.1:8001/v1", key="secret")
        print(address, address.url, "secret" in repr(address))
        #> vllm=http://127.0.0.1:8001 http://127.0.0.1:8001 False
        ```
    """

    kind: EngineKind
    url: str
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_kind(self.kind)
        object.__setattr__(self, "url", _checked_url(self.url))
        if not isinstance(self.key, str | None):
            raise BackendError("engine: its key is no text")

    @classmethod
    def parse(cls, text: str, *, key: str | None = None) -> EngineAddress:
        """Read `KIND=URL`.

        Raises:
            BackendError: it is no such text.
        """
        if not isinstance(text, str):
            raise BackendError(f"engine: {text!r:.60} is no text; give KIND=URL, for example {_EXAMPLE}")
        kind, equals, url = text.strip().partition("=")
        if not equals or not url:
            raise BackendError(f"engine: {kind[:40]!r} says no address; give KIND=URL, for example {_EXAMPLE}")
        return cls(kind=cast("EngineKind", kind.strip()), url=url.strip(), key=key)

    def __str__(self) -> str:
        return f"{self.kind}={self.url}"


@dataclass(frozen=True, kw_only=True)
class EngineCommand:
    """One engine that this program starts itself.

    Args:
        kind: `vllm` or `sglang`.
        base: name of the base that it serves, None for the one that there is.

    Raises:
        BackendError: the kind is not known here.
    """

    kind: EngineKind
    base: str | None = None

    def __post_init__(self) -> None:
        _check_kind(self.kind)

    def __str__(self) -> str:
        return self.kind if self.base is None else f"{self.kind}={self.base}"


def engines_of(
    engine: str | EngineAddress | Sequence[str | EngineAddress],
) -> tuple[EngineAddress | EngineCommand, ...]:
    """The engines that were named: addresses, texts (`KIND=URL`, `KIND=BASE`, `KIND`), several with commas in one text.

    Raises:
        BackendError: one is none of these, or stands there twice.
    """
    named = [engine] if isinstance(engine, str | EngineAddress) else list(engine)
    found: list[EngineAddress | EngineCommand] = []
    for one in named:
        found += [one] if isinstance(one, EngineAddress) else [_read(text.strip()) for text in one.split(",")]
    if not found:
        raise BackendError(f"engine: there is none; give KIND=URL, for example {_EXAMPLE}")
    for place, named_one in enumerate(map(str, found)):
        if named_one in map(str, found[:place]):
            raise BackendError(f"engine: {named_one} stands there twice; name each engine once")
    return tuple(found)


def _read(text: str) -> EngineAddress | EngineCommand:
    kind, _, place = text.partition("=")
    # The @ among them, so that a password is never taken for a base's name and shown.
    if any(mark in place for mark in ":/@"):
        return EngineAddress.parse(text)
    return EngineCommand(kind=cast("EngineKind", kind.strip()), base=place.strip() or None)


def _check_kind(kind: object) -> None:
    if not isinstance(kind, str) or kind not in _KINDS:
        kind = str(kind)
        near = difflib.get_close_matches(kind.lower(), _KINDS, n=1, cutoff=0.4)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise BackendError(f"engine: {kind[:40]!r} is none of {', '.join(_KINDS)}{meant}")


def _checked_url(url: object) -> str:
    if not isinstance(url, str):
        raise BackendError(f"engine: {url!r:.60} is no address; give one such as {_EXAMPLE}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BackendError(f"engine: the address has no port that could be; give one such as {_EXAMPLE}") from None
    if parts.username or parts.password:
        # The address is shown and written down, and what stands before its @ must not be.
        raise BackendError("engine: a key has no place in an address; give it as key= or by --engine-key-file")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise BackendError(f"engine: {url[:100]!r} is no http(s) address; give one such as {_EXAMPLE}")
    # People give the address that OpenAI's clients want; the routes for adapters stand partly beside /v1.
    return url.rstrip("/").removesuffix("/v1").rstrip("/")
