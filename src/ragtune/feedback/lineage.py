"""Whose words went where: what a person's leaving takes out of the store, and out of the next datasets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ragtune.errors import FeedbackError
from ragtune.feedback.checking import checked_text
from ragtune.feedback.file import FeedbackFile
from ragtune.feedback.results import Learned, Withdrawal

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from ragtune.feedback.results import TrainedRun

__all__ = ["Lineage"]


class Lineage(FeedbackFile):
    """The part of a store that knows which dataset holds whose words."""

    def withdraw(self, *, by: str, runs: Iterable[TrainedRun] = ()) -> Withdrawal:
        """Remove all that one person said and asked, and name the datasets, jobs and models that hold it.

        Args:
            by: the person, as `by` or `asked_by` has them.
            runs: what was trained, `rt.runs()`: of these the jobs and models that learned from it are named.

        Raises:
            FeedbackError: the file cannot be written.
        """
        # Before the file is held: whatever lists them may take its time.
        bought = list(runs)
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
            # Before the answers, which take verdicts about them along uncounted.
            verdicts = connection.execute("DELETE FROM feedback_verdict WHERE judged_by = ?", (by,)).rowcount
            connection.execute("DELETE FROM feedback_answer WHERE asked_by = ?", (by,))
        datasets = tuple((row[0], row[1]) for row in found)
        held = {fingerprint for fingerprint, _ in datasets}
        learned = tuple(
            Learned(fingerprint=run.fingerprint, job=run.job_id, model=run.fine_tuned_model)
            for run in bought
            if run.fingerprint is not None and run.fingerprint in held
        )
        return Withdrawal(person=by, verdicts=verdicts, answers=answers, datasets=datasets, learned=learned)

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
