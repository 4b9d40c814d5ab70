"""Jobs: planned, created exactly once, looked at, steered, saved and found again."""

from ragtune.job.core import AsyncFineTuneJob
from ragtune.job.details import TERMINAL, Checkpoint, JobDetails, JobError
from ragtune.job.handle import FineTuneJob, list_jobs
from ragtune.job.table import JobTable

__all__ = [
    "TERMINAL",
    "AsyncFineTuneJob",
    "Checkpoint",
    "FineTuneJob",
    "JobDetails",
    "JobError",
    "JobTable",
    "list_jobs",
]
