"""Every rule about a training file, checked before anything is uploaded."""

from __future__ import annotations

from ragtune.checks.check import check_file
from ragtune.checks.legacy import REPAIRS
from ragtune.checks.opening.training_file import open_training_file
from ragtune.checks.problems import Problem, Severity
from ragtune.checks.report import CheckReport, CheckStats
from ragtune.limits import MAX_FILE_BYTES, MIN_EXAMPLES

__all__ = [
    "MAX_FILE_BYTES",
    "MIN_EXAMPLES",
    "REPAIRS",
    "CheckReport",
    "CheckStats",
    "Problem",
    "Severity",
    "check_file",
    "open_training_file",
]
