"""The best of a job's checkpoints, told by their answers instead of by a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune._table import Table
from ragtune.errors import EvaluationError, NoTunedModel
from ragtune.model import AsyncTunedModel

if TYPE_CHECKING:
    from ragtune.evaluation import Estimate, Scorecard
    from ragtune.facts import FactSet, Kind
    from ragtune.job.state import JobState

__all__ = ["BestCheckpoint", "CheckpointScore", "best_of", "candidates", "kind_to_ask"]

FINAL = "final model"
# What was held out says most; a question that was trained on word for word is answered by heart.
_PREFERRED: tuple[Kind, ...] = ("reworded", "verbatim", "reversed")


@dataclass(frozen=True, kw_only=True)
class CheckpointScore:
    """How one checkpoint answered.

    Attributes:
        name: name to ask it by.
        step: training step it was taken at; None for the finished model of a job that ended early.
        score: its mean over the facts, with the interval.

    Example:
        ```python
        from ragtune.evaluation import Estimate
        from ragtune.monitor import CheckpointScore

        score = Estimate(mean=0.7, low=0.6, high=0.8, n=60, answers=60, unanswered=0)
        print(CheckpointScore(name="ft:b:o::x:ckpt-step-9", step=9, score=score).score)
        #> 70% (60 to 80%, n=60)
        ```
    """

    name: str
    step: int | None
    score: Estimate


@dataclass(frozen=True, kw_only=True)
class BestCheckpoint(Table[CheckpointScore]):
    """The checkpoint that answers best, and how all of them answered.

    Attributes:
        rows: the curve: every checkpoint in the order of its step, the finished model last.
        name: name to ask the best one by.
        step: its training step; None where it is the finished model alone.
        card: the whole evaluation; `card.difference("step 9", "step 6", kind=...)` says whether two differ at all.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        rows = [{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("sums", overwrite=True)
        spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=2), seed=7)
        facts = rt.FactSet.from_rows(rows, question="q", answer="a")
        with LocalBackend("runs") as backend:
            monitor = rt.JobMonitor(rt.FineTuneJob.create(backend.client(), dataset, spec))
            monitor.wait(timeout_s=300)
            best = monitor.best_checkpoint(facts)
        print([score.step for score in best.curve])
        #> [6, 12]
        ```
    """

    name: str
    step: int | None
    card: Scorecard

    @property
    def curve(self) -> tuple[CheckpointScore, ...]:
        """Every checkpoint in the order of its step."""
        return self.rows

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Step": [row.step for row in self.rows],
            "Mean": [row.score.mean for row in self.rows],
            "Low": [row.score.low for row in self.rows],
            "High": [row.score.high for row in self.rows],
            "Best": ["best" if row.name == self.name else None for row in self.rows],
            "Model": [row.name for row in self.rows],
        }


async def candidates(state: JobState) -> dict[str, tuple[str, int | None]]:
    """The models of a job that can be asked: what a card calls each, its name and its step.

    Raises:
        NoTunedModel: there is none.
    """
    taken = [found for found in await state.checkpoints() if found.model is not None and found.step is not None]
    named: dict[str, tuple[str, int | None]] = {
        f"step {found.step}": (str(found.model), found.step) for found in sorted(taken, key=lambda one: one.step or 0)
    }
    finished = state.details.fine_tuned_model
    # The last checkpoint is the finished model, unless the run ended early: then it is that of an earlier epoch, which
    # need not be among the checkpoints that the server keeps.
    if finished is not None and (not named or state.details.early_stop is not None):
        named[FINAL] = (finished, None)
    if not named:
        message = (
            f"{state.id} has no checkpoint that can be asked: it is {state.details.status}, and servers take them at "
            "the end of an epoch"
        )
        raise NoTunedModel(message)
    return named


async def asked(state: JobState, name: str) -> AsyncTunedModel:
    """The checkpoint of that name, with the system prompt that it was trained with."""
    # Without its system prompt a checkpoint would be judged by questions that it never saw in this form.
    return AsyncTunedModel._trained_by(state, name)


def kind_to_ask(facts: FactSet, kind: Kind | None) -> Kind:
    """The kind of wording that tells checkpoints apart: the one named, else the one that was least trained on.

    Raises:
        EvaluationError: the facts have no wording of it.
    """
    there = facts.counts.keys()
    chosen = kind or next((known for known in _PREFERRED if known in there), None)
    if chosen is None or chosen not in there:
        wanted = chosen or " or ".join(_PREFERRED)
        raise EvaluationError(f"kind: the facts have no wording of the kind {wanted}, only {', '.join(sorted(there))}")
    return chosen


def best_of(card: Scorecard, models: dict[str, tuple[str, int | None]], kind: Kind) -> BestCheckpoint:
    """The best by the card's mean; of equals the earliest, which has forgotten least."""
    rows = tuple(CheckpointScore(name=name, step=step, score=card[arm][kind]) for arm, (name, step) in models.items())
    best = max(rows, key=lambda row: row.score.mean)
    return BestCheckpoint(rows=rows, name=best.name, step=best.step, card=card)
