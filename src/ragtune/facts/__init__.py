"""Facts: the unit that is taught, asked and counted, with every wording of its question."""

from __future__ import annotations

from ragtune.facts.fact import KINDS, Fact, FactSet, Kind, Wording

__all__ = ["KINDS", "Fact", "FactSet", "Kind", "Wording"]
