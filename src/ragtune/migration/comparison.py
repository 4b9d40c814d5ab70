"""What a comparison of two models says: as good, worse where, by how much, and how sure that is."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ragtune._atomic import write_whole
from ragtune.evaluation.card.figures import Difference, DifferenceTable, Estimate, p_text, percent, without_nan
from ragtune.evaluation.scorers import Context
from ragtune.evaluation.scorers.words import f1
from ragtune.evaluation.statistics import facts_needed, holm, intervals, paired_p
from ragtune.migration.comparison_page import comparison_page
from ragtune.migration.golden import NEW, OLD

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Mapping

    import pandas as pd

    from ragtune.evaluation.card.scorecard import Scorecard
    from ragtune.evaluation.scorers import Scorer
    from ragtune.evaluation.statistics import Values
    from ragtune.migration.golden import Golden

__all__ = ["Agreement", "Comparison", "known_only"]

AGREEMENT = "agreement"
ALL = "all questions"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Scores how much an answer says what the old model said: the words that both have (token F1)."""

    recorded: Mapping[str, str]

    def __call__(self, context: Context) -> float | None:
        """Return the score of an answer; the old model's own is no evidence."""
        return None if context.arm == OLD else f1(replace(context, answers=(self.recorded[context.fact_id],)))

    def of(self, fact: str, text: str) -> float:
        """Return the score of a text."""
        return f1(Context(text=text, answers=(self.recorded[fact],), question=""))


