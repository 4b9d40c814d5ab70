"""The journal: what was bought, what it cost, what became of it; survives a crash and keeps money from going twice."""

from ragtune.journal.budget import Budget
from ragtune.journal.file import USERS, Journal, JournalArgument, runs
from ragtune.journal.rows import Run, RunTable, Spend, SpendTable, Upload, UploadTable

__all__ = [
    "USERS",
    "Budget",
    "Journal",
    "JournalArgument",
    "Run",
    "RunTable",
    "Spend",
    "SpendTable",
    "Upload",
    "UploadTable",
    "runs",
]
