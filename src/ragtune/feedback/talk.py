"""A talk before an answer: its system prompt, its earlier turns, and the question."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.errors import FeedbackError
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["NO_TALK", "Talk", "checked_history", "form_of", "same_form", "talk_of", "turn_text"]

NO_TALK = "a talk that is not all text of user and model in turn (a tool call, a picture, a file): no row could hold it"

# OpenAI's reasoning models call the same thing `developer`.
_SYSTEMS = ("system", "developer")
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning")


@dataclass(frozen=True, kw_only=True)
class Talk:
    """What was said before an answer.

    Attributes:
        question: the last turn.
        system: the system prompt at the beginning, None for none.
        history: the turns between them, each with `role` and `content`.
    """

    question: str
    system: str | None
    history: tuple[dict[str, str], ...]


def talk_of(messages: Iterable[Mapping[str, object]]) -> Talk | None:
    """The talk that messages hold; None where they do not end with the user or some turn is no text."""
    # What a model thought is a message of its own in the Responses API.
    said = [message for message in messages if message.get("type") not in _THOUGHTS or "role" in message]
    turns = [turn for message in said if (turn := _turn(message)) is not None]
    # All or nothing: a talk with a gap would teach an answer to something that was never said so.
    if len(turns) < len(said):
        return None
    system = turns.pop(0)["content"] if turns and turns[0]["role"] == "system" else None
    # A prompt in the middle of a talk has no place in a row, which has one at its beginning.
    if not turns or turns[-1]["role"] != "user" or any(turn["role"] == "system" for turn in turns):
        return None
    return Talk(question=turns[-1]["content"], system=system, history=tuple(turns[:-1]))


def _turn(message: Mapping[str, object]) -> dict[str, str] | None:
    role, said = message.get("role"), turn_text(message.get("content"))
    if role not in ("user", "assistant", *_SYSTEMS) or not said or not said.strip() or message.get("tool_calls"):
        return None
    return {"role": "system" if role in _SYSTEMS else str(role), "content": said}


def turn_text(content: object) -> str | None:
    """The text of a turn; None where it holds anything that is no text."""
    if isinstance(content, str) or not isinstance(content, Sequence):
        return content if isinstance(content, str) else None
    said = []
    for part in content:
        if isinstance(part, Mapping) and part.get("type") in _THOUGHTS:
            continue
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            return None
        said.append(text)
    return "".join(said) if said else None


def checked_history(history: object) -> str:
    """Earlier turns as JSON.

    Raises:
        FeedbackError: they are no list of messages of user and model.
    """
    if history is None or history == () or history == []:
        return "[]"
    rule = "must be messages, each with role (user or assistant) and content that is text"
    if isinstance(history, str | bytes | Mapping) or not isinstance(history, Iterable):
        raise FeedbackError(f"history: {history!r:.60} {rule}")
    turns = []
    for given in history:
        turn = _turn(given) if isinstance(given, Mapping) else None
        if turn is None or turn["role"] == "system":
            raise FeedbackError(f"history: {given!r:.60} {rule}; a system prompt is said as system=")
        turns.append(turn)
    written = json.dumps(turns, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError as error:
        raise FeedbackError(f"history: it holds half a sign, which no file keeps: {error.reason}") from None
    return written


def form_of(messages: Iterable[Mapping[str, object]]) -> Hashable:
    """By what two talks are the same: who says what, in normal form; prompts of the system tell none apart."""
    return tuple((message.get("role"), _form(message)) for message in messages if message.get("role") not in _SYSTEMS)


def _form(message: Mapping[str, object]) -> str:
    said = turn_text(message.get("content"))
    if said is None:
        rest = {name: value for name, value in message.items() if name not in ("role", "weight")}
        # No text begins with a zero byte, so a tool call equals no text.
        return "\0" + json.dumps(rest, sort_keys=True, default=str)
    return same_form(said)


def same_form(text: str) -> str:
    """The normal form; of a text that has none, the text, so that `?!` is not `???`."""
    return normalise(text) or f"\0{text.strip()}"
