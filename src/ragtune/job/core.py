"""A handle on one remote job: the code itself, asynchronous. `handle` puts the synchronous face before it."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Unpack, overload

from ragtune._api import asynchronous, gather
from ragtune._api.planning import PlanPort
from ragtune._saved import read_saved, write_saved
from ragtune._table import Table
from ragtune.files import note
from ragtune.job import attaching, dry_run, prepare, submit
from ragtune.job.details import Checkpoint, JobDetails
from ragtune.journal import USERS, Recorder

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import openai

    from ragtune._api import Api
    from ragtune._api.calls import Json, LocalFile
    from ragtune.dataset import Dataset
    from ragtune.files import UploadedFile
    from ragtune.job.handle import FineTuneJob
    from ragtune.job.prepare import CreateOptions
    from ragtune.journal import Journal, JournalArgument
    from ragtune.plan import Plan
    from ragtune.spec import TuneSpec

Job = TypeVar("Job", "FineTuneJob", "AsyncFineTuneJob")


class AsyncFineTuneJob:
    """`FineTuneJob` over an `openai.AsyncOpenAI`: the same methods, awaited.

    Example:
        ```python
        import asyncio

        import ragtune as rt
        from ragtune.local import LocalBackend

        async def main(backend: LocalBackend) -> None:
            async with backend.async_client() as client:
                for job in await rt.AsyncFineTuneJob.list(client, limit=3):
                    print(job.id, job.status)

        with LocalBackend("runs") as backend:
            asyncio.run(main(backend))
        ```
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI | Api,
        details: JobDetails,
        *,
        reused: bool = False,
        journal: JournalArgument = USERS,
    ) -> None:
        self._api = asynchronous(client)
        self._details = details
        self._reused = reused
        self._journal = journal
        self._recorder = Recorder(journal)
        # Whether the journal knows how it ended.
        self._end_noted = False
        # What it was made from, by the name of the field: a server's complaint is then traced to a local line.
        self._files: dict[str, LocalFile] = {}

    @property
    def id(self) -> str:
        """The server's name for the job."""
        return self._details.id

    @property
    def status(self) -> str:
        """The status when the job was last looked at."""
        return self._details.status

    @property
    def details(self) -> JobDetails:
        """The job as it was when it was last looked at."""
        return self._details

    @property
    def reused(self) -> bool:
        """Whether `create` found this job instead of making one."""
        return self._reused

    @classmethod
    async def plan(
        cls,
        client: openai.AsyncOpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        probe: bool = False,
        **options: Unpack[CreateOptions],
    ) -> Plan:
        """Return what `create` would do; see `FineTuneJob.plan`."""
        api = asynchronous(client).speaking(options.get("dialect"))
        port = PlanPort(api.port, probe=probe)
        order = await prepare.prepare(api.over(port), dataset, spec, options, sealed=True)
        return await dry_run.plan(port, order)

    @overload
    @classmethod
    async def create(
        cls,
        client: openai.AsyncOpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        dry_run: Literal[False] = False,
        **options: Unpack[CreateOptions],
    ) -> AsyncFineTuneJob: ...
    @overload
    @classmethod
    async def create(
        cls,
        client: openai.AsyncOpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        dry_run: Literal[True],
        **options: Unpack[CreateOptions],
    ) -> Plan: ...
    @classmethod
    async def create(
        cls,
        client: openai.AsyncOpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        dry_run: bool = False,
        **options: Unpack[CreateOptions],
    ) -> AsyncFineTuneJob | Plan:
        """Upload and create exactly once; see `FineTuneJob.create`."""
        if dry_run:
            return await cls.plan(client, dataset, spec, **options)
        api = asynchronous(client).speaking(options.get("dialect"))
        order = await prepare.prepare(api, dataset, spec, options)
        details, reused = await submit.place(api, order, await submit.account_of(api, order.recorder))
        job = cls(api, details, reused=reused, journal=options.get("journal", USERS))
        await job._note_end()
        job._files = order.local_files
        return job

    @classmethod
    async def get(
        cls, client: openai.AsyncOpenAI | Api, job_id: str, *, journal: JournalArgument = USERS
    ) -> AsyncFineTuneJob:
        """Fetch a job by its id; see `FineTuneJob.get`."""
        api = asynchronous(client)
        job = cls(api, JobDetails.from_wire(await api.job(job_id)), journal=journal)
        await job._note_end()
        return job

    @classmethod
    async def attach(
        cls,
        client: openai.AsyncOpenAI | Api,
        run_id: int,
        *,
        job_id: str | None = None,
        journal: Journal | str | os.PathLike[str] = USERS,
    ) -> AsyncFineTuneJob:
        """Return the job of a run in the journal; see `FineTuneJob.attach`."""
        api = asynchronous(client)
        job = cls(api, await attaching.attach(api, run_id, journal=journal, job_id=job_id), journal=journal)
        await job._note_end()
        return job

    @classmethod
    async def list(
        cls,
        client: openai.AsyncOpenAI | Api,
        *,
        limit: int | None = 20,
        status: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> JobTable[AsyncFineTuneJob]:
        """List the account's jobs, newest first; see `list_jobs`."""
        api = asynchronous(client)
        found: list[JobDetails] = []
        async with aclosing(api.jobs(metadata=metadata)) as jobs:
            async for body in jobs:
                if limit is not None and len(found) >= limit:
                    break
                details = JobDetails.from_wire(body)
                if status is None or details.status == status:
                    found.append(details)
        # Stable, so that jobs of one second keep the server's order.
        found.sort(key=lambda job: job.created_at.timestamp() if job.created_at else 0.0, reverse=True)
        return JobTable(rows=tuple(cls(api, details) for details in found))

    async def refresh(self) -> AsyncFineTuneJob:
        """Look at the job again."""
        await saw(self, await self._api.job(self.id))
        return self

    async def cancel(self) -> AsyncFineTuneJob:
        """End the job."""
        return await self._steer("cancel")

    async def pause(self) -> AsyncFineTuneJob:
        """Pause the job."""
        return await self._steer("pause")

    async def resume(self) -> AsyncFineTuneJob:
        """Let a paused job go on."""
        return await self._steer("resume")

    async def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the models along the way, newest first."""
        return tuple(Checkpoint.from_wire(body) for body in await gather(self._api.checkpoints(self.id)))

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a small file that `load` reads."""
        details = self._details
        body = {"job_id": self.id, "model": details.model, "key": details.metadata.get(prepare.KEY)}
        return await self._api.port.work(write_saved, path, "job", body)

    @classmethod
    async def load(cls, client: openai.AsyncOpenAI | Api, path: str | os.PathLike[str]) -> AsyncFineTuneJob:
        """Fetch the job that was saved in `path`."""
        api = asynchronous(client)
        saved = await api.port.work(read_saved, path, "job")
        return await cls.get(api, saved["job_id"])

    async def _steer(self, verb: str) -> AsyncFineTuneJob:
        await saw(self, await self._api.steer_job(verb, self.id))
        return self

    async def _note_end(self) -> None:
        """Write into the journal how the job ended, once, and whatever looks at it."""
        details = self._details
        if self._end_noted or not details.is_final:
            return
        self._end_noted = True
        await note(self._api, f"{self.id} {self.status}", lambda: self._recorder.seen(details))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, status={self.status!r}, model={self._details.model!r})"


