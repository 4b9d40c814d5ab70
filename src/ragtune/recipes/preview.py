"""What a recipe would make: rows, tokens, price."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol

from ragtune import catalog
from ragtune.cost import CostEstimate, estimate
from ragtune.errors import DatasetError
from ragtune.tokens import RecordCounter, counter_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ragtune.catalog import Catalog, Encoding
    from ragtune.recipes.row import RecipeRow

__all__ = ["RecipePreview", "preview"]

# Rows that are counted at a time: a preview of a million holds no more of them.
_AT_ONCE = 1_024
_SAMPLES = 5


class _Named(Protocol):
    @property
    def about(self) -> str:
        """What it buys."""


@dataclass(frozen=True, kw_only=True)
class RecipePreview:
    """What a recipe would make of facts.

    Attributes:
        recipe: how it is called, with its options.
        about: what it buys.
        rows: how many rows there would be.
        facts: how many facts they teach.
        wordings: how many rows there would be of each wording.
        cost: their tokens as chat records of one question and one answer, and what training on them costs.
        samples: the first rows.
    """

    recipe: str
    about: str
    rows: int
    facts: int
    wordings: Mapping[str, int]
    cost: CostEstimate
    samples: tuple[RecipeRow, ...] = ()

    def __str__(self) -> str:
        wordings = ", ".join(f"{number:,} {name}" for name, number in self.wordings.items())
        return "\n".join(
            [
                f"{self.recipe}: {self.about}",
                f"  {self.rows:,} rows of {self.facts:,} facts: {wordings}",
                *(f"  {line}" for line in str(self.cost).splitlines()),
            ]
        )


def preview(
    recipe: _Named,
    rows: Iterable[RecipeRow],
    *,
    model: str,
    n_epochs: int | Literal["auto"],
    system: str | None,
    catalogue: Catalog | None,
) -> RecipePreview:
    """Make the rows and count them; none of them is kept.

    Raises:
        DatasetError: there is no row.
        SpecError: the epochs are out of range.
    """
    info = (catalogue or catalog.load()).find(model)
    encoding: Encoding = (info.encoding if info else None) or "o200k_base"
    counter = RecordCounter(counter_for(encoding))
    facts: set[str] = set()
    wordings: dict[str, int] = {}
    tokens: list[int] = []
    samples: tuple[RecipeRow, ...] = ()
    iterator = iter(rows)
    while batch := list(islice(iterator, _AT_ONCE)):
        samples = samples or tuple(batch[:_SAMPLES])
        tokens += counter.count([_record(row, system) for row in batch])
        facts.update(row.fact_id for row in batch)
        for row in batch:
            wordings[row.wording] = wordings.get(row.wording, 0) + 1
    if not tokens:
        raise DatasetError(nothing_made(recipe))
    return RecipePreview(
        recipe=repr(recipe),
        about=recipe.about,
        rows=len(tokens),
        facts=len(facts),
        wordings=wordings,
        cost=estimate(model, info, tokens, n_epochs),
        samples=samples,
    )


def nothing_made(recipe: object) -> str:
    """The message about a recipe that makes no row of its facts."""
    return (
        f"{recipe!r} makes no row of these facts; look whether they have what it needs: answers and questions that are "
        f"not held out, passages (document_rows, raft), unanswerable questions (abstain)"
    )


def _record(row: RecipeRow, system: str | None) -> dict[str, object]:
    said = [] if system is None else [{"role": "system", "content": system}]
    return {
        "messages": [
            *said,
            {"role": "user", "content": row.question},
            {"role": "assistant", "content": row.answer},
        ]
    }
