"""From rows to checked, split and priced training files."""

from __future__ import annotations

from ragtune.dataset.builder import DatasetBuilder
from ragtune.dataset.dataset import Dataset
from ragtune.dataset.deduplicate import DuplicatePair
from ragtune.dataset.leakage.near_duplicates import NearDuplicate, near_duplicates
from ragtune.dataset.leakage.overlap import FieldOverlap, Overlap
from ragtune.dataset.report.audit import FactAudit, FactCounts
from ragtune.dataset.report.preview import Preview
from ragtune.dataset.report.report import DatasetReport
from ragtune.dataset.split import Split
from ragtune.text import normalise

__all__ = [
    "Dataset",
    "DatasetBuilder",
    "DatasetReport",
    "DuplicatePair",
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
