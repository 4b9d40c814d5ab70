"""The fine-tuning jobs of the account and their events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ragtune.local.ids import new_id
from ragtune.local.store import paging
from ragtune.local.store.job_log import JobLog
from ragtune.local.store.schema import TERMINAL, EventRow, JobRow, JobStatus, NewEvent, encode, fields

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from ragtune._sqlite import Database
    from ragtune.local.store.outbox import Outbox
    from ragtune.records.base import JsonObject

__all__ = ["Jobs"]

_COLUMNS = tuple(JobRow.__dataclass_fields__)


class Jobs:
    """Every job that was ever made, and what happened to it.

    A job changes its state only through `move`, which names the states it may come from: of two that want to move the
    same job (a cancel and the end of the training, say) the first wins and the other is told so.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._log = JobLog()

    def add(self, job: JobRow) -> None:
        """Keep a new job together with its first events."""
        values = {name: encode(name, getattr(job, name)) for name in _COLUMNS}
        with self._database.transaction() as connection:
            connection.execute(
                f"INSERT INTO job ({', '.join(values)}, queued_at) VALUES ({', '.join('?' * len(values))}, ?)",
                (*values.values(), time.time()),
            )
            connection.executemany(
                "INSERT INTO label (key, value, job) SELECT ?, ?, seq FROM job WHERE id = ?",
                [(key, value, job.id) for key, value in (job.metadata or {}).items()],
            )
            self.note(job.id, NewEvent(message=f"Created fine-tuning job: {job.id}"))

    def find(self, job_id: str) -> JobRow | None:
        """Look up one job."""
        row = self._database.row("SELECT * FROM job WHERE id = ?", (job_id,))
        return None if row is None else _job(row)

    def status(self, job_id: str) -> JobStatus:
        """The state of a job that is known to exist."""
        row = self._database.row("SELECT status FROM job WHERE id = ?", (job_id,))
        if row is None:
            raise KeyError(job_id)
        status: JobStatus = row["status"]
        return status

    def page(
        self,
        *,
        after: str | None,
        limit: int,
        metadata: dict[str, str] | None = None,
        without_metadata: bool = False,
        status: str | None = None,
    ) -> tuple[list[JobRow], bool]:
        """One page of jobs, newest first; `metadata` keeps those that carry all of its pairs, `status` one state."""
        where, parameters = ["1"], []
        if status is not None:
            where.append("status = ?")
            parameters.append(status)
        pairs = list((metadata or {}).items())
        for key, value in pairs[:1]:
            where.append("label.key = ? AND label.value = ?")
            parameters += [key, value]
        for key, value in pairs[1:]:
            where.append("EXISTS (SELECT 1 FROM label AS other WHERE (key, value, job) = (?, ?, job.seq))")
            parameters += [key, value]
        if without_metadata:
            # A client may have sent an empty object, which is none either.
            where.append("(metadata IS NULL OR metadata = '{}')")
        rows, more = paging.page(
            self._database,
            "job",
            where=" AND ".join(where),
            parameters=parameters,
            after=after,
            limit=limit,
            # Through the table, the search for a label that few jobs carry would read them all.
            along="label" if pairs else None,
        )
        return [_job(row) for row in rows], more

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state that any is in."""
        rows = self._database.rows("SELECT status, COUNT(*) AS number FROM job GROUP BY status")
        return {row["status"]: row["number"] for row in rows}

    def next(self, status: JobStatus, *, but_not: Collection[str]) -> JobRow | None:
        """The job that has waited longest in a state, leaving out those that somebody still works on."""
        # By `seq` as well: interrupted jobs all stand at 0.0, and the one that came first goes on first.
        # One more than are left out: thousands may wait, and this is asked at each start and end of work.
        rows = self._database.rows(
            "SELECT * FROM job WHERE status = ? ORDER BY queued_at, seq LIMIT ?", (status, len(but_not) + 1)
        )
        return next((_job(row) for row in rows if row["id"] not in but_not), None)

    def unfinished(self) -> tuple[str, ...]:
        """The ids of the jobs that a next start goes on with, oldest first."""
        # Not those that are paused: they wait for their owner.
        going_on = ("validating_files", "queued", "running")
        rows = self._database.rows("SELECT id FROM job WHERE status IN (?, ?, ?) ORDER BY seq", going_on)
        return tuple(row["id"] for row in rows)

    def move(
        self,
        job_id: str,
        *,
        come_from: Sequence[JobStatus],
        to: JobStatus,
        note: NewEvent | None = None,
        **columns: object,
    ) -> JobRow | None:
        """Bring a job from one of some states to another; None when it was in none of them.

        Args:
            job_id: the job.
            come_from: the states that the job may be in.
            to: its new state.
            note: an event that is written with the move or not at all.
            columns: other columns to set with the move.
        """
        values: dict[str, object] = {"status": to, **columns}
        if to == "queued":
            # At the end of the queue, unless the caller says where.
            values.setdefault("queued_at", time.time())
        if to in TERMINAL:
            values["finished_at"] = int(time.time())
        if to != "running":
            # What does not train comes no nearer to its end.
            values["estimated_finish"] = None
        with self._database.transaction() as connection:
            row = connection.execute(
                # Names of columns come from our own code; whatever comes from outside is a parameter.
                f"UPDATE job SET {', '.join(f'{name} = ?' for name in values)}"
                f" WHERE id = ? AND status IN ({', '.join('?' * len(come_from))}) RETURNING *",
                (*(encode(name, value) for name, value in values.items()), job_id, *come_from),
            ).fetchone()
            if row is not None and note is not None:
                self.note(job_id, note)
            if row is not None and to in TERMINAL:
                # In the transaction that ends the job: an end and the word of it are written both or not at all.
                self._outbox.add(job_id, to)
        return None if row is None else _job(row)

    def note(self, job_id: str, *events: NewEvent) -> None:
        """Write events; one whose step stands already is left out, since a resumed worker repeats steps."""
        with self._database.transaction() as connection:
            for event in events:
                written = connection.execute(
                    "INSERT OR IGNORE INTO event (id, job, created_at, level, message, type, data, step)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        new_id("ftevent-"),
                        job_id,
                        # When it happened, which may be long before a server reads of it.
                        int(time.time()) if event.created_at is None else event.created_at,
                        event.level,
                        event.message,
                        event.type,
                        encode("data", event.data),
                        event.step,
                    ),
                ).rowcount
                # Not what was left out as a repetition: the owner would read of each step again after a resume.
                if written:
                    self._log.tell(job_id, event)

    def read_up_to(self, job_id: str, *, offset: int, estimated_finish: int | None) -> None:
        """Remember how far a worker's event file has been read, and when the job will presumably end."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE job SET read_offset = ? WHERE id = ?", (offset, job_id))
            # Only while it trains: lines that are read late must not foretell the end of a job that has ended.
            connection.execute(
                "UPDATE job SET estimated_finish = ? WHERE id = ? AND status = 'running'", (estimated_finish, job_id)
            )

    def events(self, job_id: str, *, after: str | None, limit: int) -> tuple[list[EventRow], bool]:
        """One page of the events of a job, newest first."""
        rows, more = paging.page(
            self._database, "event", where="job = ?", parameters=[job_id], after=after, limit=limit
        )
        return [EventRow(**fields(row, *EventRow.__dataclass_fields__)) for row in rows], more

    def last_step(self, job_id: str) -> int:
        """The highest step of a job whose metrics are known, 0 before the first."""
        row = self._database.row("SELECT MAX(step) AS step FROM event WHERE job = ?", (job_id,))
        return 0 if row is None else row["step"] or 0

    def metrics(self, job_id: str) -> list[JsonObject]:
        """The data of all metrics events of a job by step, each with when it was `created_at` (Unix seconds)."""
        rows = self._database.rows(
            "SELECT data, created_at FROM event WHERE job = ? AND type = 'metrics' ORDER BY step", (job_id,)
        )
        return [{**fields(row, "data")["data"], "created_at": row["created_at"]} for row in rows]


def _job(row: sqlite3.Row) -> JobRow:
    return JobRow(**fields(row, *_COLUMNS))
