"""What answers cost, and a limit that is not exceeded."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

from ragtune import catalog
from ragtune._ranges import make_numbers_plain
from ragtune.errors import EvaluationError

if TYPE_CHECKING:
    from ragtune.evaluation.asking.question import Prompt

__all__ = ["Price", "Purse", "check_payable", "check_prices"]

# Roles, separators and the like, per message; generous, since a limit must hold.
_FRAME_TOKENS = 16


@dataclass(frozen=True, kw_only=True)
class Price:
    """What asking costs, in US dollars.

    Attributes:
        input_usd_per_million: per million tokens of the prompt.
        output_usd_per_million: per million tokens of the answer.
        usd_per_question: for each question, whatever its length.

    Example:
        ```python
        from ragtune.evaluation import Price

        print(f"{Price(input_usd_per_million=0.3, output_usd_per_million=1.2).of(1000, 50):.6f}")
        #> 0.000360
        ```
    """

    input_usd_per_million: float = 0.0
    output_usd_per_million: float = 0.0
    usd_per_question: float = 0.0

    def __post_init__(self) -> None:
        make_numbers_plain(self)
        for one in fields(self):
            value: object = getattr(self, one.name)
            # Not nan either: every comparison with it is false, so that no limit would ever be reached.
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise EvaluationError(f"Price: {one.name}={value!r:.60} is no price; give US dollars, 0 or more")

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of one answer."""
        tokens = prompt_tokens * self.input_usd_per_million + completion_tokens * self.output_usd_per_million
        return self.usd_per_question + tokens / 1_000_000

    def charged(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        """Return the price of one answer whose tokens the server may not have counted; None where that is not known."""
        if not self.input_usd_per_million and not self.output_usd_per_million:
            return self.usd_per_question
        return None if prompt_tokens is None or completion_tokens is None else self.of(prompt_tokens, completion_tokens)

    def at_most(self, prompt: Prompt, max_tokens: int | None) -> float | None:
        """Return what an answer can cost at most; None where its length has no limit and a price.

        A token has at least one byte, so a prompt has no more tokens than bytes.
        """
        if max_tokens is None and self.output_usd_per_million:
            return None
        messages = 1 if isinstance(prompt, str) else len(prompt)
        # In bytes: a token stands for at least one of them, so that there are never more tokens.
        size = len(json.dumps(prompt, ensure_ascii=False).encode(errors="replace"))
        return self.of(size + _FRAME_TOKENS * messages, max_tokens or 0)


def known_price(model: str) -> Price | None:
    """Return what the catalogue knows of a tuned model, or of a base that nobody bills; None where it does not."""
    info = catalog.load().find(model)
    if info is None or info.input_usd_per_million is None or info.output_usd_per_million is None:
        return None
    # The catalogue holds prices of tuned models; a base of the same name costs something else, unless nothing.
    if not model.startswith("ft:") and info.input_usd_per_million + info.output_usd_per_million:
        return None
    return Price(input_usd_per_million=info.input_usd_per_million, output_usd_per_million=info.output_usd_per_million)


class Purse:
    """Money that is spent by many at once and never beyond its limit.

    Args:
        limit_usd: US dollars; None for no limit.
        spent_usd: what earlier runs of the same log spent.
    """

    def __init__(self, limit_usd: float | None, *, spent_usd: float = 0.0) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self._reserved = 0.0
        self._lock = threading.Lock()

    def reserve(self, usd: float) -> bool:
        """Lay aside what an answer can cost at most; False where that is not there."""
        with self._lock:
            # What is under way counts in full: eight answers at once must not each find the same last cent.
            if self.limit_usd is not None and self.spent_usd + self._reserved + usd > self.limit_usd:
                return False
            self._reserved += usd
            return True

    def settle(self, reserved_usd: float, usd: float) -> None:
        """Pay what an answer did cost and free the rest."""
        with self._lock:
            self._reserved -= reserved_usd
            self.spent_usd += usd


def check_prices(prices: object, arms: Mapping[str, object]) -> dict[str, Price]:
    """Return prices by name of the arm.

    Raises:
        EvaluationError: a name belongs to no arm, or a price is none.
    """
    if not isinstance(prices, Mapping):
        raise EvaluationError(f"prices={prices!r:.60}: give a dict of names and ragtune.evaluation.Price(...)")
    for name, price in prices.items():
        if name not in arms:
            message = f"prices: nobody is named {name!r}; there are {', '.join(arms)}"
            raise EvaluationError(message)
        if not isinstance(price, Price):
            message = f"prices: {name!r} is {price!r}; give a ragtune.evaluation.Price(input_usd_per_million=...)"
            raise EvaluationError(message)
    return dict(prices)


class Payable(Protocol):
    """Whoever is paid."""

    @property
    def price(self) -> Price | None:
        """What asking costs, None where that is not known."""

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of an answer, None where there is no limit."""


def check_payable(name: str, asked: Payable, *, limit_usd: float, way_out: str) -> None:
    """Refuse a limit that cannot be kept.

    Args:
        name: who is asked.
        asked: the same.
        limit_usd: what may be spent.
        way_out: how a price is given.

    Raises:
        EvaluationError: nobody knows what an answer can cost at most.
    """
    if asked.price is None:
        unknown, more = "its price is not known", ""
    elif asked.price.at_most("", asked.max_tokens) is None:
        unknown, more = "its answers have no longest length", ", or max_tokens="
    else:
        return
    raise EvaluationError(f"max_cost_usd={limit_usd:g} cannot be kept for {name!r}: {unknown}; give {way_out}{more}")
