"""Jobs as a table, whichever face they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ragtune._table import Table

if TYPE_CHECKING:
    from ragtune.job.details import JobDetails

__all__ = ["JobTable"]


class HasDetails(Protocol):
    """What a row needs: a handle of either kind has it."""

    @property
    def details(self) -> JobDetails:
        """The job as it was when it was last looked at."""


Job = TypeVar("Job", bound=HasDetails)


@dataclass(frozen=True, kw_only=True)
class JobTable(Table[Job], Generic[Job]):
    """Jobs as a table; rows are job handles, newest first.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        with LocalBackend("fresh") as backend:
            print(list(rt.list_jobs(backend.client()).to_pandas().columns)[:3])
            #> ['Job ID', 'Created At', 'Status']
        ```
    """

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        jobs = [job.details for job in self.rows]
        return {
            "Job ID": [job.id for job in jobs],
            "Created At": [job.created_at for job in jobs],
            "Status": [job.status for job in jobs],
            "Model": [job.model for job in jobs],
            "Training File": [job.training_file for job in jobs],
            "Error Message": [job.error.message if job.error else None for job in jobs],
            "Fine-Tuned Model": [job.fine_tuned_model for job in jobs],
        }
