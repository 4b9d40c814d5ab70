"""From facts to rows: named, versioned recipes, each with what it buys."""

from __future__ import annotations

from ragtune.recipes.generation import Diversity, Generated, GenerationCost, diversity, generate, generation_cost
from ragtune.recipes.hold_out import hold_out
from ragtune.recipes.preview import RecipePreview
from ragtune.recipes.recipe import RECIPES, Recipe
from ragtune.recipes.row import RecipeRow

__all__ = [
    "RECIPES",
    "Diversity",
    "Generated",
    "GenerationCost",
    "Recipe",
    "RecipePreview",
    "RecipeRow",
    "diversity",
    "generate",
    "generation_cost",
    "hold_out",
]
