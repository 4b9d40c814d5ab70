"""Maintenance: what an account holds, and a guarded way to put it away."""

from ragtune.maintenance.cleanup import CleanedUp, CleanupItem, CleanupPlan, CleanupResult
from ragtune.maintenance.core import AsyncMaintenance
from ragtune.maintenance.handle import Maintenance
from ragtune.maintenance.tables import Deleted, FileTable, ListedModel, ModelTable

__all__ = [
    "AsyncMaintenance",
    "CleanedUp",
    "CleanupItem",
    "CleanupPlan",
    "CleanupResult",
    "Deleted",
    "FileTable",
    "ListedModel",
    "Maintenance",
    "ModelTable",
]
