"""What a registry keeps of a scorecard: the figures that gates look at; the answers stay in the card's log."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from ragtune._checked import checked
from ragtune.errors import EvaluationError, RegistryError
from ragtune.evaluation.log import read_log
from ragtune.registry.bodies import held, reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.evaluation import Scorecard
    from ragtune.evaluation.card.figures import Difference, Estimate

__all__ = ["Interval", "ScoreSummary", "card_again"]

_BASE, _TUNED = "base", "tuned"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over facts with the ends of its 95 % interval.

    Attributes:
        mean: the mean.
        low: lower end.
        high: upper end.
        n: facts.
    """

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g}, n={self.n})"


@checked()
@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """The figures of one model on a card.

    Attributes:
        log: the log of the evaluation.
        facts: fingerprint of the facts that were asked for.
        scorer: the scorer whose figures they are.
        arm: the model's name on the card.
        kinds: its score by kind of wording.
        forgetting: base minus model on control questions, None where not both were asked.
        hallucination: share of unanswerable questions that it answered, None where none was asked.
        answer_usd: what one answer cost in US dollars, None where no price is known.
        is_share: whether the scorer gives shares, 0 to 1; a gate asks for shares.

    Example:
        ```python
        from ragtune.registry import Interval, ScoreSummary

        reworded = Interval(mean=0.8, low=0.7, high=0.9, n=60)
        print(ScoreSummary(log="eval.jsonl", facts="5f", scorer="contains", arm="tuned", kinds={"reworded": reworded}))
        #> contains: reworded 0.8 (0.7 to 0.9, n=60)
        ```
    """

    log: str
    facts: str
    scorer: str
    arm: str
    kinds: Mapping[str, Interval] = field(default_factory=dict)
    forgetting: Interval | None = None
    hallucination: Interval | None = None
    answer_usd: float | None = None
    is_share: bool = True

    def __str__(self) -> str:
        told = dict(self.kinds)
        told |= {"forgetting": self.forgetting} if self.forgetting else {}
        told |= {"hallucination": self.hallucination} if self.hallucination else {}
        return f"{self.scorer}: " + "; ".join(f"{name} {interval}" for name, interval in told.items())

    @classmethod
    def from_card(cls, card: Scorecard, *, model: str, arm: str | None = None) -> Self:
        """Take the figures of one model from a card.

        Raises:
            RegistryError: the card has no such arm, or the arm is another model.
        """
        arm = _arm(card, model, arm=arm)
        usage = next(used for used in card.usage if used.arm == arm)
        return cls(
            # Absolute: whoever reads the registry stands in another directory.
            log=str(card.path.absolute()),
            facts=card.scores.facts,
            scorer=card.scorer,
            arm=arm,
            kinds={kind: _interval(estimate) for kind, estimate in card[arm].items() if estimate.n},
            forgetting=_forgetting(card, arm),
            hallucination=_line(card, f"hallucinated: {arm}"),
            answer_usd=None if usage.cost_usd is None or not usage.answers else usage.cost_usd / usage.answers,
            is_share=card.is_share,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Raises:
            RegistryError: it is something else.
        """
        with reading("a model's scores"):
            kinds = {kind: held(Interval(**interval)) for kind, interval in body["kinds"].items()}
            further = {name: held(Interval(**body[name])) for name in ("forgetting", "hallucination") if body[name]}
            return held(cls(**{**body, "kinds": kinds, **further}))


def card_again(scores: ScoreSummary, *, model: str) -> Scorecard:
    """Read the card of some figures from its log again.

    Args:
        scores: the figures.
        model: whose they are.

    Raises:
        EvaluationError: the log is not there any more, or another evaluation stands in it by now.
    """
    from ragtune.evaluation import Scorecard

    card = Scorecard.load(scores.log, scorers=(scores.scorer,))
    told = _models(card).get(scores.arm)
    if card.scores.facts != scores.facts:
        raise EvaluationError(f"{scores.log} is the log of other facts by now")
    if scores.arm not in card.arms or told not in (None, model):
        raise EvaluationError(f"{scores.log} is the log of {told or 'others'} by now, not of {model}")
    # A function has no model's name; another one is told by its figures.
    means = {str(kind): found.mean for kind, found in card[scores.arm].items()}
    # To the last digit: the same answers, scored again, have the same mean.
    if told is None and any(means.get(kind) != was.mean for kind, was in scores.kinds.items()):
        raise EvaluationError(f"{scores.log} holds other figures by now than those of {model}")
    return card


def _arm(card: Scorecard, model: str, *, arm: str | None) -> str:
    """The arm that is the model.

    Raises:
        RegistryError: there is none.
    """
    told = _models(card)
    if arm is None:
        # Alone before with passages: what is promoted is the model, not the retrieval around it.
        alone = [name for name in card.arms if told.get(name) == model]
        arm = _TUNED if _TUNED in card.arms else next(iter(alone or card.arms), None)
    if arm not in card.arms:
        raise RegistryError(
            f"scorecard: {card.path} has no arm {arm!r}, only {', '.join(card.arms)}; name it with arm="
        )
    if told.get(arm) not in (None, model):
        raise RegistryError(
            f"scorecard: {arm!r} of {card.path} is {told[arm]!r}, not {model!r}; give the card of this model, or name "
            "its arm with arm="
        )
    return arm


def _models(card: Scorecard) -> dict[str, str | None]:
    """The model behind each arm, None for a function."""
    return {line["arm"]: line["identity"].get("model") for _, line in read_log(card.path) if line["type"] == "arm"}


def _interval(found: Estimate) -> Interval:
    return Interval(mean=found.mean, low=found.low, high=found.high, n=found.n)


def _line(card: Scorecard, name: str) -> Interval | None:
    return next((_of_difference(row) for row in card.lines if row.name == name), None)


def _of_difference(row: Difference) -> Interval:
    return Interval(mean=row.value, low=row.low, high=row.high, n=row.n)


def _forgetting(card: Scorecard, arm: str) -> Interval | None:
    if _BASE not in card.arms or arm == _BASE or "control" not in card.kinds:
        return None
    try:
        return _of_difference(card.difference(_BASE, arm, kind="control"))
    except EvaluationError:
        return None
