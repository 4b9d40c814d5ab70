"""A comparison as one page: the verdict, the differences with their intervals, and the answers that changed sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from ragtune._html import markup, page, table, wide
from ragtune.evaluation.card.figures import p_text
from ragtune.evaluation.card.page import forest
from ragtune.evaluation.log import read_log
from ragtune.migration.golden import NEW, OLD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ragtune.evaluation.card.figures import Difference, DifferenceTable
    from ragtune.evaluation.card.scorecard import Scorecard
    from ragtune.evaluation.log import Line
    from ragtune.evaluation.statistics import Values
    from ragtune.migration.golden import Golden

__all__ = ["comparison_page"]

MAX_SHOWN = 100


# A protocol: `comparison` imports this module.
class Compared(Protocol):
    """What a comparison says, for those who show it."""

    @property
    def golden(self) -> Golden:
        """The recording."""

    @property
    def card(self) -> Scorecard:
        """All answers, scored."""

    @property
    def groups(self) -> Mapping[str, str]:
        """The group of each question."""

    @property
    def sentence(self) -> str:
        """The result in words."""

    @property
    def differences(self) -> DifferenceTable:
        """New minus old by group."""

    @property
    def changes(self) -> Values:
        """New minus old by question."""

    def judged(self, row: Difference) -> str:
        """Return what a difference means."""


def comparison_page(comparison: Compared) -> str:
    """Return the whole page."""
    parts = [f"<p><strong>{markup(comparison.sentence)}</strong></p>", _differences(comparison)]
    parts += [_changed(comparison), _usage(comparison), _unanswered(comparison), _recorded(comparison)]
    return page("Old model and new model", "".join(parts))


def _differences(comparison: Compared) -> str:
    rows = [
        (row.kind, comparison.judged(row), row.points, p_text(row.p), row.n, row.needed or "")
        for row in comparison.differences
    ]
    if not rows:
        return ""
    head = ("questions", "the new model is", "new - old", "p", "n", "questions that would tell")
    drawn = forest(comparison.card, comparison.differences.rows)
    return f"<h2>Differences</h2>{wide(table(rows, head))}{drawn}"


def _changed(comparison: Compared) -> str:
    """What one of the two answered much better, the losses first."""
    worse = list(_answers(comparison, sign=-1))
    better = list(_answers(comparison, sign=1))
    parts = []
    for title, found in (("Worse than before", worse), ("Better than before", better)):
        parts.append(f"<h2>{title}: {len(found)}</h2>")
        if found:
            rows = [_shown(comparison, fact) for fact in found[:MAX_SHOWN]]
            parts.append(wide(table(rows, ("question", "asked", "accepted", "old", "new"))))
        if len(found) > MAX_SHOWN:
            parts.append(f"<p>and {len(found) - MAX_SHOWN} more, in the log</p>")
    return "".join(parts)


def _answers(comparison: Compared, *, sign: int) -> Iterator[str]:
    """Questions by how much was lost (or won), those that changed by half a score or more."""
    # What cannot be compared did not change as far as anybody knows.
    values = sign * np.nan_to_num(comparison.changes)
    # Stable, so that equal changes stand in the order of the questions on every machine.
    for place in np.argsort(-values, kind="stable"):
        if values[place] >= 0.5:
            yield comparison.card.scores.fact_ids[place]


def _shown(comparison: Compared, fact: str) -> tuple[object, ...]:
    old, new = (_line(comparison, fact, arm) for arm in (OLD, NEW))
    asked = old or new or {}
    accepted = " / ".join(asked.get("answers", ()))
    texts = [_text(line) for line in (old, new)]
    return (asked.get("question", fact), comparison.groups[fact], accepted, *texts)


def _line(comparison: Compared, fact: str, arm: str) -> Line | None:
    scores = comparison.card.scores
    if arm not in scores.arms:
        return None
    here = (scores.arm == scores.arms.index(arm)) & (scores.fact == scores.fact_ids.index(fact))
    offsets = scores.offset[np.flatnonzero(here)]
    # By its place in the log: the answers are not held in memory.
    return next(read_log(comparison.card.path, start=int(offsets[0])))[1] if len(offsets) else None


def _text(line: Line | None) -> str:
    if line is None:
        return ""
    return line["text"] if line.get("text") is not None else f"[{line['fault']['message'][:200]}]"


def _usage(comparison: Compared) -> str:
    rows = [
        (
            row.arm,
            row.answers,
            "" if row.completion_tokens is None else f"{row.completion_tokens:,}",
            "" if row.median_s is None else f"{row.median_s:.2f}",
            "" if row.slow_s is None else f"{row.slow_s:.2f}",
            "unknown" if row.cost_usd is None else f"${row.cost_usd:.4f}",
        )
        for row in comparison.card.usage
    ]
    head = ("", "answers", "answer tokens", "median s", "95 % within s", "cost")
    return f"<h2>What it takes</h2>{wide(table(rows, head))}"


def _unanswered(comparison: Compared) -> str:
    errors = comparison.card.errors
    if not errors:
        return ""
    rows = [(error.arm, error.question, error.error) for error in errors[:MAX_SHOWN]]
    return f"<h2>Not answered, counted as wrong: {len(errors)}</h2>{wide(table(rows, ('', 'question', 'why')))}"


def _recorded(comparison: Compared) -> str:
    golden = comparison.golden
    rule = f"{golden.questions} questions: {golden.rule}. Recording: {golden}."
    return f"<p><small>{markup(rule)}</small></p>"
