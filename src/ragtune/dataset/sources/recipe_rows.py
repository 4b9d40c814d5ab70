"""Rows that a recipe makes of facts, and facts that are read from the rows of a builder."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ragtune.dataset.sources.readers import Source, batched_rows
from ragtune.errors import DatasetError
from ragtune.facts import FactSet
from ragtune.facts.columns import merged
from ragtune.facts.faults import refuse_faults
from ragtune.facts.jsonl import line_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ragtune.dataset.render.batches import Batch, SourceRow
    from ragtune.facts.columns import FactColumns, Repeats
    from ragtune.recipes import Recipe

__all__ = ["facts_of_rows", "recipe_source"]

NumberedRow = tuple[int, str, "SourceRow"]


def recipe_source(
    recipe: Recipe,
    facts: Callable[[], FactSet],
    held_out: FactSet | None,
    *,
    known: FactSet | None = None,
    of: tuple[Source, Sequence[Mapping[str, object]]] | None = None,
) -> Source:
    """The rows of a recipe.

    Args:
        recipe: makes them.
        facts: gives the facts whenever the rows are read.
        held_out: questions that no row asks, and that a build refuses wherever they stand.
        known: the facts, where they are known already.
        of: the source of rows that the facts are read from, and what its steps say of themselves.
    """

    def read() -> Iterator[Batch]:
        rows = recipe.rows(facts(), held_out=held_out)
        return batched_rows((row.to_dict() for row in rows), repr(recipe))

    details: dict[str, object] = {"kind": "facts", "recipe": recipe.to_dict(), "about": recipe.about}
    if known is not None:
        # Of the lines as `to_jsonl` writes them, so that a saved set can be held against the manifest.
        digest = hashlib.sha256(b"".join(map(line_of, known))).hexdigest()
        details |= {"facts": len(known), "facts_sha256": digest}
    if held_out is not None:
        details["held_out"] = sum(held_out.counts.values())
    return Source(
        name=repr(recipe),
        details=details,
        read=read,
        paths=() if of is None else of[0].paths,
        parts=() if of is None else (of,),
        told_by_recipe=True,
        held_out=() if held_out is None else (held_out,),
    )


def facts_of_rows(rows: Iterable[NumberedRow], columns: FactColumns, repeats: Repeats) -> FactSet:
    """The facts of rows that have a number and a place each.

    Raises:
        DatasetError: a column that is not there, no fact at all, or faults, see `FactSet`.
    """
    placed = ((place, columns.fact(row, place, f"row-{number}")) for number, place, row in rows)
    facts, places = merged(placed, repeats)
    if not facts:
        raise DatasetError("the filters leave no row, so there is no fact to make rows of; loosen them")
    refuse_faults(facts, places=places)
    return FactSet(facts=tuple(facts))
