"""Jobs: planned, created exactly once, looked at, steered, saved and found again."""

from ragtune._table import Table
from ragtune.job.core import AsyncFineTuneJob, JobTable
from ragtune.job.details import TERMINAL, Checkpoint, JobDetails, JobError
from ragtune.job.handle import FineTuneJob, list_jobs

__all__ = [
    "TERMINAL",
    "AsyncFineTuneJob",
    "Checkpoint",
    "FineTuneJob",
    "JobDetails",
    "JobError",
    "JobTable",
    "Table",
    "list_jobs",
]
