"""Buying a job exactly once.

The order of things: the intent is written into the journal; the account is searched for a job with the same key; the
data is uploaded; that a request goes out now is written; one request goes out, never repeated; what came of it is
written. When its answer is lost, by this process or by an earlier one, the account is searched again, and nothing
else is bought before the outcome is known.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ragtune import files
from ragtune._api.errors import UnreadableReplyError, never_left, refused
from ragtune._keys import redact
from ragtune.errors import CreateUncertain, RagtuneError, TuningClosed
from ragtune.files import note
from ragtune.job.details import JobDetails
from ragtune.job.model_check import is_gone
from ragtune.job.prepare import KEY
from ragtune.job.search import SEARCH_S, SETTLED_S, AmbiguousError, search

if TYPE_CHECKING:
    from ragtune._api import Api
    from ragtune._api.calls import Json, LocalFile
    from ragtune.job.prepare import Order
    from ragtune.journal import Recorder, Run

logger = logging.getLogger("ragtune")

OVER = ("failed", "cancelled")


async def account_of(api: Api, recorder: Recorder) -> str:
    """Return the account's name in the journal; without one nobody needs it."""
    return await api.account() if recorder.is_on else ""


async def place(api: Api, order: Order, account: str) -> tuple[JobDetails, bool]:
    """Return the job for this order, and whether it was there before; errors as in `FineTuneJob.create`."""
    recorder = order.recorder
    run = replace(order.run, account=account)
    taken = f"another process is creating the job with key {order.key}; its end is waited for"
    async with recorder.held(api.port, "job", account, order.key, waits=lambda: logger.info(taken)):
        begun = await api.port.work(recorder.begin, run)
        known = await _known(api, recorder, begun)
        live = None if order.new else await _live(api, known)
        if begun.state != "intent":
            found = await finish(api, recorder, begun, order.request, wait=live is None)
            live = live or await _live(api, [found] if found else [])
            known += [found] if found else []
            if live is None:
                begun = await api.port.work(recorder.begin, run)
        if live is not None:
            if begun.state == "intent":
                await note_created(api, recorder, begun, live)
            return live, True
        try:
            return await _buy(api, order, begun, known), False
        except CreateUncertain:
            raise
        except Exception as error:
            # Whatever else was raised, it was raised before a request or instead of a job.
            await note(api, "nothing was created", partial(recorder.unsettled, begun, "failed", _words(error)))
            raise


async def _buy(api: Api, order: Order, run: Run, known: list[JobDetails]) -> JobDetails:
    """Upload and send the one request."""
    recorder, budget = order.recorder, order.budget
    if budget is not None:
        spent = await api.port.work(recorder.sent_since, budget.began(api.port.now()))
        budget.check(spent, run.cost_usd, allow_unknown=order.allow_unknown_cost)
    sent: list[str] = []
    request = order.request | {"training_file": await _file_id(api, order.training, recorder, run.account, sent)}
    if order.validation is not None:
        request["validation_file"] = await _file_id(api, order.validation, recorder, run.account, sent)
    run = await api.port.work(
        partial(
            recorder.send,
            run,
            training_file=request["training_file"],
            validation_file=request.get("validation_file"),
            known={job.id for job in known},
            now=api.port.now(),
            budget=budget,
            allow_unknown=order.allow_unknown_cost,
        )
    )
    try:
        body = await api.create_job(request)
        if not body.get("id"):
            message = f"{api.port.base_url} answered with a job that has no id"
            raise UnreadableReplyError(message)
        job = JobDetails.from_wire(body)
    except Exception as error:
        if not _unclear(error):
            if order.local_files:
                uploads = ", ".join(request[name] for name in order.local_files)
                error.add_note(f"nothing was created; on the account lie {uploads}, a later create reuses them")
            if isinstance(error, TuningClosed):
                _offer_deletion(error, sent)
            raise
        logger.info("the answer to create was lost (%s); the job is looked for", type(error).__name__)
        found = await _lost(api, recorder, run, request, error)
        if found is None:
            raise CreateUncertain(_uncertain(recorder, run)) from error
        return found
    except KeyboardInterrupt as stop:
        stop.args = (
            f"stopped while a job was created (key {order.key}); call create again with the same data and settings: it "
            "looks for the job first and buys nothing twice",
        )
        raise
    await note_created(api, recorder, run, job)
    return job


async def finish(
    api: Api, recorder: Recorder, left: Run, request: Json | None = None, *, wait: bool = True
) -> JobDetails | None:
    """Find out what became of a request of an earlier call.

    Args:
        api: the account.
        recorder: writes the journal.
        left: the run, sent and without an outcome.
        request: what was sent, as far as it is known.
        wait: look until the job must have shown up, and raise if it did not; otherwise look once.

    Raises:
        CreateUncertain: it is not known yet.
    """
    sent = left.sent_at.timestamp() if left.sent_at else 0.0
    try:
        found = await search(api, recorder, left, request, until=sent + SEARCH_S if wait else 0.0)
    except AmbiguousError as several:
        raise CreateUncertain(_ambiguous(recorder, left, str(several))) from None
    if found is not None:
        logger.info("run %d was sent by an earlier call, its job was found: %s", left.id, found.id)
        await note_created(api, recorder, left, found)
        return found
    if api.port.now() - sent > SETTLED_S:
        logger.warning("run %d was sent an hour ago or earlier and made no job; it may be sent again", left.id)
        await api.port.work(recorder.unsettled, left, "failed", "no job showed up within an hour")
        return None
    if not wait:
        return None
    await api.port.work(recorder.unsettled, left, "uncertain", "its answer was lost")
    raise CreateUncertain(_uncertain(recorder, left))


