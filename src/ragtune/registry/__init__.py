"""The registry: which models there are, which of them an alias leads to, and by whose decision."""

from __future__ import annotations

from ragtune.registry.gate import Gate
from ragtune.registry.ledger import Ledger
from ragtune.registry.lineage import (
    Coverage,
    CoverageTable,
    LedgerFact,
    LedgerTable,
    Removal,
    TaughtRow,
    Training,
)
from ragtune.registry.promotion import Check, Promotion, PromotionTable
from ragtune.registry.registry import AsyncRegistry, Registry
from ragtune.registry.scores import Interval, ScoreSummary
from ragtune.registry.version import ModelVersion, ModelVersionTable

__all__ = [
    "AsyncRegistry",
    "Check",
    "Coverage",
    "CoverageTable",
    "Gate",
    "Interval",
    "Ledger",
    "LedgerFact",
    "LedgerTable",
    "ModelVersion",
    "ModelVersionTable",
    "Promotion",
    "PromotionTable",
    "Registry",
    "Removal",
    "ScoreSummary",
    "TaughtRow",
    "Training",
]
