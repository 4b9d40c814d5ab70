"""Turns of a conversation in their usual spellings, as messages with the roles and keys of the OpenAI wire."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from ragtune.layouts.base import MisfitError, is_list, list_at, mapping_at, short, text_at

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def turns_to_messages(turns: object, path: str, *, system: str | None = None) -> list[dict[str, Any]]:
    """Turn `from`/`value` (or `role`/`content`) turns into messages.

    Tool calls get the ids `call_1`, `call_2`, ... in the order of the conversation; results answer open calls in order.

    Args:
        turns: the list of turns.
        path: where the list stands in its row, for messages.
        system: a system prompt that stands outside the list; it becomes the first message.
    """
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    open_calls: deque[str] = deque()
    calls_so_far = 0
    for index, item in enumerate(list_at(turns, path)):
        place = f"{path}[{index}]"
        role, text, weight = _read_turn(item, place)
        if role == "system" and messages:
            if messages == [{"role": "system", "content": text}]:
                continue
            raise MisfitError(place, "a second system prompt; keep one, at the start")
        if role == "tool":
            messages += _results(text, open_calls, place)
            continue
        message: dict[str, Any] = {"role": role, "content": text}
        if role == "call" or (role == "assistant" and _TAGGED_CALL.search(text)):
            message = _calling(role, text, calls_so_far, place)
            ids = [call["id"] for call in message["tool_calls"]]
            calls_so_far += len(ids)
            open_calls.extend(ids)
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


def _calling(role: str, text: str, so_far: int, place: str) -> dict[str, Any]:
    """An assistant message that calls tools; text around the tags stays its content."""
    tagged = _TAGGED_CALL.findall(text)
    sources = tagged or [text]
    calls = [call for source in sources for call in _read_calls(source, place)]
    message: dict[str, Any] = {"role": "assistant"}
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
        if not isinstance(call.get("name"), str):
            raise MisfitError(place, f"a tool call needs 'name' and 'arguments', got {short(item)}")
        arguments = call.get("arguments", call.get("parameters", {}))
        # The wire keeps arguments as JSON text; data keeps them as an object or as such a text.
        yield {
            "name": call["name"],
            "arguments": arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode(),
        }


def _results(text: str, open_calls: deque[str], place: str) -> Iterator[dict[str, Any]]:
    for result in _TAGGED_RESULT.findall(text) or [text]:
        if not open_calls:
            raise MisfitError(place, "a tool result with no tool call before it that waits for one")
        yield {"role": "tool", "tool_call_id": open_calls.popleft(), "content": result}


def read_tools(value: object, path: str) -> list[dict[str, Any]] | None:
    """Tools in their usual spellings: a list, or its JSON text, of tools or of bare function definitions."""
    if isinstance(value, str):
        if not value.strip():
            return None
        value = _from_json(value, path, "the list of tools")
    tools = []
    for index, item in enumerate(list_at(value, path)):
        tool = mapping_at(item, f"{path}[{index}]")
        tools.append(tool if "function" in tool else {"type": "function", "function": tool})
    return tools or None


def plain_messages(value: object, path: str) -> list[dict[str, Any]]:
    """Messages of the OpenAI wire without the None entries that tables add."""
    messages = []
    for index, item in enumerate(list_at(value, path)):
        message = mapping_at(item, f"{path}[{index}]")
        if is_list(message.get("content")):
            parts = list_at(message["content"], f"{path}[{index}].content")
            message["content"] = [mapping_at(part, f"{path}[{index}].content") for part in parts]
        if "tool_calls" in message:
            calls = list_at(message["tool_calls"], f"{path}[{index}].tool_calls")
            message["tool_calls"] = [mapping_at(call, f"{path}[{index}].tool_calls") for call in calls]
            # A table gives every message of a column that has calls somewhere an empty list.
            if not calls:
                del message["tool_calls"]
        messages.append(message)
    return messages


def any_messages(value: object, path: str) -> list[dict[str, Any]]:
    """Messages of the wire, or turns that say `from` and `value`."""
    items = list_at(value, path)
    if items and isinstance(items[0], Mapping) and "from" in items[0]:
        return turns_to_messages(items, path)
    return plain_messages(items, path)


def _from_json(text: str, path: str, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MisfitError(path, f"{what} must be JSON: {error}; got {short(text)}") from None
