"""The file of a store: opened for each call, so that several processes may use it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._sqlite import Database, trouble
from ragtune.errors import FeedbackError
from ragtune.feedback.checking import VERDICT
from ragtune.feedback.rows import Feedback
from ragtune.feedback.schema import MIGRATIONS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

__all__ = ["FeedbackFile", "write_answer", "write_verdict"]

_MOST = 2**63 - 1
_EACH = """
    SELECT a.id, a.question, a.answer, a.model, a.system, a.history, a.passages, a.asked_by,
           v.verdict, v.rating, v.label, v.correction, v.comment, v.judged_by,
           coalesce(v.created_at, a.created_at) AS created_at
    FROM feedback_answer a {join} JOIN feedback_verdict v ON v.answer = a.id {where} ORDER BY created_at, v.id, a.id
"""
_ANSWER = """
    INSERT INTO feedback_answer (key, question, answer, model, system, history, passages, asked_by, created_at)
    VALUES (:key, :question, :answer, :model, :system, :history, :passages, :asked_by, :created_at)
    ON CONFLICT (key) DO NOTHING
"""
# Who says more about an answer later keeps what they said before.
# To SQLite no NULL equals another: of people without a name every verdict is kept.
_VERDICT = f"""
    INSERT INTO feedback_verdict (answer, {", ".join(VERDICT)}, judged_by, created_at)
    VALUES (:answer, {", ".join(f":{name}" for name in VERDICT)}, :by, :created_at)
    ON CONFLICT (answer, judged_by) DO UPDATE SET
        {", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in VERDICT)},
        created_at = excluded.created_at
"""


class FeedbackFile:
    """One SQLite file of answers and verdicts."""

    def __init__(self, path: str | os.PathLike[str], *, timeout_s: float = 30.0) -> None:
        # Made absolute here: a program may change its directory before something is written.
        self.path = Path(path).expanduser().absolute()
        self._timeout_s = timeout_s

    def _known(self, connection: sqlite3.Connection, number: int) -> int:
        found = connection.execute("SELECT 1 FROM feedback_answer WHERE id = ?", (_bounded(number),)).fetchone()
        if found is None:
            raise FeedbackError(f"{self.path}: has no answer {number}; its list tells the numbers")
        return number

    def _each(
        self, join: str, where: str, parameters: tuple[object, ...], *, limit: int | None = None
    ) -> Iterator[Feedback]:
        most = "" if limit is None else f" LIMIT {_bounded(limit)}"
        with self._opened(read_only=True) as database:
            found = database.rows(_EACH.format(join=join, where=where) + most, tuple(map(_bounded, parameters)))
        return map(self._read, found)

    def _read(self, row: sqlite3.Row) -> Feedback:
        try:
            return Feedback.from_row(row)
        except FeedbackError as error:
            raise FeedbackError(f"{self.path}: {error}") from error

    @contextmanager
    def _opened(self, *, read_only: bool = False) -> Iterator[Database]:
        if not read_only:
            self._make()
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

    def _make(self) -> None:
        # Told as any other trouble of the file: an answer that is only to be kept reaches its reader with a warning.
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                self.path.touch(mode=0o600)  # before SQLite makes it readable for everybody
        except OSError as error:
            raise FeedbackError(f"{self.path}: cannot be written ({error.strerror or error})") from error


def _bounded(value: object) -> object:
    """A number as SQLite can hold it; no answer has one beyond that."""
    return max(min(value, _MOST), -_MOST) if isinstance(value, int) else value


def write_answer(connection: sqlite3.Connection, values: Mapping[str, object], passages: str) -> int:
    """Keep an answer, or find it where it is kept already; its number."""
    made = connection.execute(_ANSWER, {**values, "passages": passages, "created_at": time.time()})
    # `lastrowid` alone would tell an earlier INSERT's row where this answer was there already.
    if made.rowcount == 1 and made.lastrowid is not None:
        return made.lastrowid
    return int(connection.execute("SELECT id FROM feedback_answer WHERE key = ?", (values["key"],)).fetchone()[0])


def write_verdict(connection: sqlite3.Connection, answer: int, said: Mapping[str, object]) -> None:
    """Keep what one person says about an answer."""
    connection.execute(_VERDICT, {**said, "answer": answer, "created_at": time.time()})