async def _lost(api: Api, recorder: Recorder, run: Run, request: Json, error: Exception) -> JobDetails | None:
    try:
        found = await search(api, recorder, run, request, until=api.port.now() + SEARCH_S)
    except AmbiguousError as several:
        await note(api, "several jobs match", partial(recorder.unsettled, run, "uncertain", "several jobs match"))
        raise CreateUncertain(_ambiguous(recorder, run, str(several))) from error
    if found is None:
        await note(api, "the outcome is open", partial(recorder.unsettled, run, "uncertain", _words(error)))
    else:
        await note_created(api, recorder, run, found)
    return found


async def _known(api: Api, recorder: Recorder, run: Run) -> list[JobDetails]:
    """Return the jobs with this key, newest first: those that say so, and those that the journal remembers."""
    import openai

    async with aclosing(api.jobs(metadata={KEY: run.key})) as jobs:
        found = [JobDetails.from_wire(body) async for body in jobs]
    listed = {job.id for job in found}
    for job_id in [run.job_id for run in await api.port.work(recorder.runs_of, run.account, run.key)]:
        if job_id is not None and job_id not in listed:
            try:
                found.append(JobDetails.from_wire(await api.job(job_id)))
            except openai.NotFoundError:
                logger.info("%s stands in the journal and is not on the account", job_id)
    return found


async def _live(api: Api, known: list[JobDetails]) -> JobDetails | None:
    for job in known:
        if job.status in OVER:
            continue
        if not await is_gone(api, job):
            return job
        logger.warning(
            "%s has the same key, but its model %s was deleted: the job is not reused", job.id, job.fine_tuned_model
        )
    return None


async def note_created(api: Api, recorder: Recorder, run: Run, job: JobDetails) -> None:
    """Write down which job a run is."""
    sent = job.created_at.timestamp() if job.created_at else api.port.now()
    await note(api, f"job {job.id} exists", partial(recorder.created, run, job_id=job.id, status=job.status, sent=sent))


async def _file_id(api: Api, file: LocalFile | str, recorder: Recorder, account: str, sent: list[str]) -> str:
    """Return the id of a file, uploading it if it is not there; `sent` then gets the id as well."""
    if isinstance(file, str):
        return file
    uploaded = await files.send(api, file, recorder=recorder, account=account)
    sent += [] if uploaded.reused else [uploaded.id]
    return uploaded.id


def _offer_deletion(error: TuningClosed, sent: list[str]) -> None:
    """No later create will want them here, and only the owner may say that they go."""
    error.files = tuple(sent)
    if sent:
        error.add_note(
            f"the files sent just now can be deleted: for file_id in error.files ({', '.join(sent)}): "
            "rt.Maintenance(client, enabled=True).delete_file(file_id)"
        )


def _unclear(error: Exception) -> bool:
    """Whether the request may have made a job although no answer says so: unless the contrary is known, it may."""
    if isinstance(error, RagtuneError):
        # What stands for a refusal of the server's, or an answer that nobody can read.
        return isinstance(error, UnreadableReplyError)
    return not (refused(error) or never_left(error))


def _words(error: BaseException) -> str:
    return redact(f"{type(error).__name__}: {error}")[:500]


def _uncertain(recorder: Recorder, run: Run) -> str:
    lost = (
        f"a request to create a job went out and its answer was lost; no job with key {run.key} showed up within "
        f"{SEARCH_S:.0f} s, but it still may. "
    )
    if not recorder.is_on:
        return (
            f"{lost}Find out with `ragtune jobs --key {run.key}` before you call create again: without a journal it "
            "looks for the job once, and buys another one if that has not shown up by then"
        )
    resolve = f"`ragtune runs resolve {run.id}`"
    return (
        f"{lost}Find out with {resolve}, or call create again with the same data and settings: it looks for the job "
        f"first and buys nothing twice. Only when you know that there is none, add --not-created to {resolve}."
    )


def _ambiguous(recorder: Recorder, run: Run, jobs: str) -> str:
    lost = (
        f"a request to create a job went out and its answer was lost; {jobs} may be what it made, and the server keeps "
        "no metadata to tell. "
    )
    if not recorder.is_on:
        return f"{lost}Look at them on the server's own pages, and go on with rt.FineTuneJob.get(client, ID)"
    resolve = f"ragtune runs resolve {run.id}"
    return f"{lost}Say which one with `{resolve} --job ID`, or that none is with `{resolve} --not-created`"
