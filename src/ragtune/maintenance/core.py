"""Keeping an account in order: the code itself, asynchronous. `handle` puts the synchronous face before it."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, overload

from ragtune._api import asynchronous, gather
from ragtune._api.fields import identity, text
from ragtune._api.planning import GuardPort
from ragtune._checked import checked
from ragtune._progress import NoBar, bar, visible
from ragtune._table import check_limit
from ragtune.errors import ModelExpired, RegistryError, Unsupported
from ragtune.files import UploadedFile
from ragtune.job import AsyncFineTuneJob, JobDetails
from ragtune.job.core import list_jobs
from ragtune.job.state import JobState
from ragtune.job.whereabouts import forget_model, recalled, remembering
from ragtune.journal import USERS
from ragtune.journal.best_effort import note
from ragtune.journal.recorder import Recorder
from ragtune.maintenance.account import CHECKPOINT, read_account
from ragtune.maintenance.cleanup import CleanedUp, CleanupPlan, CleanupResult, Rules, planned
from ragtune.maintenance.needs import Needs
from ragtune.maintenance.tables import Deleted, FileTable, ListedModel, ModelTable
from ragtune.migration import Archive
from ragtune.migration.stock import take_inventory
from ragtune.monitor import JobEvent
from ragtune.plan import Plan, plan_of
from ragtune.registry import Registry

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    import openai

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.dialects import Dialect
    from ragtune.feedback import FeedbackStore
    from ragtune.job import JobTable
    from ragtune.journal import JournalArgument
    from ragtune.maintenance.account import AccountListing
    from ragtune.maintenance.cleanup import CleanupItem, Outcome
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
        registry: Registry | str | os.PathLike[str] | None = None,
    ) -> None:
        # Past the guard, for what changes nothing: plans, and the lists that they need.
        self._open = asynchronous(client).speaking(dialect)
        self._enabled = enabled
        self._journal = journal
        self._registry = registry if isinstance(registry, Registry | None) else _there(registry)
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
        # No more than is wanted, and no more than a page of OpenAI's holds.
        bodies = await gather(self._api.events(job_id, page=min(limit or 100, 100)), limit=limit)
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
            return await plan_of(self._open, lambda api: api.steer_job("cancel", job_id))
        # In the job's own dialect, which says what its status means.
        known, runs = await remembering(self._api, self._journal)
        api = known.of_job(job_id)
        details = JobDetails.from_wire(await api.steer_job("cancel", job_id))
        key = runs[job_id].key if job_id in runs else None
        state = JobState(api=api, details=details, journal=self._journal, order_key=key)
        await state.note_seen()
        return AsyncFineTuneJob(state)

    @overload
    async def delete_model(
        self, name: str, *, checkpoints: bool = False, force: bool = False, dry_run: Literal[False] = False
    ) -> Deleted: ...
    @overload
    async def delete_model(
        self, name: str, *, checkpoints: bool = False, force: bool = False, dry_run: Literal[True]
    ) -> Plan: ...
    async def delete_model(
        self, name: str, *, checkpoints: bool = False, force: bool = False, dry_run: bool = False
    ) -> Deleted | Plan:
        """Delete a tuned model; see `Maintenance.delete_model`."""
        # The journal remembers what kind of server stands at an address that tells nothing.
        made = await recalled(self._open, self._journal, model=name.partition(":ckpt-step-")[0])
        dialect = self._open.given or (made and made.dialect) or self._open.dialect
        if not dialect.deletes_models:
            way = "its models are deployments, which are taken down by routes of its own"
            raise Unsupported(dialect.name, "deleting a model by OpenAI's call", way)
        # They are found by their names: servers list them as models and delete none with its parent.
        also = await self._checkpoints_of(name) if checkpoints else ()
        needs = await self._needs()
        reasons = [f"{one}: {needs.of_model(one)}" for one in (*also, name) if needs.of_model(one)]
        _refuse(reasons, force=force or dry_run)

        async def delete(api: Api) -> Json:
            # The model last: while it stands, a call that was cut short can be repeated.
            for checkpoint in also:
                await api.delete_model(checkpoint)
            return await api.delete_model(name)

        if dry_run:
            return replace(await plan_of(self._open, delete), warnings=tuple(reasons))
        deleted = _deleted(name, await delete(self._api))
        if deleted.deleted:
            await self._forget_models(*also, name)
        return replace(deleted, checkpoints=also)

    async def _forget_models(self, *names: str) -> None:
        for name in names:
            # The journal first: by it an equal order would take up a job whose model is gone.
            await forget_model(self._api, name, self._journal)
            if self._registry is not None:
                await self._api.port.work(self._registry._lose, name)

    async def _checkpoints_of(self, name: str) -> tuple[str, ...]:
        listed = await gather(self._open.models())
        names = map(identity, listed)
        return tuple(found for found in names if found.startswith(f"{name}{CHECKPOINT}"))

    @overload
    async def delete_file(self, file_id: str, *, force: bool = False, dry_run: Literal[False] = False) -> Deleted: ...
    @overload
    async def delete_file(self, file_id: str, *, force: bool = False, dry_run: Literal[True]) -> Plan: ...
    async def delete_file(self, file_id: str, *, force: bool = False, dry_run: bool = False) -> Deleted | Plan:
        """Delete a file; see `Maintenance.delete_file`."""
        reasons = []
        # Reading an account takes long: not for somebody who insists. A plan tells the reasons even so.
        if self._registry is not None and not (force and not dry_run):
            needed = (await self._needs()).of_file(file_id, await read_account(self._open))
            reasons = [f"{file_id}: {needed}"] if needed else []
        _refuse(reasons, force=force or dry_run)
        if dry_run:
            return replace(await plan_of(self._open, lambda api: api.delete_file(file_id)), warnings=tuple(reasons))
        deleted = _deleted(file_id, await self._api.delete_file(file_id))
        if deleted.deleted:
            await self._forget_file(file_id)
        return deleted

    async def _forget_file(self, file_id: str) -> None:
        write = partial(Recorder(self._journal, heard=self._api.port.heard).lose_file, file_id)
        await note(self._api.port, f"{file_id} was deleted", write)

    async def cleanup_plan(
        self,
        *,
        older_than: dt.timedelta | float | None = None,
        never_asked: FeedbackStore | Iterable[str] | None = None,
        orphans: bool = True,
        keep: Iterable[str] = (),
    ) -> CleanupPlan:
        """Say what may go, to be looked at; see `Maintenance.cleanup_plan`."""
        rules = Rules.checked(older_than=older_than, never_asked=never_asked, orphans=orphans, keep=keep)
        account = await read_account(self._open)
        now = dt.datetime.fromtimestamp(self._open.port.now(), tz=dt.UTC)
        rows = planned(account, await self._needs(), rules=rules, now=now)
        return CleanupPlan(rows=rows, server=self._open.place, made_at=now)

    async def clean_up(self, plan: CleanupPlan, *, progress: bool | None = None) -> CleanupResult:
        """Delete what a plan says; see `Maintenance.clean_up`."""
        # Since somebody looked at the plan, a job may have begun on a file and an alias may have been moved.
        account, needs = await read_account(self._open), await self._needs()
        if plan.server != self._open.place:
            raise RegistryError(
                f"the plan is of {plan.server}, and this client speaks to {self._open.place}; make a plan of it"
            )
        going = {item.id for item in plan.going if needs.of_model(item.id) is None}
        rows: list[CleanedUp] = []
        shown = visible() if progress is None else progress
        with closing(bar("clean up", unit="deletion", total=len(plan.going)) if shown else NoBar()) as drawn:
            try:
                for item in plan.going:
                    rows.append(await self._put_away(item, account, needs, going))
                    drawn.update()
            except (Exception, KeyboardInterrupt) as stop:
                stop.add_note(f"{len(rows)} of {len(plan.going)} are done; the same call with the same plan goes on")
                raise
        return CleanupResult(rows=tuple(rows))

    async def _put_away(self, item: CleanupItem, account: AccountListing, needs: Needs, going: set[str]) -> CleanedUp:
        import openai

        is_file = item.kind == "file"
        there = {file.id for file in account.files or ()} if is_file else account.model_names
        if item.id not in there:
            return CleanedUp(item=item, outcome="gone already")
        needed = needs.of_file(item.id, account, going=going) if is_file else needs.of_model(item.id)
        if needed is not None:
            going.discard(item.id)
            return CleanedUp(item=item, outcome="kept", note=needed)
        outcome: Outcome = "failed"
        said = None
        try:
            api = self._api
            answer = _deleted(item.id, await (api.delete_file(item.id) if is_file else api.delete_model(item.id)))
            outcome = "deleted" if answer.deleted else "failed"
            said = None if answer.deleted else str(answer)
        # Or its maker shut it down since it was listed.
        except (openai.NotFoundError, ModelExpired):
            outcome = "gone already"
        except openai.APIStatusError as error:
            # What one model is refused for stands against no other; without a server nothing goes on.
            said = str(error)
        if outcome == "failed":
            # Its file stays, as it does for every model that lives.
            going.discard(item.id)
        else:
            await (self._forget_file(item.id) if is_file else self._forget_models(item.id))
        return CleanedUp(item=item, outcome=outcome, note=said)

    async def _needs(self) -> Needs:
        return await self._open.port.work(Needs.of, self._registry)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(enabled={self._enabled})"


def _there(path: str | os.PathLike[str]) -> Registry:
    """The registry of a path.

    Raises:
        RegistryError: nothing is there.
    """
    registry = Registry(path)
    if not registry.path.exists():
        raise RegistryError(
            f"registry: {registry.path} is not there, so it would protect nothing; give the path of one that is"
        )
    return registry


def _refuse(reasons: list[str], *, force: bool) -> None:
    """Refuse to delete what is needed.

    Raises:
        RegistryError: it is, and nobody insists.
    """
    if reasons and not force:
        raise RegistryError(f"not deleted, for {'; '.join(reasons)}. force=True deletes it all the same")


def _deleted(name: str, body: Json) -> Deleted:
    # Some servers write the flag as a text.
    return Deleted(id=text(body.get("id")) or name, deleted=body.get("deleted") in (True, "true", "True", "TRUE"))
