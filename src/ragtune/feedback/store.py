"""The store: answers and verdicts in one SQLite file that several processes may use."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex

from ragtune._sqlite import Database, trouble
from ragtune.errors import FeedbackError
from ragtune.feedback.checking import (
    VERDICT,
    answer_values,
    checked_passages,
    checked_text,
    checked_verdict,
    row_values,
)
from ragtune.feedback.compiling import compile_rows
from ragtune.feedback.results import Suggestion, Withdrawal, suggestion
from ragtune.feedback.rows import Feedback, FeedbackTable
from ragtune.feedback.schema import MIGRATIONS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from ragtune.feedback.checking import Said

__all__ = ["FeedbackStore"]

_EACH = """
    SELECT a.id, a.question, a.answer, a.model, a.system, a.passages, a.asked_by,
           v.verdict, v.rating, v.label, v.correction, v.comment, v.judged_by,
           coalesce(v.created_at, a.created_at) AS created_at
    FROM feedback_answer a {join} JOIN feedback_verdict v ON v.answer = a.id {where} ORDER BY created_at, v.id, a.id
"""


class FeedbackStore:
    """Answers, and what people said about them, in one SQLite file.

    An answer is kept once, by its id or by question, text and model. One person has one verdict about an answer: a
    later one takes its place, field by field. Several processes may use one file at the same time. It holds texts as
    they were said; only its owner can read it.

    Args:
        path: the file, made when something is first written.
        timeout_s: how long to wait for another process that writes, in seconds.

    Example:
        ```python
        import ragtune as rt

        store = rt.FeedbackStore("feedback.sqlite3")
        question = "How deep is Lake Sorrel?"
        store.add("12 metres", question=question, verdict=-1, correction="83 metres", by="anna")
        store.add("83 metres", question=question, verdict=1, by="ben")
        print(len(store), [row.verdict for row in store.rows()])
        #> 2 [-1, 1]
        ```
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout_s: float = 30.0) -> None:
        self.path = Path(path).expanduser()
        self._timeout_s = timeout_s

    def log(
        self,
        answer: Said | str,
        *,
        question: str | None = None,
        model: str | None = None,
        system: str | None = None,
        passages: Iterable[object] = (),
        asked_by: str | None = None,
    ) -> int:
        """Keep an answer that may be judged later, and return its number; one that is there already keeps it.

        Args:
            answer: an `Answer`, which knows its question, or a text.
            question: what was asked; needed beside a text.
            model: which model answered; of an `Answer` its own.
            system: the system prompt; of an `Answer` its own.
            passages: what the model was given to read: texts, or objects with a `text` as retrievers give them.
            asked_by: who asked.

        Raises:
            FeedbackError: no question or no text, or the file cannot be written.
        """
        values = answer_values(answer, question=question, model=model, system=system, asked_by=asked_by)
        with self._opened() as database, database.transaction() as connection:
            return _log(connection, values, checked_passages(passages))

    def add(
        self,
        answer: Said | str | int,
        verdict: SupportsIndex | None = None,
        *,
        question: str | None = None,
        correction: str | None = None,
        rating: SupportsFloat | None = None,
        label: str | None = None,
        comment: str | None = None,
        by: str | None = None,
        model: str | None = None,
        system: str | None = None,
        passages: Iterable[object] = (),
    ) -> int:
        """Keep what somebody says about an answer, and return the answer's number.

        Args:
            answer: an `Answer`, a text, or the number of an answer that is kept already.
            verdict: 1 for good, -1 for bad, None for neither.
            question: what was asked; needed beside a text.
            correction: the answer that would have been right.
            rating: a mark on a scale of your own.
            label: a word of your own.
            comment: whatever else was said.
            by: who judged.
            model: which model answered; of an `Answer` its own.
            system: the system prompt; of an `Answer` its own.
            passages: what the model was given to read: texts, or objects with a `text` as retrievers give them.

        Raises:
            FeedbackError: nothing is said, a value of the wrong kind, no question, no answer of that number, or the
                file cannot be written.
        """
        said = checked_verdict(
            {
                "verdict": verdict,
                "rating": rating,
                "label": label,
                "correction": correction,
                "comment": comment,
                "by": by,
            }
        )
        about = {"question": question, "model": model, "system": system, "asked_by": None}
        values = None if isinstance(answer, int) else answer_values(answer, **about)
        read = checked_passages(passages)
        with self._opened() as database, database.transaction() as connection:
            if isinstance(answer, int):
                number = self._known(connection, answer)
            else:
                number = _log(connection, values or {}, read)
            _judge(connection, number, said)
        return number

    def add_many(self, rows: Iterable[Mapping[str, object]]) -> int:
        """Keep many verdicts, all of them or none, and return how many they were.

        Args:
            rows: each with `question` and `answer` and whichever of `verdict`, `correction`, `rating`, `label`,
                `comment`, `by`, `model`, `system`, `passages` and `asked_by` there are.

        Raises:
            FeedbackError: a row lacks its question or answer or has a value of the wrong kind; the message says which.
        """
        count = 0
        with self._opened() as database, database.transaction() as connection:
            for number, row in enumerate(rows):
                try:
                    values, passages, said = row_values(row)
                except FeedbackError as error:
                    raise FeedbackError(f"row {number}: {error}") from None
                answer = _log(connection, values, passages)
                if said is not None:
                    _judge(connection, answer, said)
                count += 1
        return count

    def rows(
        self, *, by: str | None = None, model: str | None = None, verdict: SupportsIndex | None = None
    ) -> FeedbackTable:
        """Return the verdicts, oldest first.

        Args:
            by: those of one person alone.
            model: those about one model alone.
            verdict: 1 or -1: the good or the bad ones alone.

        Raises:
            FeedbackError: the file cannot be read.
        """
        texts = {"by": by, "model": model}
        for name, value in texts.items():
            if value is not None:
                checked_text(name, value)
        wanted = {"v.judged_by": by, "a.model": model, "v.verdict": None if verdict is None else index(verdict)}
        chosen = {name: value for name, value in wanted.items() if value is not None}
        where = "WHERE " + " AND ".join(f"{name} = ?" for name in chosen) if chosen else ""
        return FeedbackTable(rows=tuple(self._each("", where, tuple(chosen.values()))))

    def unjudged(self, *, limit: int = 100) -> FeedbackTable:
        """Return answers that nobody has judged, oldest first: the queue.

        Args:
            limit: how many at most.

        Raises:
            FeedbackError: the file cannot be read.
        """
        found = self._each("LEFT", "WHERE v.id IS NULL", ())
        return FeedbackTable(rows=tuple(row for row, _ in zip(found, range(limit), strict=False)))

    def suggest(self) -> Suggestion:
        """Return which method the verdicts are enough for, and why.

        Raises:
            FeedbackError: the file cannot be read.
        """
        rows = self.rows()
        corrections = len({row.question for row in rows if row.correction is not None})
        good, bad = (len({row.id for row in rows if row.verdict == verdict}) for verdict in (1, -1))
        pairs = len(compile_rows(rows, method="preference").rows)
        return suggestion(corrections=corrections, pairs=pairs, good=good, bad=bad)

    def withdraw(self, *, by: str) -> Withdrawal:
        """Remove all that one person said and asked, and name the datasets that were built with it.

        Args:
            by: the person, as `by` or `asked_by` has them.

        Raises:
            FeedbackError: the file cannot be written.
        """
        if not checked_text("by", by).strip():
            raise FeedbackError("by: names nobody; give the person as `by` or `asked_by` has them")
        with self._opened() as database, database.transaction() as connection:
            found = connection.execute(
                "SELECT fingerprint, folder FROM feedback_build WHERE fingerprint IN"
                " (SELECT fingerprint FROM feedback_used WHERE person = ?) ORDER BY created_at",
                (by,),
            ).fetchall()
            connection.execute(
                "INSERT OR IGNORE INTO feedback_withdrawn SELECT line FROM feedback_used WHERE person = ?", (by,)
            )
            answers = connection.execute("SELECT count(*) FROM feedback_answer WHERE asked_by = ?", (by,)).fetchone()[0]
            verdicts = connection.execute("DELETE FROM feedback_verdict WHERE judged_by = ?", (by,)).rowcount
            connection.execute("DELETE FROM feedback_answer WHERE asked_by = ?", (by,))
        return Withdrawal(person=by, verdicts=verdicts, answers=answers, datasets=tuple((r[0], r[1]) for r in found))

    def built(self, fingerprint: str, folder: str | os.PathLike[str], lines: Iterable[tuple[str, str]]) -> None:
        """Remember whose words a dataset holds; `DatasetBuilder.build` calls it.

        Args:
            fingerprint: the dataset's.
            folder: where it was written.
            lines: the sha256 of a line of its files and a person behind it, for each such pair.

        Raises:
            FeedbackError: the file cannot be written.
        """
        with self._opened() as database, database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO feedback_build VALUES (?, ?, ?)", (fingerprint, str(folder), time.time())
            )
            connection.executemany(
                "INSERT OR IGNORE INTO feedback_used VALUES (?, ?, ?)",
                ((fingerprint, line, person) for line, person in lines),
            )

    def people_of(self, fingerprint: str) -> dict[str, tuple[str, ...]]:
        """Return the people behind each line (by its sha256) of a dataset that was built from this store.

        Raises:
            FeedbackError: the file cannot be read.
        """
        people: dict[str, list[str]] = {}
        with self._opened(read_only=True) as database:
            for row in database.rows("SELECT line, person FROM feedback_used WHERE fingerprint = ?", (fingerprint,)):
                people.setdefault(row["line"], []).append(row["person"])
        return {line: tuple(names) for line, names in people.items()}

    def withdrawn(self) -> frozenset[str]:
        """Return the lines (by their sha256) that no dataset may hold any more.

        Raises:
            FeedbackError: the file cannot be read.
        """
        with self._opened(read_only=True) as database:
            return frozenset(row["line"] for row in database.rows("SELECT line FROM feedback_withdrawn"))

    def __len__(self) -> int:
        with self._opened(read_only=True) as database:
            row = database.row("SELECT count(*) FROM feedback_verdict")
        return 0 if row is None else int(row[0])

    def __repr__(self) -> str:
        return f"FeedbackStore({str(self.path)!r})"

    def _known(self, connection: sqlite3.Connection, number: int) -> int:
        if connection.execute("SELECT 1 FROM feedback_answer WHERE id = ?", (number,)).fetchone() is None:
            raise FeedbackError(f"{self.path}: has no answer {number}; `rows()` and `unjudged()` list them")
        return number

    def _each(self, join: str, where: str, parameters: tuple[object, ...]) -> Iterator[Feedback]:
        with self._opened(read_only=True) as database:
            found = database.rows(_EACH.format(join=join, where=where), parameters)
        return map(Feedback.from_row, found)

    @contextmanager
    def _opened(self, *, read_only: bool = False) -> Iterator[Database]:
        if not read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                self.path.touch(mode=0o600)  # before SQLite makes it readable for everybody
        try:
            database = Database(
                self.path,
                migrations=MIGRATIONS,
                timeout_s=self._timeout_s,
                read_only=read_only,
                error=FeedbackError,
            )
            try:
                yield database
            finally:
                database.close()
        except sqlite3.Error as error:
            raise FeedbackError(f"{self.path}: {trouble(error)}") from error


def _log(connection: sqlite3.Connection, values: Mapping[str, object], passages: str) -> int:
    found = connection.execute("SELECT id FROM feedback_answer WHERE key = ?", (values["key"],)).fetchone()
    if found is not None:
        return int(found[0])
    columns = (*values, "passages", "created_at")
    marks = ", ".join("?" for _ in columns)
    made = connection.execute(
        f"INSERT INTO feedback_answer ({', '.join(columns)}) VALUES ({marks})",
        (*values.values(), passages, time.time()),
    )
    return int(made.lastrowid or 0)


def _judge(connection: sqlite3.Connection, answer: int, said: Mapping[str, object]) -> None:
    # Who says more about an answer later keeps what they said before.
    kept = ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in VERDICT)
    connection.execute(
        f"INSERT INTO feedback_verdict (answer, {', '.join(VERDICT)}, judged_by, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        f" ON CONFLICT (answer, judged_by) DO UPDATE SET {kept}, created_at = excluded.created_at",
        (answer, *(said[name] for name in VERDICT), said["by"], time.time()),
    )
