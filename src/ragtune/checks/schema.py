"""Does a line have the shape of its record kind? A fast gate for plain records, the typed models for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NotRequired

import orjson
from pydantic import ConfigDict, Discriminator, Field, Strict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ragtune.layouts import detect, get_layout
from ragtune.records import JsonObject, RecordFault, RecordFormat, SchemaError, detect_format, schema_errors
from ragtune.records.parsing import RECORD_OF

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_OTHER_KEYS = ConfigDict(extra="forbid")
_Text = Annotated[str, Strict()]


@with_config(_NO_OTHER_KEYS)
class _PlainInput(TypedDict):
    role: Literal["system", "developer", "user"]
    content: _Text
    name: NotRequired[_Text]


@with_config(_NO_OTHER_KEYS)
class _PlainAnswer(TypedDict):
    role: Literal["assistant"]
    content: _Text
    name: NotRequired[_Text]
    weight: NotRequired[Annotated[int, Strict(), Field(ge=0, le=1)]]
    reasoning_content: NotRequired[_Text]


_PlainMessages = Annotated[list[Annotated[_PlainInput | _PlainAnswer, Discriminator("role")]], Field(min_length=1)]
_OneAnswer = Annotated[list[_PlainAnswer], Field(min_length=1, max_length=1)]


@with_config(_NO_OTHER_KEYS)
class _PlainChat(TypedDict):
    messages: _PlainMessages


@with_config(_NO_OTHER_KEYS)
class _PlainCompletion(TypedDict):
    prompt: _Text
    completion: _Text


@with_config(_NO_OTHER_KEYS)
class _PlainPreference(TypedDict):
    input: _PlainChat
    preferred_output: _OneAnswer
    non_preferred_output: _OneAnswer


@with_config(_NO_OTHER_KEYS)
class _PlainUnpaired(TypedDict):
    prompt: _PlainMessages
    completion: _OneAnswer
    label: Annotated[bool, Strict()]


# A gate accepts a part of what the typed model accepts, about six times as fast, and never more.
_GATES: dict[str, Callable[[bytes], JsonObject]] = {
    "chat": TypeAdapter(_PlainChat).validator.validate_json,
    "completion": TypeAdapter(_PlainCompletion).validator.validate_json,
    "preference": TypeAdapter(_PlainPreference).validator.validate_json,
    "unpaired": TypeAdapter(_PlainUnpaired).validator.validate_json,
}


def gate(format: RecordFormat | None) -> Callable[[bytes], JsonObject] | None:
    """A function that parses a plain line of this format or raises ValidationError; None where there is none."""
    # Reinforcement has none: its records have keys of their own.
    return _GATES.get(format or "")


Parsed = tuple[JsonObject | None, list[RecordFault]]


def parse_line(line: bytes) -> Parsed:
    """Parse a line to a JSON object, or say why it is none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return None, [_not_json(line, error)]
    if not isinstance(value, dict):
        shown = f"{type(value).__name__} {str(value)[:40]!r}"
        return None, [RecordFault((), "not-an-object", f"this line holds {shown}, not an object", _ONE_OBJECT)]
    return value, []


_ONE_OBJECT = "write one JSON object per line"


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> RecordFault:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        byte = line[wrong.start]
        message = f"byte {wrong.start} of this line (0x{byte:02x}) is not UTF-8"
        return RecordFault((), "not-utf8", message, "save the file as UTF-8")
    text = line.decode("utf-8").strip()
    if text in ("[", "{", "]", "}", "],", "},") or (text[:1] in "{[" and text[-1:] in "{[,:"):
        hint = "this looks like pretty-printed JSON or a JSON array: write each object on one line of its own"
    else:
        hint = _ONE_OBJECT
    return RecordFault((), "not-json", f"this line is not JSON: {error.msg} (column {error.colno})", hint)


def shape_faults(data: JsonObject, format: RecordFormat) -> list[RecordFault]:
    """Every place where an object does not have the shape of its format, and every rule of roles that it breaks."""
    try:
        record = RECORD_OF[format].collect(data)
    except ValidationError as error:
        return [RecordFault(item.path, item.code, item.message, _shape_hint(item)) for item in schema_errors(error)]
    return list(record.faults())


_HINTS = {
    "unknown-key": "the server refuses keys that it does not know",
    "missing-key": "add it, or drop the record",
    "unknown-role": "rename the role; a bot or model is 'assistant', a human is 'user'",
    "bad-weight": "0 leaves the message out of the loss, 1 or no weight trains on it",
    "empty-list": "fill it or drop the record",
}


def _shape_hint(error: SchemaError) -> str:
    if error.code == "unknown-key" and len(error.path) == 1 and _lower(error.path[0]) in _PAIR:
        return "write it in lower case, without spaces; a repaired copy does (fix=True, ragtune check --fix)"
    return _HINTS.get(error.code, "correct the value or drop the record")


_PAIR = frozenset({"prompt", "completion"})


def _lower(key: object) -> str:
    return str(key).strip().lower()


def format_of(data: JsonObject) -> tuple[RecordFormat | None, list[RecordFault]]:
    """The record kind of an object, or a fault that lists its keys."""
    found = detect_format(data)
    # `Prompt` with a capital is meant for one of these; a fault of the record names the key.
    if found is None and set(map(_lower, data)) >= _PAIR:
        found = "completion"
    if found is not None:
        return found, []
    keys = ", ".join(map(repr, list(data)[:12])) or "none"
    hint = (
        "chat needs 'messages'; completion 'prompt' and 'completion'; preference 'input' and two outputs; "
        "unpaired 'prompt', 'completion' and 'label'; "
        "rows of your own become records with ragtune.DatasetBuilder.from_jsonl(...).chat(...)"
    )
    if "preferred_completion" in data or "non_preferred_completion" in data:
        hint = "these names are from before July 2025: call them preferred_output and non_preferred_output"
    return None, [RecordFault((), "unknown-format", f"no record kind has these keys: {keys}", hint)]


# Layouts that records themselves have.
_RECORDS = frozenset({"messages", "completion", "preference"})


def first_format_of(data: JsonObject) -> tuple[RecordFormat | None, list[RecordFault]]:
    """The same of the first object of a file, which may have a layout that people have and no server takes."""
    if (way := way_in(data)) is None:
        return format_of(data)
    keys = ", ".join(map(repr, list(data)[:12]))
    return None, [RecordFault((), "unknown-format", f"no record kind has these keys: {keys}", way)]


def way_in(data: JsonObject) -> str | None:
    """How to make records of a row that has one of the known layouts; None where it has none, or is a record."""
    whole = [fit for fit in detect(data) if not fit.missing]
    if not whole or whole[0].layout in _RECORDS or detect_format(data) == "unpaired":
        return None
    name, unknown = whole[0].layout, list(whole[0].unknown)
    ignore = f", ignore={unknown!r}" if unknown else ""
    further = ".chat(...)" if get_layout(name).kind == "rows" else ""
    return (
        f"this is the layout {name!r}; make records of it with "
        f"ragtune.DatasetBuilder.from_jsonl(...).layout({name!r}{ignore}){further}.build(...)"
    )
