"""What is known of one job in this program: one value beneath both faces, the monitor and the model.

A look by any of them is seen by all. Nothing here keeps a connection; the account is reached through `api`.
"""

from __future__ import annotations

import os
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ragtune._api import gather
from ragtune._api.fields import text
from ragtune._saved import read_saved, write_saved
from ragtune._table import check_limit
from ragtune.dialects import saved_dialect
from ragtune.job.details import Checkpoint, JobDetails
from ragtune.job.metadata import KEY
from ragtune.job.whereabouts import recalled, remembering, whereabouts
from ragtune.journal import USERS, Journal
from ragtune.journal.best_effort import note
from ragtune.journal.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ragtune._api import Api
    from ragtune._api.calls import Json, LocalFile
    from ragtune.dialects import Dialect
    from ragtune.journal import JournalArgument, Run

__all__ = ["JobState", "fetch", "fetch_saved", "newest", "state_of"]


# Never equal by value: it changes with each look.
@dataclass(kw_only=True, eq=False)
class JobState:
    """A job as this program knows it.

    Attributes:
        api: the account that it belongs to.
        details: the job as it was when it was last looked at.
        journal: where its end is written.
        files: the local files that it was made from, by `training_file` and `validation_file`; a server's complaint is
            then traced to a local line. Empty where that is not known.
        reused: whether `create` found it instead of making one.
        noted: what the journal has of it already.
        order_key: the key that it was ordered with, by the journal; servers may keep no metadata.
    """

    api: Api
    details: JobDetails
    journal: JournalArgument = USERS
    files: Mapping[str, LocalFile] = field(default_factory=dict)
    reused: bool = False
    noted: tuple[object, ...] | None = None
    order_key: str | None = None

    @property
    def id(self) -> str:
        """The server's name for the job."""
        return self.details.id

    @property
    def key(self) -> str | None:
        """What makes two orders the same; None for a job that was not made with ragtune."""
        # A server that keeps no metadata tells no key; it is known from the order, the journal or a saved file then.
        return self.details.metadata.get(KEY) or self.order_key

    async def refresh(self) -> None:
        """Look at the job."""
        await self.saw(await self.api.job(self.id))

    async def look(self, timeout_s: float) -> float | None:
        """Look once, for those who look again anyhow; returns the seconds after which the server wants to be asked.

        Args:
            timeout_s: seconds that the server may be silent.
        """
        name = "fine_tuning.jobs.retrieve"
        body = await self.api.look(name, timeout_s=timeout_s, fine_tuning_job_id=self.id)
        await self.saw(body)
        return body.poll_after_s

    async def steer(self, verb: str) -> None:
        """Cancel, pause or resume the job (`verb` is the call's name)."""
        await self.saw(await self.api.steer_job(verb, self.id))

    async def saw(self, body: Json) -> None:
        """Take over what was read of the job."""
        # An answer that was asked for by id may leave the id out, which is no reason to lose the job.
        self.details = JobDetails.from_wire(body if text(body.get("id")) else body | {"id": self.id})
        await self.note_seen()

    async def note_seen(self) -> None:
        """Write into the journal how the job stands, once for each change, whoever looks at it."""
        job = self.details
        stands = (job.status, job.fine_tuned_model, job.trained_tokens, job.finished_at)
        if self.noted == stands:
            return
        # Before the write, not after it: while that is awaited, another look at the same job may come in.
        self.noted = stands
        write = partial(
            Recorder(self.journal, heard=self.api.port.heard).seen,
            job.id,
            status=job.status,
            fine_tuned_model=job.fine_tuned_model,
            trained_tokens=job.trained_tokens,
            finished_at=job.finished_at,
            error=job.error.message if job.error else None,
        )
        await note(self.api.port, f"{job.id} {job.status}", write)

    async def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the models along the way, newest first."""
        return tuple(Checkpoint.from_wire(body) for body in await gather(self.api.checkpoints(self.id)))

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a small file that `fetch_saved` reads."""
        body = {"job_id": self.id, "model": self.details.model, "key": self.key}
        body |= self.api.spoken | saved_journal(self.journal)
        return await self.api.port.work(write_saved, path, "job", body)

    def described(self, face: str) -> str:
        """Return the representation of a handle whose class is called `face`."""
        return f"{face}(id={self.id!r}, status={self.details.status!r}, model={self.details.model!r})"


