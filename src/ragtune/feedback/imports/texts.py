"""Questions, answers and passages in the many ways in which programs write a conversation down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

__all__ = ["answer_in", "question_in", "read_json", "system_in", "text_of"]

_QUESTION_KEYS = ("question", "input", "query", "prompt", "text", "content", "user_input")
_ANSWER_KEYS = ("answer", "output", "response", "content", "text", "result", "completion")
_USERS, _ASSISTANTS, _SYSTEMS = ("user", "human"), ("assistant", "ai"), ("system", "developer")


def read_json(value: object) -> object:
    """A text that is JSON as what it holds; everything else as it is."""
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


def question_in(value: object) -> str | None:
    """The last thing that the user said."""
    value = read_json(value)
    said = _last_of(value, _USERS)
    return said if said is not None else _by_key(value, _QUESTION_KEYS)


def system_in(value: object) -> str | None:
    """The system prompt."""
    return _last_of(read_json(value), _SYSTEMS)


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


def _last_of(value: object, roles: Sequence[str]) -> str | None:
    messages = value.get("messages") if isinstance(value, Mapping) else value
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return None
    if messages and isinstance(messages[0], Sequence) and not isinstance(messages[0], str):
        messages = messages[0]
    found = [_content(message) for message in messages if isinstance(message, Mapping) and _role(message) in roles]
    return found[-1] if found else None


def _role(message: Mapping[str, object]) -> str:
    role = message.get("role") or message.get("type")
    kind = message.get("id")
    if role in (None, "constructor") and isinstance(kind, Sequence) and kind:
        # LangChain writes a message as the path of its class and the arguments of its constructor.
        role = str(kind[-1]).removesuffix("Chunk").removesuffix("Message")
    return str(role).lower()


def _content(message: Mapping[str, object]) -> str | None:
    kept = message.get("kwargs")
    return text_of((kept if isinstance(kept, Mapping) else message).get("content"))


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
