"""Is the new model as good as the one that ended? Its answers against the recorded ones, question by question."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune._checked import checked
from ragtune._sync import run
from ragtune.errors import EvaluationError
from ragtune.evaluation.asking.drive import in_tasks, in_threads
from ragtune.evaluation.asking.prices import Purse
from ragtune.evaluation.card.scorecard import Scorecard
from ragtune.evaluation.log import AnswerLog, read_header, read_log
from ragtune.evaluation.scorers import scorers_named
from ragtune.migration.comparison import Agreement, Comparison, known_only
from ragtune.migration.golden import AS_USED, NEW, OLD, RECORDED, Golden
from ragtune.migration.interview import (
    MAX_TOKENS,
    TIMEOUT_S,
    AskSettings,
    Interview,
    PatientRespondent,
    Turn,
    asked_model,
)
from ragtune.migration.questions import GoldenQuestion

if TYPE_CHECKING:
    import os

    import openai

    from ragtune.evaluation import Price
    from ragtune.evaluation.log import Line
    from ragtune.evaluation.scorers import ScorerArgument
    from ragtune.model import AsyncTunedModel, TunedModel

__all__ = ["compare", "compare_async"]

MARGIN = 0.05


@checked("golden", "new_model", "scorers", "concurrency", "timeout_s", "max_cost_usd", "margin")
def compare(
    golden: Golden | str | os.PathLike[str],
    new_model: TunedModel | tuple[openai.OpenAI, str],
    scorers: ScorerArgument = ("contains", "f1"),
    *,
    log: str | os.PathLike[str] | None = None,
    margin: float = MARGIN,
    max_tokens: int | None = MAX_TOKENS,
    max_cost_usd: float | None = None,
    price: Price | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    seed: int = 7,
    progress: bool | None = None,
) -> Comparison:
    """Ask a new model the recorded questions and hold its answers against those of the old one.

    Both are scored against what is right, as the training rows say it, and against what the old model answered. The
    prompts are sent as they were recorded, at temperature 0. The same call goes on where an earlier one was stopped.

    Args:
        golden: what `rt.record` made, or its path.
        new_model: an `rt.TunedModel`, or a pair (client, "model").
        scorers: as in `rt.evaluate`; the first is the one that decides.
        log: JSONL file of the new answers; None takes one beside the recording that is named after the new model.
        margin: how much worse still counts as good, as a share of the questions, in [0, 1).
        max_tokens: most tokens of an answer.
        max_cost_usd: US dollars that the new answers may cost together.
        price: what the new model costs, where the catalogue does not know.
        concurrency: questions under way at once, at least 1.
        timeout_s: seconds after which a question counts as not answered.
        seed: of bootstrap and permutation tests.
        progress: draw a bar. True: always; False: never; None: on a terminal or in a notebook.

    Raises:
        EvaluationError: the recording holds no answer, or the log is of another recording or model.
        BudgetExceeded: the money is spent; what was answered stays.
    """
    model = asked_model(new_model, asynchronous=False)
    asking = _Asking.begun(golden, model, scorers=scorers, log=log, margin=margin, max_tokens=max_tokens, price=price)
    settings = AskSettings(concurrency=concurrency, timeout_s=timeout_s, progress=progress)
    with asking.opened() as opened:
        run(asking.interview(opened, max_cost_usd).ask_all(asking.turns, settings, in_threads))
    return asking.compared(seed)


@checked("golden", "new_model", "scorers", "concurrency", "timeout_s", "max_cost_usd", "margin")
async def compare_async(
    golden: Golden | str | os.PathLike[str],
    new_model: AsyncTunedModel | tuple[openai.AsyncOpenAI, str],
    scorers: ScorerArgument = ("contains", "f1"),
    *,
    log: str | os.PathLike[str] | None = None,
    margin: float = MARGIN,
    max_tokens: int | None = MAX_TOKENS,
    max_cost_usd: float | None = None,
    price: Price | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    seed: int = 7,
    progress: bool | None = None,
) -> Comparison:
    """Ask a new model the recorded questions and compare; see `ragtune.compare`."""
    model = asked_model(new_model, asynchronous=True)
    asking = _Asking.begun(golden, model, scorers=scorers, log=log, margin=margin, max_tokens=max_tokens, price=price)
    settings = AskSettings(concurrency=concurrency, timeout_s=timeout_s, progress=progress)
    with asking.opened() as opened:
        await asking.interview(opened, max_cost_usd).ask_all(asking.turns, settings, in_tasks)
    return asking.compared(seed)


@dataclass(frozen=True, kw_only=True)
class _Asking:
    """What was recorded, whom to ask now, and where to write it."""

    golden: Golden
    new: PatientRespondent
    scorers: ScorerArgument
    path: Path
    margin: float
    lines: tuple[Line, ...]

    @classmethod
    def begun(
        cls,
        golden: object,
        model: AsyncTunedModel,
        *,
        scorers: ScorerArgument,
        log: str | os.PathLike[str] | None,
        margin: float,
        max_tokens: int | None,
        price: Price | None,
    ) -> _Asking:
        # For its refusals alone: a name that is no scorer's is told before anything is asked.
        scorers_named(scorers)
        if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < 1:
            raise EvaluationError(f"margin={margin!r} must be a share in [0, 1), for example 0.05")
        recording = golden if isinstance(golden, Golden) else Golden.load(golden)  # type: ignore[arg-type]
        lines = tuple(recording.lines())
        if not lines:
            raise EvaluationError(f"{recording.path} holds no answer at temperature 0, so nothing can be compared")
        new = PatientRespondent(model, parameters={"temperature": 0.0}, max_tokens=max_tokens, price=price)
        path = _beside(recording.path, new) if log is None else Path(log)
        return cls(golden=recording, new=new, scorers=scorers, path=path, margin=float(margin), lines=lines)

    @property
    def turns(self) -> list[Turn]:
        """One turn for each recorded question, however often it was recorded."""
        # Read backwards, the first line of each question stays; turned round once more, they have the file's order.
        first = {line["fact"]: line for line in reversed(self.lines)}
        return [Turn(arm=NEW, question=_question(line), prompt=line["prompt"]) for line in reversed(first.values())]

    def opened(self) -> AnswerLog:
        """The log, with the recorded answers copied into it."""
        # The name and not the path: a recording that was moved is still the same.
        old = {"model": self.golden.model, "recording": str(self.golden.path.name)}
        log = AnswerLog(
            self.path, facts=read_header(self.golden.path)["facts"], arms={OLD: old, NEW: self.new.identity}
        )
        # What an earlier call copied stays; a kill may have come between two lines.
        there = {
            (line["fact"], line["wording"])
            for _, line in read_log(self.path)
            if line["type"] == "answer" and line["arm"] == OLD
        }
        for line in self.lines:
            if (line["fact"], line["wording"]) not in there:
                log.append({**line, "arm": OLD})
        return log

    def interview(self, log: AnswerLog, max_cost_usd: float | None) -> Interview:
        interview = Interview(respondents={NEW: self.new}, log=log, purse=Purse(max_cost_usd))
        interview.check_budget()
        interview.remember()
        # The old model's answers are in the same log, and were paid for by the recording.
        interview.purse.spent_usd = _spent(log.path)
        return interview

    def compared(self, seed: int) -> Comparison:
        """Score all answers of the log."""
        recorded = {line["fact"]: line["text"] for line in self.lines}
        groups = {line["fact"]: line.get("group", "given") for line in self.lines}
        known = {line["fact"] for line in self.lines if line.get("answers") or groups[line["fact"]] == "unanswerable"}
        named = {name: known_only(scorer, known) for name, scorer in scorers_named(self.scorers).items()}
        agreement = Agreement(recorded=recorded)
        card = Scorecard.load(self.path, scorers={**named, "agreement": agreement}, seed=seed)
        return Comparison(
            golden=self.golden,
            model=self.new.model.name,
            card=card,
            groups=groups,
            margin=self.margin,
            has_truth=bool(known),
            itself=_itself(self.golden, agreement),
        )


def _itself(golden: Golden, agreement: Agreement) -> dict[str, float]:
    """How much the old model agrees with itself, by question: its further answers against the recorded one."""
    found: dict[str, list[float]] = {}
    for line in golden.lines(arm=None):
        # The first recorded answer is what others are held against, and would agree with itself.
        again = line["arm"] == AS_USED or (line["arm"] == RECORDED and line["wording"] > 0)
        if again and line["fact"] in agreement.recorded:
            found.setdefault(line["fact"], []).append(agreement.of(line["fact"], line["text"]))
    return {fact: sum(scores) / len(scores) for fact, scores in found.items()}


def _question(line: Line) -> GoldenQuestion:
    prompt: Any = line["prompt"]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return GoldenQuestion(
        id=line["fact"],
        messages=tuple(messages),
        answers=tuple(line.get("answers", ())),
        group=line.get("group", "given"),
    )


def _spent(path: Path) -> float:
    answers = (line for _, line in read_log(path) if line["type"] == "answer" and line["arm"] == NEW)
    return sum(line.get("cost_usd") or 0.0 for line in answers)


def _beside(path: Path, new: PatientRespondent) -> Path:
    # Of server, model and parameters: answers of two models never meet in one log.
    name = json.dumps(dict(new.identity), sort_keys=True)
    return path.with_name(f"{path.stem}.against-{hashlib.sha256(name.encode()).hexdigest()[:12]}.jsonl")
