"""The journal file, as people read it; `recorder` writes it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._checked import checked
from ragtune._paths import where_first_seen
from ragtune._sqlite import Database, trouble
from ragtune._table import check_limit
from ragtune.errors import JournalError
from ragtune.journal.rows import Run, RunTable, SpendTable, Upload, UploadTable, spend_of
from ragtune.journal.schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["USERS", "Journal", "JournalArgument", "runs"]

ENVIRONMENT = "RAGTUNE_JOURNAL"
FILE = "journal.sqlite3"


@checked()
class Journal:
    """What was asked of the world and what it answered, in one SQLite file that survives a crash.

    Uploads, jobs, tuned models and costs are written into it by `FineTuneJob.create`, `upload` and whatever looks at a
    job that has ended. It holds no key; it does hold the system prompts of datasets, so only its owner can read it.
    Several processes may use one file at the same time.

    Args:
        path: the file, made when something is first written; `~` is your home. None takes the one that the
            environment variable `RAGTUNE_JOURNAL` names, or else `journal.sqlite3` in the user's state folder.
        timeout_s: how long to wait for another process that writes, in seconds.

    Raises:
        JournalError: `path` names no file.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        rows = [{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("sums", overwrite=True)
        spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=1), seed=7)
        journal = rt.Journal("journal.sqlite3")
        with LocalBackend("runs") as backend:
            job = rt.FineTuneJob.create(backend.client(), dataset, spec, journal=journal)
        print([(run.state, run.job_id == job.id) for run in journal.runs()])
        #> [('created', True)]
        ```
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, timeout_s: float = 30.0) -> None:
        if path is not None and not Path(path).name:
            raise unusable(f"{str(path)!r} names no file")
        # Made absolute here: a program may change its directory before something is written.
        self._path = None if path is None else Path(path).expanduser().absolute()
        self._timeout_s = timeout_s

    @property
    def path(self) -> Path:
        """The file."""
        if self._path is not None:
            return self._path
        # Looked up at each use, since `USERS` is made on import, before a program or a test has set the variable.
        if named := os.environ.get(ENVIRONMENT):
            return where_first_seen(named)
        # Here, so that `import ragtune` stays quick.
        import platformdirs

        return platformdirs.user_state_path("ragtune") / FILE

    def runs(self, *, limit: int | None = None) -> RunTable:
        """Return the runs, newest first.

        Args:
            limit: how many at most, 1 or more; None for all.

        Raises:
            SpecError: the limit is no such number.
            JournalError: the file cannot be read.
        """
        check_limit(limit)
        query = "SELECT * FROM run ORDER BY id DESC LIMIT ?"
        with self._opened(read_only=True) as database:
            # To SQLite -1 is no limit.
            rows = database.rows(query, (-1 if limit is None else int(limit),))
        return RunTable(rows=tuple(map(Run.from_row, rows)))

    def run(self, run_id: int) -> Run:
        """Return one run.

        Raises:
            JournalError: there is none of that number, or the file cannot be read.
        """
        with self._opened(read_only=True) as database:
            row = database.row("SELECT * FROM run WHERE id = ?", (int(run_id),))
        if row is None:
            raise JournalError(
                f"{self.path}: has no run {run_id}; `ragtune runs` lists them (an order that was begun anew "
                "or found its job leaves its number out)"
            )
        return Run.from_row(row)

    def uploads(self) -> UploadTable:
        """Return the uploads, newest first.

        Raises:
            JournalError: the file cannot be read.
        """
        with self._opened(read_only=True) as database:
            return UploadTable(rows=tuple(map(Upload.from_row, database.rows("SELECT * FROM upload ORDER BY id DESC"))))

    def spend(self) -> SpendTable:
        """Return what jobs cost, per month and model.

        Raises:
            JournalError: the file cannot be read.
        """
        return spend_of(self.runs())

    def give_up(self, run_id: int) -> None:
        """Write down that no job was made by a run whose outcome is uncertain, so that it may be sent again.

        Look at the server's list of jobs first: if the job is there after all, the next one is bought in addition.

        Raises:
            JournalError: the run's outcome is known, there is no such run, or the file cannot be written.
        """
        # Only what nobody knows of: a run that made a job would lose its price from the budget.
        # Looked at and changed in one statement: another process may hear of the job in between.
        given_up = "UPDATE run SET state = 'failed', error = 'given up' WHERE id = ? AND state IN ('sent', 'uncertain')"
        run = self.run(run_id)
        with self._opened() as database, database.transaction() as connection:
            found = connection.execute(given_up, (run.id,)).rowcount
        if not found:
            state = self.run(run_id).state
            raise JournalError(f"run {run_id} is {state}: only one whose outcome is unknown can be given up")

    @contextmanager
    def _opened(self, *, read_only: bool = False) -> Iterator[Database]:
        """Open the file for one piece of work.

        Raises:
            JournalError: it is damaged, locked, cannot be written, or a newer version wrote it.
        """
        if not read_only:
            self._make()
        database = Database(
            self.path,
            migrations=MIGRATIONS,
            # What was written must outlast a loss of power too: the request that buys leaves right after it.
            synchronous="FULL",
            timeout_s=self._timeout_s,
            read_only=read_only,
            error=unusable,
        )
        try:
            yield database
        except sqlite3.Error as problem:
            raise unusable(f"{self.path}: {trouble(problem)}") from problem
        finally:
            database.close()

    def _make(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite gives its side files the rights of this one.
            # With its rights from the first moment: a file that is closed to others afterwards was open to them before.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise unusable(f"{self.path}: cannot be written ({error.strerror})") from error

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r})"


def unusable(message: str) -> JournalError:
    """Return the error for a journal that cannot be used, with the ways out."""
    return JournalError(
        f"{message}. Another journal can be named with journal=... or {ENVIRONMENT}; journal=None goes without one, "
        "and without what it protects from: a second purchase after a crash"
    )


JournalArgument = Journal | str | os.PathLike[str] | None
USERS = Journal()
"""The user's own journal; its path is looked up at each use."""


def journal_of(argument: JournalArgument) -> Journal | None:
    """Return the journal that a caller named."""
    return Journal(argument) if isinstance(argument, str | os.PathLike) else argument


@checked()
def runs(*, limit: int | None = None, journal: Journal | str | os.PathLike[str] = USERS) -> RunTable:
    """List what was bought and what became of it, newest first, from the journal alone: no server is asked.

    Args:
        limit: how many at most, 1 or more; None for all.
        journal: the journal or its path; default: the user's.

    Raises:
        SpecError: the limit is no such number.
        JournalError: the file cannot be read.

    Example:
        ```python
        import ragtune as rt

        for run in rt.runs(limit=5):
            print(run.id, run.state, run.model, run.job_id, run.cost_usd)
        ```
    """
    found = journal_of(journal)
    return (found or USERS).runs(limit=limit)
