"""Coming back to a job by its run in the journal, and finding out what became of one whose answer was lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ragtune.errors import JournalError
from ragtune.job.details import JobDetails
from ragtune.job.submit import finish, note_created
from ragtune.journal import Journal, Recorder

if TYPE_CHECKING:
    import os

    from ragtune._api import Api
    from ragtune.journal import Run

logger = logging.getLogger("ragtune")


async def attach(api: Api, run_id: int, *, journal: Journal | str | os.PathLike[str], job_id: str | None) -> JobDetails:
    """Return the job of a run; errors as in `FineTuneJob.attach`."""
    recorder = Recorder(journal)
    book = journal if isinstance(journal, Journal) else Journal(journal)
    run = await api.port.work(book.run, run_id)
    if run.state == "created" and run.job_id is not None:
        return JobDetails.from_wire(await api.job(run.job_id))
    account = await api.account()
    if account != run.account:
        message = (
            f"run {run_id} belongs to the account {run.account!r} and this client speaks to {account!r}; use a client "
            "for that server, organisation and project"
        )
        raise JournalError(message)
    waits = lambda: logger.info("run %d is being created by another process; its end is waited for", run_id)  # noqa: E731
    async with recorder.held(api.port, "job", account, run.key, waits=waits):
        # Its end may have been written meanwhile.
        run = await api.port.work(book.run, run_id)
        return await _found(api, recorder, run, job_id)


async def _found(api: Api, recorder: Recorder, run: Run, job_id: str | None) -> JobDetails:
    job: JobDetails | None = None
    if run.job_id or job_id:
        job = JobDetails.from_wire(await api.job(run.job_id or job_id or ""))
        await note_created(api, recorder, run, job)
    elif run.state in ("sent", "uncertain"):
        job = await finish(api, recorder, run)
    if job is None:
        why = f" ({run.error})" if run.error else ""
        raise JournalError(f"run {run.id} made no job{why}; call create again with the same data and settings")
    return job
