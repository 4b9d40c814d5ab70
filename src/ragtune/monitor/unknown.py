"""States of a job that nobody knows: were one an end, waiting for it would have none."""

from __future__ import annotations

import logging

from ragtune.job.details import KNOWN_STATUSES

__all__ = ["UnknownStates"]

logger = logging.getLogger("ragtune")


class UnknownStates:
    """Says each of them once for each job of one watch."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def tell(self, job_id: str, status: str) -> None:
        """Warn of a state that is none of OpenAI's."""
        if status in KNOWN_STATUSES or (job_id, status) in self._told:
            return
        self._told.add((job_id, status))
        logger.warning(
            "%s is %r, a state that ragtune does not know and takes for going on; if it is an end, say so: "
            "rt.FineTuneJob.get(client, %r, dialect=Dialect(name=..., statuses={%r: 'succeeded'}, source=...))",
            job_id,
            status,
            job_id,
            status,
        )
