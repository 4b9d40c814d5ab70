"""What a card says in numbers: estimates with their intervals, and differences between arms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ragtune._table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.evaluation.scores import ScorerFailure, Scores, Unanswered
    from ragtune.facts import Kind

__all__ = [
    "ArmUsage",
    "CellTable",
    "Difference",
    "DifferenceTable",
    "Estimate",
    "Figures",
    "ScoredCell",
    "p_text",
    "percent",
    "usage_of",
    "without_nan",
]

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean score over facts, with its 95 % interval.

    Attributes:
        mean: each fact counts once, with the mean of its wordings; NaN where no fact was scored.
        low: lower end of the interval (bootstrap over facts).
        high: upper end.
        n: facts.
        answers: answers that were scored.
        unanswered: answers that are missing, which count as wrong.
        is_share: whether the scorer gives shares, 0 to 1, so that percentages make sense.

    Example:
        ```python
        from ragtune.evaluation import Estimate

        print(Estimate(mean=0.7, low=0.6, high=0.8, n=60, answers=180, unanswered=0))
        #> 70% (60 to 80%, n=60)
        ```
    """

    mean: float
    low: float
    high: float
    n: int
    answers: int
    unanswered: int
    is_share: bool = True

    def __str__(self) -> str:
        if not self.is_share:
            return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g}, n={self.n})"
        return f"{percent(self.mean)}% ({percent(self.low)} to {percent(self.high)}%, n={self.n})"


