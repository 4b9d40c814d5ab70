"""The journal: what was bought, what it cost, what became of it; survives a crash and keeps money from going twice."""

from ragtune.journal.best_effort import note
from ragtune.journal.budget import Budget, dollars
from ragtune.journal.file import USERS, Journal, JournalArgument, runs
from ragtune.journal.recorder import Recorder
from ragtune.journal.rows import Run, RunTable, Spend, SpendTable, Upload, UploadTable

__all__ = [
    "USERS",
    "Budget",
    "Journal",
    "JournalArgument",
    "Recorder",
    "Run",
    "RunTable",
    "Spend",
    "SpendTable",
    "Upload",
    "UploadTable",
    "dollars",
    "note",
    "runs",
]
