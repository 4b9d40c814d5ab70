"""Facts: the unit that is taught, asked and counted, with every wording of its question."""

from __future__ import annotations

from ragtune.facts.demo import demo_facts
from ragtune.facts.fact import KINDS, Fact, Kind, Wording
from ragtune.facts.fact_set import FactSet

__all__ = ["KINDS", "Fact", "FactSet", "Kind", "Wording", "demo_facts"]
