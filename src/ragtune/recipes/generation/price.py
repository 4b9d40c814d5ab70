"""What generating rows would cost, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune import catalog
from ragtune._checked import checked
from ragtune.recipes.generation.prompts import KINDS, prompt_of
from ragtune.recipes.generation.units import units_of
from ragtune.recipes.options import known, require_whole
from ragtune.tokens import counter_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ragtune.catalog import Catalog
    from ragtune.facts import FactSet
    from ragtune.recipes.generation.prompts import What

__all__ = ["GenerationCost", "generation_cost"]

# A question with its answer, as the list that is asked for writes them.
_TOKENS_PER_ROW = 40
_TOKENS_PER_VERDICT = 8
# OpenAI's frame of a chat with one message: 3 for the message, 1 for its role, 3 before the answer.
_TOKENS_PER_CALL = 7


@dataclass(frozen=True, kw_only=True)
class GenerationCost:
    """What it would cost to generate rows.

    Attributes:
        calls: requests at most: one for each fact or passage, and one for each row that a judge looks at.
        input_tokens: of all requests together.
        output_tokens: of the answers, at 40 tokens a row.
        usd: None where the price is unknown.
    """

    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None

    def __str__(self) -> str:
        price = "price unknown" if self.usd is None else f"about ${self.usd:,.4f}"
        return f"{self.calls:,} calls, {self.input_tokens:,} tokens asked, {self.output_tokens:,} answered, {price}"


@checked("source", "what")
def generation_cost(
    source: FactSet | Iterable[object],
    *,
    what: What,
    model: str,
    per_unit: int = 3,
    judge: bool = True,
    catalogue: Catalog | None = None,
) -> GenerationCost:
    """What `generate` would cost with the same arguments and an empty cache; nothing is sent.

    Example:
        ```python
        from ragtune.facts import demo_facts
        from ragtune.recipes import generation_cost

        print(generation_cost(demo_facts(), what="wordings", model="gpt-4o-mini-2024-07-18", judge=False).calls)
        #> 60
        ```

    Raises:
        DatasetError: there is nothing to write about.
    """
    known(what, KINDS, "what")
    require_whole("per_unit", per_unit, low=1, high=50)
    info = (catalogue or catalog.load()).find(model)
    units = units_of(what, source)
    # Of a model that the catalogue does not know the count is a guess of the right size.
    counter = counter_for((info.encoding if info else None) or "o200k_base")
    asked = counter.count_batch([prompt_of(what, unit, per_unit) for unit in units])
    judged = len(units) * per_unit if judge else 0
    tokens = sum(asked) + _TOKENS_PER_CALL * (len(units) + judged)
    # A verdict reads the passage or the fact once more.
    tokens += sum(asked) * per_unit if judge else 0
    answered = len(units) * per_unit * _TOKENS_PER_ROW + judged * _TOKENS_PER_VERDICT
    usd = None
    if info and info.input_usd_per_million is not None and info.output_usd_per_million is not None:
        usd = (tokens * info.input_usd_per_million + answered * info.output_usd_per_million) / 1e6
    return GenerationCost(calls=len(units) + judged, input_tokens=tokens, output_tokens=answered, usd=usd)