def state_of(job: object, wants: str) -> JobState:
    """Return what lies beneath a job's handle.

    Args:
        job: what a caller gave as the job.
        wants: what it was given to, for example `JobMonitor`.

    Raises:
        TypeError: it is no handle, for example a job's id.
    """
    state = getattr(job, "_state", None)
    if isinstance(state, JobState):
        return state
    way = f"; rt.FineTuneJob.get(client, {job!r}) makes one" if isinstance(job, str) else ""
    # The type only of what is no text: a stranger's repr may hold a key.
    shown = repr(job) if isinstance(job, str) else type(job).__qualname__
    message = f"{wants} takes a job's handle, not {shown}{way}"
    raise TypeError(message)


async def fetch(api: Api, job_id: str, *, journal: JournalArgument = USERS) -> JobState:
    """Read one job, in the dialect that the journal knows unless one is given; how it stands is written there."""
    import openai

    run = await recalled(api, journal, job=job_id)
    if run is not None and api.given is None:
        api = api.speaking(run.dialect)
    try:
        details = JobDetails.from_wire(await api.job(job_id))
    except openai.NotFoundError as error:
        error.add_note(await whereabouts(api, run))
        raise
    state = JobState(api=api, details=details, journal=journal, order_key=None if run is None else run.key)
    await state.note_seen()
    return state


async def fetch_saved(
    api: Api, path: str | os.PathLike[str], *, dialect: Dialect | str | None = None, journal: JournalArgument = USERS
) -> JobState:
    """Read the job that was saved in `path`, in the dialect and for the journal that were saved with it.

    Raises:
        RagtuneError: the file is missing or is no saved job.
    """
    saved = await api.port.work(read_saved, path, "job")
    api = api.speaking(dialect or saved_dialect(saved))
    state = await fetch(api, saved["job_id"], journal=kept_journal(saved, journal))
    state.order_key = state.order_key or saved.get("key")
    return state


def saved_journal(journal: JournalArgument) -> Json:
    """Return what a saved handle keeps of its journal: nothing of the user's own."""
    if journal is USERS:
        return {}
    path = journal.path if isinstance(journal, Journal) else journal
    return {"journal": None if path is None else os.fspath(path)}


def kept_journal(saved: Json, given: JournalArgument) -> JournalArgument:
    """Return the journal that a saved handle was made with, unless another one is given."""
    return saved["journal"] if given is USERS and "journal" in saved else given


async def newest(
    api: Api,
    *,
    limit: int | None = 20,
    status: str | None = None,
    metadata: dict[str, str] | None = None,
    journal: JournalArgument = USERS,
) -> list[JobState]:
    """Read the account's jobs, newest first; arguments as in `ragtune.list_jobs`."""
    check_limit(limit)
    api, runs = await remembering(api, journal)
    found: list[JobDetails] = []
    wanted = None if status is None else api.dialect.status(status)
    async with aclosing(api.jobs(metadata=metadata)) as jobs:
        async for body in jobs:
            if limit is not None and len(found) >= limit:
                break
            details = JobDetails.from_wire(body)
            if wanted is None or details.status == wanted:
                found.append(details)
    # Stable, so that jobs of one second keep the server's order.
    found.sort(key=lambda job: job.created_at.timestamp() if job.created_at else 0.0, reverse=True)
    return [await _known(api, details, runs.get(details.id), journal) for details in found]


async def _known(api: Api, details: JobDetails, run: Run | None, journal: JournalArgument) -> JobState:
    """One job of a list; the journal is told how it stands where it has it and does not know that yet."""
    state = JobState(api=api.of_job(details.id), details=details, journal=journal)
    if run is not None:
        state.order_key = run.key
        stands = (details.status, details.fine_tuned_model, details.trained_tokens)
        if stands != (run.status, run.fine_tuned_model, run.trained_tokens):
            await state.note_seen()
    return state
