"""Questions, answers and passages in the many ways in which programs write a conversation down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ragtune.feedback.talk import NO_TALK, talk_of, turn_text

__all__ = ["NO_QUESTION", "answer_in", "asked_in", "read_json", "text_of"]

NO_QUESTION = "a question or an answer that is no text"

_QUESTION_KEYS = ("question", "input", "query", "prompt", "text", "content", "user_input")
_ANSWER_KEYS = ("answer", "output", "response", "content", "text", "result", "completion")
_ASSISTANTS = ("assistant", "ai")
# Where chains of LangChain have the turns before a question that stands beside them.
_HISTORY_KEYS = ("chat_history", "history")
_ROLES = {"human": "user", "ai": "assistant"}


def read_json(value: object) -> object:
    """A text that is JSON as what it holds; everything else as it is."""
    # Objects and lists alone: an answer that says 12 or true stays the text that it was.
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def text_of(value: object) -> str | None:
    """The text of a message's content: a text, or the text parts of a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        return "".join(texts) if texts else None
    return None


def asked_in(value: object, answer: str | None) -> dict[str, object] | str:
    """The columns `question`, `system` and `history` of what a model was asked, or why no row could hold it.

    Args:
        value: messages, or a question in one of the many ways to write one down.
        answer: what the model said, which stands behind the question where a program wrote the whole talk down.
    """
    value = read_json(value)
    messages = _messages(value)
    if messages:
        turns = [_turn(message) for message in messages]
        if len(turns) > 1 and turns[-1]["role"] == "assistant" and turn_text(turns[-1]["content"]) == answer:
            turns.pop()
    else:
        question = _by_key(value, _QUESTION_KEYS)
        if question is None:
            return NO_QUESTION
        turns = [{"role": "user", "content": question}]
        for key in _HISTORY_KEYS:
            before = read_json(value.get(key)) if isinstance(value, Mapping) else None
            if before:
                earlier = _messages(before)
                if not earlier:
                    return NO_TALK
                turns = [*map(_turn, earlier), *turns]
                break
    talk = talk_of(turns)
    if talk is None:
        return NO_TALK
    if not talk.question.strip():
        return NO_QUESTION
    return {"question": talk.question, "system": talk.system, "history": talk.history}


def answer_in(value: object) -> str | None:
    """The last thing that the model said."""
    value = read_json(value)
    if isinstance(value, Mapping):
        for key, inner in (("choices", "message"), ("generations", "message")):
            first = _first(value.get(key))
            if isinstance(first, Mapping):
                return answer_in(first.get(inner)) or text_of(first.get("text"))
        if isinstance(kept := value.get("kwargs"), Mapping):
            return answer_in(kept)
    said = _last_of(value, _ASSISTANTS)
    return said if said is not None else _by_key(value, _ANSWER_KEYS)


def _first(value: object) -> object:
    """The first thing in lists of lists."""
    while isinstance(value, Sequence) and not isinstance(value, str) and value:
        value = value[0]
    return value


def _messages(value: object) -> list[Mapping[str, object]]:
    """The messages in a value; none where it holds none."""
    messages = value.get("messages") if isinstance(value, Mapping) else value
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return []
    if messages and isinstance(messages[0], Sequence) and not isinstance(messages[0], str):
        # LangChain gives its models batches of talks, and its traces show them so.
        messages = messages[0]
    found = [message for message in messages if isinstance(message, Mapping)]
    # Mixed with anything else they are no talk, and what is left of one would be another.
    return found if len(found) == len(messages) else []


def _last_of(value: object, roles: Sequence[str]) -> str | None:
    found = [text_of(_fields(message).get("content")) for message in _messages(value) if _role(message) in roles]
    return found[-1] if found else None


def _turn(message: Mapping[str, object]) -> dict[str, Any]:
    fields, role = _fields(message), _role(message)
    extra = fields.get("additional_kwargs")
    calls = fields.get("tool_calls") or (extra.get("tool_calls") if isinstance(extra, Mapping) else None)
    return {"role": _ROLES.get(role, role), "content": fields.get("content"), "tool_calls": calls}


def _role(message: Mapping[str, object]) -> str:
    role = message.get("role") or message.get("type")
    kind = message.get("id")
    if role in (None, "constructor") and isinstance(kind, Sequence) and kind:
        # LangChain writes a message as the path of its class and the arguments of its constructor.
        role = str(kind[-1]).removesuffix("Chunk").removesuffix("Message")
    return str(role).lower()


def _fields(message: Mapping[str, object]) -> Mapping[str, object]:
    kept = message.get("kwargs")
    return kept if isinstance(kept, Mapping) else message


def _by_key(value: object, keys: Sequence[str]) -> str | None:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return None
    for key in keys:
        if isinstance(found := value.get(key), str):
            return found
    # Under a name that a program chose itself a single text can only be what is looked for.
    texts = [one for one in value.values() if isinstance(one, str)]
    return texts[0] if len(texts) == 1 else None
