"""Finding the job of a request whose answer was lost."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from ragtune._api import gather
from ragtune._api.errors import UnreadableReplyError
from ragtune.job.details import JobDetails
from ragtune.job.prepare import KEY

if TYPE_CHECKING:
    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.journal import Recorder, Run

__all__ = ["SEARCH_S", "SETTLED_S", "find", "search"]

logger = logging.getLogger("ragtune")

# How long a job may take to show up in the list after its answer was lost.
SEARCH_S = 60.0
# How long after a request a job that is not in the list was certainly not made: the client gives a request up after
# ten minutes, and a server that still works on it then is not heard of.
SETTLED_S = 3600.0
# By how much the clocks of server and client may differ.
SKEW_S = 60.0
# Where a server keeps no metadata, the newest jobs are compared one by one.
NEWEST = 100


class AmbiguousError(Exception):
    """Several jobs may be the one that was asked for."""


async def search(api: Api, recorder: Recorder, run: Run, request: Json | None, *, until: float) -> JobDetails | None:
    """Look for the job of a run until a moment (seconds since 1970) has come; at least once.

    Args:
        api: the account.
        recorder: knows the jobs of other runs.
        run: the run, sent and without an answer.
        request: what was sent, None where that is not known any more.
        until: when to end; never further off than `SEARCH_S`.

    Raises:
        AmbiguousError: several jobs match on a server that keeps no metadata.
    """
    import openai

    window = min(until - api.port.now(), SEARCH_S)
    started, pause = api.port.monotonic(), 0.5
    while True:
        try:
            found = await find(api, recorder, run, request)
        except (openai.APIError, UnreadableReplyError) as error:
            logger.info("the search for key %s failed with %s and goes on", run.key, type(error).__name__)
            found = None
        if found is not None:
            return found
        if api.port.monotonic() - started + pause > window:
            return None
        await api.port.sleep(pause)
        pause = min(2 * pause, 5.0)


async def find(api: Api, recorder: Recorder, run: Run, request: Json | None) -> JobDetails | None:
    """Look once; errors as in `search`."""
    others, rivals = await api.port.work(recorder.others, run)
    foreign = others | set(run.known)
    async with aclosing(api.jobs(metadata={KEY: run.key})) as jobs:
        async for body in jobs:
            if body["id"] not in foreign:
                return JobDetails.from_wire(body)
    newest = [JobDetails.from_wire(body) for body in await gather(api.jobs(), NEWEST)]
    # A server that keeps metadata would have shown the key; only one that keeps none is worth guessing about.
    alike = [job for job in newest if not job.metadata and job.id not in foreign and _fits(job, run, request or {})]
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
