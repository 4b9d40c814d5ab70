"""Our own columns, as `FeedbackStore.export` writes them, and conversations with the answer as last message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ragtune.errors import FeedbackError
from ragtune.feedback.checking import COLUMNS, VERDICT
from ragtune.feedback.imports.entries import Answered, Entry, PassedOver, Shape
from ragtune.feedback.imports.texts import answer_in, asked_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["CONVERSATION", "OWN"]

_NUMBERS = ("verdict", "rating")
# What an export tells and a store gives anew.
_FURTHER = ("created", "id")


def _is_own(row: Mapping[str, object]) -> bool:
    return "question" in row and "answer" in row


def _own(row: Mapping[str, object], thumbs: Sequence[str]) -> Iterator[Entry]:
    kept = {name: value for name, value in row.items() if name not in _FURTHER}
    if unknown := next((name for name in kept if name not in COLUMNS), None):
        raise FeedbackError(f"{unknown!r} is no column of a verdict; there are {', '.join(COLUMNS)}")
    # A cell of CSV is always a text, and an empty one none.
    kept = {name: None if value == "" else value for name, value in kept.items()}
    for name in _NUMBERS:
        if isinstance(text := kept.get(name), str):
            try:
                kept[name] = float(text)
            except ValueError:
                raise FeedbackError(f"{name}: {text!r:.60} is no number; a thumb is 1 or -1") from None
    for name, what in (("passages", "texts"), ("history", "messages")):
        if isinstance(cell := kept.get(name), str):
            try:
                kept[name] = json.loads(cell)
            except (ValueError, RecursionError):
                raise FeedbackError(f"{name}: {cell!r:.60} must be a list of {what} as JSON") from None
    yield Answered(row=kept)


def _is_conversation(row: Mapping[str, object]) -> bool:
    return isinstance(row.get("messages"), list) and "choices" not in row and "run_type" not in row


def _conversation(row: Mapping[str, object], thumbs: Sequence[str]) -> Iterator[Entry]:
    messages: Any = row["messages"]
    answer = answer_in(messages[-1:])
    if answer is None:
        raise FeedbackError("messages: the last one must be the assistant's and a text, for it is what was judged")
    asked = asked_in(messages[:-1], None)
    if isinstance(asked, str):
        yield PassedOver(reason=asked)
        return
    said = {name: row[name] for name in (*VERDICT, "by", "model", "passages", "asked_by") if name in row}
    yield Answered(row={**asked, "answer": answer, **said})


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
