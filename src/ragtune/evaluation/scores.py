"""The numbers of a log: it is read as a stream, each answer scored and its text let go."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ragtune.evaluation.asking.arms import TUNED_FALSE, TUNED_NOTHING
from ragtune.evaluation.log import read_header, read_log
from ragtune.evaluation.scorers import Context
from ragtune.evaluation.scorers.words import contains, found_in, refusal
from ragtune.facts import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from ragtune.evaluation.log import Line
    from ragtune.evaluation.scorers import Scorer

__all__ = ["ScorerFailure", "Scores", "Unanswered", "read_scores"]

# Columns that every card has, whatever its scorers.
REFUSED, RECITED, PLANTED = " refused", " recited", " planted"
MAX_LISTED = 1000
_BOOLS = (bool, np.bool_)


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
        with np.errstate(invalid="ignore"):
            return np.where(counts > 0, sums / counts, np.nan)


USAGE = ("latency_s", "prompt_tokens", "completion_tokens", "cost_usd")


@dataclass
class _Reading:
    """What was read so far."""

    scorers: Mapping[str, Scorer]
    arms: dict[str, int] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)
    places: array[int] = field(default_factory=lambda: array("q"))
    numbers: array[float] = field(default_factory=lambda: array("d"))
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    numeric: set[str] = field(default_factory=set)
    errors: dict[tuple[int, ...], Unanswered] = field(default_factory=dict)
    failures: list[ScorerFailure] = field(default_factory=list)
    proof: str | None = None

    def take(self, line: Line, offset: int) -> None:
        """Score one line of the log."""
        match line["type"]:
            case "arm":
                self.arms.setdefault(line["arm"], len(self.arms))
            case "probe":
                self.proof = line["by"]
            case "answer":
                arm = self.arms.setdefault(line["arm"], len(self.arms))
                fact = self.facts.setdefault(line["fact"], len(self.facts))
                missing = line.get("text") is None
                place = (arm, fact, KINDS.index(line["kind"]), line["wording"], offset, missing)
                self.places.extend(map(int, place))
                self.numbers.extend(_known(line.get(name)) for name in USAGE)
                # Asked again, it may have been answered.
                self.errors.pop((arm, fact, line["wording"]), None)
                if missing:
                    self.numbers.extend([0.0] * (3 + len(self.scorers)))
                    if len(self.errors) < MAX_LISTED:
                        self.errors[arm, fact, line["wording"]] = _unanswered(line)
                else:
                    self.numbers.extend(self._scored(context_of(line), line))

    def _scored(self, context: Context, line: Line) -> list[float]:
        failing = line["arm"] in (TUNED_NOTHING, TUNED_FALSE) and bool(context.answers)
        planted = line.get("planted")
        always = [
            float(refusal(context)),
            float(contains(context)) if failing else math.nan,
            float(found_in(context.text, (planted,))) if planted else math.nan,
        ]
        return always + [self._score(name, scorer, context) for name, scorer in self.scorers.items()]

    def _score(self, name: str, scorer: Scorer, context: Context) -> float:
        try:
            score = scorer(context)
            if score is None:
                return math.nan
            if isinstance(score, str):
                labels = self.labels.setdefault(name, {})
                return float(labels.setdefault(score, len(labels)))
            if not isinstance(score, _BOOLS):
                self.numeric.add(name)
            return float(score)
        except Exception as error:
            if len(self.failures) < MAX_LISTED:
                failure = ScorerFailure(
                    scorer=name, arm=context.arm, fact_id=context.fact_id, error=f"{type(error).__name__}: {error}"
                )
                self.failures.append(failure)
            return math.nan


def read_scores(path: Path, scorers: Mapping[str, Scorer]) -> Scores:
    """Read a log and score its answers; of two answers to the same question the later one counts.

    A label becomes one column for each of its values, named `scorer=label`, which is 1 where it was given.

    Raises:
        EvaluationError: the file is no log, or is damaged.
    """
    header = read_header(path)
    reading = _Reading(scorers=scorers)
    for offset, line in read_log(path):
        reading.take(line, offset)
    return _scores(reading, header["facts"])


def context_of(line: Line) -> Context:
    """Return what a scorer sees of a line of the log."""
    return Context(
        text=line["text"],
        answers=tuple(line.get("answers", ())),
        question=line["question"],
        kind=line["kind"],
        arm=line["arm"],
        fact_id=line["fact"],
        distractors=tuple(line.get("distractors", ())),
        options=tuple(line.get("options", ())),
        prompt=line.get("prompt"),
        finish_reason=line.get("finish_reason"),
        refused=line.get("refused", False),
    )


def _scores(reading: _Reading, facts: str) -> Scores:
    places = np.array(reading.places, dtype=np.int64).reshape(-1, 6)
    numbers = np.array(reading.numbers).reshape(len(places), -1)
    # Answers come in whatever order they come; the same answers must give the same card.
    fact_ids = sorted(reading.facts)
    renumbered = np.zeros(len(fact_ids), dtype=np.int64)
    renumbered[[reading.facts[fact_id] for fact_id in fact_ids]] = np.arange(len(fact_ids))
    places[:, 1] = renumbered[places[:, 1]]
    keep = _latest(places)
    places, numbers = places[keep], numbers[keep]
    names = [*USAGE, REFUSED, RECITED, PLANTED, *reading.scorers]
    columns = (
        {name: numbers[:, index] for index, name in enumerate(names)}
        if len(places)
        else dict.fromkeys(names, np.zeros(0))
    )
    usage = {name: columns.pop(name) for name in USAGE}
    missing = places[:, 5].astype(bool)
    binary = reading.scorers.keys() - reading.numeric - reading.labels.keys()
    for name, labels in reading.labels.items():
        codes = columns.pop(name)
        for label, code in labels.items():
            columns[f"{name}={label}"] = np.where(missing, 0.0, np.where(np.isnan(codes), np.nan, codes == code))
            binary.add(f"{name}={label}")
    return Scores(
        facts=facts,
        arms=tuple(reading.arms),
        fact_ids=tuple(fact_ids),
        proof=reading.proof,
        arm=places[:, 0],
        fact=places[:, 1],
        kind=places[:, 2],
        wording=places[:, 3],
        offset=places[:, 4],
        unanswered=missing,
        columns=columns,
        binary=frozenset(binary | {REFUSED, RECITED, PLANTED}),
        shares=frozenset(name for name, values in columns.items() if _are_shares(values)),
        usage=usage,
        errors=tuple(reading.errors.values()),
        failures=tuple(reading.failures),
    )


def _latest(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows that no later row of the same arm, fact and wording replaces, by arm, fact and wording."""
    _, last = np.unique(places[::-1, [0, 1, 3]], axis=0, return_index=True)
    return len(places) - 1 - last


def _unanswered(line: Line) -> Unanswered:
    fault = line["fault"]
    return Unanswered(
        arm=line["arm"],
        fact_id=line["fact"],
        kind=line["kind"],
        question=line["question"],
        error=f"{fault['type']}: {fault['message']}",
    )


def _are_shares(values: npt.NDArray[np.float64]) -> bool:
    known = values[~np.isnan(values)]
    return len(known) > 0 and bool(known.min() >= 0 and known.max() <= 1)


def _known(value: object) -> float:
    return math.nan if value is None else float(value)  # type: ignore[arg-type]
