"""How many tokens a dataset has, and what training on it costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from ragtune._checked import checked
from ragtune.catalog import base_of
from ragtune.errors import SpecError
from ragtune.limits import AUTO_EPOCHS, MAX_AUTO_EPOCHS, MAX_AUTO_EXAMPLES, MAX_EPOCHS, MIN_AUTO_EXAMPLES
from ragtune.modelling import auto as backend
from ragtune.modelling.bases import BASES, find_base

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from ragtune.catalog import ModelInfo
    from ragtune.modelling.forecast import Forecast

__all__ = ["CostEstimate", "auto_epochs"]


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """What training would cost, and what that figure rests on.

    Attributes:
        model: the base model.
        tokens: tokens of the training file, each example cut at the training context.
        epochs: passes over the file.
        billed_tokens: tokens times epochs; validation is not billed.
        usd: price in US dollars; None when the price is unknown.
        source: where the price comes from, None when it is unknown.
        as_of: day on which the price was looked up, None when it is unknown.
        assumptions: what the figure leaves out or takes for granted.
        forecast: how long training takes on this machine and how much memory it needs, for a base that is here; else
            None.

    Example:
        ```python
        from ragtune import CostEstimate

        estimate = CostEstimate(model="m", tokens=1000, epochs=3, billed_tokens=3000, usd=None)
        print(estimate)
        #> m: 1,000 tokens x 3 epochs = 3,000 tokens, price unknown
        ```
    """

    model: str
    tokens: int
    epochs: int
    billed_tokens: int
    usd: float | None
    source: str | None = None
    as_of: dt.date | None = None
    assumptions: tuple[str, ...] = ()
    forecast: Forecast | None = None

    def __str__(self) -> str:
        epochs = f"{self.epochs} epoch{'' if self.epochs == 1 else 's'}"
        line = f"{self.model}: {self.tokens:,} tokens x {epochs} = {self.billed_tokens:,} tokens, {self._price()}"
        here = [] if self.forecast is None else [f"on this machine at rest: {self.forecast}"]
        notes = [f"  {note}" for note in (*here, *self.assumptions)]
        return "\n".join([line, *notes])

    def _price(self) -> str:
        if self.usd is None:
            return "price unknown"
        amount = f"${self.usd:,.2f}" if self.usd >= 0.01 or self.usd == 0 else f"${self.usd:.4f}"
        return f"{amount} (as of {self.as_of}, {self.source})"


@checked()
def auto_epochs(examples: int) -> int:
    """The epochs that `"auto"` is expected to become at OpenAI: its cookbook's rule (the server's own is unpublished).

    Three passes, more when the file has few examples, fewer when it has very many.
    """
    # The division below would fail; that nothing can be trained on is told by the check.
    if examples == 0:
        return AUTO_EPOCHS
    if examples * AUTO_EPOCHS < MIN_AUTO_EXAMPLES:
        return min(MAX_AUTO_EPOCHS, MIN_AUTO_EXAMPLES // examples)
    if examples * AUTO_EPOCHS > MAX_AUTO_EXAMPLES:
        return max(1, MAX_AUTO_EXAMPLES // examples)
    return AUTO_EPOCHS


def estimate(
    model: str,
    info: ModelInfo | None,
    counts: Sequence[int],
    n_epochs: int | Literal["auto"],
    *,
    batch_size: int | Literal["auto"] = "auto",
    embedded: bool | None = None,
) -> CostEstimate:
    """The price of training on examples with these token counts.

    Args:
        model: the base model.
        info: what the catalogue knows about it.
        counts: tokens per example.
        n_epochs: 1 to 50, or `"auto"`.
        batch_size: examples per step; the embedded backend trains small files for more epochs, the larger it is.
        embedded: whether the embedded backend trains, whose rule for `"auto"` is known; None tells by the base's name.

    Raises:
        SpecError: the epochs are neither `"auto"` nor a whole number from 1 to 50.
    """
    is_count = isinstance(n_epochs, int) and not isinstance(n_epochs, bool)
    if n_epochs != "auto" and not (is_count and 1 <= n_epochs <= MAX_EPOCHS):
        raise SpecError(f"n_epochs={n_epochs!r} must be 'auto' or a whole number from 1 to {MAX_EPOCHS}")
    notes = []
    if n_epochs != "auto":
        epochs = int(n_epochs)
    elif base_of(model) in BASES if embedded is None else embedded:
        epochs = backend.auto_epochs(max(len(counts), 1), _batch_size(batch_size, len(counts)))
    else:
        notes.append("epochs by the cookbook's rule for 'auto'; the server may choose otherwise")
        epochs = auto_epochs(len(counts))
    limit = info.training_context if info else None
    # The server cuts an example at the training context and bills what it trains on.
    tokens = sum(counts) if limit is None else sum(min(count, limit) for count in counts)
    if limit is not None and (cut := sum(count > limit for count in counts)):
        notes.append(f"{cut} example(s) longer than the training context of {limit:,} tokens are cut there")
    if info is None or info.encoding is None:
        notes.append("counted in o200k_base: the encoding of this model is not in the catalogue")
    notes.append("tools, tool calls and images are outside this count")
    billed = tokens * epochs
    price = info.training_usd_per_million if info else None
    return CostEstimate(
        model=model,
        tokens=tokens,
        epochs=epochs,
        billed_tokens=billed,
        usd=None if price is None else billed * price / 1_000_000,
        source=info.source if info and price is not None else None,
        as_of=info.as_of if info and price is not None else None,
        assumptions=tuple(notes),
    )


def _batch_size(asked: int | Literal["auto"], examples: int) -> int:
    return backend.auto_batch_size(examples) if asked == "auto" else asked


def foretold(
    estimate: CostEstimate,
    counts: Sequence[int],
    *,
    batch_size: int | Literal["auto"] = "auto",
    method: Literal["supervised", "dpo", "kto"] = "supervised",
) -> CostEstimate:
    """The estimate with how long the training takes on this machine, where its base and the extra `local` are here."""
    folder = find_base(base_of(estimate.model))
    if folder is None or not counts or find_spec("torch") is None:
        return estimate
    # Placing asks torch, which takes seconds to load.
    from ragtune.modelling.forecast import ModelSize, Workload, forecast
    from ragtune.modelling.hardware.machine import this_machine
    from ragtune.modelling.hardware.placement import place

    work = Workload.of(
        counts,
        labelled=sum(counts),  # which tokens the loss looks at, only the base's own tokens tell: at most all of them
        n_epochs=estimate.epochs,
        batch_size=_batch_size(batch_size, len(counts)),
        method=method,
    )
    size = ModelSize.read(folder)
    placement = place(this_machine(), parameters=size.parameters)
    return replace(estimate, forecast=forecast(size, work, placement))
