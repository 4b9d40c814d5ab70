"""What a model must have shown before an alias may lead to it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from ragtune._checked import checked
from ragtune.errors import EvaluationError, RegistryError
from ragtune.evaluation.statistics import intervals
from ragtune.registry.promotion import Check
from ragtune.registry.scores import card_again

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from ragtune.evaluation import Scorecard
    from ragtune.registry.scores import Interval, ScoreSummary
    from ragtune.registry.version import ModelVersion

__all__ = ["Gate"]

_KINDS = {"verbatim_at_least": "verbatim", "reworded_at_least": "reworded", "reversed_at_least": "reversed"}
_DOLLARS = ("training_usd_at_most", "answer_usd_at_most")
_DIFFERENCES = ("gain_at_least", "forgetting_at_most")
_COMPARED = "reworded"


@checked()
@dataclass(frozen=True, kw_only=True)
class Gate:
    """Conditions of a promotion. Each looks at the end of the 95 % interval that is worse for the model, so that few
    facts are no luck: 9 of 10 right answers may be a model that knows 60 %.

    Args:
        verbatim_at_least: lower end of the score on the trained questions.
        reworded_at_least: lower end of the score on questions in other words.
        reversed_at_least: lower end of the score on questions from the answer back.
        gain_at_least: lower end of how much better it is on reworded questions than the model that holds the alias;
            0.0 is surely not worse, -0.05 at most five points worse. Passes where none holds it.
        forgetting_at_most: upper end of base minus model on control questions.
        hallucination_at_most: upper end of the share of unanswerable questions that it answers.
        training_usd_at_most: what its training cost, in US dollars.
        answer_usd_at_most: what one answer of the evaluation cost, in US dollars.

    Raises:
        RegistryError: no condition, or one that is no number, or a share that is none.

    Example:
        ```python
        import ragtune as rt

        print(rt.Gate(reworded_at_least=0.7, forgetting_at_most=0.05))
        #> reworded_at_least=0.7, forgetting_at_most=0.05
        ```
    """

    verbatim_at_least: float | None = None
    reworded_at_least: float | None = None
    reversed_at_least: float | None = None
    gain_at_least: float | None = None
    forgetting_at_most: float | None = None
    hallucination_at_most: float | None = None
    training_usd_at_most: float | None = None
    answer_usd_at_most: float | None = None

    def __post_init__(self) -> None:
        given: dict[str, object] = dict(self.conditions)
        for name, limit in given.items():
            # To Python `True` is a number; as a limit it would be a slip for a switch.
            if isinstance(limit, bool) or not isinstance(limit, Real) or not _finite(limit):
                raise RegistryError(f"Gate: {name}={limit!r:.60} is no number; give a limit, or None to leave it out")
            if name in _DOLLARS and limit < 0:
                raise RegistryError(f"Gate: {name}={limit!r:.60} is below 0, which nothing costs; give US dollars")
            # A difference may be below 0: so much worse is still borne.
            if name not in _DOLLARS and not (-1.0 if name in _DIFFERENCES else 0.0) <= float(limit) <= 1.0:
                span = "-1 to 1" if name in _DIFFERENCES else "0 to 1"
                raise RegistryError(f"Gate: {name}={limit!r:.60} is a share, from {span}; 70 % is 0.7")
        if not self.conditions:
            known = ", ".join(one.name for one in fields(self))
            raise RegistryError(f"Gate: no condition, so everything would pass; give one of {known}, or gate=None")

    @property
    def conditions(self) -> dict[str, float]:
        """The limits that are set, by name."""
        limits: dict[str, float | None] = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name}={limit:g}" for name, limit in self.conditions.items())

    def checks(self, version: ModelVersion, current: ModelVersion | None = None) -> tuple[Check, ...]:
        """Hold all conditions against a model.

        Args:
            version: the model that is to be promoted.
            current: the model that holds the alias, None where none does.
        """
        return tuple(
            self._check(name, float(limit), version=version, current=current) for name, limit in self.conditions.items()
        )

    def _check(self, name: str, limit: float, *, version: ModelVersion, current: ModelVersion | None) -> Check:
        # The first model of an alias has nobody to be better than, and must be able to take it.
        if name == "gain_at_least" and current is None:
            return Check(name=name, limit=limit, value=None, passed=True, basis="no model holds the alias yet")
        value, basis = _gain(version, current) if name == "gain_at_least" and current else _measured(name, version)
        least = name.endswith("_at_least")
        passed = None if value is None else value >= limit if least else value <= limit
        return Check(name=name, limit=limit, value=value, passed=passed, basis=basis)


def _finite(limit: Real) -> bool:
    try:
        return math.isfinite(limit)
    # A whole number that no float holds.
    except OverflowError:
        return False


def _measured(name: str, version: ModelVersion) -> tuple[float | None, str]:
    """The figure that a condition looks at, and what it is."""
    # Before the scorecard is missed: what training cost is known without one.
    if name == "training_usd_at_most":
        return version.cost_usd, f"US dollars, {version.cost_source or 'not known: give add(..., cost_usd=...)'}"
    scores = version.scores
    if scores is None:
        return None, "it has no scorecard"
    if name == "answer_usd_at_most":
        known = "US dollars for an answer of the evaluation"
        return scores.answer_usd, known if scores.answer_usd is not None else "no price of an answer is known"
    if name in _KINDS and not scores.is_share:
        beyond = f"{scores.scorer!r} gives numbers beyond 0 to 1, of which no share can be asked"
        return None, f"{beyond}; add a card of another scorer"
    if name in _KINDS:
        return _end(scores.kinds.get(_KINDS[name]), _KINDS[name], lower=True, scores=scores)
    what = name.removesuffix("_at_most")
    kind = {"forgetting": "control", "hallucination": "unanswerable"}[what]
    return _end(getattr(scores, what), kind, lower=False, scores=scores)


def _end(found: Interval | None, kind: str, *, lower: bool, scores: ScoreSummary) -> tuple[float | None, str]:
    if found is None:
        asked = ", ".join(scores.kinds) or "nothing"
        base = " of the base as well" if kind == "control" else ""
        return None, f"the scorecard holds no {kind} questions (it holds {asked}); ask them{base}"
    if lower:
        return found.low, f"lower end on {kind} questions, {found}"
    return found.high, f"upper end on {kind} questions, {found}"


def _gain(version: ModelVersion, current: ModelVersion) -> tuple[float | None, str]:
    new, old = version.scores, current.scores
    if new is None or old is None:
        return None, f"{(version if new is None else current).name} has no scorecard"
    # Figures of other facts differ by the facts alone.
    if new.facts != old.facts or new.scorer != old.scorer:
        return None, f"{current.name} was measured on other facts or by another scorer; evaluate both on the same facts"
    here, there = new.kinds.get(_COMPARED), old.kinds.get(_COMPARED)
    if here is None or there is None:
        return None, f"not both were asked {_COMPARED} questions"
    try:
        low, facts = _paired((version.name, new), (current.name, old))
        return low, f"lower end of the difference to {current.name} on {_COMPARED} questions, fact by fact, n={facts}"
    except (EvaluationError, KeyError, ValueError) as error:
        # Without the way out behind the semicolon, which is for whoever reads a card.
        why = str(error).partition(";")[0] if isinstance(error, EvaluationError) else "a log is of another scorer"
    # Stricter than the paired difference, never more lenient: what cannot be paired must be clearer to pass.
    return here.low - there.high, (
        f"distance of the intervals of both on {_COMPARED} questions, for facts cannot be paired ({why}): {here} "
        f"against {there} of {current.name}"
    )


def _paired(new: tuple[str, ScoreSummary], old: tuple[str, ScoreSummary]) -> tuple[float, int]:
    """The lower end of the facts' differences and how many facts there are.

    Raises:
        EvaluationError: a log is not there any more, or no log of that model.
    """
    # From the logs: a summary holds no single facts, and fact by fact a difference shows with fewer of them.
    cards = [(card_again(summary, model=name), summary.arm) for name, summary in (new, old)]
    first, second = (dict(_per_fact(card, arm)) for card, arm in cards)
    # A fact that only one of the two was asked says nothing of a difference.
    shared = [fact for fact in first if fact in second]
    if not shared:
        raise EvaluationError("no fact is in both logs")
    differences_F: npt.NDArray[np.float64] = np.array([first[fact] - second[fact] for fact in shared])
    # A score that is no share has no ends that anybody knows.
    span = (-1.0, 1.0) if all(card.is_share for card, _ in cards) else None
    # The card's own seed: the same two logs pass or fail the same gate every time.
    low, _ = intervals(differences_F[:, None], seed=cards[0][0].seed, span=span)
    return float(low[0]), len(shared)


def _per_fact(card: Scorecard, arm: str) -> Iterator[tuple[str, float]]:
    values = card.scores.per_fact(card.scorer, arm, _COMPARED)
    for fact, value in zip(card.scores.fact_ids, values, strict=True):
        if value == value:  # NaN: the fact was not asked so
            yield fact, float(value)
