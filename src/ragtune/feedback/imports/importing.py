"""A file into a store: its shape is found by its first row, and nothing is kept unless all of it can be."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune.errors import FeedbackError
from ragtune.feedback.checking import VERDICT, checked_verdict, row_values
from ragtune.feedback.file import write_answer, write_verdict
from ragtune.feedback.imports.entries import Answered, PassedOver
from ragtune.feedback.imports.langfuse import LANGFUSE
from ragtune.feedback.imports.langsmith import LANGSMITH
from ragtune.feedback.imports.openai_stored import OPENAI
from ragtune.feedback.imports.own import CONVERSATION, OWN
from ragtune.feedback.imports.reading import TOO_DEEP, placed_rows
from ragtune.feedback.results import count

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from ragtune.feedback.imports.entries import Entry, Scored, Shape

__all__ = ["SHAPES", "Imported", "write_file"]

SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in (OWN, LANGSMITH, LANGFUSE, OPENAI, CONVERSATION)}


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a file brought.

    Attributes:
        path: the file.
        shape: whose file it is: `ragtune`, `messages`, `langfuse`, `langsmith` or `openai`.
        answers: answers that it holds, also those that the store had already.
        verdicts: verdicts that it holds.
        passed_over: how many rows were passed over, by reason.

    Example:
        ```python
        from pathlib import Path

        import ragtune as rt

        row = '{"question": "How deep is it?", "answer": "12 m", "verdict": -1}'
        Path("said.jsonl").write_text(row, encoding="utf-8")
        print(rt.FeedbackStore("feedback.sqlite3").import_file("said.jsonl"))
        #> said.jsonl (ragtune): 1 answer, 1 verdict
        ```
    """

    path: Path
    shape: str
    answers: int
    verdicts: int
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        kept = f"{self.path} ({self.shape}): {count(self.answers, 'answer')}, {count(self.verdicts, 'verdict')}"
        return kept + "".join(f"\n  passed over {number:,}: {reason}" for reason, number in self.passed_over.items())


def write_file(
    connection: sqlite3.Connection, path: str | os.PathLike[str], *, shape: str | None, thumbs: Sequence[str]
) -> Imported:
    """Write what a file says, row by row, inside the transaction of the caller.

    Raises:
        FeedbackError: the file cannot be read, is of no known shape, or a row is wrong; the message names its line.
    """
    answers = verdicts = 0
    passed_over: Counter[str] = Counter()
    chosen = None if shape is None else _named(shape)
    for place, row in placed_rows(path):
        chosen = chosen or _shape_of(place, row)
        for entry in _entries(place, row, shape=chosen, thumbs=thumbs):
            if isinstance(entry, PassedOver):
                passed_over[entry.reason] += 1
            elif isinstance(entry, Answered):
                answers += 1
                verdicts += _write_answered(connection, place, entry)
            elif reason := _write_scored(connection, place, entry):
                passed_over[reason] += 1
            else:
                verdicts += 1
    if chosen is None:
        raise FeedbackError(f"{path}: holds no row")
    # A file of which nothing is kept would look imported.
    if not answers and not verdicts and passed_over:
        reasons = "; ".join(f"{number:,} times {reason}" for reason, number in passed_over.items())
        raise FeedbackError(f"{path}: nothing in it can be kept: {reasons}")
    return Imported(
        path=Path(path), shape=chosen.name, answers=answers, verdicts=verdicts, passed_over=dict(passed_over)
    )


def _named(shape: str) -> Shape:
    if shape not in tuple(SHAPES):
        raise FeedbackError(f"shape={shape!r} is not one of {', '.join(SHAPES)}")
    return SHAPES[shape]


def _shape_of(place: str, row: Mapping[str, object]) -> Shape:
    for shape in SHAPES.values():
        if shape.fits(row):
            return shape
    known = "".join(f"\n  {shape.name}: {shape.expects}" for shape in SHAPES.values())
    raise FeedbackError(
        f"{place}: a row with {', '.join(map(str, row)) or 'nothing'} is of no known shape; known are{known}"
    )


def _entries(place: str, row: Mapping[str, object], *, shape: Shape, thumbs: Sequence[str]) -> Iterator[Entry]:
    # The first row chose the shape, and a row of another one would be read as if it lacked half.
    if not shape.fits(row):
        raise FeedbackError(f"{place}: is no row of the shape {shape.name}, which holds {shape.expects}")
    with _told_with(place):
        yield from shape.read(row, thumbs)


@contextmanager
def _told_with(place: str) -> Iterator[None]:
    """Say of whatever is wrong with a row where it stands."""
    try:
        yield
    except FeedbackError as error:
        raise FeedbackError(f"{place}: {error}") from None
    except RecursionError:
        raise FeedbackError(f"{place}: {TOO_DEEP}") from None


def _write_answered(connection: sqlite3.Connection, place: str, entry: Answered) -> int:
    """Keep an answer; 1 where it came with a verdict, else 0."""
    with _told_with(place):
        values, passages, said = row_values(entry.row)
    if entry.origin is not None:
        # Verdicts in other files know an answer only by what its program calls it.
        values["key"] = f"{entry.origin}{values['key']}"
    answer = write_answer(connection, values, passages)
    if said is None:
        return 0
    _write_verdict(connection, answer, said)
    return 1


def _write_scored(connection: sqlite3.Connection, place: str, entry: Scored) -> str | None:
    """Keep a verdict; None, or why it finds no answer."""
    said: dict[str, Any] = {name: entry.said.get(name) for name in (*VERDICT, "by")}
    with _told_with(place):
        checked = checked_verdict(said)
    for origin in entry.origins:
        # What an answer is called stands at the beginning of its key.
        # A range and not LIKE, to which % and _ in a name are jokers, and for which SQLite reads every key.
        found = connection.execute(
            "SELECT id FROM feedback_answer WHERE key >= ? AND key < ? LIMIT 2", (origin, f"{origin}\U0010ffff")
        ).fetchall()
        if len(found) > 1:
            return "a verdict about a whole trace that holds several answers; whom it means is not guessed"
        if found:
            _write_verdict(connection, found[0][0], checked)
            return None
    return "a verdict about an answer that is not in the store; import the file of the answers first"


def _write_verdict(connection: sqlite3.Connection, answer: int, said: Mapping[str, object]) -> None:
    # A nameless verdict has no earlier one to take the place of: the same file read again would double it.
    if said["by"] is None:
        same = " AND ".join(f"{name} IS ?" for name in VERDICT)
        query = f"SELECT 1 FROM feedback_verdict WHERE answer = ? AND judged_by IS NULL AND {same}"
        if connection.execute(query, (answer, *(said[name] for name in VERDICT))).fetchone():
            return
    write_verdict(connection, answer, said)
