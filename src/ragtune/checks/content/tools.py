"""Tools of a record: what is offered, what is called, and what is answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson

from ragtune.records import JsonObject, RecordFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.records.base import JsonMapping, Path

# https://platform.openai.com/docs/api-reference: FunctionObject.name.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
# Keys of a JSON schema under which schemas stand by name, and those where null is a value like any other.
_BY_NAME = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_VALUES = frozenset({"default", "const", "example", "examples", "enum", "required"})


def offered_names(record: JsonObject) -> frozenset[str] | None:
    """The names of all functions that a record offers to the model; None where it says nothing about them."""
    functions = [function["name"] for _, function in _functions(record)]
    # Many data sets keep calls and leave the tools out: then no call can be held against them.
    return frozenset(functions) if functions else None


def _functions(record: JsonObject) -> list[tuple[Path, JsonMapping]]:
    tools: list[tuple[Path, JsonMapping]] = [
        (("tools", index, "function"), tool["function"]) for index, tool in enumerate(record.get("tools") or ())
    ]
    functions = [(("functions", index), function) for index, function in enumerate(record.get("functions") or ())]
    return [*tools, *functions]


def definition_faults(record: JsonObject) -> Iterator[RecordFault]:
    """Names that no server takes, and parameters that are no JSON schema."""
    for path, function in _functions(record):
        yield from name_faults(function["name"], (*path, "name"))
        if (parameters := function.get("parameters")) is not None:
            yield from _schema_faults(parameters, (*path, "parameters"))


def name_faults(name: str, path: Path) -> Iterator[RecordFault]:
    """A function's name that breaks OpenAI's rule."""
    if not _NAME.fullmatch(name):
        text = f"the function name {name[:80]!r} ({len(name)} characters) is not 1 to 64 of a-z, A-Z, 0-9, _ and -"
        yield RecordFault(path, "bad-tool-name", text, "rename it, in the tools and in every call of it")


def _schema_faults(schema: JsonMapping, path: Path) -> Iterator[RecordFault]:
    # A stack of our own: a schema may nest deeper than functions can.
    waiting: list[tuple[Path, object]] = [(path, schema)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, list):
            waiting += [((*place, index), inner) for index, inner in enumerate(item)]
        elif isinstance(item, dict):
            yield from _type_faults(item.get("type"), (*place, "type"))
            for key, inner in item.items():
                if key in _VALUES:
                    continue
                if inner is None:
                    yield _null(key, (*place, key))
                elif key in _BY_NAME and isinstance(inner, dict):
                    for name, value in inner.items():
                        if value is None:
                            yield _null(name, (*place, key, name))
                        waiting.append(((*place, key, name), value))
                elif isinstance(inner, dict | list):
                    waiting.append(((*place, key), inner))


def _type_faults(kind: object, path: Path) -> Iterator[RecordFault]:
    named = kind if isinstance(kind, list) else [kind]
    wrong = [each for each in named if isinstance(each, str) and each not in _TYPES]
    if wrong:
        text = f"{wrong[0]!r} is no type of a JSON schema; the types are {', '.join(sorted(_TYPES))}"
        yield RecordFault(path, "bad-schema", text, "correct it, the server refuses such a tool")


def _null(key: str, path: Path) -> RecordFault:
    text = f"{key!r} is null, which is no schema; tables add such entries where other tools have this parameter"
    return RecordFault(path, "null-in-schema", text, "remove it, the model would learn it", "warning")


def tool_faults(messages: Sequence[JsonMapping], offered: frozenset[str] | None) -> Iterator[RecordFault]:
    """Tool calls that nobody answers, answers that nobody asked for, doubled ids, arguments that are not JSON.

    Args:
        messages: the conversation.
        offered: names of the functions that the record offers; None where it says nothing about them.
    """
    open_calls: dict[str, Path] = {}
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            call = message.get("tool_call_id")
            if call is not None and open_calls.pop(call, None) is None:
                text = f"tool_call_id {call!r} answers no open tool call of an earlier assistant message"
                hint = "use the id of the call, once"
                yield RecordFault(("messages", index, "tool_call_id"), "tool-answer-without-call", text, hint)
            continue
        # The API takes answers only right behind the calls: any other message closes them.
        for call_id, path in open_calls.items():
            text = f"tool call {call_id!r} has no tool message with its answer before the conversation goes on"
            yield RecordFault(path, "tool-call-without-answer", text, "add the tool message right after the call")
        open_calls = {}
        for number, call in enumerate(message.get("tool_calls") or ()):
            path = ("messages", index, "tool_calls", number)
            if call["id"] in open_calls:
                text = f"the tool call id {call['id']!r} is used twice in one message"
                yield RecordFault((*path, "id"), "doubled-tool-call-id", text, "give each call an id of its own")
            open_calls[call["id"]] = path
            yield from _call_faults(call["function"], offered, (*path, "function"))
        if function := message.get("function_call"):
            yield from _call_faults(function, offered, ("messages", index, "function_call"))


def _call_faults(call: JsonMapping, offered: frozenset[str] | None, path: Path) -> Iterator[RecordFault]:
    yield from name_faults(call["name"], (*path, "name"))
    if offered is not None and call["name"] not in offered:
        text = f"{call['name']!r} is called, but the record offers {', '.join(sorted(offered))} only"
        yield RecordFault(
            (*path, "name"), "unknown-tool", text, "correct the name, or add the tool to the record", "warning"
        )
    path = (*path, "arguments")
    try:
        value = orjson.loads(call["arguments"])
    except orjson.JSONDecodeError as error:
        yield RecordFault(
            path, "arguments-not-json", f"the arguments are not JSON: {error.msg}", "write them with json.dumps"
        )
        return
    if isinstance(value, str):
        text = "the arguments are JSON encoded twice: they hold a string that holds the object"
        yield RecordFault(path, "arguments-encoded-twice", text, "call json.dumps once")
    elif not isinstance(value, dict):
        text = f"the arguments hold {type(value).__name__}, not an object"
        yield RecordFault(
            path, "arguments-not-an-object", text, "write them as an object of parameter names and values"
        )
