"""Buying a job exactly once.

A request that creates a job may not be repeated: the client sends no idempotency key, so each one that arrives buys.
And a lost answer does not say whether a job was made. So the steps have a fixed order, under a lock that keeps out
other processes with the same order:

1. the intent is written into the journal;
2. the account is searched for a job with the same key, and one that lives is handed back;
3. the data is uploaded, each content once;
4. that a request goes out now is written: a crash from here on leaves a run without an outcome behind it, never a
   purchase that nobody knows of;
5. one request goes out;
6. what came of it is written.

A run without an outcome is settled before anything else is bought, be it of this process or of one that died: the
account is searched until its job must have shown up. Only then may the same order be sent again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ragtune._api.errors import UnreadableReplyError, never_left, refused
from ragtune._keys import redact
from ragtune.errors import CreateUncertain, JournalError, RagtuneError, TuningClosed
from ragtune.files.upload_once import send
from ragtune.job.details import JobDetails
from ragtune.job.model_check import is_gone
from ragtune.job.preparation.prepare import prepare
from ragtune.job.search import SEARCH_S, JobSearch, uncertain
from ragtune.job.state import JobState
from ragtune.job.whereabouts import whereabouts
from ragtune.journal.best_effort import note
from ragtune.journal.recorder import Recorder

if TYPE_CHECKING:
    import os

    from ragtune._api import Api
    from ragtune._api.calls import Json, LocalFile
    from ragtune.dataset import Dataset
    from ragtune.files import UploadedFile
    from ragtune.job.preparation.prepare import CreateOptions, JobOrder
    from ragtune.journal import Journal, Run
    from ragtune.spec import TuneSpec

__all__ = ["Buyer", "attach", "create"]

logger = logging.getLogger("ragtune")

# A job that ended without a model answers no order: who asks again wants another try.
OVER = ("failed", "cancelled")
# How long after a request a job that is not in the list was certainly not made: the client gives a request up after
# ten minutes, and a server that still works on it then is not heard of.
SETTLED_S = 3600.0


async def create(api: Api, data: Dataset | UploadedFile | str, spec: TuneSpec, options: CreateOptions) -> JobState:
    """Check, upload and buy, or find what was bought before; see `FineTuneJob.create`."""
    api = api.speaking(options.dialect)
    order = await prepare(api, data, spec, options)
    buyer = Buyer(api=api, recorder=order.recorder)
    details, reused = await buyer.submit(order, await buyer.account())
    state = JobState(
        api=api,
        details=details,
        journal=options.journal,
        files=order.local_files,
        reused=reused,
        order_key=order.key,
    )
    # The purchase notes id and status only: how a job ended is news of its own.
    if details.is_final:
        await state.note_seen()
    return state


async def attach(
    api: Api, run_id: int, *, journal: Journal | str | os.PathLike[str], job_id: str | None = None
) -> JobState:
    """Return the job of a run in the journal; see `FineTuneJob.attach`."""
    recorder = Recorder(journal, heard=api.port.heard)
    run = await api.port.work(recorder.run, run_id)
    # A client says nothing of its server's quirks; the run knows in which dialect it was sent.
    if api.given is None:
        api = api.speaking(run.dialect)
    details = await Buyer(api=api, recorder=recorder).come_back(run, job_id)
    state = JobState(api=api, details=details, journal=journal, order_key=run.key)
    await state.note_seen()
    return state


@dataclass(frozen=True, kw_only=True)
class Buyer:
    """Buys jobs on one account and writes down in one journal what it does.

    Attributes:
        api: the account.
        recorder: writes the journal; one that is sealed, for a plan, only reads it.
    """

    api: Api
    recorder: Recorder

    @property
    def _search(self) -> JobSearch:
        return JobSearch(api=self.api, recorder=self.recorder)

    async def account(self) -> str:
        """Return the account's name in the journal; without a journal nobody needs it."""
        return await self.api.account() if self.recorder.is_on else ""

    async def submit(self, order: JobOrder, account: str) -> tuple[JobDetails, bool]:
        """Return the job for an order, and whether it was there before; errors as in `FineTuneJob.create`.

        Args:
            order: what to buy.
            account: the account's name in the journal.
        """
        work, recorder = self.api.port.work, self.recorder
        run = replace(order.run, account=account, folder=self.api.port.heard.folder)
        taken = f"another process is creating the job with key {order.key}; its end is waited for"
        async with recorder.held(self.api.port, "job", account, order.key, waits=lambda: logger.info(taken)):
            begun = await work(recorder.begin, run)
            # Asked even where the journal knows of no purchase: one from another machine stands in that one's journal.
            known = await self._search.with_key(begun)
            live = None if order.options.new else await self._live(known)
            if begun.state != "intent":
                # The journal did not take our intent: an earlier request for the same order is without an outcome. Even
                # `new` does not go past it, since the job that it made is the further one that was wanted then.
                # With a live job at hand nothing depends on it: one look, and no waiting.
                found = await self.settle(begun, order.request, wait=live is None)
                if found is not None:
                    known.append(found)
                    live = live or await self._live([found])
                if live is None:
                    begun = await work(recorder.begin, run)
            if live is not None:
                # The job closes this call's intent; left open, the run would say for ever that something is to be
                # bought.
                if begun.state == "intent":
                    await self._note_created(begun, live)
                return live, True
            try:
                return await self._buy(order, begun, known), False
            except CreateUncertain:
                raise
            except Exception as error:
                # Whatever else was raised, it was raised before a request or instead of a job.
                await self._note("nothing was created", partial(recorder.unsettled, begun, "failed", _words(error)))
                raise

    async def come_back(self, run: Run, job_id: str | None) -> JobDetails:
        """Return the job of a run, which may still be on its way; errors as in `FineTuneJob.attach`.

        Args:
            run: the run.
            job_id: the job that it made, where only the caller can tell.
        """
        import openai

        work, run_id = self.api.port.work, run.id
        if run.state == "created" and run.job_id is not None:
            try:
                return JobDetails.from_wire(await self.api.job(run.job_id))
            except openai.NotFoundError as error:
                self._refuse_stranger(run, await self.account())
                error.add_note(await whereabouts(self.api, run))
                raise
        account = await self.account()
        # On another account the search would find nothing, and settle wrongly that there is no job.
        self._refuse_stranger(run, account)
        taken = f"run {run_id} is being created by another process; its end is waited for"
        async with self.recorder.held(self.api.port, "job", account, run.key, waits=lambda: logger.info(taken)):
            # Its end may have been written while the lock was waited for.
            run = await work(self.recorder.run, run_id)
            job: JobDetails | None = None
            # What the journal knows stands above what a user says.
            if known_id := run.job_id or job_id:
                job = JobDetails.from_wire(await self.api.job(known_id))
                await self._note_created(run, job)
            elif run.state in ("sent", "uncertain"):
                job = await self.settle(run)
        if job is None:
            why = f" ({run.error})" if run.error else ""
            raise JournalError(f"run {run.id} made no job{why}; call create again with the same data and settings")
        return job

    def _refuse_stranger(self, run: Run, account: str) -> None:
        if account == run.account:
            return
        where = "" if run.folder is None else f" ({run.place})"
        raise JournalError(
            f"run {run.id} belongs to the account {run.account!r}{where} and this client speaks to {account!r} "
            f"({self.api.place}); use a client for that server, organisation and project"
        )

    async def settle(self, left: Run, request: Json | None = None, *, wait: bool = True) -> JobDetails | None:
        """Find out what became of a request of an earlier call; None: it made no job.

        Args:
            left: the run, sent and without an outcome.
            request: what was sent, as far as it is known.
            wait: look until the job must have shown up, and raise if it did not; otherwise look once.

        Raises:
            CreateUncertain: it is not known yet.
        """
        # A run without a moment counts as sent long ago: one look settles it, and nobody waits for ever.
        sent = left.sent_at.timestamp() if left.sent_at else 0.0
        found = await self._search.find(left, request, until=sent + SEARCH_S if wait else 0.0)
        if found is not None:
            logger.info("run %d was sent by an earlier call, its job was found: %s", left.id, found.id)
            await self._note_created(left, found)
            return found
        if self.api.port.now() - sent > SETTLED_S:
            logger.warning("run %d was sent an hour ago or earlier and made no job; it may be sent again", left.id)
            why = "no job showed up within an hour"
            await self.api.port.work(self.recorder.unsettled, left, "failed", why)
            return None
        if not wait:
            return None
        await self.api.port.work(self.recorder.unsettled, left, "uncertain", "its answer was lost")
        raise CreateUncertain(uncertain(self.recorder, left))

    async def _buy(self, order: JobOrder, run: Run, known: list[JobDetails]) -> JobDetails:
        """Upload and send the one request."""
        budget, allow_unknown = order.options.budget, order.options.allow_unknown_cost
        work, recorder = self.api.port.work, self.recorder
        if budget is not None:
            # Here because of orders whose key was known, which `prepare` lets pass: they turned out to be purchases.
            spent = await work(recorder.sent_since, budget.began(self.api.port.now()))
            budget.check(spent, run.cost_usd, allow_unknown=allow_unknown)
        sent: list[str] = []
        request = order.request | {"training_file": await self._file_id(order.training, run.account, sent)}
        if order.validation is not None:
            request["validation_file"] = await self._file_id(order.validation, run.account, sent)
        going_out = partial(
            recorder.send,
            run,
            training_file=request["training_file"],
            validation_file=request.get("validation_file"),
            known={job.id for job in known},
            now=self.api.port.now(),
            budget=budget,
            allow_unknown=allow_unknown,
        )
        # On disk before the request leaves: a kill in between leaves a run that is looked for, not a job that nobody
        # knows of.
        run = await work(going_out)
        try:
            job = JobDetails.from_wire(await self.api.create_job(request))
        except Exception as error:
            if _may_have_bought(error):
                return await self._recover(run, request, error)
            if order.local_files:
                uploads = ", ".join(request[name] for name in order.local_files)
                error.add_note(f"nothing was created; on the account lie {uploads}, a later create reuses them")
            if isinstance(error, TuningClosed):
                _offer_deletion(error, sent)
            raise
        # The run stays "sent", since nobody knows what came of the request: the next call begins by finding out.
        except KeyboardInterrupt as stop:
            # As its argument too: a bare KeyboardInterrupt prints no message.
            stop.args = (
                f"stopped while a job was created (key {order.key}); call create again with the same data and "
                "settings: it looks for the job first and buys nothing twice",
            )
            raise
        await self._note_created(run, job)
        return job

    async def _recover(self, run: Run, request: Json, error: Exception) -> JobDetails:
        """Return the job of the request that was just sent and whose answer was lost.

        Raises:
            CreateUncertain: it did not show up, or several may be it.
        """
        logger.info("the answer to create was lost (%s); the job is looked for", type(error).__name__)
        unsettled = partial(self.recorder.unsettled, run, "uncertain")
        try:
            found = await self._search.find(run, request, until=self.api.port.now() + SEARCH_S)
        except CreateUncertain as several:
            await self._note("several jobs match", partial(unsettled, "several jobs match"))
            raise several from error
        if found is None:
            await self._note("the outcome is open", partial(unsettled, _words(error)))
            raise CreateUncertain(uncertain(self.recorder, run)) from error
        await self._note_created(run, found)
        return found

    async def _live(self, known: list[JobDetails]) -> JobDetails | None:
        """Return the first job that an order may be answered with."""
        for job in known:
            if job.status in OVER:
                continue
            if job.fine_tuned_model is None or not await is_gone(self.api, job):
                return job
            gone = partial(self.recorder.lose_model, job.fine_tuned_model, self.api.port.now())
            await self._note(f"{job.fine_tuned_model} was deleted", gone)
            logger.warning(
                "%s has the same key, but its model %s was deleted: the job is not reused", job.id, job.fine_tuned_model
            )
        return None

    async def _file_id(self, file: LocalFile | str, account: str, sent: list[str]) -> str:
        """Return the id of a file, uploading it if it is not there; `sent` then gets the id as well."""
        if isinstance(file, str):
            return file
        uploaded = await send(self.api, file, recorder=self.recorder, account=account)
        if not uploaded.reused:
            sent.append(uploaded.id)
        return uploaded.id

    async def _note_created(self, run: Run, job: JobDetails) -> None:
        # For a run that sent nothing itself: budgets count the job on the day on which it was made.
        sent = job.created_at.timestamp() if job.created_at else self.api.port.now()
        created = partial(self.recorder.created, run, job_id=job.id, status=job.status, sent=sent)
        await self._note(f"job {job.id} exists", created)

    async def _note(self, what: str, write: partial[None]) -> None:
        await note(self.api.port, what, write)


def _may_have_bought(error: Exception) -> bool:
    """Whether the request may have made a job although no answer says so: unless the contrary is known, it may."""
    if isinstance(error, RagtuneError):
        # What stands for a refusal of the server's, or an answer that nobody can read.
        return isinstance(error, UnreadableReplyError)
    return not (refused(error) or never_left(error))


def _offer_deletion(error: TuningClosed, sent: list[str]) -> None:
    """No later create will want them here, and only the owner may say that they go."""
    error.files = tuple(sent)
    if sent:
        error.add_note(
            f"the files sent just now can be deleted: for file_id in error.files ({', '.join(sent)}): "
            "rt.Maintenance(client, enabled=True).delete_file(file_id)"
        )


def _words(error: BaseException) -> str:
    # A proxy's answer may be a whole page of HTML.
    return redact(f"{type(error).__name__}: {error}")[:500]
