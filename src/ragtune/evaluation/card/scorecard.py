"""The card of an evaluation: every arm on every kind of wording, with intervals, and what may be said about it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ragtune._atomic import write_whole
from ragtune._checked import checked
from ragtune.errors import EvaluationError
from ragtune.evaluation.asking.arms import BASE, BASE_RAG, TUNED, TUNED_FALSE, TUNED_NOTHING, TUNED_RAG
from ragtune.evaluation.card import words
from ragtune.evaluation.card.figures import (
    ArmUsage,
    CellTable,
    Difference,
    DifferenceTable,
    Estimate,
    ScoredCell,
    usage_of,
    without_nan,
)
from ragtune.evaluation.card.page import card_page
from ragtune.evaluation.scorers import scorers_named
from ragtune.evaluation.scores import PLANTED, RECITED, REFUSED, Scores
from ragtune.evaluation.scoring import read_scores
from ragtune.evaluation.settings import at_least
from ragtune.evaluation.statistics import facts_needed, holm, intervals, paired_p
from ragtune.facts import KINDS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from ragtune.evaluation.scorers import ScorerArgument
    from ragtune.evaluation.scores import ScorerFailure, Unanswered
    from ragtune.evaluation.statistics import Values
    from ragtune.facts import Kind

__all__ = ["Scorecard", "card_of"]


@checked("scorers", "kind")
@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """What an evaluation found, by arm and kind of wording, each fact counted once.

    `card["tuned"]["reworded"]` is an `Estimate`: mean with a 95 % bootstrap interval over facts.

    Attributes:
        path: the log that it was read from.
        scores: the numbers of all answers.
        scorer: the scorer whose figures the card shows; `by` shows another's.
        seed: of the bootstrap and of permutation tests.

    Example:
        ```python
        import ragtune as rt
        from ragtune.facts import Fact, FactSet, Wording

        facts = FactSet(facts=tuple(
            Fact(id=f"sum-{n}", answers=(str(n + n),), wordings=(Wording(question=f"What is {n} + {n}?"),))
            for n in range(40)
        ))
        answerers = {"adds": lambda q: str(2 * int(q.split()[2])), "guesses": lambda q: "4"}
        card = rt.evaluate(answerers, facts, log="sums.jsonl")
        print(card["adds"]["verbatim"], "|", card["guesses"]["verbatim"].mean)
        #> 100% (91 to 100%, n=40) | 0.025
        print(card.difference("adds", "guesses", kind="verbatim").told)
        #> True
        ```
    """

    path: Path
    scores: Scores
    scorer: str
    seed: int = 7

    @classmethod
    def load(
        cls, log: str | os.PathLike[str], *, scorers: ScorerArgument = ("contains", "f1"), seed: int = 7
    ) -> Scorecard:
        """Return the card of a log, scored anew; nobody is asked.

        Args:
            log: the file that `rt.evaluate` wrote; a part of one gives the card of what was answered so far.
            scorers: as in `rt.evaluate`; the first is the one that the card shows.
            seed: of the bootstrap.

        Raises:
            EvaluationError: the file is no log or is damaged, or a scorer is unknown.
        """
        named, chosen = scorers_named(scorers), at_least("seed", seed, least=0)
        return card_of(Path(log), read_scores(Path(log), named), named, seed=chosen)

    def rescore(self, scorers: ScorerArgument) -> Scorecard:
        """Return the card of the same answers by other scorers; nobody is asked."""
        return Scorecard.load(self.path, scorers=scorers, seed=self.seed)

    def by(self, scorer: str) -> Scorecard:
        """Return the card that shows another of its scorers.

        Raises:
            EvaluationError: it was not scored by that one.
        """
        if scorer not in self.scorers:
            message = f"this card has no scorer {scorer!r}, only {', '.join(self.scorers)}; rescore() adds others"
            raise EvaluationError(message)
        return replace(self, scorer=scorer)

    @property
    def scorers(self) -> tuple[str, ...]:
        """The scorers; each label of one that gives labels counts as a scorer, `scorer=label`."""
        # What is counted for the card's own lines stands among the columns under names that begin with a blank.
        return tuple(name for name in self.scores.columns if not name.startswith(" "))

    @property
    def arms(self) -> tuple[str, ...]:
        """Who was asked."""
        return self.scores.arms

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of wording that were asked for."""
        asked = set(self.scores.kind.tolist())
        return tuple(kind for index, kind in enumerate(KINDS) if index in asked)

    @property
    def errors(self) -> tuple[Unanswered, ...]:
        """Questions without an answer, which count as wrong; the first thousand."""
        return self.scores.errors

    @property
    def failures(self) -> tuple[ScorerFailure, ...]:
        """Answers that a scorer could not judge, left out of its figures; the first thousand."""
        return self.scores.failures

    @cached_property
    def cells(self) -> CellTable:
        """All estimates of the shown scorer."""
        return CellTable(rows=tuple(self._cells_of(self.scorer)))

    def _all_cells(self) -> Iterator[ScoredCell]:
        return chain.from_iterable(map(self._cells_of, self.scorers))

    def _cells_of(self, scorer: str) -> Iterator[ScoredCell]:
        places = list(product(self.arms, self.kinds))
        columns = [self.scores.per_fact(scorer, arm, kind) for arm, kind in places]
        for (arm, kind), estimate in zip(places, self._estimates(columns, scorer), strict=True):
            rows = self.scores.rows(arm, kind)
            if len(rows):
                missing = int(self.scores.unanswered[rows].sum())
                counted = replace(estimate, answers=len(rows), unanswered=missing)
                yield ScoredCell(arm=arm, kind=kind, scorer=scorer, estimate=counted)

    def _estimates(self, columns: Sequence[Values], scorer: str) -> list[Estimate]:
        """Means and intervals of columns with gaps; those with the same gaps share their resamples."""
        is_share = scorer in self.scores.shares
        span = (0.0, 1.0) if is_share else None
        nothing = Estimate(mean=math.nan, low=math.nan, high=math.nan, n=0, answers=0, unanswered=0, is_share=is_share)
        # What no fact was asked for stays as it is here.
        found = [nothing] * len(columns)
        for present, members in _same_gaps(columns):
            values_FC = np.stack([columns[member][present] for member in members], axis=1)
            low, high = intervals(values_FC, seed=self.seed, span=span)
            for place, member in enumerate(members):
                mean = float(values_FC[:, place].mean())
                found[member] = replace(
                    nothing, mean=mean, low=float(low[place]), high=float(high[place]), n=len(values_FC)
                )
        return found

    @property
    def is_share(self) -> bool:
        """Whether the shown scores lie between 0 and 1, so that percentages and points make sense."""
        return self.scorer in self.scores.shares

    def __getitem__(self, arm: str) -> Mapping[Kind, Estimate]:
        """Return the estimates of an arm by kind of wording.

        Raises:
            KeyError: nobody of that name was asked.
        """
        if arm not in self.arms:
            message = f"nobody named {arm!r} was asked, only {', '.join(self.arms)}"
            raise KeyError(message)
        return {cell.kind: cell.estimate for cell in self.cells if cell.arm == arm}

    def difference(self, first: str, second: str, *, kind: Kind = "reworded") -> Difference:
        """Return how much better the first arm is than the second on a kind of wording, fact by fact.

        Args:
            first: an arm.
            second: an arm.
            kind: of wording.

        Raises:
            KeyError: nobody of that name was asked.
            EvaluationError: no fact was answered by both in this kind.
        """
        for arm in (first, second):
            # Refuses a name that nobody has.
            _ = self[arm]
        if kind not in KINDS:
            message = f"there is no kind {kind!r}; there are {', '.join(KINDS)}"
            raise EvaluationError(message)
        left, right = (self.scores.per_fact(self.scorer, arm, kind) for arm in (first, second))
        compared = self._differences([(f"{first} - {second}", kind, left - right)])
        if not compared:
            message = f"no fact was asked of both {first!r} and {second!r} in kind {kind!r}, so nothing can be compared"
            raise EvaluationError(message)
        return compared[0]

    def _differences(self, wanted: Sequence[tuple[str, str, Values]]) -> list[Difference]:
        """Differences of columns with gaps, uncorrected; without those in which nothing is paired."""
        span = (-1.0, 1.0) if self.is_share else None
        found: dict[int, Difference] = {}
        for present, members in _same_gaps([values for _, _, values in wanted]):
            values_FC = np.stack([wanted[member][2][present] for member in members], axis=1)
            low, high = intervals(values_FC, seed=self.seed, span=span)
            p = paired_p(values_FC, seed=self.seed)
            for place, member in enumerate(members):
                name, kind, _ = wanted[member]
                column = values_FC[:, place]
                found[member] = Difference(
                    name=name,
                    kind=kind,
                    value=float(column.mean()),
                    low=float(low[place]),
                    high=float(high[place]),
                    p=float(p[place]),
                    n=len(column),
                    needed=facts_needed(column),
                    is_share=self.is_share,
                )
        return [found[member] for member in sorted(found)]

    @cached_property
    def differences(self) -> DifferenceTable:
        """Every arm against the base (without one, against the first), and both tuned arms against base with passages.

        Arms with a retrieval that fails are left out; `p` is corrected for all comparisons of its kind.
        """
        found: list[Difference] = []
        for kind in self.kinds:
            wanted = [
                (f"{first} - {second}", kind, self._of(first, kind) - self._of(second, kind))
                for first, second in self._pairs()
            ]
            # Within a kind: each kind of wording is a question of its own.
            found += _corrected(self._differences(wanted))
        return DifferenceTable(rows=tuple(found))

    def _of(self, arm: str, kind: Kind) -> Values:
        return self.scores.per_fact(self.scorer, arm, kind)

    def _pairs(self) -> list[tuple[str, str]]:
        # Arms whose retrieval fails on purpose have lines of their own: beside the base they would look like a loss.
        compared = [arm for arm in self.arms if arm not in (TUNED_NOTHING, TUNED_FALSE)]
        if not compared:
            return []
        reference = BASE if BASE in compared else compared[0]
        pairs = [(arm, reference) for arm in compared if arm != reference]
        more = [(TUNED, BASE_RAG), (TUNED_RAG, BASE_RAG)]
        return pairs + [pair for pair in more if set(pair) <= set(compared) and pair not in pairs]

    @cached_property
    def lines(self) -> DifferenceTable:
        """What no single cell shows.

        `memorised`: verbatim minus reworded, per arm: how much of what is known hangs on the trained words.
        `forgotten`: base minus tuned on control questions.
        `hallucinated`: the share of unanswerable questions that were answered, per arm (no p: it is no difference).
        `stale memory`: the share of facts whose trained answer came although no passage was found, or although the
        passage said otherwise; `followed the false passage` is how often what it said was said.
        """
        gaps = [
            (f"memorised: {arm}", "verbatim - reworded", self._of(arm, "verbatim") - self._of(arm, "reworded"))
            for arm in self.arms
            if {"verbatim", "reworded"} <= set(self.kinds) and arm not in (TUNED_NOTHING, TUNED_FALSE)
        ]
        if {BASE, TUNED} <= set(self.arms) and "control" in self.kinds:
            gaps.append(("forgotten", "control, base - tuned", self._of(BASE, "control") - self._of(TUNED, "control")))
        return DifferenceTable(rows=(*_corrected(self._differences(gaps)), *self._shares()))

    def _shares(self) -> Iterator[Difference]:
        shares: list[tuple[str, str, Values]] = []
        taught = [kind for kind in self.kinds if kind in ("verbatim", "reworded", "reversed")]
        if "unanswerable" in self.kinds:
            shares += [
                (f"hallucinated: {arm}", "unanswerable", 1 - self.scores.per_fact(REFUSED, arm, "unanswerable"))
                for arm in self.arms
            ]
        for arm, what in ((TUNED_NOTHING, "nothing found"), (TUNED_FALSE, "false passage")):
            if arm in self.arms:
                shares += [(f"stale memory: {what}", kind, self.scores.per_fact(RECITED, arm, kind)) for kind in taught]
        if TUNED_FALSE in self.arms:
            shares += [
                ("followed the false passage", kind, self.scores.per_fact(PLANTED, TUNED_FALSE, kind))
                for kind in taught
            ]
        # All of these are shares, whatever the shown scorer is; the name tells only that.
        for (name, kind, _), found in zip(shares, self._estimates([s for *_, s in shares], REFUSED), strict=True):
            if found.n:
                yield Difference(
                    name=name, kind=kind, value=found.mean, low=found.low, high=found.high, p=math.nan, n=found.n
                )

    @cached_property
    def usage(self) -> tuple[ArmUsage, ...]:
        """Tokens, cost and latency by arm."""
        return tuple(usage_of(self.scores, index, arm) for index, arm in enumerate(self.arms))

    @property
    def sentence(self) -> str:
        """The result in words, which say no more than the intervals do."""
        return words.sentence(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return all estimates of all scorers, a row for each."""
        return CellTable(rows=tuple(self._all_cells())).to_pandas()

    def to_json(self) -> str:
        """Return everything that the card says as JSON: cells, differences, lines, usage, errors and the sentence."""
        said = {
            "sentence": self.sentence,
            "scorer": self.scorer,
            "facts": self.scores.facts,
            "proof": self.scores.proof,
            "cells": [asdict(cell) for cell in self._all_cells()],
            "differences": [asdict(row) for row in self.differences],
            "lines": [asdict(row) for row in self.lines],
            "usage": [asdict(row) for row in self.usage],
            "errors": [asdict(row) for row in self.errors],
            "failures": [asdict(row) for row in self.failures],
        }
        # Python would write NaN, which is no JSON.
        return json.dumps(without_nan(said), ensure_ascii=False, indent=1)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained page and return its path: no script, no network. Missing folders are made."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, card_page(self))
        return target

    def __str__(self) -> str:
        return words.printed(self)

    def _repr_html_(self) -> str:
        from ragtune.evaluation.card.page import notebook_view

        return notebook_view(self)


def card_of(log: Path, scores: Scores, scorers: Iterable[str], *, seed: int) -> Scorecard:
    """Return the card that shows the first of the scorers, of one that gives labels the first label."""
    first = next(iter(scorers))
    labels = (name for name in scores.columns if name.startswith(f"{first}="))
    shown = first if first in scores.columns else next(labels, first)
    # Absolute: the card reads answers from it when they are asked for.
    return Scorecard(path=log.absolute(), scores=scores, scorer=shown, seed=seed)


def _same_gaps(columns: Sequence[Values]) -> Iterator[tuple[Values, list[int]]]:
    """Columns by which facts they have, those without any left out."""
    groups: dict[bytes, list[int]] = {}
    for index, column in enumerate(columns):
        # As bytes, since no array can be a key.
        groups.setdefault((~np.isnan(column)).tobytes(), []).append(index)
    for mask, members in groups.items():
        present = np.frombuffer(mask, dtype=bool)
        if present.any():
            yield cast("Values", present), members


def _corrected(found: Sequence[Difference]) -> list[Difference]:
    p = holm(np.array([row.p for row in found])) if found else ()
    return [replace(row, p=float(one), comparisons=len(found)) for row, one in zip(found, p, strict=True)]
