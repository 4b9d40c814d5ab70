"""What the server asks of whoever brings its jobs to an end."""

from __future__ import annotations

from typing import Protocol

__all__ = ["JobRunner"]


class JobRunner(Protocol):
    """Lets the jobs of a store go on. All decisions are read from the store and written to it.

    `ragtune.local.runner.queue.Queue` trains them; the scripted backend has one that plays them.
    """

    def start(self) -> None:
        """Take up work, first of all the jobs that were running when the server last ended."""
        ...

    def wake(self) -> None:
        """Hear that a job was made or changed."""
        ...

    def stop(self, timeout_s: float) -> None:
        """Stop at a point from which jobs can go on; after `timeout_s` seconds without waiting for it."""
        ...
