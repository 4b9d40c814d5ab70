"""What may be kept: every value is looked at before the file is touched."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from operator import index
from typing import Protocol, SupportsFloat, SupportsIndex

from ragtune.errors import FeedbackError
from ragtune.feedback.talk import NO_TALK, Talk, checked_history, talk_of

__all__ = [
    "COLUMNS",
    "VERDICT",
    "Said",
    "answer_values",
    "checked_number",
    "checked_passages",
    "checked_text",
    "checked_verdict",
    "row_values",
]

# What a verdict may consist of; `by` alone says nothing.
VERDICT = ("verdict", "rating", "label", "correction", "comment")
COLUMNS = ("question", "answer", *VERDICT, "by", "model", "system", "history", "passages", "asked_by")
_TEXTS = ("question", "answer", "model", "system", "label", "correction", "comment", "by", "asked_by")


# A protocol: `ragtune.Answer` stands in a room above this one.
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
    answer: Said | str,
    *,
    question: str | None,
    model: str | None,
    system: str | None,
    history: Iterable[Mapping[str, object]] | None,
    asked_by: str | None,
) -> dict[str, object]:
    """What is kept of an answer, with the key that makes two of them the same.

    Raises:
        FeedbackError: no question or no text, a value that must be text, or earlier turns that no row could hold.
    """
    if isinstance(answer, str):
        values: dict[str, object] = {"question": question, "answer": answer, "model": model, "system": system}
        key, before = None, checked_history(history)
    else:
        for name in ("id", "text", "model", "question", "system"):
            if not hasattr(answer, name):
                raise FeedbackError(f"answer: {answer!r:.60} is neither an Answer, a text, nor the number of an answer")
        text = answer.text
        talk = _talk_before(answer, is_told=question is not None and history is not None)
        values = {
            "question": question or (talk.question if talk else answer.question),
            "answer": text,
            "model": model or answer.model,
            "system": system or (talk.system if talk else answer.system),
        }
        key = answer.id
        before = checked_history(talk.history if talk and history is None else history)
    for name in ("question", "answer"):
        if not isinstance(values[name], str) or not str(values[name]).strip():
            raise FeedbackError(
                f"{name}: {values[name]!r:.60} says nothing; a verdict needs what was asked and answered"
            )
    _check_texts({**values, "asked_by": asked_by})
    parts = [values["question"], values["answer"], values["model"], values["system"]]
    # Only a longer talk has them: answers that were kept before there were any keep their key.
    parts += [] if before == "[]" else [before]
    content = hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogatepass")).hexdigest()
    # Some servers begin their ids anew after a thousand answers: equal ids alone make no equal answers.
    return {**values, "history": before, "asked_by": asked_by, "key": content if key is None else f"{key} {content}"}


def _talk_before(answer: Said, *, is_told: bool) -> Talk | None:
    """What was said before an answer that knows it.

    Raises:
        FeedbackError: it cannot be kept whole, and nobody told it.
    """
    way_out = "; give question= and history= (the earlier turns, each with role and content), or history=[] for none"
    raw = getattr(answer, "raw", None)
    elsewhere = ("previous_response_id", "conversation")
    kept_there = next((name for name in elsewhere if isinstance(raw, Mapping) and raw.get(name)), None)
    if kept_there and not is_told:
        raise FeedbackError(f"answer: the server alone knows the talk before it ({kept_there}){way_out}")
    sent = getattr(answer, "sent", ())
    talk = talk_of(sent)
    if sent and talk is None and not is_told:
        raise FeedbackError(f"answer: {NO_TALK}{way_out}")
    return talk


def row_values(row: Mapping[str, object]) -> tuple[dict[str, object], str, dict[str, object] | None]:
    """What is kept of a row: the answer, its passages, and the verdict; None where nobody has judged it.

    Raises:
        FeedbackError: as for its parts.
    """
    if not isinstance(row, Mapping):
        raise FeedbackError(
            f"{row!r:.60} is no row; give mappings with question and answer (a frame: to_dict('records'))"
        )
    # A misspelt column would be a verdict that nobody gave.
    unknown = [name for name in row if name not in COLUMNS]
    if unknown:
        raise FeedbackError(f"{unknown[0]!r} is no column of a verdict; there are {', '.join(COLUMNS)}")
    # What a data frame has for an empty cell.
    row = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
    about = {name: row.get(name) for name in ("question", "model", "system", "history", "asked_by")}
    values = answer_values(row.get("answer"), **about)  # type: ignore[arg-type]
    names = ("verdict", "rating", "label", "correction", "comment", "by")
    said = {name: row.get(name) for name in names}
    judged = any(said[name] is not None for name in names[:-1])
    passages = row.get("passages") or ()
    return values, checked_passages(passages), checked_verdict(said) if judged else None  # type: ignore[arg-type]


def _check_texts(values: Mapping[str, object]) -> None:
    for name in _TEXTS:
        if values.get(name) is not None:
            checked_text(name, values[name])


def checked_text(name: str, value: object) -> str:
    """A text that a file can hold.

    Raises:
        FeedbackError: it is none, or holds half of a pair of surrogates.
    """
    if not isinstance(value, str):
        raise FeedbackError(f"{name}: {value!r:.60} must be text or None")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FeedbackError(f"{name}: {value!r:.60} holds half a sign, which no file keeps: {error.reason}") from None
    return value


def checked_number(name: str, value: object) -> int:
    """A whole number, NumPy's as well.

    Raises:
        FeedbackError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise FeedbackError(f"{name}: {value!r:.60} is no whole number")
    return index(value)