@dataclass(frozen=True, kw_only=True)
class ScoredCell:
    """One cell of a card: an arm, a kind of wording, and what was measured there."""

    arm: str
    kind: Kind
    scorer: str
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much better one arm is than another on the same facts: the mean of the facts' differences.

    Attributes:
        name: what is compared, for example `tuned - base`.
        kind: the kind of wording, or what stands for it.
        value: first minus second; NaN where nothing can be compared.
        low: lower end of the 95 % interval (bootstrap over facts).
        high: upper end.
        p: two-sided, by McNemar's exact test where each fact is right or wrong, else by a permutation test; corrected
            by Holm's method for `comparisons`.
        n: facts that both answered.
        comparisons: how many comparisons `p` is corrected for.
        needed: facts that would show a difference of this size with a power of 80 %; None for no difference at all.
        is_share: whether the scorer gives shares, 0 to 1, so that percentage points make sense.

    Example:
        ```python
        from ragtune.evaluation import Difference

        less = Difference(name="tuned - base", kind="control", value=-0.03, low=-0.1, high=0.04, p=0.5, n=20)
        print(less.told, less)
        #> False tuned - base, control: -3 points (-10 to +4), p 0.50, n=20
        ```
    """

    name: str
    kind: str
    value: float
    low: float
    high: float
    p: float
    n: int
    comparisons: int = 1
    needed: int | None = None
    is_share: bool = True

    @property
    def told(self) -> bool:
        """Whether a difference can be told at all: the interval leaves out zero and `p` is below 0.05."""
        # Both: where few facts let them disagree, nothing is claimed.
        return self.p < ALPHA and (self.low > 0 or self.high < 0)

    @property
    def points(self) -> str:
        """Value and interval, of shares in percentage points."""
        if not self.is_share:
            return f"{self.value:+.3g} ({self.low:+.3g} to {self.high:+.3g})"
        value, low, high = (percent(share, sign=True) for share in (self.value, self.low, self.high))
        return f"{value} points ({low} to {high})"

    def __str__(self) -> str:
        return f"{self.name}, {self.kind}: {self.points}, p {p_text(self.p)}, n={self.n}"


@dataclass(frozen=True, kw_only=True)
class ArmUsage:
    """What the answers of one arm took. Totals are over the answers whose figure is known; None where none is.

    Attributes:
        arm: the arm.
        answers: answers that came.
        prompt_tokens: tokens of all prompts.
        completion_tokens: tokens of all answers.
        cost_usd: US dollars.
        median_s: median seconds until an answer came.
        slow_s: seconds that 95 % of the answers took at most.
    """

    arm: str
    answers: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    median_s: float | None
    slow_s: float | None


def usage_of(scores: Scores, index: int, arm: str) -> ArmUsage:
    """Return what the answers of one arm took, the one of this number."""
    rows = (scores.arm == index) & ~scores.unanswered
    known = {name: values[rows & ~np.isnan(values)] for name, values in scores.usage.items()}
    totals = {name: float(values.sum()) if len(values) else None for name, values in known.items()}
    seconds = known["latency_s"]
    return ArmUsage(
        arm=arm,
        answers=int(rows.sum()),
        prompt_tokens=None if totals["prompt_tokens"] is None else int(totals["prompt_tokens"]),
        completion_tokens=None if totals["completion_tokens"] is None else int(totals["completion_tokens"]),
        cost_usd=totals["cost_usd"],
        median_s=float(np.median(seconds)) if len(seconds) else None,
        slow_s=float(np.quantile(seconds, 0.95)) if len(seconds) else None,
    )


class CellTable(Table[ScoredCell]):
    """Cells as a table."""

    def columns(self) -> dict[str, list[object]]:
        """Return the columns."""
        return {
            "arm": [cell.arm for cell in self.rows],
            "kind": [cell.kind for cell in self.rows],
            "scorer": [cell.scorer for cell in self.rows],
            "mean": [cell.estimate.mean for cell in self.rows],
            "low": [cell.estimate.low for cell in self.rows],
            "high": [cell.estimate.high for cell in self.rows],
            "n": [cell.estimate.n for cell in self.rows],
            "answers": [cell.estimate.answers for cell in self.rows],
            "unanswered": [cell.estimate.unanswered for cell in self.rows],
        }


class DifferenceTable(Table[Difference]):
    """Differences as a table; `p` is corrected for all of them."""

    def columns(self) -> dict[str, list[object]]:
        """Return the columns."""
        return {
            "difference": [row.name for row in self.rows],
            "kind": [row.kind for row in self.rows],
            "value": [row.value for row in self.rows],
            "low": [row.low for row in self.rows],
            "high": [row.high for row in self.rows],
            "p": [row.p for row in self.rows],
            "n": [row.n for row in self.rows],
            "needed": [row.needed for row in self.rows],
        }


class Figures(Protocol):
    """All that a card can say, for those who put it into words and pictures."""

    @property
    def path(self) -> Path:
        """The log."""

    @property
    def scores(self) -> Scores:
        """The numbers of all answers."""

    @property
    def scorer(self) -> str:
        """The scorer that is shown."""

    @property
    def is_share(self) -> bool:
        """Whether its scores lie between 0 and 1."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Who was asked."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of wording."""

    @property
    def cells(self) -> CellTable:
        """Estimates by arm and kind."""

    @property
    def differences(self) -> DifferenceTable:
        """Differences between arms."""

    @property
    def lines(self) -> DifferenceTable:
        """What no cell shows."""

    @property
    def usage(self) -> tuple[ArmUsage, ...]:
        """Tokens, cost and latency."""

    @property
    def errors(self) -> tuple[Unanswered, ...]:
        """Questions without an answer."""

    @property
    def failures(self) -> tuple[ScorerFailure, ...]:
        """Answers that no scorer could judge."""


def percent(share: float, *, sign: bool = False) -> str:
    """Return a share as a whole percentage, rounded away from certainty: 99.7 % of a hundred is not 100 %."""
    if share != share:
        return "?"
    rounded = round(100 * share)
    # But for a hair that floats leave behind.
    if rounded in (0, 100, -100) and abs(100 * share - rounded) > 1e-9:
        text = f"{100 * share:.1f}"
        return f"{100 * share:+.1f}" if sign else text
    return f"{rounded:+d}" if sign and rounded else str(rounded)


def p_text(p: float) -> str:
    """Return a p-value as a person reads it."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def without_nan(value: object) -> object:
    """Return what JSON can hold: no number in the place of one that is none, texts as they are."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return [without_nan(inner) for inner in value] if isinstance(value, list | tuple) else value
