"""From rows to checked, split and priced training files."""

from __future__ import annotations

from ragtune.dataset.audit import FactAudit, FactCounts
from ragtune.dataset.builder import DatasetBuilder
from ragtune.dataset.dataset import Dataset
from ragtune.dataset.near import NearDuplicate, near_duplicates
from ragtune.dataset.overlap import FieldOverlap, Overlap
from ragtune.dataset.preview import Preview
from ragtune.dataset.report import DatasetReport
from ragtune.dataset.split import Split
from ragtune.dataset.splits import normalise

__all__ = [
    "Dataset",
    "DatasetBuilder",
    "DatasetReport",
    "FactAudit",
    "FactCounts",
    "FieldOverlap",
    "NearDuplicate",
    "Overlap",
    "Preview",
    "Split",
    "near_duplicates",
    "normalise",
]
