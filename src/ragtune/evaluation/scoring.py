"""From the lines of a log to numbers: each answer is scored as its line comes, and its text let go."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ragtune.errors import EvaluationError
from ragtune.evaluation.asking.arms import TUNED_FALSE, TUNED_NOTHING
from ragtune.evaluation.log import read_header, read_log
from ragtune.evaluation.scorers import Context
from ragtune.evaluation.scorers.words import contains, found_in, refusal
from ragtune.evaluation.scores import PLANTED, RECITED, REFUSED, ScorerFailure, Scores, Unanswered
from ragtune.facts import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from ragtune.evaluation.log import Line
    from ragtune.evaluation.scorers import Scorer

__all__ = ["Scoring", "read_scores"]

USAGE = ("latency_s", "prompt_tokens", "completion_tokens", "cost_usd")
_ALWAYS = (REFUSED, RECITED, PLANTED)
MAX_LISTED = 1000
# Each label is a column; a scorer that gives more of them gives back texts.
MAX_LABELS = 50


@dataclass
class Scoring:
    """Scores lines as they come.

    Attributes:
        scorers: by name.
    """

    scorers: Mapping[str, Scorer]
    _arms: dict[str, int] = field(default_factory=dict)
    _facts: dict[str, int] = field(default_factory=dict)
    # Eight bytes a number; lists of Python's own would hold four times as much for each answer of a large log.
    _places: array[int] = field(default_factory=lambda: array("q"))
    _numbers: array[float] = field(default_factory=lambda: array("d"))
    _labels: dict[str, dict[str, int]] = field(default_factory=dict)
    _measured: dict[str, float] = field(default_factory=dict)
    _numeric: set[str] = field(default_factory=set)
    _errors: dict[tuple[int, ...], Unanswered] = field(default_factory=dict)
    _failures: list[ScorerFailure] = field(default_factory=list)
    _proof: str | None = None

    def take(self, line: Line, offset: int) -> None:
        """Score one line of the log.

        Raises:
            EvaluationError: a scorer gives labels and numbers, or a label of its own to every answer.
        """
        match line["type"]:
            case "arm":
                self._arms.setdefault(line["arm"], len(self._arms))
            case "probe":
                self._proof = line["by"]
            case "answer":
                arm = self._arms.setdefault(line["arm"], len(self._arms))
                fact = self._facts.setdefault(line["fact"], len(self._facts))
                missing = line.get("text") is None
                place = (arm, fact, KINDS.index(line["kind"]), line["wording"], offset, missing)
                self._places.extend(map(int, place))
                self._numbers.extend(_known(line.get(name)) for name in USAGE)
                # Asked again, it may have been answered.
                self._errors.pop((arm, fact, line["wording"]), None)
                if missing:
                    # A missing answer is wrong, whoever scores.
                    self._numbers.extend([0.0] * (len(_ALWAYS) + len(self.scorers)))
                    if len(self._errors) < MAX_LISTED:
                        self._errors[arm, fact, line["wording"]] = _unanswered(line)
                else:
                    self._numbers.extend(self._scored(context_of(line), line))

    def _scored(self, context: Context, line: Line) -> list[float]:
        # Where retrieval found nothing or something false, a right answer comes out of the weights.
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
        # A user's function may raise anything; one answer that it cannot judge must not end an evaluation that is paid.
        except Exception as error:
            return self._failed(name, context, f"{type(error).__name__}: {error}")
        if score is None:
            return math.nan
        if isinstance(score, str):
            return self._label(name, score)
        # Before the numbers: only what is right or wrong may go to McNemar's test.
        if isinstance(score, bool | np.bool_):
            return self._measure(name, float(score))
        try:
            number = float(score)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            what = f"{score!r:.40} ({type(score).__name__})"
            return self._failed(name, context, f"it gave {what}; a score is a bool, a finite number, a label or None")
        self._numeric.add(name)
        return self._measure(name, number)

    def _label(self, name: str, label: str) -> float:
        labels = self._labels.setdefault(name, {})
        if name in self._measured:
            raise EvaluationError(_mixed(name, label, score=self._measured[name]))
        if len(labels) == MAX_LABELS and label not in labels:
            message = (
                f"scorers: {name!r} gave more than {MAX_LABELS} different labels, the last of them {label!r:.40}; a "
                "label is one of a few words whose shares are counted"
            )
            raise EvaluationError(message)
        return float(labels.setdefault(label, len(labels)))

    def _measure(self, name: str, score: float) -> float:
        if name in self._labels:
            raise EvaluationError(_mixed(name, next(iter(self._labels[name])), score=score))
        self._measured.setdefault(name, score)
        return score

    def _failed(self, name: str, context: Context, error: str) -> float:
        if len(self._failures) < MAX_LISTED:
            failure = ScorerFailure(scorer=name, arm=context.arm, fact_id=context.fact_id, error=error)
            self._failures.append(failure)
        return math.nan

    def scores(self, facts: str) -> Scores:
        """Return all numbers; of two answers to the same question the later one counts.

        A label becomes one column for each of its values, named `scorer=label`, which is 1 where it was given.

        Args:
            facts: fingerprint of the facts.
        """
        places = np.array(self._places, dtype=np.int64).reshape(-1, 6)
        numbers = np.array(self._numbers).reshape(len(places), len(USAGE) + len(_ALWAYS) + len(self.scorers))
        # Answers come in whatever order they come; the same answers must give the same card.
        fact_ids = sorted(self._facts)
        renumbered = np.zeros(len(fact_ids), dtype=np.int64)
        renumbered[[self._facts[fact_id] for fact_id in fact_ids]] = np.arange(len(fact_ids))
        places[:, 1] = renumbered[places[:, 1]]
        keep = _latest(places)
        places, numbers = places[keep], numbers[keep]
        missing = places[:, 5].astype(bool)
        usage = {name: numbers[:, index] for index, name in enumerate(USAGE)}
        columns, binary = self._columns(numbers[:, len(USAGE) :], missing)
        return Scores(
            facts=facts,
            arms=tuple(self._arms),
            fact_ids=tuple(fact_ids),
            proof=self._proof,
            arm=places[:, 0],
            fact=places[:, 1],
            kind=places[:, 2],
            wording=places[:, 3],
            offset=places[:, 4],
            unanswered=missing,
            columns=columns,
            binary=binary,
            shares=frozenset(name for name, values in columns.items() if _are_shares(values)),
            usage=usage,
            errors=tuple(self._errors.values()),
            failures=tuple(self._failures),
        )

    def _columns(
        self, numbers: npt.NDArray[np.float64], missing: npt.NDArray[np.bool_]
    ) -> tuple[dict[str, npt.NDArray[np.float64]], frozenset[str]]:
        """Scores by name, and the names of those that are right or wrong."""
        columns = {name: numbers[:, index] for index, name in enumerate((*_ALWAYS, *self.scorers))}
        binary = columns.keys() - self._numeric - self._labels.keys()
        for name, labels in self._labels.items():
            codes = columns.pop(name)
            for label, code in sorted(labels.items()):
                # A missing answer has none of the labels and counts among all: else shares would rise where a server
                # fails.
                columns[f"{name}={label}"] = np.where(missing, 0.0, np.where(np.isnan(codes), np.nan, codes == code))
                binary.add(f"{name}={label}")
        return columns, frozenset(binary)


def read_scores(path: Path, scorers: Mapping[str, Scorer]) -> Scores:
    """Read a log and score its answers.

    Raises:
        EvaluationError: the file is no log, or is damaged, or see `Scoring.take`.
    """
    header = read_header(path)
    scoring = Scoring(scorers)
    for offset, line in read_log(path):
        scoring.take(line, offset)
    return scoring.scores(header["facts"])


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


def _mixed(name: str, label: str, *, score: float) -> str:
    return (
        f"scorers: {name!r} gave the label {label!r:.40} to one answer and the score {score:g} to another; a scorer "
        "gives labels alone, or bools and numbers alone"
    )


def _latest(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows that no later row of the same arm, fact and wording replaces, by arm, fact and wording."""
    # `unique` tells the first place of each, so the rows are turned round.
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
    # A user's scorer does not say what it gives; its numbers do, and intervals of shares end at 0 and 1.
    known = values[~np.isnan(values)]
    return len(known) > 0 and bool(known.min() >= 0 and known.max() <= 1)


def _known(value: object) -> float:
    return math.nan if value is None else float(value)  # type: ignore[arg-type]
