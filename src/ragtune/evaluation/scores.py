"""The numbers of a log, a row for each answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ragtune.facts import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["PLANTED", "RECITED", "REFUSED", "ScorerFailure", "Scores", "Unanswered"]

# Columns that every card has; the space before them keeps them apart from scorers.
REFUSED, RECITED, PLANTED = " refused", " recited", " planted"


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """A question without an answer, which counts as wrong."""

    arm: str
    fact_id: str
    kind: str
    question: str
    error: str


@dataclass(frozen=True, kw_only=True)
class ScorerFailure:
    """An answer that a scorer could not judge, which is left out of that scorer's figures."""

    scorer: str
    arm: str
    fact_id: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One row per answer, columns as arrays.

    Attributes:
        facts: fingerprint of the facts.
        arms: names in the order of the log.
        fact_ids: ids, sorted.
        proof: by what base and tuned were told apart before they were compared, None where they were not.
        arm: index of the arm.
        fact: index of the fact.
        kind: index in `ragtune.facts.KINDS`.
        wording: number of the wording within its fact.
        offset: where the answer stands in the log.
        unanswered: whether there is no answer.
        columns: scores by scorer; NaN where a scorer failed or has no opinion.
        binary: scorers whose scores are right or wrong.
        shares: scorers whose scores lie between 0 and 1.
        usage: latency_s, prompt_tokens, completion_tokens and cost_usd; NaN is unknown.
        errors: questions without an answer, the first thousand.
        failures: what scorers could not judge, the first thousand.
    """

    facts: str
    arms: tuple[str, ...]
    fact_ids: tuple[str, ...]
    proof: str | None
    arm: npt.NDArray[np.int64]
    fact: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    wording: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    unanswered: npt.NDArray[np.bool_]
    columns: Mapping[str, npt.NDArray[np.float64]]
    binary: frozenset[str]
    shares: frozenset[str]
    usage: Mapping[str, npt.NDArray[np.float64]]
    errors: tuple[Unanswered, ...]
    failures: tuple[ScorerFailure, ...]
    _rows: dict[tuple[str, str], npt.NDArray[np.int64]] = field(default_factory=dict, init=False, repr=False)

    def rows(self, arm: str, kind: str) -> npt.NDArray[np.int64]:
        """Return the rows of an arm and a kind."""
        if (arm, kind) not in self._rows:
            here = (self.arm == self.arms.index(arm)) & (self.kind == KINDS.index(kind))
            self._rows[arm, kind] = np.flatnonzero(here)
        return self._rows[arm, kind]

    def per_fact(self, column: str, arm: str, kind: str) -> npt.NDArray[np.float64]:
        """Return for each fact the mean score of its wordings of a kind; NaN where there is none."""
        rows = self.rows(arm, kind)
        values = self.columns[column][rows]
        facts, scored = len(self.fact_ids), ~np.isnan(values)
        places = self.fact[rows][scored]
        counts = np.bincount(places, minlength=facts)
        sums = np.bincount(places, weights=values[scored], minlength=facts)
        # Nothing by nothing is meant: NaN is a fact that was not asked so.
        with np.errstate(invalid="ignore"):
            return np.where(counts > 0, sums / counts, np.nan)
