"""What all record kinds share: frozen models, plain errors, faults, one line of JSONL out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Strict, ValidationError, ValidationInfo

from ragtune.errors import RecordError
from ragtune.records.json_values import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

RecordFormat = Literal["chat", "completion", "preference", "unpaired", "reinforcement"]
FORMATS: tuple[RecordFormat, ...] = ("chat", "completion", "preference", "unpaired", "reinforcement")
Path = tuple[str | int, ...]
# What a JSON object holds is known only once its shape was checked; the second is for those who only read it.
JsonObject = dict[str, Any]
JsonMapping = Mapping[str, Any]
StrictStr = Annotated[str, Strict()]

_LINE_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
_COLLECT = {"ragtune": "collect faults"}


@dataclass(frozen=True, kw_only=False, slots=True)
class RecordFault:
    """One broken rule inside a record: where (`path`), which (`code`), what (`message`) and the way out (`hint`)."""

    path: Path
    code: str
    message: str
    hint: str
    severity: Literal["error", "warning", "suggestion"] = "error"


def collects_faults(info: ValidationInfo) -> bool:
    """Whether the caller asks a record for its faults itself, so that validation must not stop at the first."""
    # By identity: no context of a caller's own can be taken for it.
    return info.context is _COLLECT


def path_text(path: Path) -> str:
    """Write a path as a person would: `messages[1].role`.

    Example:
        ```python
        from ragtune.records import path_text

        print(path_text(("messages", 1, "role")))
        #> messages[1].role
        ```
    """
    pieces = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(pieces).removeprefix(".")


def line_bytes(value: object) -> bytes:
    """One value as a line of JSONL: UTF-8, no spaces, line separators escaped, with the line feed.

    U+2028, U+2029 and U+0085 are legal inside JSON strings, but `str.splitlines` and some readers break lines there.
    """
    data = dumps(value, orjson.OPT_APPEND_NEWLINE)
    return escape_line_separators(data)


def holds_line_separator(text: str) -> bool:
    """Whether U+2028, U+2029 or U+0085 stands in a text."""
    return "\u2028" in text or "\u2029" in text or "\u0085" in text


def escape_line_separators(data: bytes) -> bytes:
    """Escape U+2028, U+2029 and U+0085 in a line of JSON; they can only stand inside strings there."""
    if data.isascii():
        return data
    for separator, escaped in _LINE_SEPARATORS:
        # One byte is found eight times as fast as three.
        if separator[-1:] in data:
            data = data.replace(separator, escaped)
    return data


class SchemaError(NamedTuple):
    """One place where a value does not have the shape of its record kind, in plain words."""

    path: Path
    code: str
    message: str


def explain(error: ValidationError, title: str) -> str:
    """Turn pydantic's errors into one plain sentence per problem."""
    lines = (f"{path_text(item.path) or title}: {item.message}" for item in schema_errors(error))
    return "; ".join(dict.fromkeys(lines))


def schema_errors(error: ValidationError) -> list[SchemaError]:
    """Turn pydantic's errors into plain ones, without the echoes that unions and containers add."""
    found: dict[Path, SchemaError] = {}
    for item in error.errors(include_url=False):
        kind, value, place = item["type"], item["input"], item["loc"]
        # The last step to an unknown key is that key, also where it is called like one of pydantic's branches.
        path = (*plain_path(place[:-1]), place[-1]) if kind == "extra_forbidden" else plain_path(place)
        # A container whose items are wrong is also called too short; a list is also called "no text" by the union.
        is_echo = (kind == "too_short" and value) or (
            kind == "string_type" and isinstance(value, list) and path[-1:] == ("content",)
        )
        # Of several errors at one place the first says most: a union goes on to tell of each of its branches.
        if not is_echo and path not in found:
            found[path] = SchemaError(path, *_in_plain_words(kind, path, value, item["msg"]))
    return list(found.values())


def _in_plain_words(kind: str, path: Path, value: object, message: str) -> tuple[str, str]:
    name = path[-1] if path else "value"
    shown = _short(value)
    if kind == "extra_forbidden":
        return "unknown-key", f"unknown key {name!r}; remove it or correct its name"
    if kind == "missing":
        return "missing-key", f"the key {name!r} is missing"
    if kind == "rule":
        return "rule", message
    if name == "role":
        return "unknown-role", f"{shown} is not one of system, developer, user, assistant, tool, function"
    if name == "weight":
        return "bad-weight", f"weight must be the integer 0 or 1, got {shown}"
    if kind == "too_short":
        return "empty-list", f"{name!r} holds nothing; it needs at least one entry"
    if kind == "string_type":
        return "wrong-type", f"{name!r} must be text, got {shown}"
    if kind == "tuple_type":
        needs = "text or a list of parts" if name == "content" else "a list"
        return "wrong-type", f"{name!r} must be {needs}, got {shown}"
    return "wrong-type", f"{message}, got {shown}"


def plain_path(location: tuple[str | int, ...]) -> Path:
    """Drop the branch names that pydantic puts into the place of an error inside a union."""
    kept: list[str | int] = []
    previous: str | int = ""
    for step in location:
        is_part_kind = isinstance(previous, int) and step in ("text", "image_url", "refusal")
        if not is_part_kind and not (isinstance(step, str) and (step == "str" or "[" in step)):
            kept.append(step)
        previous = step
    return tuple(kept)


def _short(value: object, *, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


class FrozenModel(BaseModel):
    """A frozen model that refuses unknown keys and raises `RecordError` in plain words when it is built wrongly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:
        # Hidden from type checkers, so that they keep seeing the fields as keyword arguments.
        # Its own name is no keyword: a reference field may be called `self`.
        def __init__(self, /, **data: object) -> None:
            try:
                super().__init__(**data)
            except ValidationError as error:
                raise RecordError(explain(error, type(self).__name__)) from None

        # Tells pydantic that this is no constructor of its own kind: nested models keep the fast path and full paths.
        __init__.__pydantic_base_init__ = True


class Record(FrozenModel):
    """What all record kinds can do."""

    def to_dict(self) -> JsonObject:
        """The record as plain dicts and lists, without keys that are unset or None."""
        # What is None is left out at the record's own keys alone; in a schema or an argument null is a value.
        return self.model_dump(exclude_none=True, mode="json")

    def to_json_line(self) -> bytes:
        """The record as one line of JSONL: UTF-8, no line separators inside, ends with a line feed."""
        return line_bytes(self.to_dict())

    def faults(self) -> Iterator[RecordFault]:
        """Yield every rule between the record's parts that it breaks."""
        yield from ()

    @classmethod
    def collect(cls, data: JsonObject | bytes) -> Record:
        """Build a record for a checker: types are enforced, the other rules wait in `faults()`.

        Raises:
            pydantic.ValidationError: keys or types are wrong.
        """
        if isinstance(data, bytes):
            # Bytes go to pydantic as they are, which reads JSON and checks types in one pass.
            return cls.model_validate_json(data, context=_COLLECT)
        return cls.model_validate(data, context=_COLLECT)
