"""A job's events: oldest first, each once, read to the end of their pages."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragtune._api.times import moment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ragtune._api import Api
    from ragtune._api.calls import Json

__all__ = ["EventReader", "JobEvent"]

# Events arrive newest first, now and then out of order: only after so many known ones in a row the rest is known too.
_KNOWN_IN_A_ROW = 100


@dataclass(frozen=True, kw_only=True)
class JobEvent:
    """Something that happened to a job.

    Attributes:
        id: the server's name for it.
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
            id=body["id"],
            created_at=moment(body.get("created_at")),
            level=body.get("level"),
            message=body.get("message") or "",
            type=body.get("type"),
            data=body.get("data") or {},
        )

    def __str__(self) -> str:
        return f"{self.created_at:%H:%M:%S} {self.message}" if self.created_at else self.message


class EventReader:
    """Remembers which events were read, and reads the others.

    Args:
        api: the account.
        job_id: the job.
        after: id of the last event that is known already, None to begin with the first.
    """

    def __init__(self, api: Api, job_id: str, *, after: str | None = None) -> None:
        self._api = api
        self._job_id = job_id
        self._after = after
        self._seen: set[str] = set()

    async def new(self) -> list[JobEvent]:
        """Return the events that were not returned before, oldest first."""
        fresh: list[JobEvent] = []
        ids: list[str] = []
        in_a_row = 0
        async with aclosing(self._api.events(self._job_id)) as events:
            async for body in events:
                event = JobEvent.from_wire(body)
                if event.id == self._after:
                    break
                in_a_row = in_a_row + 1 if event.id in self._seen else 0
                if in_a_row >= _KNOWN_IN_A_ROW:
                    break
                if event.id not in self._seen:
                    ids.append(event.id)
                    fresh.append(event)
        # Only now: an error on a later page must not make the earlier ones known without handing them on.
        self._seen.update(ids)
        fresh.reverse()
        times = [event.created_at for event in fresh if event.created_at is not None]
        if len(times) == len(fresh):
            # Stable, so that events of one second keep the server's order.
            fresh.sort(key=lambda event: event.created_at or times[0])
        return fresh
