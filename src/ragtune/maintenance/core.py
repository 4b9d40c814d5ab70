"""Keeping an account in order: the code itself, asynchronous. `handle` puts the synchronous face before it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, overload

from ragtune._api import asynchronous, gather
from ragtune._api.fields import identity, text
from ragtune._api.planning import GuardPort, PlanPort
from ragtune._checked import checked
from ragtune._table import check_limit
from ragtune.errors import Unsupported
from ragtune.files import UploadedFile
from ragtune.job import AsyncFineTuneJob, JobDetails
from ragtune.job.core import list_jobs
from ragtune.job.state import JobState
from ragtune.job.whereabouts import forget_model, recalled, remembering
from ragtune.journal import USERS
from ragtune.journal.best_effort import note
from ragtune.journal.recorder import Recorder
from ragtune.maintenance.tables import Deleted, FileTable, ListedModel, ModelTable
from ragtune.migration import Archive
from ragtune.migration.stock import take_inventory
from ragtune.monitor import JobEvent
from ragtune.plan import Plan

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Mapping

    import openai

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.dialects import Dialect
    from ragtune.job import JobTable
    from ragtune.journal import JournalArgument
    from ragtune.migration import Inventory


@checked()
class AsyncMaintenance:
    """`Maintenance` over an `openai.AsyncOpenAI`: the same methods, awaited.

    Example:
        ```python
        import asyncio

        import ragtune as rt
        from ragtune.local import LocalBackend

        async def main(backend: LocalBackend) -> None:
            async with backend.async_client() as client:
                print(len(await rt.AsyncMaintenance(client).jobs()))
                #> 0

        with LocalBackend("fresh") as backend:
            asyncio.run(main(backend))
        ```
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI | Api,
        *,
        enabled: bool = False,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> None:
        # Past the guard, for what changes nothing: plans, and the lists that they need.
        self._open = asynchronous(client).speaking(dialect)
        self._enabled = enabled
        self._journal = journal
        self._api = self._open if enabled else self._open.over(GuardPort(self._open.port))

    async def jobs(self, *, limit: int | None = 20, status: str | None = None) -> JobTable[AsyncFineTuneJob]:
        """List jobs, newest first."""
        return await list_jobs(self._api, limit=limit, status=status, journal=self._journal)

    async def job(self, job_id: str) -> AsyncFineTuneJob:
        """Fetch a job; its writes are guarded too."""
        return await AsyncFineTuneJob.get(self._api, job_id, journal=self._journal)

    async def events(self, job_id: str, *, limit: int | None = 20) -> tuple[JobEvent, ...]:
        """Return a job's newest events, the oldest of them first."""
        check_limit(limit)
        bodies = await gather(self._api.events(job_id, page=min(limit or 100, 100)), limit)
        return tuple(JobEvent.from_wire(body) for body in reversed(bodies))

    async def models(self) -> ModelTable:
        """List the models that this key may use."""
        return ModelTable(rows=tuple(ListedModel.from_wire(body) for body in await gather(self._api.models())))

    async def files(self) -> FileTable:
        """List the account's files."""
        return FileTable(rows=tuple(UploadedFile.from_wire(body) for body in await gather(self._api.files())))

    async def inventory(
        self, *, archive: Archive | str | os.PathLike[str] | None = None, asked: Mapping[str, str] | None = None
    ) -> Inventory:
        """Return everything on the account in one table; see `Maintenance.inventory`."""
        if archive is not None and not isinstance(archive, Archive):
            archive = await self._api.port.work(Archive.load, archive)
        held = None if archive is None else archive.held
        return await take_inventory(self._open, journal=self._journal, archived=held, asked=asked)

    @overload
    async def cancel(self, job_id: str, *, dry_run: Literal[False] = False) -> AsyncFineTuneJob: ...
    @overload
    async def cancel(self, job_id: str, *, dry_run: Literal[True]) -> Plan: ...
    async def cancel(self, job_id: str, *, dry_run: bool = False) -> AsyncFineTuneJob | Plan:
        """Cancel a job; see `Maintenance.cancel`."""
        if dry_run:
            return await self._plan(lambda api: api.steer_job("cancel", job_id))
        known, runs = await remembering(self._api, self._journal)
        api = known.of_job(job_id)
        details = JobDetails.from_wire(await api.steer_job("cancel", job_id))
        key = runs[job_id].key if job_id in runs else None
        state = JobState(api=api, details=details, journal=self._journal, order_key=key)
        await state.note_seen()
        return AsyncFineTuneJob(state)

    @overload
    async def delete_model(
        self, name: str, *, checkpoints: bool = False, dry_run: Literal[False] = False
    ) -> Deleted: ...
    @overload
    async def delete_model(self, name: str, *, checkpoints: bool = False, dry_run: Literal[True]) -> Plan: ...
    async def delete_model(self, name: str, *, checkpoints: bool = False, dry_run: bool = False) -> Deleted | Plan:
        """Delete a tuned model; see `Maintenance.delete_model`."""
        made = await recalled(self._open, self._journal, model=name.partition(":ckpt-step-")[0])
        dialect = self._open.given or (made and made.dialect) or self._open.dialect
        if not dialect.deletes_models:
            way = "its models are deployments, which are taken down by routes of its own"
            raise Unsupported(dialect.name, "deleting a model by OpenAI's call", way)
        also = await self._checkpoints_of(name) if checkpoints else ()

        async def delete(api: Api) -> Json:
            # The model last: while it stands, a call that was cut short can be repeated.
            for checkpoint in also:
                await api.delete_model(checkpoint)
            return await api.delete_model(name)

        if dry_run:
            return await self._plan(delete)
        deleted = _deleted(name, await delete(self._api))
        if deleted.deleted:
            await forget_model(self._api, name, self._journal)
        return replace(deleted, checkpoints=also)

    async def _checkpoints_of(self, name: str) -> tuple[str, ...]:
        listed = await gather(self._open.models())
        names = map(identity, listed)
        return tuple(found for found in names if found.startswith(f"{name}:ckpt-step-"))

    @overload
    async def delete_file(self, file_id: str, *, dry_run: Literal[False] = False) -> Deleted: ...
    @overload
    async def delete_file(self, file_id: str, *, dry_run: Literal[True]) -> Plan: ...
    async def delete_file(self, file_id: str, *, dry_run: bool = False) -> Deleted | Plan:
        """Delete a file; see `Maintenance.delete_file`."""
        if dry_run:
            return await self._plan(lambda api: api.delete_file(file_id))
        deleted = _deleted(file_id, await self._api.delete_file(file_id))
        if deleted.deleted:
            write = partial(Recorder(self._journal, heard=self._api.port.heard).lose_file, file_id)
            await note(self._api.port, f"{file_id} was deleted", write)
        return deleted

    async def _plan(self, write: Callable[[Api], Awaitable[Json]]) -> Plan:
        port = PlanPort(self._open.port)
        await write(self._open.over(port))
        return Plan(server=port.base_url, calls=tuple(port.calls))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(enabled={self._enabled})"


def _deleted(name: str, body: Json) -> Deleted:
    return Deleted(id=text(body.get("id")) or name, deleted=body.get("deleted") in (True, "true", "True", "TRUE"))
