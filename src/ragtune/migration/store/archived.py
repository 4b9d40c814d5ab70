"""What an archive tells: of a job, and of itself when it is read anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.job import Checkpoint, JobDetails
    from ragtune.monitor import JobEvent

__all__ = ["PARTS", "ArchivedJob", "Verification", "lost_parts"]

# What a job's content holds beside the job, each a list of its own on the server.
PARTS = ("events", "checkpoints")


def lost_parts(said: Mapping[str, object]) -> tuple[str, ...]:
    """Which parts of a job's content the server did not give: a reason stands in the place of the list."""
    return tuple(f"{part}: {said[part]}" for part in PARTS if isinstance(said.get(part), str))


@dataclass(frozen=True, kw_only=True)
class ArchivedJob:
    """A job as it was when it was archived.

    Attributes:
        details: what the server said of it, hyperparameters as it had chosen them.
        events: what happened to it, oldest first.
        checkpoints: models along the way, oldest first.
        system: the constant system prompt of its data, as metadata or journal kept it; None where neither did.
        lost: what of it the server did not give, and why.

    Example:
        ```python
        from ragtune import JobDetails
        from ragtune.migration import ArchivedJob

        details = JobDetails.from_wire({"id": "ftjob-1", "status": "succeeded", "model": "m"})
        print(ArchivedJob(details=details).details.model)
        #> m
        ```
    """

    details: JobDetails
    events: tuple[JobEvent, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    system: str | None = None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of reading an archive anew.

    Attributes:
        checked: contents that were read.
        bytes: how much that was.
        problems: what is missing, changed or cut off; nothing where all is as it was written.
        lost: what the server did not give when the archive was made.

    Example:
        ```python
        from ragtune.migration import Verification

        print(Verification(checked=2, bytes=1200, problems=(), lost=()))
        #> 2 contents (1,200 bytes) are as they were written
        ```
    """

    checked: int
    bytes: int
    problems: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the archive is whole and as it was written; what the server never gave is no fault of it."""
        return not self.problems

    def __str__(self) -> str:
        head = f"{self.checked:,} contents ({self.bytes:,} bytes) "
        head += "are as they were written" if self.ok else f"were read, problems: {len(self.problems)}"
        lost = [f"never given by the server: {one}" for one in self.lost]
        return "\n".join([head, *self.problems, *lost])
