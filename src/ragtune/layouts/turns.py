"""Turns of a conversation in their usual spellings, as messages with the roles and keys of the OpenAI wire."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING

import orjson

from ragtune.errors import RecordError
from ragtune.layouts.base import MisfitError, is_list, list_at, mapping_at, short, text_at
from ragtune.records import JsonObject
from ragtune.records.json_values import json_text, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

Messages = list[JsonObject]
# `prompter` is OpenAssistant's word; collections of shared chats have `gpt`, `chatgpt`, `bing` and `bard`.
ROLE_OF = {
    "system": "system",
    "developer": "developer",
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "function": "tool",
}
_SPEAKER_KEYS = ("from", "role")
_TEXT_KEYS = ("value", "content", "text")
_OTHER_KEYS = frozenset({"weight", "name"})

# The tags in which Hermes-style data keeps calls and their results inside the text.
_TAGGED_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_TAGGED_RESULT = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)


def turns_to_messages(turns: object, path: str, *, system: str | None = None) -> Messages:
    """Turn `from`/`value` (or `role`/`content`) turns into messages.

    Tool calls get the ids `call_1`, `call_2`, ... in the order of the conversation; results answer open calls in order.

    Args:
        turns: the list of turns.
        path: where the list stands in its row, for messages.
        system: a system prompt that stands outside the list; it becomes the first message.
    """
    messages: Messages = [{"role": "system", "content": system}] if system else []
    open_calls: deque[str] = deque()
    calls_so_far = 0
    for index, item in enumerate(list_at(turns, path)):
        place = f"{path}[{index}]"
        role, text, weight = _read_turn(item, place)
        # Many sets keep the system prompt beside the turns and among them.
        if role == "system" and messages:
            if messages == [{"role": "system", "content": text}]:
                continue
            raise MisfitError(place, "a second system prompt; keep one, at the start")
        if role == "tool":
            messages += _results(text, open_calls, place)
            continue
        message: JsonObject = {"role": role, "content": text}
        if role == "call" or (role == "assistant" and _TAGGED_CALL.search(text)):
            message = _calling(role, text, calls_so_far, place)
            ids = [call["id"] for call in message["tool_calls"]]
            # Counted on through the conversation, since a result names its call by the id alone.
            calls_so_far += len(ids)
            open_calls.extend(ids)
        # A table gives its column to every turn, and the wire takes a weight of the assistant alone.
        if weight is not None and message["role"] == "assistant":
            message["weight"] = weight
        messages.append(message)
    return messages


def _read_turn(item: object, place: str) -> tuple[str, str, int | None]:
    turn = mapping_at(item, place)
    speaker_key = next((key for key in _SPEAKER_KEYS if key in turn), None)
    text_key = next((key for key in _TEXT_KEYS if key in turn), None)
    if speaker_key is None or text_key is None:
        keys = ", ".join(map(repr, turn)) or "none"
        raise MisfitError(place, f"a turn needs 'from' and 'value' (or 'role' and 'content'), its keys are: {keys}")
    if unknown := turn.keys() - {speaker_key, text_key} - _OTHER_KEYS:
        raise MisfitError(place, f"a turn has no key {min(unknown)!r}; remove it")
    speaker = turn[speaker_key]
    role = ROLE_OF.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        raise MisfitError(f"{place}.{speaker_key}", f"{short(speaker)} is not one of {', '.join(ROLE_OF)}")
    return role, text_at(turn[text_key], f"{place}.{text_key}"), _weight(turn.get("weight"), place)


def _weight(value: object, place: str) -> int | None:
    """0 and 1 as they are; tables turn an integer column with gaps into floats."""
    if value is None or value in (0, 1):
        return None if value is None else int(value == 1)
    raise MisfitError(f"{place}.weight", f"must be 0 or 1, got {short(value)}")


def _calling(role: str, text: str, so_far: int, place: str) -> JsonObject:
    """An assistant message that calls tools; text around the tags stays its content."""
    tagged = _TAGGED_CALL.findall(text)
    calls = list(chain.from_iterable(_read_calls(source, place) for source in tagged or [text]))
    message: JsonObject = {"role": "assistant"}
    if tagged and (rest := _TAGGED_CALL.sub("", text).strip()):
        message["content"] = rest
    message["tool_calls"] = [
        {"id": f"call_{so_far + number}", "type": "function", "function": call}
        for number, call in enumerate(calls, start=1)
    ]
    return message


def _read_calls(source: str, place: str) -> Iterator[dict[str, str]]:
    value = _from_json(source, place, "a tool call")
    for item in value if isinstance(value, list) else [value]:
        call = mapping_at(item, place)
        inner = call.get("function")
        call = mapping_at(inner, place) if isinstance(inner, Mapping) else call
        name = call.get("name")
        if not isinstance(name, str):
            raise MisfitError(place, f"a tool call needs 'name' and 'arguments', got {short(item)}")
        # Llama's own way of calling says `parameters`.
        arguments = call.get("arguments", call.get("parameters", {}))
        # The wire keeps arguments as JSON text; data keeps them as an object or as such a text.
        yield {
            "name": name,
            "arguments": arguments if isinstance(arguments, str) else _as_json(arguments, f"{place}.arguments"),
        }


def _results(text: str, open_calls: deque[str], place: str) -> Iterator[JsonObject]:
    # In order, since such data name no ids.
    for result in _TAGGED_RESULT.findall(text) or [text]:
        if not open_calls:
            raise MisfitError(place, "a tool result with no tool call before it that waits for one")
        yield {"role": "tool", "tool_call_id": open_calls.popleft(), "content": result}


def read_tools(value: object, path: str) -> Messages | None:
    """Tools in their usual spellings: a list, or its JSON text, of tools or of bare function definitions."""
    if isinstance(value, str):
        # The empty cell of a table that has tools in other rows.
        if not value.strip():
            return None
        value = _from_json(value, path, "the list of tools")
    tools = []
    for index, item in enumerate(list_at(value, path)):
        tool = mapping_at(item, f"{path}[{index}]")
        tool = tool if "function" in tool else {"type": "function", "function": tool}
        tools.append({key: schema_at(inner) if key == "function" else inner for key, inner in tool.items()})
    return tools or None


# Where null is a value that somebody wrote, and not a schema that a table added.
_MAY_BE_NULL = frozenset({"default", "const", "example"})


def schema_at(value: object, *, names: bool = False) -> object:
    """A function's definition without the None entries that tables add at any depth.

    Args:
        value: the definition, or a schema inside of it.
        names: whether the keys are names of parameters; as such, `default` is nothing special.
    """
    if isinstance(value, Mapping):
        return {
            # A parameter may itself be called `properties`.
            key: schema_at(inner, names=key == "properties" and not names)
            for key, inner in value.items()
            if inner is not None or (key in _MAY_BE_NULL and not names)
        }
    if isinstance(value, list | tuple):
        # No entry of a list is left out: an `enum` may allow null.
        return [schema_at(inner) for inner in value]
    return value


def plain_messages(value: object, path: str) -> Messages:
    """Messages of the OpenAI wire without the None entries that tables add.

    Tool calls may keep their arguments as an object and have no ids, as transformers, TRL and axolotl write them; then
    they get the ids `call_1`, `call_2`, ... in the order of the conversation.
    """
    messages = []
    calls = _Calls()
    for index, item in enumerate(list_at(value, path)):
        place = f"{path}[{index}]"
        message = mapping_at(item, place)
        if is_list(message.get("content")):
            parts = list_at(message["content"], f"{place}.content")
            # A table gives every part the keys of all: a text has an `image_url` of None.
            message["content"] = [mapping_at(part, f"{place}.content") for part in parts]
        if "tool_calls" in message:
            made = calls.read(message["tool_calls"], f"{place}.tool_calls")
            message["tool_calls"] = made
            # A table gives every message of a column that has calls somewhere an empty list.
            if not made:
                del message["tool_calls"]
        elif message.get("role") == "tool" and "tool_call_id" not in message:
            message["tool_call_id"] = calls.answered(message.get("name"), place)
        elif "tool_call_id" in message:
            calls.close(message["tool_call_id"])
        if "function_call" in message and isinstance(message["function_call"], Mapping):
            message["function_call"] = _written_out(message["function_call"], f"{place}.function_call")
        messages.append(message)
    return messages


class _Calls:
    """The tool calls of one conversation: gives ids where there are none, and knows which call waits for its result."""

    def __init__(self) -> None:
        self._given = 0
        # In the order in which they were called, in which results without a name answer them.
        self._open: dict[str, str] = {}

    def read(self, value: object, path: str) -> Messages:
        """The calls of one message, each with its id and its arguments as JSON text."""
        calls = []
        for index, item in enumerate(list_at(value, path)):
            call = mapping_at(item, f"{path}[{index}]")
            if "function" not in call and "name" in call:
                own = {key: call.pop(key) for key in ("name", "arguments") if key in call}
                call = {"type": "function", **call, "function": own}
            if isinstance(call.get("function"), Mapping):
                call["function"] = function = _written_out(call["function"], f"{path}[{index}].function")
                if "id" not in call:
                    self._given += 1
                    call = {"id": f"call_{self._given}", **call}
                self._open[str(call["id"])] = str(function.get("name"))
            calls.append(call)
        return calls

    def answered(self, name: object, place: str) -> str:
        """The id of the first open call, of this function where a name is given."""
        for call, function in self._open.items():
            if name is None or function == name:
                self.close(call)
                return call
        raise MisfitError(
            place, f"a result{_of(name)} without 'tool_call_id', and no tool call before it waits for one"
        )

    def close(self, call: object) -> None:
        """A result has come."""
        self._open.pop(str(call), None)


def _of(name: object) -> str:
    return "" if name is None else f" of {name!r}"


def _written_out(function: object, path: str) -> dict[str, object]:
    """A called function with its arguments as JSON text, which is what the wire takes."""
    called = mapping_at(function, path)
    # The wire wants them always: a function that takes nothing is called with an empty object.
    arguments = called.get("arguments", {})
    return called if isinstance(arguments, str) else {**called, "arguments": _as_json(arguments, f"{path}.arguments")}


def _as_json(value: object, path: str) -> str:
    try:
        return json_text(value)
    except RecordError as error:
        raise MisfitError(path, str(error)) from None


def any_messages(value: object, path: str) -> Messages:
    """Messages of the wire, or turns that say `from` and `value`."""
    items = list_at(value, path)
    if items and isinstance(items[0], Mapping) and "from" in items[0]:
        return turns_to_messages(items, path)
    return plain_messages(items, path)


def _from_json(text: str, path: str, what: str) -> object:
    try:
        return read_json(text)
    except orjson.JSONDecodeError as error:
        raise MisfitError(path, f"{what} must be JSON: {error}; got {short(text)}") from None
