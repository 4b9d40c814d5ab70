"""Rows by a model: asked, checked against the passage, kept, and paid for once."""

from __future__ import annotations

from ragtune.recipes.generation.diversity import Diversity, diversity
from ragtune.recipes.generation.generate import Generated, generate
from ragtune.recipes.generation.price import GenerationCost, generation_cost

__all__ = ["Diversity", "Generated", "GenerationCost", "diversity", "generate", "generation_cost"]
