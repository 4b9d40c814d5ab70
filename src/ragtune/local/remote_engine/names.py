"""What engines call a base, and what they are told to call an adapter."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["name_of", "names_of"]

_HUB_FOLDER = re.compile(r"models--(.+)")
_CACHE_MARK = re.compile(r"-[0-9a-f]{8}$")


def name_of(adapter: Path) -> str:
    """What an engine calls an adapter: its job and place there, and a mark of the whole path, which it does not tell.

    A folder that was moved gets new names, since an engine may read an adapter again from where it first found it.
    """
    parts = adapter.parts
    at = next((place for place, part in enumerate(parts) if part.startswith("ftjob-")), len(parts) - 1)
    return "-".join([*parts[at:], hashlib.sha256(str(adapter).encode()).hexdigest()[:8]])


def names_of(base: Path) -> frozenset[str]:
    """What a base is known by: its folder, the folder's name, an id of the Hub without its owner; small letters."""

    def found() -> Iterator[str]:
        yield str(base)
        name = base.name.removesuffix(base.suffix) if base.suffix == ".gguf" else base.name
        yield _CACHE_MARK.sub("", name)
        for part in base.parts:
            if hub := _HUB_FOLDER.fullmatch(part):
                yield hub[1].rpartition("--")[2]

    return frozenset(one.lower() for one in found() if one)