def known_only(scorer: Scorer, known: Collection[str]) -> Scorer:
    """Return the scorer without an opinion on questions whose right answer nobody knows."""

    def scored(context: Context) -> bool | float | str | None:
        return scorer(context) if context.fact_id in known else None

    return scored


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The new model against the recorded one.

    Attributes:
        golden: the recording.
        model: the new model.
        card: all answers, scored; its arms are `old` and `new`.
        groups: which questions were held out of training, by id.
        margin: how much worse still counts as good.
        has_truth: whether right answers are known, so that more is compared than words.
        itself: how much the old model agrees with itself, by question; empty where it was asked once.

    Example:
        ```python
        import ragtune as rt
        from ragtune.testing import ScriptedBackend

        questions = [f"What is {n} + {n}?" for n in range(40)]
        with ScriptedBackend(answer="Four.") as backend, backend.client() as client:
            golden = rt.record((client, "tiny-random"), questions, "sums.jsonl")
            comparison = rt.compare(golden, (client, "tiny-random"))
        print(comparison.agreement)
        #> 100% (91 to 100%, n=40)
        ```
    """

    golden: Golden
    model: str
    card: Scorecard
    groups: Mapping[str, str]
    margin: float
    has_truth: bool
    itself: Mapping[str, float]

    @cached_property
    def differences(self) -> DifferenceTable:
        """New minus old by group of questions, all of them first; `p` is corrected for the groups.

        Where right answers are known the first scorer decides, else how much the new model agrees with the recorded
        answers, less how much the old one agrees with itself; without further samples of it there is none.
        """
        column = self.changes
        present = ~np.isnan(column)
        groups = [self.groups[fact] for fact in self.card.scores.fact_ids]
        rows = [self._row(ALL, column[present])] if present.any() else []
        names = sorted({group for group, there in zip(groups, present.tolist(), strict=True) if there})
        if len(names) > 1:
            of_question = np.array(groups, dtype=object)
            found = [self._row(name, column[(of_question == name) & present]) for name in names]
            corrected = holm(np.array([row.p for row in found]))
            rows += [replace(row, p=float(p), comparisons=len(found)) for row, p in zip(found, corrected, strict=True)]
        return DifferenceTable(rows=tuple(rows))

    @cached_property
    def changes(self) -> Values:
        """New minus old, question by question in the order of the card's; NaN where nothing can be compared."""
        scores = self.card.scores
        if self.has_truth:
            return self._per_question(self.card.scorer, NEW) - self._per_question(self.card.scorer, OLD)
        # No copy of the old model could agree with it more than it agrees with itself.
        own = np.array([self.itself.get(fact, math.nan) for fact in scores.fact_ids])
        difference: Values = self._per_question(AGREEMENT, NEW) - own
        return difference

    def _per_question(self, scorer: str, arm: str) -> Values:
        return self.card.scores.per_fact(scorer, arm, "verbatim")

    def _row(self, group: str, values: Values) -> Difference:
        # Shares lie in 0 to 1 and so do not differ by more than 1; nothing bounds a scorer with another scale.
        span = (-1.0, 1.0) if self._is_share else None
        low, high = intervals(values[:, None], seed=self.card.seed, span=span)
        return Difference(
            name="new - old",
            kind=group,
            value=float(values.mean()),
            low=float(low[0]),
            high=float(high[0]),
            p=float(paired_p(values[:, None], seed=self.card.seed)[0]),
            n=len(values),
            needed=facts_needed(values),
            is_share=self._is_share,
        )

    @property
    def _is_share(self) -> bool:
        return not self.has_truth or self.card.is_share

    @cached_property
    def agreement(self) -> Estimate:
        """How much of what the old model said the new one says, 0 to 1."""
        return self._estimate(self._per_question(AGREEMENT, NEW))

    @cached_property
    def self_agreement(self) -> Estimate | None:
        """How much the old model agrees with itself: what no copy of it can beat. None where it was asked once."""
        return self._estimate(np.array(list(self.itself.values()))) if self.itself else None

    def _estimate(self, column: Values) -> Estimate:
        values = column[~np.isnan(column)]
        if not len(values):
            return Estimate(mean=math.nan, low=math.nan, high=math.nan, n=0, answers=0, unanswered=0)
        low, high = intervals(values[:, None], seed=self.card.seed, span=(0.0, 1.0))
        n = len(values)
        return Estimate(mean=float(values.mean()), low=float(low[0]), high=float(high[0]), n=n, answers=n, unanswered=0)

    def judged(self, row: Difference) -> str:
        """Return what a difference means: `better`, `as good`, `worse` or `cannot be told`.

        As good is who is at most `margin` worse with 97.5 % certainty: the lower end of the interval says so.
        """
        # As good is what an interval shows that lies above the margin: that no difference was found shows nothing.
        if row.low >= -self.margin:
            return "better" if row.told and row.value > 0 else "as good"
        return "worse" if row.told and row.value < 0 else "cannot be told"

    @property
    def verdict(self) -> str:
        """`better`, `as good`, `worse` or `cannot be told`, over all questions."""
        return self.judged(self.differences[0]) if len(self.differences) else "cannot be told"

    @property
    def worse_where(self) -> tuple[str, ...]:
        """The groups of questions in which the new model is worse."""
        # The first row is all questions together.
        return tuple(row.kind for row in self.differences.rows[1:] if self.judged(row) == "worse")

    @property
    def sentence(self) -> str:
        """The result in words, which say no more than the intervals do."""
        own = self.self_agreement
        beside = "" if own is None else f", the old one with itself {own}"
        said = f"It says what the old one said to {self.agreement}{beside}."
        if not len(self.differences):
            why = "no right answers are known and the old model was asked once"
            return f"Whether {self.model} is as good as {self.golden.model} cannot be told: {why}. {said}"
        first = self.differences[0]
        amount = first.points if self._is_share else f"{first.value:+.3g} ({first.low:+.3g} to {first.high:+.3g})"
        by = f"by {self.card.scorer}" if self.has_truth else "by agreement with the recorded answers"
        head = f"On {first.n} questions {self.model} is {_in_words(self.verdict)} {self.golden.model} {by}: {amount}"
        head += f", p {p_text(first.p)}, where {percent(self.margin)} points are let pass."
        where = [f"Worse where: {', '.join(self.worse_where)}."] if self.worse_where else []
        more = self._wanting(first) if self.verdict == "cannot be told" else []
        return " ".join([head, *where, *more, said])

    def _wanting(self, row: Difference) -> list[str]:
        """How many questions would tell; with no difference at all, as many as leave no room for one."""
        if row.needed is not None:
            return [f"About {row.needed:,} questions would tell a difference as small as this one."]
        # Without a margin no number of equal answers is enough.
        if self.margin == 0:
            return []
        # Clopper and Pearson's limit for n of n, as in the intervals, solved for n.
        alike = math.ceil(math.log(0.025) / math.log(1 - self.margin))
        return [f"So few questions cannot exclude a loss of {percent(self.margin)} points; {alike:,} alike would."]

    def to_pandas(self) -> pd.DataFrame:
        """Return the differences with what they mean, a row for each group."""
        frame = self.differences.to_pandas()
        frame["verdict"] = [self.judged(row) for row in self.differences]
        return frame

    def to_json(self) -> str:
        """Return everything as JSON: verdict, differences, agreement, usage and the sentence."""
        said = {
            "sentence": self.sentence,
            "verdict": self.verdict,
            "worse_where": self.worse_where,
            "old": self.golden.model,
            "new": self.model,
            "margin": self.margin,
            "scorer": self.card.scorer if self.has_truth else AGREEMENT,
            "differences": [asdict(row) | {"verdict": self.judged(row)} for row in self.differences],
            "agreement": asdict(self.agreement),
            "self_agreement": None if self.self_agreement is None else asdict(self.self_agreement),
            "usage": [asdict(row) for row in self.card.usage],
            "unanswered": [asdict(row) for row in self.card.errors],
        }
        return json.dumps(without_nan(said), ensure_ascii=False, indent=1)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained page and return its path: no script, no network. Missing folders are made."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, comparison_page(self))
        return target

    def __str__(self) -> str:
        rows = [f"  {row.kind}: {row.points}, n={row.n}: {self.judged(row)}" for row in self.differences]
        return "\n".join([self.sentence, *rows])


def _in_words(verdict: str) -> str:
    known = {"better": "better than", "as good": "as good as", "worse": "worse than"}
    return known.get(verdict, "not told apart from")
