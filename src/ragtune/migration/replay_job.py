"""A job of an archive once more, on another server: the same data, the same intent, every approximation said first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, overload

from ragtune._api import asynchronous, synchronous
from ragtune._checked import checked
from ragtune._sync import run
from ragtune._warn import warn
from ragtune.errors import DatasetError, SpecError
from ragtune.job import AsyncFineTuneJob, FineTuneJob
from ragtune.job.dry_run import planned
from ragtune.job.preparation.prepare import CreateOptions
from ragtune.job.state import JobState
from ragtune.job.submit import create
from ragtune.journal import USERS
from ragtune.migration.archive import Archive
from ragtune.migration.wires.hosted import HostedJob, hosted_wire
from ragtune.migration.wires.raw import AsyncRaw, SyncRaw
from ragtune.migration.wires.translate import Translation, translated
from ragtune.plan import Plan

if TYPE_CHECKING:
    import os

    import openai

    from ragtune._api import Api
    from ragtune.dataset import Dataset
    from ragtune.dialects import Dialect
    from ragtune.journal import Budget, JournalArgument
    from ragtune.migration.wires.raw import Raw
    from ragtune.spec import TuneSpec

__all__ = ["replay", "replay_async"]


@overload
def replay(
    archive: Archive | str | os.PathLike[str],
    job: str,
    client: openai.OpenAI,
    spec: TuneSpec | None = None,
    *,
    dry_run: Literal[False] = False,
    base: str | None = None,
    dialect: Dialect | str | None = None,
    account: str | None = None,
    max_cost_usd: float | None = None,
    allow_unknown_cost: bool = False,
    new: bool = False,
    force: bool = False,
    budget: Budget | None = None,
    journal: JournalArgument = USERS,
) -> FineTuneJob | HostedJob: ...
@overload
def replay(
    archive: Archive | str | os.PathLike[str],
    job: str,
    client: openai.OpenAI,
    spec: TuneSpec | None = None,
    *,
    dry_run: Literal[True],
    base: str | None = None,
    dialect: Dialect | str | None = None,
    account: str | None = None,
    max_cost_usd: float | None = None,
    allow_unknown_cost: bool = False,
    new: bool = False,
    force: bool = False,
    budget: Budget | None = None,
    journal: JournalArgument = USERS,
) -> Plan: ...
@checked("spec", "max_cost_usd")
def replay(
    archive: Archive | str | os.PathLike[str],
    job: str,
    client: openai.OpenAI,
    spec: TuneSpec | None = None,
    *,
    dry_run: bool = False,
    base: str | None = None,
    dialect: Dialect | str | None = None,
    account: str | None = None,
    max_cost_usd: float | None = None,
    allow_unknown_cost: bool = False,
    new: bool = False,
    force: bool = False,
    budget: Budget | None = None,
    journal: JournalArgument = USERS,
) -> FineTuneJob | HostedJob | Plan:
    """Train an archived job anew on another server.

    Epochs, batch size, learning rate, suffix and metadata go over in the server's own words; whatever means something
    else there is said as a warning before anything is sent, and stands first in the plan's warnings.

    Args:
        archive: an `rt.Archive`, or its folder.
        job: the job's id, or the name of the model that it made.
        client: an `openai.OpenAI` of the server to go to.
        spec: what to order instead of what is worked out.
        dry_run: return the `Plan`; nothing is sent.
        base: base model there; None takes the old one's name, where the server may have it.
        dialect: as in `FineTuneJob.create`; `unsloth-studio` goes by its name alone.
        account: the account's id, for `fireworks`.
        max_cost_usd: as in `FineTuneJob.create`.
        allow_unknown_cost: as in `FineTuneJob.create`.
        new: as in `FineTuneJob.create`.
        force: as in `FineTuneJob.create`.
        budget: as in `FineTuneJob.create`.
        journal: as in `FineTuneJob.create`.

    Returns:
        The job; a `HostedJob` on servers with a wire of their own (Together, Fireworks), which no journal keeps.

    Raises:
        ArchiveError: the archive does not hold the job or its training file.
        SpecError: the base has to be named.
        Unsupported: the server does not have the method.
    """
    api = synchronous(client).speaking(dialect)
    options = _options(
        max_cost_usd,
        allow_unknown_cost=allow_unknown_cost,
        new=new,
        force=force,
        dialect=dialect,
        budget=budget,
        journal=journal,
    )
    given = _Replay(archive=archive, job=job, spec=spec, base=base, account=account, options=options)
    made = run(given.run(api, SyncRaw(client), dry_run=dry_run))
    return FineTuneJob(made) if isinstance(made, JobState) else made


@checked("spec", "max_cost_usd")
async def replay_async(
    archive: Archive | str | os.PathLike[str],
    job: str,
    client: openai.AsyncOpenAI,
    spec: TuneSpec | None = None,
    *,
    dry_run: bool = False,
    base: str | None = None,
    dialect: Dialect | str | None = None,
    account: str | None = None,
    max_cost_usd: float | None = None,
    allow_unknown_cost: bool = False,
    new: bool = False,
    force: bool = False,
    budget: Budget | None = None,
    journal: JournalArgument = USERS,
) -> AsyncFineTuneJob | HostedJob | Plan:
    """Train an archived job anew on another server; see `ragtune.replay`."""
    api = asynchronous(client).speaking(dialect)
    options = _options(
        max_cost_usd,
        allow_unknown_cost=allow_unknown_cost,
        new=new,
        force=force,
        dialect=dialect,
        budget=budget,
        journal=journal,
    )
    given = _Replay(archive=archive, job=job, spec=spec, base=base, account=account, options=options)
    made = await given.run(api, AsyncRaw(client), dry_run=dry_run)
    return AsyncFineTuneJob(made) if isinstance(made, JobState) else made


def _options(
    max_cost_usd: float | None,
    *,
    allow_unknown_cost: bool,
    new: bool,
    force: bool,
    dialect: Dialect | str | None,
    budget: Budget | None,
    journal: JournalArgument,
) -> CreateOptions:
    return CreateOptions(
        max_cost_usd=max_cost_usd,
        allow_unknown_cost=allow_unknown_cost,
        new=new,
        force=force,
        dialect=dialect,
        budget=budget,
        journal=journal,
    )


class _Replay:
    """What was asked for."""

    def __init__(
        self,
        *,
        archive: Archive | str | os.PathLike[str],
        job: str,
        spec: TuneSpec | None,
        base: str | None,
        account: str | None,
        options: CreateOptions,
    ) -> None:
        self._archive = archive if isinstance(archive, Archive) else Archive.load(archive)
        self._job = self._archive.job(job).details
        self._spec = spec
        self._base = base
        self._account = account
        self._options = options

    async def run(self, api: Api, raw: Raw, *, dry_run: bool) -> JobState | HostedJob | Plan:
        """Translate, say it, and order, or plan it."""
        if not dry_run and not api.is_known:
            # An address that nobody knows may be an embedded backend, which says so with its first answer.
            await api.account()
        # First, since it costs nothing: for the data whole files are read and held against their hashes.
        there = translated(self._job, self._archive.dialect, api.dialect, base=self._base, spec=self._spec)
        dataset = self._archive.dataset(self._job.id)
        if dry_run:
            return await self._planned(api, there, dataset)
        if api.dialect.wire != "openai":
            self._check_hosted(dataset)
        if there.warnings:
            warn("\n  ".join([f"{self._job.id} on {api.dialect.name} ({api.place}):", *there.warnings]))
        if api.dialect.wire != "openai":
            return await hosted_wire(api.dialect.name, self._account).buy(raw, api, dataset, there.spec)
        return await _created(api, dataset, there.spec, self._options)

    async def _planned(self, api: Api, there: Translation, dataset: Dataset) -> Plan:
        if api.dialect.wire == "openai":
            plan = await planned(api, dataset, there.spec, self._options)
            return replace(plan, warnings=(*there.warnings, *plan.warnings))
        calls = hosted_wire(api.dialect.name, self._account).calls(dataset, there.spec)
        unknown = f"what {api.dialect.name} bills is not known here"
        return Plan(server=api.port.base_url, calls=tuple(calls), warnings=(*there.warnings, unknown))

    def _check_hosted(self, dataset: Dataset) -> None:
        # Unknown is not free: nothing could be held against either.
        limits = [name for name in ("max_cost_usd", "budget") if getattr(self._options, name) is not None]
        if limits and not self._options.allow_unknown_cost:
            message = f"{limits[0]}: the price of this server is not known; pass allow_unknown_cost=True, or no limit"
            raise SpecError(message)
        # `create` does this for servers of OpenAI's wire; nobody else would before the upload.
        report = dataset.check()
        if not report.ok:
            raise DatasetError(f"the archived data has errors, nothing was sent: {report.problems[0]}")


async def _created(api: Api, dataset: Dataset, spec: TuneSpec, options: CreateOptions) -> JobState:
    import openai

    try:
        return await create(api, dataset, spec, options)
    except openai.ConflictError as error:
        if api.dialect.jobs_at_once is not None:
            error.add_note(
                f"{api.dialect.name} takes {api.dialect.jobs_at_once} job at a time; wait for the one that runs"
            )
        raise
