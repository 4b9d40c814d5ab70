"""What people say about answers: kept in one file, and turned into the next training rows."""

from __future__ import annotations

from ragtune.feedback.compiling import Compiled, Disagreement, Doubt, compile_rows
from ragtune.feedback.imports import Imported
from ragtune.feedback.results import FeedbackCounts, Learned, Suggestion, Withdrawal
from ragtune.feedback.rows import Feedback, FeedbackTable
from ragtune.feedback.store import FeedbackStore

__all__ = [
    "Compiled",
    "Disagreement",
    "Doubt",
    "Feedback",
    "FeedbackCounts",
    "FeedbackStore",
    "FeedbackTable",
    "Imported",
    "Learned",
    "Suggestion",
    "Withdrawal",
    "compile_rows",
]
