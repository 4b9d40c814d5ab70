"""The asynchronous face of a job; `handle` holds the synchronous one. Both are thin over the modules beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from ragtune._api import asynchronous
from ragtune._checked import checked
from ragtune._warn import deprecated
from ragtune.job import submit
from ragtune.job.dry_run import planned
from ragtune.job.preparation.preflight import WARN_DAYS
from ragtune.job.preparation.prepare import CreateOptions
from ragtune.job.state import JobState, fetch, fetch_saved, newest
from ragtune.job.table import JobTable
from ragtune.journal import USERS

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import openai

    from ragtune._api import Api
    from ragtune.dataset import Dataset, Split
    from ragtune.dialects import Dialect
    from ragtune.files import UploadedFile
    from ragtune.job.details import Checkpoint, JobDetails
    from ragtune.journal import Budget, Journal, JournalArgument
    from ragtune.plan import Plan
    from ragtune.spec import TuneSpec


@checked("client", "dataset", "spec", "key", "max_cost_usd")
class AsyncFineTuneJob:
    """`FineTuneJob` over an `openai.AsyncOpenAI`: the same methods, awaited.

    Example:
        ```python
        import asyncio

        import ragtune as rt
        from ragtune.local import LocalBackend

        async def main(backend: LocalBackend) -> None:
            async with backend.async_client() as client:
                for job in await rt.AsyncJobMonitor.table(client, limit=3):
                    print(job.id, job.status)

        with LocalBackend("runs") as backend:
            asyncio.run(main(backend))
        ```
    """

    def __init__(self, state: JobState) -> None:
        self._state = state

    @property
    def id(self) -> str:
        """The server's name for the job."""
        return self._state.id

    @property
    def status(self) -> str:
        """The status when the job was last looked at."""
        return self._state.details.status

    @property
    def details(self) -> JobDetails:
        """The job as it was when it was last looked at."""
        return self._state.details

    @property
    def key(self) -> str | None:
        """What makes two orders the same, as `create` was given or made it; None for a job made without ragtune."""
        return self._state.key

    @property
    def reused(self) -> bool:
        """Whether `create` found this job instead of making one."""
        return self._state.reused

    @classmethod
    async def plan(
        cls,
        client: openai.AsyncOpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        probe: bool = False,
        validation: UploadedFile | Split | str | os.PathLike[str] | None = None,
        key: str | None = None,
        new: bool = False,
        max_cost_usd: float | None = None,
        allow_unknown_cost: bool = False,
        force: bool = False,
        warn_days: int = WARN_DAYS,
        dialect: Dialect | str | None = None,
        budget: Budget | None = None,
        journal: JournalArgument = USERS,
    ) -> Plan:
        """Return what `create` would do; see `FineTuneJob.plan`."""
        # Every keyword is spelled out in each signature, and none passed on as **options: editors show them, and a
        # wrong one is Python's own error.
        options = CreateOptions(
            validation=validation,
            key=key,
            new=new,
            max_cost_usd=max_cost_usd,
            allow_unknown_cost=allow_unknown_cost,
            force=force,
            warn_days=warn_days,
            dialect=dialect,
            budget=budget,
            journal=journal,
        )
        return await planned(asynchronous(client), dataset, spec, options, probe=probe)

    @overload
    @classmethod
    async def create(
        cls,
        client: openai.AsyncOpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        dry_run: Literal[False] = False,
        validation: UploadedFile | Split | str | os.PathLike[str] | None = None,
        key: str | None = None,
        new: bool = False,
        max_cost_usd: float | None = None,
        allow_unknown_cost: bool = False,
        force: bool = False,
        warn_days: int = WARN_DAYS,
        dialect: Dialect | str | None = None,
        budget: Budget | None = None,
        journal: JournalArgument = USERS,
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
        validation: UploadedFile | Split | str | os.PathLike[str] | None = None,
        key: str | None = None,
        new: bool = False,
        max_cost_usd: float | None = None,
        allow_unknown_cost: bool = False,
        force: bool = False,
        warn_days: int = WARN_DAYS,
        dialect: Dialect | str | None = None,
        budget: Budget | None = None,
        journal: JournalArgument = USERS,
    ) -> Plan: ...
    @classmethod
    async def create(
        cls,
        client: openai.AsyncOpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        dry_run: bool = False,
        validation: UploadedFile | Split | str | os.PathLike[str] | None = None,
        key: str | None = None,
        new: bool = False,
        max_cost_usd: float | None = None,
        allow_unknown_cost: bool = False,
        force: bool = False,
        warn_days: int = WARN_DAYS,
        dialect: Dialect | str | None = None,
        budget: Budget | None = None,
        journal: JournalArgument = USERS,
    ) -> AsyncFineTuneJob | Plan:
        """Upload and create exactly once; see `FineTuneJob.create`."""
        options = CreateOptions(
            validation=validation,
            key=key,
            new=new,
            max_cost_usd=max_cost_usd,
            allow_unknown_cost=allow_unknown_cost,
            force=force,
            warn_days=warn_days,
            dialect=dialect,
            budget=budget,
            journal=journal,
        )
        api = asynchronous(client)
        if dry_run:
            return await planned(api, dataset, spec, options)
        return cls(await submit.create(api, dataset, spec, options))

    @classmethod
    async def get(
        cls,
        client: openai.AsyncOpenAI | Api,
        job_id: str,
        *,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> AsyncFineTuneJob:
        """Fetch a job by its id; see `FineTuneJob.get`."""
        return cls(await fetch(asynchronous(client).speaking(dialect), job_id, journal=journal))

    @classmethod
    async def attach(
        cls,
        client: openai.AsyncOpenAI | Api,
        run_id: int,
        *,
        job_id: str | None = None,
        dialect: Dialect | str | None = None,
        journal: Journal | str | os.PathLike[str] = USERS,
    ) -> AsyncFineTuneJob:
        """Return the job of a run in the journal; see `FineTuneJob.attach`."""
        return cls(await submit.attach(asynchronous(client).speaking(dialect), run_id, journal=journal, job_id=job_id))

    @classmethod
    async def list(
        cls,
        client: openai.AsyncOpenAI | Api,
        *,
        limit: int | None = 20,
        status: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> JobTable[AsyncFineTuneJob]:
        """List the account's jobs; the old name of `ragtune.aio.list_jobs`."""
        deprecated("AsyncFineTuneJob.list", "ragtune.aio.list_jobs")
        return await list_jobs(client, limit=limit, status=status, metadata=metadata)

    async def refresh(self) -> AsyncFineTuneJob:
        """Look at the job again."""
        await self._state.refresh()
        return self

    async def cancel(self) -> AsyncFineTuneJob:
        """End the job."""
        await self._state.steer("cancel")
        return self

    async def pause(self) -> AsyncFineTuneJob:
        """Pause the job."""
        await self._state.steer("pause")
        return self

    async def resume(self) -> AsyncFineTuneJob:
        """Let a paused job go on."""
        await self._state.steer("resume")
        return self

    async def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the models along the way, newest first."""
        return await self._state.checkpoints()

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a small file that `load` reads."""
        return await self._state.save(path)

    @classmethod
    async def load(
        cls,
        client: openai.AsyncOpenAI | Api,
        path: str | os.PathLike[str],
        *,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> AsyncFineTuneJob:
        """Fetch the job that was saved in `path`."""
        return cls(await fetch_saved(asynchronous(client), path, dialect=dialect, journal=journal))

    def __repr__(self) -> str:
        return self._state.described(type(self).__name__)


@checked()
async def list_jobs(
    client: openai.AsyncOpenAI | Api,
    *,
    limit: int | None = 20,
    status: str | None = None,
    metadata: dict[str, str] | None = None,
    dialect: Dialect | str | None = None,
    journal: JournalArgument = USERS,
) -> JobTable[AsyncFineTuneJob]:
    """List the account's jobs, newest first; see `ragtune.list_jobs`."""
    api = asynchronous(client).speaking(dialect)
    found = await newest(api, limit=limit, status=status, metadata=metadata, journal=journal)
    return JobTable(rows=tuple(map(AsyncFineTuneJob, found)))
