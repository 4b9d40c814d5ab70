"""A job's events: oldest first, each once, read to the end of their pages."""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragtune._api.fields import identity, object_of, objects, text
from ragtune._api.times import moment
from ragtune._checked import checked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from ragtune._api import Api
    from ragtune._api.calls import Json

__all__ = ["EventReader", "JobEvent"]

logger = logging.getLogger("ragtune")

# Events arrive newest first, now and then out of order: only after so many known ones in a row the rest is known too.
KNOWN_IN_A_ROW = 100
# A server that does not know `after` sends the first page for ever.
STALE_PAGES = 3


@checked()
@dataclass(frozen=True, kw_only=True)
class JobEvent:
    """Something that happened to a job.

    Attributes:
        id: the server's name for it; where it gives none, one that is made of the event's content.
        created_at: when (UTC), None where the server does not say.
        level: info, warn or error.
        message: the server's words.
        type: message, metrics, or whatever else the server sends.
        data: numbers that come with it, for example of a training step.

    Example:
        ```python
        import ragtune as rt

        event = rt.JobEvent.from_wire({"id": "ftevent-1", "type": "metrics", "data": {"step": 1}})
        print(event.type, event.data["step"])
        #> metrics 1
        ```
    """

    id: str
    created_at: datetime | None = None
    level: str | None = None
    message: str = ""
    type: str | None = None
    data: Mapping[str, Any]

    @classmethod
    def from_wire(cls, body: Json) -> JobEvent:
        """Read the server's event object."""
        return cls(
            id=identity(body),
            created_at=moment(body.get("created_at")),
            level=text(body.get("level")),
            message=text(body.get("message")) or text(body.get("name")) or "",
            type=text(body.get("type")),
            data=object_of(body.get("data")),
        )

    def __str__(self) -> str:
        return f"{self.created_at:%H:%M:%S} {self.message}" if self.created_at else self.message


class EventReader:
    """Remembers which events were read, and reads the others.

    Args:
        api: the account.
        job_id: the job.
        after: id of the last event that is known already, or the ids of all of them; None to begin with the first.
    """

    def __init__(self, api: Api, job_id: str, *, after: str | Collection[str] | None = None) -> None:
        self._api = api
        self._job_id = job_id
        self._after = after if isinstance(after, str) else None
        self._known = frozenset() if after is None or isinstance(after, str) else frozenset(after)
        self._seen: set[str] = set()

    async def new(self, timeout_s: float) -> list[JobEvent]:
        """Return the events that were not returned before, oldest first.

        Args:
            timeout_s: seconds that the server may be silent, for each page.
        """
        fresh = in_order(await self._unseen(timeout_s))
        # Only now: an error on a later page must not make the earlier ones known without handing them on.
        self._seen.update(event.id for event in fresh)
        ids = [event.id for event in fresh]
        known = ids.index(self._after) + 1 if self._after in ids else 0
        if self._after is not None and not known:
            logger.warning("%s has no event %s, so all its events are handed out", self._job_id, self._after)
        # Once is enough: from now on `_seen` holds what lies behind it.
        self._after = None
        return [event for event in fresh[known:] if event.id not in self._known]

    async def _unseen(self, timeout_s: float) -> list[JobEvent]:
        """Return the unseen events, newest first, from pages that shift, repeat themselves or come out of order.

        The first read goes to the end of the list, after a restart too: what is not known then would later look new.
        """
        fresh: dict[str, JobEvent] = {}
        met: set[str] = set()
        known = stale = 0
        pages = self._api.pages("fine_tuning.jobs.list_events", timeout_s=timeout_s, fine_tuning_job_id=self._job_id)
        async with aclosing(pages):
            async for page in pages:
                stale += 1
                for body in objects(page.get("data")):
                    name = identity(body)
                    # Pages shift while events are added, so that one comes twice.
                    if name in met:
                        continue
                    met.add(name)
                    stale = 0
                    known = known + 1 if name in self._seen else 0
                    if known == KNOWN_IN_A_ROW:
                        return list(fresh.values())
                    if not known:
                        fresh[name] = JobEvent.from_wire(body)
                if stale == STALE_PAGES:
                    break
        return list(fresh.values())


def in_order(newest_first: list[JobEvent]) -> list[JobEvent]:
    """Return events oldest first; those of one second keep the server's order."""
    events = newest_first[::-1]
    times = [event.created_at for event in events if event.created_at is not None]
    # One without a time could stand anywhere among the others: the server's order is the better guess then.
    if len(times) == len(events):
        events.sort(key=lambda event: event.created_at or times[0])
    return events
