"""Recipes put together: one after the other, or in the order in which facts are best learned."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from ragtune.errors import DatasetError
from ragtune.recipes.options import require_share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.recipes.row import Material, RecipeRow

__all__ = ["Order", "Sum"]


# A protocol and not the class itself: `recipe`, where that stands, imports this module.
class Part(Protocol):
    """What is put together: `ragtune.Recipe` is one."""

    def rows_of(self, material: Material) -> Iterator[RecipeRow]:
        """Its rows."""


# Options are held to the name in their annotation, and errors tell it: what users have is a `Recipe`.
Recipe = Part


@dataclass(frozen=True, kw_only=True)
class Sum:
    """`sum`: the rows of several recipes, one recipe after the other; `one + other` makes it.

    Attributes:
        recipes: the parts.
    """

    recipes: tuple[Recipe, ...] = ()

    name: ClassVar[str] = "sum"
    version: ClassVar[int] = 1
    about: ClassVar[str] = "the rows of its recipes, one recipe after the other"
    scale: ClassVar[tuple[str, int] | None] = None

    def __post_init__(self) -> None:
        _require_parts(self.recipes)

    def rows(self, material: Material) -> Iterator[RecipeRow]:
        """The rows of each part; one that is a share of the others counts those before it."""
        before = 0
        for recipe in self.recipes:
            for row in recipe.rows_of(replace(material, rows_before=before)):
                before += 1
                yield row


@dataclass(frozen=True, kw_only=True)
class Order:
    """`order`: question and answer first, so that the model knows how facts are asked for; then documents; then the
    rest of all, mixed; facts that the model knew already come last.

    The order holds where training keeps the order of rows: a server that shuffles undoes it. All rows are held in
    memory.

    Attributes:
        recipes: what is put in order.
        first: share of the question rows that come before the documents; the rest is mixed behind them.
        known: ids of facts that the base model knows; their rows stand at the end and undo what new facts loosen.
        seed: decides which come first, and how the rest is mixed.
    """

    recipes: tuple[Recipe, ...] = ()
    first: float = 0.5
    known: tuple[str, ...] = ()
    seed: int = 0

    name: ClassVar[str] = "order"
    version: ClassVar[int] = 1
    about: ClassVar[str] = "questions first, then documents, then mixed, known facts last"
    scale: ClassVar[tuple[str, int] | None] = None

    def __post_init__(self) -> None:
        _require_parts(self.recipes)
        require_share("first", self.first)

    def rows(self, material: Material) -> Iterator[RecipeRow]:
        """All rows of the parts, once each."""
        rows = list(Sum(recipes=self.recipes).rows(material))
        # A word before the seed: parts of one recipe that are given the same seed draw differently from each other.
        chance = random.Random(f"order {self.seed}")
        known = frozenset(self.known)
        last = [row for row in rows if row.fact_id in known]
        documents = [row for row in rows if row.fact_id not in known and row.wording.startswith("document")]
        asked = [row for row in rows if row.fact_id not in known and not row.wording.startswith("document")]
        # Drawn over all questions and read in their order, so that within each stretch a part's own order is kept.
        opening = set(chance.sample(range(len(asked)), round(self.first * len(asked))))
        yield from (row for place, row in enumerate(asked) if place in opening)
        # The documents come first by themselves, and each once: what is mixed behind them are questions alone, unless
        # there are further copies of a document.
        yield from (row for row in documents if row.wording == "document-1")
        mixed = [row for place, row in enumerate(asked) if place not in opening]
        mixed += [row for row in documents if row.wording != "document-1"]
        chance.shuffle(mixed)
        yield from mixed
        yield from last


def _require_parts(recipes: tuple[Recipe, ...]) -> None:
    if not recipes:
        raise DatasetError("recipes is empty; give the recipes that are put together")
