"""Leaving a server and arriving at another: what there is, what is kept, what it said, what comes after."""

from ragtune.migration.archive import Archive, create_archive
from ragtune.migration.comparison import Comparison
from ragtune.migration.golden import Golden, record, record_async
from ragtune.migration.inventory import Holding, Inventory
from ragtune.migration.questions import GoldenQuestion, Questions
from ragtune.migration.replay_job import replay, replay_async
from ragtune.migration.side_by_side import compare, compare_async
from ragtune.migration.store.archived import ArchivedJob, Verification
from ragtune.migration.wires.hosted import HostedJob
from ragtune.migration.wires.translate import Translation, translated

__all__ = [
    "Archive",
    "ArchivedJob",
    "Comparison",
    "Golden",
    "GoldenQuestion",
    "Holding",
    "HostedJob",
    "Inventory",
    "Questions",
    "Translation",
    "Verification",
    "compare",
    "compare_async",
    "create_archive",
    "record",
    "record_async",
    "replay",
    "replay_async",
    "translated",
]
