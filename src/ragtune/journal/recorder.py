"""What the rooms write into a journal, and what they look up there before they buy."""

from __future__ import annotations

import json
import logging
import os
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ragtune.dialects import dialect_named, dialect_text
from ragtune.journal.file import ENVIRONMENT, FILE, USERS, Journal, journal_of
from ragtune.journal.lock import held
from ragtune.journal.rows import Run, Upload

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from ragtune._api.calls import LocalFile
    from ragtune._api.identity import Heard
    from ragtune._api.ports import Port
    from ragtune.journal.budget import Budget
    from ragtune.journal.file import JournalArgument

__all__ = ["Recorder"]

logger = logging.getLogger("ragtune")
T = TypeVar("T")

OPEN = ("intent", "sent", "uncertain")
# What counts against a budget: a request whose outcome nobody knows may have bought.
SENT = ("sent", "uncertain", "created")


class Recorder:
    """Writes a journal on behalf of the rooms; blocking, so a room calls it through its port's `work`.

    Args:
        journal: the journal; None writes nothing and knows nothing.
        sealed: read what is there and write nothing, for a plan.
        heard: what the server says of itself. Jobs of a scripted backend stay out of the user's own journal: theirs is
            in the backend's folder, unless the environment names one.
    """

    def __init__(self, journal: JournalArgument, *, sealed: bool = False, heard: Heard | None = None) -> None:
        self._named: Journal | None = journal_of(journal)
        self._sealed = sealed
        self._heard = heard

    @property
    def _journal(self) -> Journal | None:
        # Asked at each use: who the server is stands in its first answer, which comes after this was made.
        heard = self._heard
        # A journal that somebody named is taken at their word, whatever server it is.
        if self._named is not USERS or heard is None or heard.folder is None or os.environ.get(ENVIRONMENT):
            return self._named
        return Journal(Path(heard.folder) / FILE) if (heard.server or "").startswith("scripted/") else self._named

    @property
    def is_on(self) -> bool:
        """Whether there is a journal at all."""
        return self._journal is not None

    @property
    def writes(self) -> bool:
        """Whether anything is written."""
        return self._journal is not None and not self._sealed

    def held(self, port: Port, kind: str, *what: str, waits: Callable[[], object]) -> AbstractAsyncContextManager[None]:
        """Hold the lock between processes for `what`; see `ragtune.journal.lock.held`."""
        if self._journal is None or self._sealed:
            return nullcontext()
        path = self._journal.path
        return held(port, path.with_name(f"{path.name}-locks"), kind, *what, waits=waits)

    # Uploads

    def find_upload(self, account: str, file: LocalFile) -> str | None:
        """Return the id of the newest upload of a content that is not known to be gone."""
        # By content and not by name: files of one name hold other rows after each build.
        query = "SELECT file_id FROM upload WHERE account = ? AND sha256 = ? AND state = 'done' ORDER BY id DESC"
        rows = self._read(query, (account, file.sha256))
        return None if not rows else str(rows[0]["file_id"])

    def upload_of(self, file_id: str) -> Upload | None:
        """Return what is known of the dataset that an uploaded file came from."""
        query = "SELECT * FROM upload WHERE file_id = ? AND fingerprint IS NOT NULL ORDER BY id DESC LIMIT 1"
        rows = self._look_up(query, (file_id,))
        return Upload.from_row(rows[0]) if rows else None

    def trained_on(self, file_id: str, *, fingerprint: str, system: str | None) -> None:
        """Write down from which dataset an uploaded file came."""
        self._execute("UPDATE upload SET fingerprint = ?, system = ? WHERE file_id = ?", (fingerprint, system, file_id))

    def begin_upload(self, account: str, file: LocalFile, now: float) -> int:
        """Write down that a content is about to be sent; returns the row's number."""

        def write(connection: sqlite3.Connection) -> int:
            # Its sender is gone and the account was looked at: whatever was sent before never arrived.
            lost = "UPDATE upload SET state = 'failed' WHERE account = ? AND sha256 = ? AND state = 'sent'"
            connection.execute(lost, (account, file.sha256))
            sql = f"INSERT INTO upload ({_UPLOAD}) VALUES (?, ?, ?, ?, 'sent', NULL, ?) RETURNING id"
            values = (account, file.sha256, file.name, file.bytes, now)
            return int(connection.execute(sql, values).fetchone()[0])

        return self._write(write, 0)

    def end_upload(self, upload_id: int, file_id: str | None) -> None:
        """Write down the id that a sent content got; None: there is none."""
        state = "failed" if file_id is None else "done"
        self._execute("UPDATE upload SET state = ?, file_id = ? WHERE id = ?", (state, file_id, upload_id))

    def adopt_upload(self, account: str, file: LocalFile, file_id: str, *, now: float) -> None:
        """Write down that a content was found on the account; an upload without an answer was it."""

        def write(connection: sqlite3.Connection) -> None:
            content = (account, file.sha256)
            known = "SELECT 1 FROM upload WHERE account = ? AND sha256 = ? AND file_id = ? AND state = 'done'"
            # A file that was adopted before is found on the account at each create.
            if connection.execute(known, (*content, file_id)).fetchone():
                return
            # An answer that got lost belongs to the row that was begun, which else would look unfinished for ever.
            lost = "SELECT id FROM upload WHERE account = ? AND sha256 = ? AND state = 'sent' ORDER BY id LIMIT 1"
            row = connection.execute(lost, content).fetchone()
            if row is not None:
                connection.execute("UPDATE upload SET state = 'done', file_id = ? WHERE id = ?", (file_id, row["id"]))
                return
            sql = f"INSERT INTO upload ({_UPLOAD}) VALUES (?, ?, ?, ?, 'done', ?, ?)"
            connection.execute(sql, (*content, file.name, file.bytes, file_id, now))

        self._write(write, None)

    def lose_upload(self, account: str, file_id: str) -> None:
        """Write down that a file is not on the account any more."""
        self._execute("UPDATE upload SET state = 'gone' WHERE account = ? AND file_id = ?", (account, file_id))

    # Runs

    def begin(self, run: Run) -> Run:
        """Write down the intent, or return the run of the same key whose outcome is not known yet."""
        values = {name: getattr(run, name) for name in _INTENT} | {"begun_at": _seconds(run.begun_at)}
        values["dialect"] = None if run.dialect is None else dialect_text(run.dialect)

        def write(connection: sqlite3.Connection) -> Run:
            left = connection.execute(_OPEN_RUN, (run.account, run.key)).fetchone()
            if left is not None and left["state"] != "intent":
                return Run.from_row(left)
            # An intent that was left behind never became a request: it is begun anew. It must go first, because the
            # table takes one open run per order only.
            connection.execute(f"{_DELETE} WHERE account = ? AND key = ? AND state = 'intent'", (run.account, run.key))
            columns, marks = ", ".join(values), ", ".join("?" * len(values))
            sql = f"INSERT INTO run ({columns}) VALUES ({marks}) RETURNING id"
            return replace(run, id=int(connection.execute(sql, tuple(values.values())).fetchone()[0]))

        # A plan tells what is there and begins nothing, but an uncertain run must show in it, too.
        if not self.writes:
            left = self._read(_OPEN_RUN, (run.account, run.key))
            return Run.from_row(left[0]) if left and left[0]["state"] != "intent" else run
        return self._write(write, run)

    def send(
        self,
        run: Run,
        *,
        training_file: str,
        validation_file: str | None,
        known: Collection[str],
        now: float,
        budget: Budget | None,
        allow_unknown: bool,
    ) -> Run:
        """Write down that the request goes out now; in the same breath the budget is looked at for the last time.

        Raises:
            BudgetExceeded: another process has spent what was left.
        """

        def write(connection: sqlite3.Connection) -> None:
            if budget is not None:
                rows = connection.execute(_SENT_SINCE, (budget.began(now),)).fetchall()
                # In the transaction that writes "sent": two processes that looked before either wrote would both fit.
                budget.check(map(Run.from_row, rows), run.cost_usd, allow_unknown=allow_unknown)
            connection.execute(
                "UPDATE run SET state = 'sent', sent_at = ?, training_file = ?, validation_file = ?, known = ? "
                "WHERE id = ?",
                # What was there before cannot be what the request makes: a search after a lost answer leaves these out.
                (now, training_file, validation_file, json.dumps(sorted(known)), run.id),
            )

        self._write(write, None)
        return replace(
            run,
            state="sent",
            sent_at=datetime.fromtimestamp(now, tz=UTC),
            training_file=training_file,
            validation_file=validation_file,
            known=tuple(known),
        )

    def sent_since(self, moment: float) -> list[Run]:
        """Return the runs that were sent since a moment (seconds since 1970) and not refused."""
        return [Run.from_row(row) for row in self._read(_SENT_SINCE, (moment,))]

    def created(self, run: Run, *, job_id: str, status: str, sent: float) -> None:
        """Write down which job a run is; a job that another run has already made this one superfluous."""

        def write(connection: sqlite3.Connection) -> None:
            where = (run.account, job_id)
            if connection.execute("SELECT 1 FROM run WHERE account = ? AND job_id = ?", where).fetchone():
                connection.execute("UPDATE run SET status = ? WHERE account = ? AND job_id = ?", (status, *where))
                # Two runs of one job would count its price twice against a budget.
                connection.execute(f"{_DELETE} WHERE id = ? AND job_id IS NULL", (run.id,))
                return
            connection.execute(
                # The moment of the request is kept where there is one, since budgets count by it.
                "UPDATE run SET state = 'created', job_id = ?, status = ?, error = NULL, sent_at = ifnull(sent_at, ?) "
                "WHERE id = ?",
                (job_id, status, sent, run.id),
            )

        self._write(write, None)

    def unsettled(self, run: Run, state: str, error: str | None) -> None:
        """Write down that there is no job (`failed`), or that nobody knows (`uncertain`)."""
        self._execute("UPDATE run SET state = ?, error = ? WHERE id = ?", (state, error, run.id))

    def knows(self, key: str) -> bool:
        """Whether there is a run with a key, on whichever account."""
        return bool(self._read("SELECT 1 FROM run WHERE key = ? LIMIT 1", (key,)))

    def run(self, run_id: int) -> Run:
        """Return one run of the journal; without a journal, of the user's."""
        return (self._journal or USERS).run(run_id)

    def runs_of(self, account: str, key: str) -> list[Run]:
        """Return the runs with a key, newest first."""
        query = "SELECT * FROM run WHERE account = ? AND key = ? ORDER BY id DESC"
        return [Run.from_row(row) for row in self._read(query, (account, key))]

    def others(self, run: Run) -> tuple[set[str], bool]:
        """Return the jobs of an account's other runs, and whether one like this one waits for its answer, too."""
        rows = self._read("SELECT * FROM run WHERE account = ? AND id <> ?", (run.account, run.id))
        alike = [r for r in rows if (r["training_file"], r["suffix"]) == (run.training_file, run.suffix)]
        return {str(r["job_id"]) for r in rows if r["job_id"]}, any(r["state"] in ("sent", "uncertain") for r in alike)

    def seen(
        self,
        job_id: str,
        *,
        status: str,
        fine_tuned_model: str | None,
        trained_tokens: int | None,
        finished_at: datetime | None,
        error: str | None,
    ) -> None:
        """Write down how a job was seen last; one that is not in the journal stays out of it."""
        if not self._is_there:
            return
        # `ifnull` below: a server that forgets a model or its tokens later does not make the journal forget them.
        values = (status, fine_tuned_model, trained_tokens, _seconds(finished_at), error)
        self._execute(
            "UPDATE run SET status = ?, fine_tuned_model = ifnull(?, fine_tuned_model), "
            "trained_tokens = ifnull(?, trained_tokens), finished_at = ?, error = ? WHERE job_id = ?",
            (*values, job_id),
        )
        if self._heard is not None and self._heard.answered and self._heard.server is not None:
            # It was taken for a stranger's when it was bought, before servers said who they are.
            unbilled = "UPDATE run SET dialect = ?, folder = ?, predicted_usd = 0.0, usd_per_million = 0.0 "
            local = dialect_text(dialect_named("local"))
            self._execute(f"{unbilled} WHERE job_id = ? AND dialect IS NULL", (local, self._heard.folder, job_id))

    def lose_model(self, model: str, now: float) -> None:
        """Write down that a tuned model is not on its account any more."""
        if self._is_there:
            sql = "UPDATE run SET model_deleted_at = ifnull(model_deleted_at, ?) WHERE fine_tuned_model = ?"
            self._execute(sql, (now, model))

    def lose_file(self, file_id: str) -> None:
        """Write down that somebody deleted a file."""
        if self._is_there:
            self._execute("UPDATE upload SET state = 'gone' WHERE file_id = ?", (file_id,))

    def run_of(self, job_id: str) -> Run | None:
        """Return the run whose job this is."""
        rows = self._look_up("SELECT * FROM run WHERE job_id = ? ORDER BY id DESC LIMIT 1", (job_id,))
        return Run.from_row(rows[0]) if rows else None

    def by_job(self) -> dict[str, Run]:
        """Return the runs that made jobs, by the job's id."""
        rows = self._look_up("SELECT * FROM run WHERE job_id IS NOT NULL ORDER BY id", ())
        return {str(row["job_id"]): Run.from_row(row) for row in rows}

    def maker_of(self, model: str, job_id: str | None) -> Run | None:
        """Return the run that made a tuned model, by the model's name or by the job's id."""
        query = "SELECT * FROM run WHERE fine_tuned_model = ? OR job_id = ? ORDER BY id DESC"
        rows = self._read(query, (model, job_id))
        return Run.from_row(rows[0]) if rows else None

    # Below

    @property
    def _is_there(self) -> bool:
        """Whether there is a file: a look at a server must not make one."""
        return self._journal is not None and self._journal.path.exists()

    def _look_up(self, sql: str, parameters: Sequence[object]) -> list[sqlite3.Row]:
        return self._read(sql, parameters) if self._is_there else []

    def _read(self, sql: str, parameters: Sequence[object]) -> list[sqlite3.Row]:
        if self._journal is None:
            return []
        # Read-only for a plan: that must not make a file, nor bring an old one to the present schema.
        with self._journal._opened(read_only=not self.writes) as database:
            return database.rows(sql, parameters)

    def _execute(self, sql: str, parameters: Sequence[object]) -> None:
        self._write(lambda connection: connection.execute(sql, parameters) and None, None)

    def _write(self, change: Callable[[sqlite3.Connection], T], unwritten: T) -> T:
        if self._journal is None or self._sealed:
            return unwritten
        with self._journal._opened() as database, database.transaction() as connection:
            return change(connection)


# Names of columns from here alone go into statements; what callers give goes in as parameters.
_INTENT = (
    *("account", "server", "folder", "key", "state", "model", "suffix", "fingerprint", "system"),
    *("predicted_tokens", "predicted_usd", "usd_per_million", "budget_usd", "budget_period"),
)
_UPLOAD = "account, sha256, filename, bytes, state, file_id, begun_at"
_DELETE = "DELETE FROM run"
_OPEN_RUN = f"SELECT * FROM run WHERE account = ? AND key = ? AND state IN {OPEN}"
_SENT_SINCE = f"SELECT * FROM run WHERE sent_at >= ? AND state IN {SENT}"


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
