"""One verdict with the answer that it is about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ragtune._table import Table
from ragtune.errors import FeedbackError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

__all__ = ["Feedback", "FeedbackTable"]

# What another program may write into a column of SQLite is not held to the column's kind.
_TEXTS = ("question", "answer", "model", "system", "label", "correction", "comment", "judged_by", "asked_by")


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What one person said about one answer, or an answer that nobody has judged yet.

    Attributes:
        id: number of the answer in its store.
        question: what was asked.
        answer: what the model said.
        model: which model, None when unknown.
        system: its system prompt, None for none.
        history: the turns of the talk before the question, each with `role` and `content`.
        passages: what it was given to read, in order.
        verdict: 1 for good, -1 for bad, None for neither.
        rating: a mark on a scale of the user's own, or None.
        label: a word of the user's own, or None.
        correction: the answer that would have been right, or None.
        comment: whatever else was said, or None.
        by: who judged, None when unknown.
        asked_by: who asked, None when unknown.
        created: when it was judged, or asked where nobody has judged (UTC).

    Example:
        ```python
        from datetime import UTC, datetime

        from ragtune.feedback import Feedback

        said = Feedback(id=1, question="How deep is it?", answer="12 m", verdict=-1, created=datetime.now(UTC))
        print(said.verdict, said.correction)
        #> -1 None
        ```
    """

    id: int
    question: str
    answer: str
    created: datetime
    model: str | None = None
    system: str | None = None
    history: tuple[Mapping[str, str], ...] = ()
    passages: tuple[str, ...] = ()
    verdict: int | None = None
    rating: float | None = None
    label: str | None = None
    correction: str | None = None
    comment: str | None = None
    by: str | None = None
    asked_by: str | None = None

    @property
    def judged(self) -> bool:
        """Whether anybody has said anything about it."""
        return any(said is not None for said in (self.verdict, self.rating, self.label, self.correction, self.comment))

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Feedback:
        """Read a row of the store.

        Raises:
            FeedbackError: it holds what no store writes.
        """
        try:
            return cls._read(row)
        # A moment out of range is a ValueError, an OverflowError or an OSError, as the system has it.
        except (ValueError, TypeError, OverflowError, OSError, RecursionError) as error:
            raise FeedbackError(
                f"answer {row['id']} is damaged ({error}); remove({row['id']}) takes it out, a copy of the file may "
                f"still have it whole"
            ) from error

    @classmethod
    def _read(cls, row: sqlite3.Row) -> Feedback:
        for name in _TEXTS:
            if not isinstance(row[name], str | None):
                raise TypeError(f"{name} holds {type(row[name]).__name__}, not text")
        passages = _listed(row, "passages")
        for place, passage in enumerate(passages):
            if not isinstance(passage, str):
                raise TypeError(f"passages[{place}] holds {type(passage).__name__}, not text")
        history = _listed(row, "history")
        for place, turn in enumerate(history):
            _check_turn(turn, f"history[{place}]")
        for name in ("verdict", "rating"):
            if not isinstance(row[name], int | float | None):
                raise TypeError(f"{name} holds {type(row[name]).__name__}, no number")
        return cls(
            id=row["id"],
            question=row["question"],
            answer=row["answer"],
            created=datetime.fromtimestamp(row["created_at"], tz=UTC),
            model=row["model"],
            system=row["system"],
            history=history,
            passages=passages,
            verdict=row["verdict"],
            rating=row["rating"],
            label=row["label"],
            correction=row["correction"],
            comment=row["comment"],
            by=row["judged_by"],
            asked_by=row["asked_by"],
        )


def _listed(row: sqlite3.Row, name: str) -> tuple[Any, ...]:
    # As nearly all are; to read JSON takes longer than all the rest.
    if row[name] == "[]":
        return ()
    found = json.loads(row[name])
    if not isinstance(found, list):
        raise TypeError(f"{name} holds {type(found).__name__}, no list")
    return tuple(found)


def _check_turn(turn: object, place: str) -> None:
    if not isinstance(turn, dict) or turn.keys() != {"role", "content"}:
        raise TypeError(f"{place} is no message with role and content")
    if turn["role"] not in ("user", "assistant"):
        raise TypeError(f"{place}.role is {turn['role']!r:.40}, neither user nor assistant")
    if not isinstance(turn["content"], str):
        raise TypeError(f"{place}.content holds {type(turn['content']).__name__}, not text")


@dataclass(frozen=True, kw_only=True)
class FeedbackTable(Table[Feedback]):
    """Verdicts as a table, oldest first.

    Example:
        ```python
        import ragtune as rt

        store = rt.FeedbackStore("feedback.sqlite3")
        store.add("12 metres", question="How deep is Lake Sorrel?", verdict=-1, correction="83 metres", by="anna")
        print(store.rows().to_pandas()[["Answer", "Correction"]].values.tolist())
        #> [['12 metres', '83 metres']]
        ```
    """

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Question": [row.question for row in self.rows],
            "Answer": [row.answer for row in self.rows],
            "Verdict": [row.verdict for row in self.rows],
            "Correction": [row.correction for row in self.rows],
            "Comment": [row.comment for row in self.rows],
            "By": [row.by for row in self.rows],
            "Model": [row.model for row in self.rows],
            "When": [row.created for row in self.rows],
        }
