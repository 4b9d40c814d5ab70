"""One poller for many jobs: the code itself, asynchronous. `handle` puts the synchronous face before it."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from ragtune._api.fields import objects, text
from ragtune.monitor.polling import Poller
from ragtune.monitor.unknown import UnknownStates

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from ragtune._api import Api
    from ragtune.job.state import JobState

__all__ = ["follow_many"]


async def follow_many(
    jobs: Iterable[JobState], *, timeout_s: float | None, poll_s: float, patience_s: float
) -> AsyncGenerator[JobState, None]:
    """Iterate jobs as their status changes; see `ragtune.watch_many`."""
    going = {job.id: job for job in jobs}
    if not going:
        return
    # Nothing was told of any: the first round hands out each job, however it stands.
    count, told = len(going), dict.fromkeys(going, "")

    def late() -> str:
        return f"{len(going)} of {count} jobs have not ended; they run on, rt.watch_many(jobs) comes back to them"

    # The list is one account's, its jobs may speak different dialects.
    api = next(iter(going.values())).api.remembering({job.id: job.api.dialect for job in going.values()})
    poller = Poller(api, poll_s=poll_s, patience_s=patience_s, timeout_s=timeout_s, late=late)
    round_, unknown = _Round(api, poller), UnknownStates()
    while True:
        asked_s = await round_.look(going)
        news = False
        # A copy, since jobs that have ended leave the dictionary on the way.
        for job in list(going.values()):
            unknown.tell(job.id, job.details.status)
            if job.details.is_final:
                del going[job.id]
            if job.details.status != told[job.id]:
                told[job.id], news = job.details.status, True
                yield job
        if not going:
            return
        await poller.pause(news=news, asked_s=asked_s)


class _Round:
    """One look at all jobs, with as few requests as the last round taught."""

    def __init__(self, api: Api, poller: Poller) -> None:
        self._api = api
        self._poller = poller
        # Requests that it took to find the jobs in the account's list, and those that were not in it.
        self._cost = 1

    async def look(self, going: dict[str, JobState]) -> float | None:
        """Look at each job; returns the seconds after which the server wants to be asked again."""
        missing, asked_s = dict(going), None
        # The list pays only while it takes fewer requests than asking for each job would.
        if len(going) > self._cost:
            asked_s = await self._poller.look(partial(self._list, missing))
        for job in missing.values():
            # Each through its own account: they need not all be on the one whose list was read.
            asked_s = await self._poller.look(job.look)
        return asked_s

    async def _list(self, missing: dict[str, JobState], timeout_s: float) -> float | None:
        """Look at the jobs that are on the first pages of the account's list, and take them out of `missing`."""
        asked_s, read = None, 0
        async with aclosing(self._api.pages("fine_tuning.jobs.list", timeout_s=timeout_s)) as pages:
            async for page in pages:
                asked_s, read = page.poll_after_s, read + 1
                for body in objects(page.get("data")):
                    job = missing.pop(text(body.get("id")) or "", None)
                    if job is not None:
                        await job.saw(body)
                # A further page is worth it while asking for each job would take more.
                if len(missing) <= read:
                    break
        self._cost = read + len(missing)
        return asked_s
