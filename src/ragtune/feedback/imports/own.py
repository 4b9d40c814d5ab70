"""Our own columns, as `FeedbackStore.export` writes them, and conversations with the answer as last message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ragtune.errors import FeedbackError
from ragtune.feedback.checking import COLUMNS
from ragtune.feedback.imports.entries import Answered, Entry, Shape
from ragtune.feedback.imports.texts import answer_in, question_in, system_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["CONVERSATION", "OWN"]

_NUMBERS = {"verdict": int, "rating": float}
_FURTHER = ("created", "id")


def _is_own(row: Mapping[str, object]) -> bool:
    return "question" in row and "answer" in row


def _own(row: Mapping[str, object], thumbs: Sequence[str]) -> Iterator[Entry]:
    kept = {name: value for name, value in row.items() if name not in _FURTHER}
    if unknown := next((name for name in kept if name not in COLUMNS), None):
        raise FeedbackError(f"{unknown!r} is no column of a verdict; there are {', '.join(COLUMNS)}")
    # A cell of CSV is always a text, and an empty one none.
    kept = {name: None if value == "" else value for name, value in kept.items()}
    for name, number in _NUMBERS.items():
        if isinstance(text := kept.get(name), str):
            try:
                kept[name] = number(text)
            except ValueError:
                raise FeedbackError(f"{name}: {text!r:.60} is no number; a thumb is 1 or -1") from None
    if isinstance(passages := kept.get("passages"), str):
        try:
            kept["passages"] = json.loads(passages)
        except (ValueError, RecursionError):
            raise FeedbackError(f"passages: {passages!r:.60} must be a list of texts as JSON") from None
    yield Answered(row=kept)


def _is_conversation(row: Mapping[str, object]) -> bool:
    return isinstance(row.get("messages"), list) and "choices" not in row and "run_type" not in row


def _conversation(row: Mapping[str, object], thumbs: Sequence[str]) -> Iterator[Entry]:
    messages = row["messages"]
    answer, question = answer_in(messages), question_in(messages)
    said = {name: row[name] for name in COLUMNS if name in row and name not in ("question", "answer", "system")}
    yield Answered(row={"question": question, "answer": answer, "system": system_in(messages), **said})


OWN = Shape(
    name="ragtune",
    expects="question and answer, and whichever of verdict (1 or -1), correction, comment, by and so on there are",
    fits=_is_own,
    read=_own,
)
CONVERSATION = Shape(
    name="messages",
    expects="messages, the last of them the assistant's, and the same columns of a verdict beside them",
    fits=_is_conversation,
    read=_conversation,
)
