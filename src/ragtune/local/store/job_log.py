"""What a server's owner hears of its jobs while they go: each message of a job, and of its steps every tenth."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragtune.local.store.schema import NewEvent

__all__ = ["JobLog"]

logger = logging.getLogger("ragtune")


class JobLog:
    """Writes lines to the log `ragtune`."""

    def __init__(self) -> None:
        self._tenths: dict[str, int] = {}

    def tell(self, job_id: str, event: NewEvent) -> None:
        """Write a line about an event, unless it is a step between two tenths of the way."""
        facts: dict[str, object] = {"event": event.type, "job": job_id}
        if event.type == "metrics":
            data = event.data or {}
            planned = data.get("total_steps")
            step, total = int(event.step or 0), planned if isinstance(planned, int) else 0
            tenth = 10 * step // total if total else 0
            if tenth == self._tenths.get(job_id, 0) and step != total:
                return
            self._tenths[job_id] = tenth
            facts |= {"step": step, "total_steps": total, "train_loss": data.get("train_loss")}
        ended = "failed: " if event.level == "error" else ""
        level = logging.INFO if event.level == "info" else logging.WARNING
        logger.log(level, "job %s: %s%s", job_id, ended, event.message, extra={"facts": facts})
