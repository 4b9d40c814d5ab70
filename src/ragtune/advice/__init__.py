"""When should knowledge leave retrieval? Arithmetic over documents, prices and accuracies, each with its source."""

from ragtune.advice.assumptions import Assumption, Assumptions, AssumptionTable, Prices
from ragtune.advice.core import Advice, GroupTable, advise
from ragtune.advice.corpus import Snapshot
from ragtune.advice.group import GroupAdvice

__all__ = [
    "Advice",
    "Assumption",
    "AssumptionTable",
    "Assumptions",
    "GroupAdvice",
    "GroupTable",
    "Prices",
    "Snapshot",
    "advise",
]