def checked_passages(passages: Iterable[object] | None) -> str:
    """The passages as JSON; texts, or objects with a `text` as retrievers give them.

    Raises:
        FeedbackError: they are no list of texts.
    """
    # Most answers come with none: a hundred thousand of them are kept without a way through JSON.
    if passages is None or passages == ():
        return "[]"
    if isinstance(passages, str | bytes | Mapping) or not isinstance(passages, Iterable):
        raise FeedbackError(f"passages: {passages!r:.60} must be a list of texts")
    texts = [passage if isinstance(passage, str) else getattr(passage, "text", passage) for passage in passages]
    return json.dumps([checked_text("passages", text) for text in texts], ensure_ascii=False)


def checked_verdict(said: dict[str, object]) -> dict[str, object]:
    """The verdict as it is.

    Raises:
        FeedbackError: it says nothing, or a value is of the wrong kind.
    """
    _check_texts(said)
    verdict, rating = said["verdict"], said["rating"]
    thumb = None if verdict is None else _thumb(verdict)
    mark = None if rating is None else _mark(rating)
    correction = said["correction"]
    if isinstance(correction, str) and not correction.strip():
        raise FeedbackError("correction: is blank; give the right answer, or None")
    if all(value is None for name, value in said.items() if name != "by"):
        raise FeedbackError("nothing is said: give a verdict, a correction, a rating, a label or a comment")
    kept = dict(said)
    kept["verdict"] = thumb
    kept["rating"] = mark
    return kept


def _thumb(verdict: object) -> int:
    # A look at the type alone takes a hundredth of the time; numbers of NumPy are numbers, too.
    if type(verdict) is int:
        thumb = verdict
    # A column of thumbs with a gap in it holds 1.0.
    elif isinstance(verdict, float) and verdict.is_integer():
        thumb = int(verdict)
    else:
        thumb = index(verdict) if isinstance(verdict, SupportsIndex) and not isinstance(verdict, bool) else 0
    if thumb not in (-1, 1):
        raise FeedbackError(f"verdict: {verdict!r} must be 1 for good, -1 for bad, or None")
    return thumb


def _mark(rating: object) -> float:
    try:
        mark = math.nan if isinstance(rating, bool) or not isinstance(rating, SupportsFloat) else float(rating)
    # A whole number may be larger than any float.
    except OverflowError:
        mark = math.inf
    if not math.isfinite(mark):
        raise FeedbackError(f"rating: {rating!r:.60} must be a number or None")
    return mark
