"""Looking for the job that a request made, where no answer told its id.

The key in a job's metadata says it for certain. Where a server keeps no metadata, the newest jobs are compared by what
else they tell; several that match are told apart by nobody but their owner.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune._api import gather
from ragtune._api.errors import UnreadableReplyError
from ragtune.errors import CreateUncertain
from ragtune.job.details import JobDetails
from ragtune.job.metadata import KEY

if TYPE_CHECKING:
    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.journal import Run
    from ragtune.journal.recorder import Recorder

__all__ = ["SEARCH_S", "JobSearch", "uncertain"]

logger = logging.getLogger("ragtune")

# How long a job may take to show up in the list after its answer was lost.
SEARCH_S = 60.0
# By how much the clocks of server and client may differ.
SKEW_S = 60.0
# Where a server keeps no metadata, the newest jobs are compared one by one.
NEWEST = 100


class AmbiguousError(Exception):
    """Several jobs may be the one that was asked for."""


@dataclass(frozen=True, kw_only=True)
class JobSearch:
    """Looks for jobs on one account, and writes nothing.

    Attributes:
        api: the account.
        recorder: reads what the journal knows of other runs.
    """

    api: Api
    recorder: Recorder

    async def find(self, run: Run, request: Json | None, *, until: float) -> JobDetails | None:
        """Look for the job of a run until a moment (seconds since 1970) has come; at least once.

        Args:
            run: the run, sent and without an answer.
            request: what was sent, None where that is not known any more.
            until: when to end; never further off than `SEARCH_S`.

        Raises:
            CreateUncertain: several jobs match on a server that keeps no metadata.
        """
        import openai

        port = self.api.port
        # Bounded, and waited for by the monotonic clock: the other one may jump by hours while it is waited.
        window = min(until - port.now(), SEARCH_S)
        started, pause = port.monotonic(), 0.5
        while True:
            try:
                found = await self._look(run, request or {})
            except AmbiguousError as several:
                raise CreateUncertain(_ambiguous(self.recorder, run, str(several))) from None
            except (openai.APIError, UnreadableReplyError) as error:
                # The line that lost the answer is often still down; that a look failed says nothing about the job.
                logger.info("the search for key %s failed with %s and goes on", run.key, type(error).__name__)
                found = None
            if found is not None:
                return found
            if port.monotonic() - started + pause > window:
                return None
            await port.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def with_key(self, run: Run) -> list[JobDetails]:
        """Return the jobs with this key, newest first: those that say so, and those that the journal remembers."""
        import openai

        async with aclosing(self.api.jobs(metadata={KEY: run.key})) as jobs:
            found = [JobDetails.from_wire(body) async for body in jobs]
        listed = {job.id for job in found}
        for earlier in await self.api.port.work(self.recorder.runs_of, run.account, run.key):
            if earlier.job_id is None or earlier.job_id in listed:
                continue
            # Not in the list: a server may filter by metadata that it does not keep.
            try:
                found.append(JobDetails.from_wire(await self.api.job(earlier.job_id)))
            except openai.NotFoundError:
                logger.info("%s stands in the journal and is not on the account", earlier.job_id)
        return found

    async def _look(self, run: Run, request: Json) -> JobDetails | None:
        """Look once, by the key in the metadata, and where a server keeps none by what else it says of its jobs."""
        others, rivals = await self.api.port.work(self.recorder.others, run)
        # Jobs that were there before the request, or belong to other runs, cannot be what it made.
        foreign = others | set(run.known)
        async with aclosing(self.api.jobs(metadata={KEY: run.key})) as jobs:
            async for body in jobs:
                job = JobDetails.from_wire(body)
                if job.id not in foreign:
                    return job
        newest = [JobDetails.from_wire(body) for body in await gather(self.api.jobs(), limit=NEWEST)]
        # A server that keeps metadata would have shown the key; only one that keeps none is worth guessing about.
        alike = [job for job in newest if not job.metadata and job.id not in foreign and _fits(job, run, request)]
        # One that matches may still be a rival's: another run like this one that waits for its answer, too.
        if len(alike) > 1 or (alike and rivals):
            raise AmbiguousError(", ".join(job.id for job in alike))
        return alike[0] if alike else None


def _fits(job: JobDetails, run: Run, request: Json) -> bool:
    if job.created_at is None or run.sent_at is None or job.training_file != run.training_file:
        return False
    if not -SKEW_S <= (job.created_at - run.sent_at).total_seconds() <= SEARCH_S + SKEW_S:
        return False
    # What a server does not repeat cannot contradict.
    told = ((job.suffix, run.suffix), (job.model, run.model), (job.seed, request.get("seed")))
    return all(says is None or asked is None or says == asked for says, asked in told)


def uncertain(recorder: Recorder, run: Run) -> str:
    """Say that it is open whether a request made a job, and how to find out."""
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