@dataclass(frozen=True, kw_only=True)
class JobTable(Table[Job], Generic[Job]):
    """Jobs as a table; rows are job handles, newest first.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        with LocalBackend("fresh") as backend:
            print(list(rt.list_jobs(backend.client()).to_pandas().columns)[:3])
            #> ['Job ID', 'Created At', 'Status']
        ```
    """

    def columns(self) -> dict[str, list[Any]]:
        """Return the cells by column."""
        jobs = [job.details for job in self.rows]
        return {
            "Job ID": [job.id for job in jobs],
            "Created At": [job.created_at for job in jobs],
            "Status": [job.status for job in jobs],
            "Model": [job.model for job in jobs],
            "Training File": [job.training_file for job in jobs],
            "Error Message": [job.error.message if job.error else None for job in jobs],
            "Fine-Tuned Model": [job.fine_tuned_model for job in jobs],
        }


def api_of(job: AsyncFineTuneJob) -> Api:
    """Return the account that a job belongs to, for the rooms that watch and use it."""
    return job._api


def journal_of(job: AsyncFineTuneJob) -> JournalArgument:
    """Return the journal that a job was made with."""
    return job._journal


async def saw(job: AsyncFineTuneJob, body: Json) -> JobDetails:
    """Take over what was read of the job, and return it; the journal hears of its end."""
    job._details = JobDetails.from_wire(body)
    await job._note_end()
    return job._details


def local_files(job: AsyncFineTuneJob) -> dict[str, LocalFile]:
    """Return the local files that a job was made from, by `training_file` and `validation_file`; empty if unknown."""
    return job._files
