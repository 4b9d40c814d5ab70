"""What a judge said of two arms: wins, ties, its own bias, and how often a person agrees with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ragtune._checked import checked
from ragtune.errors import EvaluationError
from ragtune.evaluation.card.figures import p_text
from ragtune.evaluation.statistics import intervals, mcnemar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ragtune.evaluation.log import Line

__all__ = ["Judgement", "Verdict", "judgement_of"]

Verdict = Literal["first", "second", "tie", "neither"]


@checked("verdict")
@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a judge said of two arms, question by question.

    Each pair was shown in both orders. A verdict counts for an arm only where both orders agree on it; where they do
    not, it is a tie, and counts against the judge's consistency.

    Attributes:
        first: an arm.
        second: the other one.
        verdicts: by fact and number of the wording: `first`, `second`, `tie`, or `neither` where the judge did not say.
        consistent: share of the judged pairs on which both orders agree; None where nothing was judged.
        first_place: share of all single verdicts for an answer that name the one shown first. A half is no bias; None
            where there is no verdict for either.
        win_rate: mean over facts, a win 1 and a tie a half, for the first arm; NaN where nothing was judged.
        low: lower end of its 95 % bootstrap interval over facts.
        high: upper end.
        p: two-sided, of wins against losses by the exact sign test, which is McNemar's.
        cost_usd: US dollars that these verdicts cost; None where no price is known.

    Example:
        ```python
        from ragtune.evaluation import Judgement

        said = Judgement(
            first="tuned", second="base", verdicts={("lake", 0): "first"}, consistent=1.0, first_place=0.5,
            win_rate=1.0, low=0.025, high=1.0, p=1.0,
        )
        print(said.agreement({("lake", 0): "first"}))
        #> (1.0, None)
        ```
    """

    first: str
    second: str
    verdicts: Mapping[tuple[str, int], Verdict] = field(repr=False)
    consistent: float | None
    first_place: float | None
    win_rate: float
    low: float
    high: float
    p: float
    cost_usd: float | None = None

    def count(self, verdict: Verdict) -> int:
        """Return how many pairs got a verdict."""
        return sum(said == verdict for said in self.verdicts.values())

    def agreement(self, labels: Mapping[tuple[str, int], Verdict]) -> tuple[float, float | None]:
        """Return how often a person's labels agree with the judge, and Cohen's kappa (None where it is undefined).

        Args:
            labels: `first`, `second` or `tie` by fact and number of the wording, as a person sees it.

        Raises:
            EvaluationError: the judge said nothing about any of them.
        """
        pairs = [(said, label) for place, label in labels.items() if (said := self.verdicts.get(place)) is not None]
        if not pairs:
            raise EvaluationError("labels: none is of a pair that was judged; name fact and number of the wording")
        agreed = sum(said == label for said, label in pairs) / len(pairs)
        judged, labelled = map(Counter, zip(*pairs, strict=True))
        chance = sum(judged[verdict] * labelled[verdict] for verdict in judged) / len(pairs) ** 2
        # Where both always say one and the same, kappa is nothing by nothing.
        return agreed, None if chance == 1 else (agreed - chance) / (1 - chance)

    def __str__(self) -> str:
        wins, losses, ties, neither = (self.count(verdict) for verdict in get_args(Verdict))
        lines = [f"{self.first} against {self.second}: {wins} won, {losses} lost, {ties} tied, {neither} not judged"]
        rate, low, high = (100 * share for share in (self.win_rate, self.low, self.high))
        if self.consistent is not None:
            lines.append(
                f"win rate {rate:.0f}% ({low:.0f} to {high:.0f}%), p {p_text(self.p)}; "
                f"both orders agree on {100 * self.consistent:.0f}%"
            )
        if self.first_place is not None:
            lines.append(
                f"the answer shown first won {100 * self.first_place:.0f}% of single verdicts (50% is no bias)"
            )
        return "\n".join(lines)


def judgement_of(lines: Iterable[Line], *, first: str, second: str, seed: int) -> Judgement:
    """Return what verdicts say together; of two on one showing the later one counts.

    Args:
        lines: of the log, each a verdict of one judge with one prompt.
        first: an arm.
        second: the other one.
        seed: of the bootstrap.
    """
    single: dict[tuple[str, int], dict[bool, Verdict]] = {}
    costs: list[float] = []
    for line in lines:
        single.setdefault((line["fact"], line["wording"]), {})[line["turned"]] = line["verdict"]
        costs += [] if line.get("cost_usd") is None else [line["cost_usd"]]
    both = {place: said for place, said in single.items() if len(said) == 2 and "neither" not in said.values()}
    verdicts: dict[tuple[str, int], Verdict] = dict.fromkeys(single, "neither")
    # A judge that takes whatever stands first has no opinion on the answers: that is a tie, not half a win.
    for place, said in both.items():
        verdicts[place] = said[False] if said[False] == said[True] else "tie"
    every = [(turned, said) for orders in single.values() for turned, said in orders.items()]
    chosen = [(turned, said) for turned, said in every if said in ("first", "second")]
    # Turned round, it is the second arm's answer that stood first.
    shown_first = sum((said == "second") == turned for turned, said in chosen)
    won = Counter(verdicts.values())
    win_rate, low, high = _win_rate(verdicts, seed)
    return Judgement(
        first=first,
        second=second,
        verdicts=verdicts,
        consistent=sum(said[False] == said[True] for said in both.values()) / len(both) if both else None,
        first_place=shown_first / len(chosen) if chosen else None,
        win_rate=win_rate,
        low=low,
        high=high,
        p=mcnemar(won["first"], won["second"]),
        cost_usd=sum(costs) if costs else None,
    )


def _win_rate(verdicts: Mapping[tuple[str, int], Verdict], seed: int) -> tuple[float, float, float]:
    points = {"first": 1.0, "tie": 0.5, "second": 0.0}
    by_fact: dict[str, list[float]] = {}
    # Sorted, since the same verdicts in another order of the log must give the same interval.
    for (fact, _), verdict in sorted(verdicts.items()):
        if verdict != "neither":
            by_fact.setdefault(fact, []).append(points[verdict])
    if not by_fact:
        return (float("nan"),) * 3
    means = np.array([[float(np.mean(scores))] for scores in by_fact.values()])
    low, high = intervals(means, seed=seed, span=(0.0, 1.0))
    return float(means.mean()), float(low[0]), float(high[0])
