"""What `create` would do, found out by doing it over a port that writes plans."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from ragtune._api.fields import identity
from ragtune._api.planning import PlanEnd, PlanPort
from ragtune.job.preparation.prepare import prepare
from ragtune.job.submit import Buyer
from ragtune.plan import Plan

if TYPE_CHECKING:
    from ragtune._api import Api
    from ragtune._api.calls import PlannedCall
    from ragtune.dataset import Dataset
    from ragtune.files import UploadedFile
    from ragtune.job.details import JobDetails
    from ragtune.job.preparation.prepare import CreateOptions, JobOrder
    from ragtune.journal import Run
    from ragtune.spec import TuneSpec

__all__ = ["planned"]


async def planned(
    api: Api, data: Dataset | UploadedFile | str, spec: TuneSpec, options: CreateOptions, *, probe: bool = False
) -> Plan:
    """Return what `create` would do; see `FineTuneJob.plan`."""
    api = api.speaking(options.dialect)
    port = PlanPort(api.port, probe=probe)
    # The steps of `create` themselves run over it: a plan that was written beside them would one day say something
    # else.
    api = api.over(port)
    order = await prepare(api, data, spec, options, sealed=True)
    buyer = Buyer(api=api, recorder=order.recorder)
    account = await buyer.account()
    existing: JobDetails | None = None
    try:
        details, reused = await buyer.submit(order, account)
        existing = details if reused else None
    # Here `create` would wait for a job whose answer was lost; what comes after a wait cannot be foretold.
    except PlanEnd:
        pass
    calls = tuple(port.calls)
    runs = await api.port.work(order.recorder.runs_of, account, order.key)
    warnings = [*order.warnings, *_duplicates(runs, existing, probed=probe)]
    if probe:
        warnings += [*_files_there(order, calls, existing), *await _closed(api)]
    return Plan(server=port.base_url, calls=calls, cost=order.cost, warnings=tuple(warnings))


def _duplicates(runs: list[Run], existing: JobDetails | None, *, probed: bool) -> list[str]:
    # Only these are open: an intent that was never sent bought nothing, and the others have an outcome.
    found = [
        f"run {run.id} of {run.begun_at:%Y-%m-%d} went out and its outcome is unknown: create would look for its job "
        f"before anything else; `ragtune runs resolve {run.id}` finds out"
        for run in runs
        if run.state in ("sent", "uncertain")
    ]
    if existing is not None:
        # Without a probe nobody was asked: the journal's word may be old, so the text says whose it is.
        by_journal = {run.job_id: f"{run.status} by the journal" for run in runs}
        status = existing.status if probed else by_journal.get(existing.id, "not looked at")
        found.append(f"{existing.id} ({status}) has the same key: create would hand it back")
    return found


def _files_there(order: JobOrder, calls: tuple[PlannedCall, ...], existing: JobDetails | None) -> list[str]:
    if existing is not None:
        return []
    sent = {call.body["file"]["name"] for call in calls if call.name == "files.create"}
    there = [file.name for file in order.local_files.values() if file.name not in sent]
    return [f"{name} lies on the account already: it would not be sent" for name in there]


async def _closed(api: Api) -> list[str]:
    """A hint only: a key may not see the jobs and models of other projects."""
    # It is OpenAI that closes accounts.
    if not api.dialect.catalog_dates:
        return []
    # One is enough to know.
    async with aclosing(api.jobs(page=1)) as jobs:
        async for _ in jobs:
            return []
    async with aclosing(api.models()) as models:
        async for model in models:
            if identity(model).startswith("ft:"):
                return []
    return [
        "this key sees no job and no tuned model: OpenAI refuses accounts that never fine-tuned since 2026-05-07, and "
        "since 2026-07-02 those that did not use a tuned model in 60 days, so create may raise TuningClosed"
    ]
