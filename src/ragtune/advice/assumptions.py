"""What the arithmetic takes for granted: each number with its source and the day it was read, or your own."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from ragtune._table import Table
from ragtune.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Assumption", "AssumptionTable", "Assumptions", "Prices"]

_READ = dt.date(2026, 11, 26)
_MAP = "list price in litellm's model map"
_YOURS = "set it: nobody else knows it"
_SHARES = frozenset({"cached_share", "routed_share", "batch_discount", "stale_share"})


class Provenance(NamedTuple):
    """Where a default comes from."""

    text: str
    as_of: dt.date | None = None


def _default(value: float | None, source: str, *, as_of: dt.date | None = None) -> Any:
    return field(default=value, metadata={"source": Provenance(source, as_of)})


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What both ways cost, in US dollars; None is unknown, and what depends on it stays unknown.

    The defaults set a small current model that reads passages beside a tuned gpt-4o-mini. List prices grow old: give
    those of your contract.

    Attributes:
        input_usd_per_million: prompt tokens of the model that reads passages.
        cached_input_usd_per_million: prompt tokens that it has cached.
        output_usd_per_million: its answer tokens.
        tuned_input_usd_per_million: prompt tokens of the tuned model.
        tuned_output_usd_per_million: its answer tokens.
        training_usd_per_million: training tokens.
        embedding_usd_per_million: tokens that are embedded.
        storage_usd_per_gb_month: a gigabyte of vectors and texts for a month.

    Example:
        ```python
        from ragtune.advice import Prices

        print(Prices(tuned_input_usd_per_million=0.0, tuned_output_usd_per_million=0.0).training_usd_per_million)
        #> 3.0
        ```
    """

    input_usd_per_million: float | None = _default(0.10, f"{_MAP}: gpt-6-luna", as_of=_READ)
    cached_input_usd_per_million: float | None = _default(None, "not found for gpt-6-luna", as_of=_READ)
    output_usd_per_million: float | None = _default(0.50, f"{_MAP}: gpt-6-luna", as_of=_READ)
    tuned_input_usd_per_million: float | None = _default(0.30, f"{_MAP}: ft:gpt-4o-mini-2024-07-18", as_of=_READ)
    tuned_output_usd_per_million: float | None = _default(1.20, f"{_MAP}: ft:gpt-4o-mini-2024-07-18", as_of=_READ)
    training_usd_per_million: float | None = _default(3.0, "two packages' tables: gpt-4o-mini-2024-07-18", as_of=_READ)
    embedding_usd_per_million: float | None = _default(
        0.02, "openrouter.ai/openai/text-embedding-3-small, price of OpenAI", as_of=_READ
    )
    storage_usd_per_gb_month: float | None = _default(
        0.33, "pinecone.io/pricing, plan Standard, as transcribed by api-evangelist", as_of=dt.date(2026, 10, 7)
    )

    def __post_init__(self) -> None:
        _refuse_wrong_numbers(self)


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Everything else that decides and that documents cannot tell.

    Attributes:
        question_tokens: of a question.
        answer_tokens: of an answer.
        system_tokens: of the system prompt beside passages.
        tuned_system_tokens: of the tuned model's system prompt.
        reasoning_tokens: that the model which reads passages thinks before it answers.
        passages: that are put before a question.
        chunk_tokens: most tokens of a passage.
        cached_share: of the system prompt that is cached.
        batch_discount: share of the price that batches save, on both sides.
        routed_share: of the tuned model's questions that go to retrieval after all.
        retrieval_usd_per_question: of one search.
        vector_dimensions: of an embedding, four bytes each.
        augmentation: tokens of training rows per token of a document.
        epochs: of the training.
        evaluation_usd: per refresh.
        review_usd: per refresh; the hours of people are the dearest part of most.
        hosting_usd_per_month: of the tuned model.
        stale_share: of the documents that may have changed since the training.
        static_after_months: without a change, by revision dates, from which on a document counts as static.
        most_refreshes_per_month: trainings that you would run.
        changed_per_month: share of the documents that change in a month; None measures it.
        wrong_answer_usd: what a wrong answer costs you.
        retrieval_accuracy: share of right answers with passages; a scorecard's figure comes before it.
        tuned_accuracy: of the tuned model alone.
        both_accuracy: of the tuned model with passages; None advises `both` to nobody.

    Example:
        ```python
        from ragtune.advice import Assumptions

        print(Assumptions(wrong_answer_usd=2.0).passages)
        #> 3.0
        ```
    """

    question_tokens: float = _default(20, "a short question in English")
    answer_tokens: float = _default(50, "two sentences in English")
    system_tokens: float = _default(60, "four sentences of instructions")
    tuned_system_tokens: float = _default(10, "a tuned model needs fewer instructions")
    reasoning_tokens: float = _default(0, "none; a model that thinks may need hundreds")
    passages: float = _default(3, "three to five are usual")
    chunk_tokens: float = _default(800, "OpenAI's default for file search", as_of=_READ)
    cached_share: float = _default(0.0, "nothing cached; caching makes retrieval cheaper")
    batch_discount: float = _default(0.0, "no batches")
    routed_share: float = _default(0.0, "no question is passed on")
    retrieval_usd_per_question: float = _default(0.0, "a search in your own process, such as BM25, is billed by nobody")
    vector_dimensions: float = _default(1536, "text-embedding-3-small", as_of=_READ)
    augmentation: float = _default(5.0, "SDFT, arXiv 2601.19897: rows of five times the source's tokens")
    epochs: float = _default(3, "two or three to begin with; stop on reworded questions")
    evaluation_usd: float = _default(0.0, _YOURS)
    review_usd: float = _default(0.0, _YOURS)
    hosting_usd_per_month: float = _default(0.0, "billed by tokens only; some servers bill a tuned model by the minute")
    stale_share: float = _default(0.05, "one document in twenty may be out of date")
    static_after_months: float = _default(12.0, "a year without a change")
    most_refreshes_per_month: float = _default(1.0, "one training a month")
    changed_per_month: float | None = _default(None, "measured, where documents tell")
    wrong_answer_usd: float = _default(0.01, _YOURS)
    retrieval_accuracy: float | None = _default(
        0.875,
        "published, other documents and model: Ovadia et al., arXiv 2312.05934, Mistral 7B",
        as_of=dt.date(2024, 1, 30),
    )
    tuned_accuracy: float | None = _default(
        0.6475,
        "published, other facts: FineTuneBench, arXiv 2411.05059, gpt-4o-mini, reworded",
        as_of=dt.date(2024, 11, 7),
    )
    both_accuracy: float | None = _default(
        None,
        "measure it: published effects go both ways (arXiv 2409.07431: 2.25 points; arXiv 2403.10131: -18.5)",
    )

    def __post_init__(self) -> None:
        _refuse_wrong_numbers(self)
        for name in ("passages", "chunk_tokens", "stale_share", "most_refreshes_per_month", "static_after_months"):
            if getattr(self, name) == 0:
                raise SpecError(f"{name}=0: give a number above 0; nothing could be divided by it")


def _refuse_wrong_numbers(own: Prices | Assumptions) -> None:
    for item in fields(own):
        value = getattr(own, item.name)
        # Where a price is unknown, what depends on it stays unknown; every other number has to be there.
        optional = item.default is None or "usd_per_million" in item.name or "usd_per_gb" in item.name
        if value is None and not optional and "accuracy" not in item.name:
            raise SpecError(f"{item.name}=None: give a number; {item.default} unless you say otherwise")
        if value is None:
            continue
        try:
            number = math.nan if isinstance(value, bool | str) else float(value)
        # Too large for a float, too.
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        share = item.name in _SHARES or "accuracy" in item.name
        if not 0 <= number < math.inf or (share and number > 1):
            takes = "a share from 0 to 1" if share else "a number, 0 or more"
            raise SpecError(f"{item.name}={value!r:.60}: give {takes}")
        object.__setattr__(own, item.name, number)


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """One number that the arithmetic used.

    Attributes:
        name: of `Prices`, `Assumptions`, or what was measured.
        value: None where it is unknown.
        source: where it comes from.
        as_of: the day on which it was read there.

    Example:
        ```python
        import ragtune as rt

        advice = rt.advise(["Moss grows in damp shade."], queries_per_month=1_000)
        print(advice.assumptions[0].name, advice.assumptions[0].value, advice.assumptions[0].as_of)
        #> input_usd_per_million 0.1 2026-11-26
        ```
    """

    name: str
    value: float | None
    source: str
    as_of: dt.date | None = None


class AssumptionTable(Table[Assumption]):
    """All numbers that the arithmetic used, with their sources."""

    def columns(self) -> dict[str, list[object]]:
        """Return the columns."""
        return {
            "assumption": [row.name for row in self.rows],
            "value": ["unknown" if row.value is None else f"{row.value:,.6g}" for row in self.rows],
            "source": [row.source for row in self.rows],
            "read": [row.as_of for row in self.rows],
        }


def listed(prices: Prices, assumptions: Assumptions, measured: Mapping[str, tuple[float, str]]) -> AssumptionTable:
    """Everything that was assumed; what a scorecard measured stands in the place of what was published."""
    rows = []
    for own in (prices, assumptions):
        for item in fields(own):
            value, source = getattr(own, item.name), item.metadata["source"]
            if item.name in measured:
                value, source = measured[item.name][0], Provenance(measured[item.name][1])
            elif value != item.default:
                source = Provenance("given by you")
            rows.append(Assumption(name=item.name, value=value, source=source.text, as_of=source.as_of))
    return AssumptionTable(rows=tuple(rows))
