"""Rules about the content of one record that has the right shape: will it train, and will it teach?"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, assert_never

import orjson

from ragtune.checks.content.images import image_faults
from ragtune.checks.content.invisible import invisible_faults, may_hide_characters
from ragtune.checks.content.tools import definition_faults, offered_names, tool_faults
from ragtune.records import JsonObject, RecordFault, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.records.base import Path

# What programs write where a value is missing.
_MISSING = frozenset("nan NaN NAN <NA> NaT None NULL null undefined #N/A #REF! #VALUE! #NAME? #DIV/0!".split()) | {
    "[object Object]"
}
# Longer than any of these, with some blanks: only short texts are looked up, which are few.
_LONGEST_MISSING = 20
Message = JsonObject


def content_faults(record: JsonObject, line: bytes, format: RecordFormat) -> list[RecordFault]:
    """Every rule about content that a record of the right shape breaks."""
    if format == "chat":
        faults = _chat_faults(record)
    elif format == "completion":
        faults = _completion_faults(record)
    elif format == "preference":
        faults = _preference_faults(record)
    elif format == "unpaired":
        faults = _unpaired_faults(record)
    elif format == "reinforcement":
        faults = _reinforcement_faults(record)
    else:
        assert_never(format)
    if may_hide_characters(line):
        faults.extend(invisible_faults(record))
    return faults


def _chat_faults(record: JsonObject) -> list[RecordFault]:
    messages: Sequence[Message] = record["messages"]
    faults: list[RecordFault] = []
    answers = trained = 0
    prompt: str | None = None
    before: str | None = None
    plain = True
    for index, message in enumerate(messages):
        role = message["role"]
        content = message.get("content")
        if type(content) is not str:
            plain = False
        if role == "user":
            prompt = content if type(content) is str else ""
            if type(content) is str and len(content) <= _LONGEST_MISSING:
                faults.extend(_short_question(content, ("messages", index, "content")))
        elif role == "assistant":
            answers += 1
            if before == "assistant":
                faults.append(_second_answer("messages", index))
            counts = message.get("weight") != 0
            trained += counts
            if type(content) is str:
                if not content or content.isspace():
                    faults.extend(_empty_answer(message, ("messages", index)))
                elif len(content) <= _LONGEST_MISSING and content.strip() in _MISSING and counts:
                    faults.append(_missing_value(content, "messages", index, "content"))
                # A message without loss teaches nothing, so it may quote.
                elif counts and prompt and content in prompt:
                    faults.append(_copied_answer(index))
            elif content is not None and not _said(content):
                faults.extend(_empty_answer(message, ("messages", index)))
        elif role == "tool":
            plain = False
        before = role
    if before != "assistant":
        faults.append(_no_answer_at_the_end(messages))
    if prompt is None:
        faults.append(_nobody_asks("messages"))
    if answers and not trained:
        faults.append(_teaches_nothing())
    if not plain:
        faults.extend(tool_faults(messages, offered_names(record)))
        faults.extend(image_faults(messages))
    # Messages alone define nothing, and most records hold no more.
    if len(record) > 1:
        faults.extend(definition_faults(record))
    return faults


def _no_answer_at_the_end(messages: Sequence[Message]) -> RecordFault:
    text = f"the last message has role {messages[-1]['role']!r}; training needs an answer of the assistant at the end"
    return RecordFault(("messages", len(messages) - 1, "role"), "last-not-assistant", text, "cut or answer it")


def _teaches_nothing() -> RecordFault:
    text = "every assistant message has weight 0: this record teaches nothing"
    return RecordFault(("messages",), "all-weights-zero", text, "set one weight to 1 or drop the record")


def _second_answer(*path: str | int) -> RecordFault:
    text = (
        "two messages of the assistant in a row: Azure refuses the file (microsoft-foundry/fine-tuning#23, 2026-03-06)"
    )
    hint = "join them into one message; OpenAI and the embedded backend take them as they are"
    return RecordFault((*path, "role"), "assistant-twice", text, hint, "warning")


def _said(content: Sequence[Message]) -> bool:
    """Whether a list of parts holds any text."""
    return any(str(part.get("text") or part.get("refusal") or "").strip() for part in content)


def _empty_answer(message: Message, path: Path) -> Iterator[RecordFault]:
    if not message.get("tool_calls") and not message.get("function_call"):
        place = (*path, "content")
        yield RecordFault(place, "empty-answer", "the assistant's answer is empty", "give it text or drop the record")


def _nobody_asks(*path: str) -> RecordFault:
    text = "no message is the user's: the answer belongs to no question"
    return RecordFault(path, "no-user-message", text, "fine for text that starts by itself; else add it", "suggestion")


def _empty_question(*path: str | int) -> RecordFault:
    text = "the user's message is empty: the answer belongs to no question"
    return RecordFault(path, "empty-question", text, "give it text, or drop the record", "warning")


def _question_faults(messages: Sequence[Message]) -> Iterator[RecordFault]:
    for index, message in enumerate(messages):
        content = message.get("content")
        if message["role"] == "user" and isinstance(content, str):
            yield from _short_question(content, ("messages", index, "content"))


def _short_question(content: str, path: Path) -> Iterator[RecordFault]:
    if not content or content.isspace():
        yield _empty_question(*path)
    elif _stands_for_nothing(content):
        yield _missing_value(content, *path)


def _stands_for_nothing(text: str) -> bool:
    return len(text) <= _LONGEST_MISSING and text.strip() in _MISSING


def _missing_value(text: str, *path: str | int) -> RecordFault:
    message = f"the whole text is {text.strip()!r}, which programs write where a value is missing"
    hint = "drop such rows before the build; fine where it is meant, for example as a label"
    return RecordFault(path, "missing-value", message, hint, "warning")


def _copied_answer(index: int) -> RecordFault:
    text = "the answer stands word for word in the user's message"
    hint = "fine when the model should quote; otherwise it learns to copy"
    return RecordFault(("messages", index, "content"), "answer-in-prompt", text, hint, "suggestion")


def _completion_faults(record: JsonObject) -> list[RecordFault]:
    prompt, completion = record["prompt"], record["completion"]
    if not completion.strip():
        return [
            RecordFault(("completion",), "empty-answer", "the completion is empty", "give it text or drop the record")
        ]
    if _stands_for_nothing(completion):
        return [_missing_value(completion, "completion")]
    if prompt and completion.strip() in prompt:
        text = "the completion stands word for word in the prompt"
        hint = "fine when the model should quote; otherwise it learns to copy"
        return [RecordFault(("completion",), "answer-in-prompt", text, hint, "suggestion")]
    return []


def _preference_faults(record: JsonObject) -> list[RecordFault]:
    faults: list[RecordFault] = []
    wanted, unwanted = record["preferred_output"][0], record["non_preferred_output"][0]
    for key, message in (("preferred_output", wanted), ("non_preferred_output", unwanted)):
        faults.extend(_answer_faults(message, key))
    if wanted == unwanted:
        text = "preferred_output and non_preferred_output are equal: there is nothing to prefer"
        faults.append(RecordFault(("non_preferred_output",), "equal-outputs", text, "drop the pair"))
    given = record["input"]
    inside = [*_asked_faults(given["messages"]), *_request_faults(given["messages"], given)]
    faults.extend(replace(fault, path=("input", *fault.path)) for fault in inside)
    return faults


def _unpaired_faults(record: JsonObject) -> list[RecordFault]:
    asked: Sequence[Message] = record["prompt"]
    faults = list(_answer_faults(record["completion"][0], "completion"))
    for fault in (*_asked_faults(asked), *_request_faults(asked, record)):
        below = fault.path[0] == "messages"
        faults.append(replace(fault, path=("prompt", *fault.path[1:])) if below else fault)
    return faults


def _answer_faults(message: Message, key: str) -> Iterator[RecordFault]:
    """An answer that stands beside its conversation."""
    content = message.get("content")
    if content is not None and not (content.strip() if isinstance(content, str) else _said(content)):
        yield from _empty_answer(message, (key, 0))
    elif isinstance(content, str) and _stands_for_nothing(content):
        yield _missing_value(content, key, 0, "content")


def _asked_faults(messages: Sequence[Message]) -> Iterator[RecordFault]:
    """A conversation whose answer stands beside it."""
    for index, (one, next_one) in enumerate(pairwise(messages), start=1):
        if one["role"] == next_one["role"] == "assistant":
            yield _second_answer("messages", index)
    if messages[-1]["role"] == "assistant":
        text = "the input ends with an assistant message; what stands beside it answers the user's last one"
        hint = "move that message into the answers beside it"
        yield RecordFault(("messages", len(messages) - 1, "role"), "input-ends-with-assistant", text, hint)
    if all(message["role"] != "user" for message in messages):
        yield _nobody_asks("messages")


def _request_faults(messages: Sequence[Message], given: JsonObject) -> Iterator[RecordFault]:
    yield from _question_faults(messages)
    yield from tool_faults(messages, offered_names(given))
    yield from definition_faults(given)
    yield from image_faults(messages)


def _reinforcement_faults(record: JsonObject) -> list[RecordFault]:
    messages: Sequence[Message] = record["messages"]
    # Its other keys are the user's own.
    faults = list(_request_faults(messages, {"tools": record.get("tools")}))
    if messages[-1]["role"] == "assistant":
        text = "the last message is the assistant's; in reinforcement the model itself answers the user's last message"
        place = ("messages", len(messages) - 1, "role")
        faults.append(
            RecordFault(place, "ends-with-assistant", text, "cut it, or keep it as a reference field", "warning")
        )
    return faults


def doubled_key_faults(line: bytes, record: JsonObject) -> list[RecordFault]:
    """Keys that stand twice in one object of a line from which `record` was read: readers take the last one."""
    try:
        plain = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        # It nests deeper than can be written.
        plain = b""
    if line == plain:
        return []
    keys = _number_of_keys(record)
    # Every key of the text is followed by a colon, so an equal count proves that none was lost. Strings that hold `":`
    # only make the count higher and lead to the exact look.
    if line.count(b'":') == keys and b'" ' not in line and b'"\t' not in line:
        return []
    doubled: list[str] = []

    def collect(pairs: list[tuple[str, object]]) -> JsonObject:
        known = dict(pairs)
        if len(known) < len(pairs):
            keys = [key for key, _ in pairs]
            doubled.extend(key for key in known if keys.count(key) > 1)
        return known

    # json reads by calling itself, and ends before orjson does.
    with suppress(RecursionError):
        json.loads(line, object_pairs_hook=collect)
    hint = "keep one of them"
    return [
        RecordFault((), "doubled-key", f"the key {key!r} stands twice in one object; only the last one counts", hint)
        for key in doubled
    ]


def _number_of_keys(value: object) -> int:
    """How many keys all objects inside a value have together."""
    # A stack of our own: a hostile line nests deeper than Python lets functions call themselves.
    number, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            number += len(item)
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return number
