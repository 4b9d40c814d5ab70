"""What may be kept: every value is looked at before the file is touched."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Protocol

from ragtune.errors import FeedbackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["VERDICT", "Said", "answer_values", "checked_passages", "checked_verdict", "row_values"]

# What a verdict may consist of; `by` alone says nothing.
VERDICT = ("verdict", "rating", "label", "correction", "comment")
_TEXTS = ("question", "answer", "model", "system", "label", "correction", "comment", "by", "asked_by")


class Said(Protocol):
    """An answer that knows what was asked: `ragtune.Answer` does."""

    @property
    def id(self) -> str | None:
        """The server's name for the answer."""

    @property
    def text(self) -> str | None:
        """The answer itself."""

    @property
    def model(self) -> str | None:
        """Which model answered."""

    @property
    def question(self) -> str | None:
        """What was asked."""

    @property
    def system(self) -> str | None:
        """The system prompt that went with it."""


def answer_values(
    answer: Said | str, *, question: str | None, model: str | None, system: str | None, asked_by: str | None
) -> dict[str, object]:
    """What is kept of an answer, with the key that makes two of them the same.

    Raises:
        FeedbackError: no question or no text, or a value that must be text.
    """
    if isinstance(answer, str):
        values: dict[str, object] = {"question": question, "answer": answer, "model": model, "system": system}
        key = None
    else:
        for name in ("id", "text", "model", "question", "system"):
            if not hasattr(answer, name):
                raise FeedbackError(f"answer: {answer!r:.60} is neither an Answer, a text, nor the number of an answer")
        values = {
            "question": question or answer.question,
            "answer": answer.text,
            "model": model or answer.model,
            "system": system or answer.system,
        }
        key = answer.id
    for name in ("question", "answer"):
        if not isinstance(values[name], str) or not str(values[name]).strip():
            raise FeedbackError(
                f"{name}: {values[name]!r:.60} says nothing; a verdict needs what was asked and answered"
            )
    _check_texts({**values, "asked_by": asked_by})
    parts = [values["question"], values["answer"], values["model"], values["system"]]
    content = hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return {**values, "asked_by": asked_by, "key": key or content}


def row_values(row: Mapping[str, object]) -> tuple[dict[str, object], str, dict[str, object] | None]:
    """What is kept of a row: the answer, its passages, and the verdict; None where nobody has judged it.

    Raises:
        FeedbackError: as for its parts.
    """
    about = {name: row.get(name) for name in ("question", "model", "system", "asked_by")}
    values = answer_values(row.get("answer"), **about)  # type: ignore[arg-type]
    names = ("verdict", "rating", "label", "correction", "comment", "by")
    said = {name: row.get(name) for name in names}
    judged = any(said[name] is not None for name in names[:-1])
    passages = row.get("passages") or ()
    return values, checked_passages(passages), checked_verdict(said) if judged else None  # type: ignore[arg-type]


def _check_texts(values: Mapping[str, object]) -> None:
    for name in _TEXTS:
        if values.get(name) is not None and not isinstance(values[name], str):
            raise FeedbackError(f"{name}: {values[name]!r:.60} must be text or None")


def checked_passages(passages: Sequence[str]) -> str:
    """The passages as JSON.

    Raises:
        FeedbackError: they are no list of texts.
    """
    if isinstance(passages, str) or not all(isinstance(passage, str) for passage in passages):
        raise FeedbackError(f"passages: {passages!r:.60} must be a list of texts")
    return json.dumps(list(passages), ensure_ascii=False)


def checked_verdict(said: dict[str, object]) -> dict[str, object]:
    """The verdict as it is.

    Raises:
        FeedbackError: it says nothing, or a value is of the wrong kind.
    """
    _check_texts(said)
    verdict, rating = said["verdict"], said["rating"]
    if verdict is not None and (isinstance(verdict, bool) or verdict not in (-1, 1)):
        raise FeedbackError(f"verdict: {verdict!r} must be 1 for good, -1 for bad, or None")
    is_number = isinstance(rating, int | float) and not isinstance(rating, bool) and math.isfinite(rating)
    if rating is not None and not is_number:
        raise FeedbackError(f"rating: {rating!r} must be a number or None")
    correction = said["correction"]
    if isinstance(correction, str) and not correction.strip():
        raise FeedbackError("correction: is blank; give the right answer, or None")
    if all(value is None for name, value in said.items() if name != "by"):
        raise FeedbackError("nothing is said: give a verdict, a correction, a rating, a label or a comment")
    return said
