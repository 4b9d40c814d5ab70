"""What a base model knows before anything is trained, fact by fact."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ragtune._table import Table
from ragtune.errors import EvaluationError
from ragtune.evaluation.card.figures import percent
from ragtune.facts import FactSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from ragtune.evaluation.scores import Scores

__all__ = ["FactKnowledge", "Knowledge", "ProbeResult", "read_knowledge"]

Knowledge = Literal["known", "maybe", "unknown"]
# Scorers that give shares call an answer right from here on.
_RIGHT = 0.5


@dataclass(frozen=True, kw_only=True)
class FactKnowledge:
    """What the base knows of one fact.

    Attributes:
        id: the fact.
        knowledge: `known`, `maybe` or `unknown`; None where answers are missing.
        greedy: share of its wordings that were answered right at temperature 0.
        sampled: share of right answers among the samples above temperature 0; None without any.
        answers: answers that came.
    """

    id: str
    knowledge: Knowledge | None
    greedy: float
    sampled: float | None
    answers: int


@dataclass(frozen=True, kw_only=True)
class ProbeResult(Table[FactKnowledge]):
    """What a base knows, as `rt.probe` found it.

    The categories are those of Gekhman et al. (2024, arXiv:2405.05904), who sample a model's answers: *known* is a fact
    that is right at temperature 0 whichever way it is asked, *unknown* one that no sample gets right, and *maybe* is
    everything between, where the paper tells MaybeKnown (right at temperature 0 in some prompts) from WeaklyKnown
    (right only above temperature 0); `greedy` and `sampled` of each row tell these apart as well. Its prompts are
    different examples before one question; here they are the wordings of a fact.

    Attributes:
        rows: a row for each fact, in the order of the set.
        facts: the facts that were asked for.
        path: the log of all answers.
        scorer: by what an answer counts as right.
        samples: how often each question was asked.

    Example:
        ```python
        import ragtune as rt
        from ragtune.facts import Fact, FactSet, Wording

        facts = FactSet(facts=tuple(
            Fact(id=f"sum-{n}", answers=(str(n + 9),), wordings=(Wording(question=f"What is {n} + 9?"),))
            for n in range(1, 5)
        ))
        found = rt.probe(lambda question: "10" if "1" in question else "I do not know.", facts, samples=2)
        print([fact.id for fact in found.known], len(found.select("unknown", "maybe")))
        #> ['sum-1'] 3
        ```
    """

    facts: FactSet
    path: Path
    scorer: str
    samples: int

    @cached_property
    def known(self) -> FactSet:
        """Facts that training need not teach."""
        return self.select("known")

    @cached_property
    def maybe(self) -> FactSet:
        """Facts that the base has met and does not always bring up."""
        return self.select("maybe")

    @cached_property
    def unknown(self) -> FactSet:
        """Facts that are new to the base."""
        return self.select("unknown")

    @cached_property
    def unanswered(self) -> FactSet:
        """Facts of which answers are missing; the same call with the same log asks for these alone."""
        return self._with(None)

    def select(self, *knowledge: Knowledge) -> FactSet:
        """Return the facts of some categories, in their order.

        Raises:
            EvaluationError: there is no such category.
        """
        for word in knowledge:
            if word not in get_args(Knowledge):
                message = f"select: {word!r:.60} is not one of {', '.join(get_args(Knowledge))}"
                raise EvaluationError(message)
        return self._with(*knowledge)

    def _with(self, *knowledge: Knowledge | None) -> FactSet:
        return FactSet(facts=tuple(self.facts[row.id] for row in self.rows if row.knowledge in knowledge))

    @property
    def share(self) -> dict[Knowledge, float]:
        """The share of each category among the facts whose answers are all there; NaN where there are none."""
        found = [row.knowledge for row in self.rows if row.knowledge is not None]
        return {word: found.count(word) / len(found) if found else np.nan for word in get_args(Knowledge)}

    @property
    def sentence(self) -> str:
        """The shares, and what they mean for a training."""
        counts = {word: len(self.select(word)) for word in get_args(Knowledge)}
        share = self.share
        told = ", ".join(f"{counts[word]} {word} ({percent(share[word])}%)" for word in get_args(Knowledge))
        missing = f"; answers are missing for {len(self.unanswered)}" if len(self.unanswered) else ""
        return f"Of {len(self.rows)} facts: {told}{missing}. {_meaning(share)}"

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Fact": [row.id for row in self.rows],
            "Question": [self.facts[row.id].wordings[0].question for row in self.rows],
            "Knowledge": [row.knowledge for row in self.rows],
            "Greedy": [row.greedy for row in self.rows],
            "Sampled": [row.sampled for row in self.rows],
            "Answers": [row.answers for row in self.rows],
        }

    def to_json(self) -> str:
        """Return everything as JSON."""
        counts = {word: len(self.select(word)) for word in get_args(Knowledge)}
        said = {
            "sentence": self.sentence,
            "scorer": self.scorer,
            "samples": self.samples,
            "counts": counts | {"unanswered": len(self.unanswered)},
            "facts": [asdict(row) for row in self.rows],
        }
        return json.dumps(said, ensure_ascii=False, indent=1)

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.sentence}"


def _meaning(share: dict[Knowledge, float]) -> str:
    # NaN: no fact has all its answers.
    if share["unknown"] != share["unknown"]:
        return "Nothing can be said yet; the same call with the same log asks again"
    if share["known"] > 0.5:
        return "Most need no training: train on select('maybe', 'unknown'), and keep some known ones to measure losses"
    if share["unknown"] > 0.5:
        return (
            "Most are new to the base, which learns them late and then answers more of what it does not know: give "
            "each several wordings, stop early, and measure unanswerable questions"
        )
    return "Train on select('maybe', 'unknown'); the unknown ones need several wordings each"


def read_knowledge(
    scores: Scores, facts: FactSet, *, greedy: str, arms: tuple[str, ...], scorer: str, wordings: dict[str, int]
) -> Iterator[FactKnowledge]:
    """Sort facts by the answers of a log.

    Args:
        scores: the numbers of the log.
        facts: the facts, in the order of the result.
        greedy: the arm that was asked at temperature 0.
        arms: all arms of the probe; the log may hold others.
        scorer: by what an answer counts as right.
        wordings: how many wordings of each fact were asked.

    Raises:
        EvaluationError: the scorer gives numbers that are no shares.
    """
    number_of = {fact_id: number for number, fact_id in enumerate(scores.fact_ids)}
    # -1 is nobody's number: an arm may not have answered at all.
    first = scores.arms.index(greedy) if greedy in scores.arms else -1
    ours = np.isin(scores.arm, [scores.arms.index(arm) for arm in arms if arm in scores.arms])
    values = scores.columns[scorer] if len(scores.arm) else np.zeros(0)
    here = ours & ~scores.unanswered & ~np.isnan(values)
    if odd := [value for value in values[here].tolist() if not 0 <= value <= 1]:
        raise EvaluationError(
            f"scorer: {scorer!r} gave {odd[0]:g}; a probe takes true and false, or shares from 0 to 1, of which a half "
            "is right"
        )
    right = here & (np.nan_to_num(values) >= _RIGHT)

    def per_fact(chosen: npt.NDArray[np.bool_]) -> list[int]:
        counts: list[int] = np.bincount(scores.fact[chosen], minlength=len(number_of)).tolist()
        return counts

    at_first = scores.arm == first
    counts = [per_fact(rows) for rows in (here & at_first, right & at_first, here & ~at_first, right & ~at_first)]
    for fact in facts:
        asked = wordings.get(fact.id, 0)
        number = number_of.get(fact.id)
        came, hit, drawn, drawn_hit = (0, 0, 0, 0) if number is None else (column[number] for column in counts)
        # With answers missing a fact would seem less known than it is: that is "not measured", no category.
        whole = came == asked and drawn == asked * (len(arms) - 1)
        yield FactKnowledge(
            id=fact.id,
            knowledge=_category(hit, came, sampled_right=drawn_hit) if whole and asked else None,
            greedy=hit / came if came else 0.0,
            sampled=drawn_hit / drawn if drawn else None,
            answers=came + drawn,
        )


def _category(right: int, asked: int, *, sampled_right: int) -> Knowledge:
    if right == asked:
        return "known"
    return "maybe" if right or sampled_right else "unknown"
