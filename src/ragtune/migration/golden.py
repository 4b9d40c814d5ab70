"""Golden answers: what a model said while it still answered, one line each, in the format of an evaluation's log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune._checked import checked
from ragtune._sync import run
from ragtune.errors import EvaluationError
from ragtune.evaluation.asking.drive import in_tasks, in_threads
from ragtune.evaluation.asking.prices import Purse
from ragtune.evaluation.log import AnswerLog, read_header, read_log
from ragtune.migration.interview import (
    MAX_TOKENS,
    TIMEOUT_S,
    AskSettings,
    Interview,
    PatientRespondent,
    Turn,
    answer_lines,
    asked_model,
)
from ragtune.migration.questions import questions_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import openai

    from ragtune.evaluation import Price
    from ragtune.evaluation.log import Line
    from ragtune.facts import FactSet
    from ragtune.migration.questions import Questions
    from ragtune.model import AsyncTunedModel, TunedModel

__all__ = ["AS_USED", "NEW", "OLD", "RECORDED", "Golden", "record", "record_async"]

# Who answers in a recording: at temperature 0, and with the parameters that the application sends.
RECORDED, AS_USED = "recorded", "as used"
# Who answers in a comparison.
OLD, NEW = "old", "new"


@checked()
@dataclass(frozen=True, kw_only=True)
class Golden:
    """A recording of a model.

    Attributes:
        path: the file.
        model: whom was asked.
        rule: how the questions were picked.
        questions: how many there are.
        answers: how many answers there are.
        expected: how many there will be.
        unanswered: questions that failed and have no answer yet.
        cost_usd: what the answers cost; None where no price is known.

    Example:
        ```python
        import ragtune as rt
        from ragtune.testing import ScriptedBackend

        with ScriptedBackend(answer="83 metres.") as backend, backend.client() as client:
            golden = rt.record(rt.TunedModel(client, "tiny-random"), ["How deep is Lake Sorrel?"], "golden.jsonl")
        print(golden.answers, golden.is_complete, next(golden.lines())["text"])
        #> 1 True 83 metres.
        ```
    """

    path: Path
    model: str
    rule: str
    questions: int
    answers: int
    expected: int
    unanswered: int
    cost_usd: float | None

    @property
    def is_complete(self) -> bool:
        """Whether every question has all its answers."""
        return self.answers == self.expected

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Golden:
        """Open a recording, also one that was interrupted.

        Raises:
            EvaluationError: the file is missing, is no recording, or is damaged.
        """
        place = Path(path).absolute()
        read_header(place)
        about: dict[str, Any] | None = None
        for _, line in read_log(place):
            # The last one: a call that went on may have asked for more.
            about = line if line["type"] == "golden" else about
        if about is None:
            raise EvaluationError(f"{place} is the log of an evaluation and no recording; rt.record(...) makes one")
        for name, kind in (("model", str), ("rule", str), ("questions", int), ("expected", int)):
            if not isinstance(about.get(name), kind):
                message = f"{place}: {name} = {about.get(name)!r:.60} in the line of the recording; record anew"
                raise EvaluationError(message)
        answered: dict[tuple[str, str, int], bool] = {}
        costs: dict[tuple[str, str, int], float | None] = {}
        for _, line in answer_lines(place):
            key = (line["arm"], line["fact"], line["wording"])
            answered[key] = answered.get(key, False) or line.get("text") is not None
            # The last one's, since an answer that was asked again has its price in its own line.
            costs[key] = line.get("cost_usd")
        known = [usd for usd in costs.values() if usd is not None]
        return cls(
            path=place,
            model=about["model"],
            rule=about["rule"],
            questions=about["questions"],
            answers=sum(answered.values()),
            expected=about["expected"],
            unanswered=len(answered) - sum(answered.values()),
            cost_usd=sum(known) if known else None,
        )

    def lines(self, arm: str | None = RECORDED) -> Iterator[Line]:
        """Iterate the answers as they stand in the file, of equal questions the last one.

        Args:
            arm: `recorded` (temperature 0), `as used`, or None for both.
        """
        # Offsets and not answers: memory holds numbers alone.
        places = {
            (line["arm"], line["fact"], line["wording"]): offset
            for offset, line in answer_lines(self.path)
            if line.get("text") is not None and arm in (None, line["arm"])
        }
        for offset in places.values():
            yield next(answer_lines(self.path, start=offset))[1]

    def __str__(self) -> str:
        cost = "" if self.cost_usd is None else f", ${self.cost_usd:.4f}"
        state = "complete" if self.is_complete else f"{self.expected - self.answers} are missing"
        return f"{self.path}: {self.answers} of {self.expected} answers of {self.model}{cost}; {state}"


@checked("model", "questions", "concurrency", "timeout_s", "max_cost_usd")
def record(
    model: TunedModel | tuple[openai.OpenAI, str],
    questions: Questions | FactSet | Sequence[str | Sequence[Mapping[str, Any]]],
    path: str | os.PathLike[str],
    *,
    samples: int = 1,
    as_used: Mapping[str, object] | None = None,
    max_tokens: int | None = MAX_TOKENS,
    max_cost_usd: float | None = None,
    price: Price | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    progress: bool | None = None,
) -> Golden:
    """Record what a model answers while it still does, with usage, latency, price and log-probabilities.

    Every answer is written as it comes. The same call goes on where an earlier one was stopped, and asks again what was
    not answered. The file is a log of `rt.evaluate`, so `rt.Scorecard.load` reads it, too.

    Args:
        model: an `rt.TunedModel`, or a pair (client, "model").
        questions: `archive.questions("ftjob-...")`, an `rt.FactSet`, or a list of texts or conversations. Rows of an
            archive go as they were trained, their system prompt among them; texts and facts get the trained one.
        path: JSONL file; made where it is not there.
        samples: how often each question is asked, at least 1: at temperature 0, and as often with `as_used`.
        as_used: the parameters that your application sends, for example `{"temperature": 0.7}`; None records at
            temperature 0 alone. The spread of these answers shows how much the model differs from itself.
        max_tokens: most tokens of an answer, None for the server's own limit.
        max_cost_usd: US dollars that this file's answers may cost together; what could go beyond it is not sent.
        price: what the model costs, where the catalogue does not know.
        concurrency: questions under way at once, at least 1.
        timeout_s: seconds after which a question counts as not answered.
        progress: draw a bar. True: always; False: never; None: on a terminal or in a notebook.

    Raises:
        ModelExpired: the model does not answer any more; what was recorded stays, and the note says how much.
        BudgetExceeded: the money is spent; what was recorded stays.
        EvaluationError: there is no question, or the file is another recording.
    """
    asked = questions_of(questions)
    recording = _Recording.begun(
        asked_model(model, asynchronous=False),
        asked,
        samples=samples,
        as_used=as_used,
        max_tokens=max_tokens,
        price=price,
    )
    settings = AskSettings(concurrency=concurrency, timeout_s=timeout_s, progress=progress)
    with recording.opened(Path(path), run(recording.identities())) as log:
        interview = recording.interview(log, max_cost_usd)
        run(interview.ask_all(recording.turns, settings, in_threads))
    return Golden.load(path)


@checked("model", "questions", "concurrency", "timeout_s", "max_cost_usd")
async def record_async(
    model: AsyncTunedModel | tuple[openai.AsyncOpenAI, str],
    questions: Questions | FactSet | Sequence[str | Sequence[Mapping[str, Any]]],
    path: str | os.PathLike[str],
    *,
    samples: int = 1,
    as_used: Mapping[str, object] | None = None,
    max_tokens: int | None = MAX_TOKENS,
    max_cost_usd: float | None = None,
    price: Price | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    progress: bool | None = None,
) -> Golden:
    """Record what a model answers while it still does; see `ragtune.record`."""
    asked = questions_of(questions)
    recording = _Recording.begun(
        asked_model(model, asynchronous=True),
        asked,
        samples=samples,
        as_used=as_used,
        max_tokens=max_tokens,
        price=price,
    )
    settings = AskSettings(concurrency=concurrency, timeout_s=timeout_s, progress=progress)
    with recording.opened(Path(path), await recording.identities()) as log:
        interview = recording.interview(log, max_cost_usd)
        await interview.ask_all(recording.turns, settings, in_tasks)
    return Golden.load(path)


@dataclass(frozen=True, kw_only=True)
class _Recording:
    """What is asked, of whom, and how."""

    questions: Questions
    respondents: Mapping[str, PatientRespondent]
    samples: int

    @classmethod
    def begun(
        cls,
        model: AsyncTunedModel,
        questions: Questions,
        *,
        samples: int,
        as_used: Mapping[str, object] | None,
        max_tokens: int | None,
        price: Price | None,
    ) -> _Recording:
        if samples < 1:
            raise EvaluationError(f"samples={samples!r}: each question is asked at least once")
        respondents = {
            # At temperature 0 the answers of two models differ by the models, and by chance as little as can be.
            RECORDED: PatientRespondent(model, parameters={"temperature": 0.0}, max_tokens=max_tokens, price=price)
        }
        if as_used is not None:
            # Without a temperature of its own an application gets the server's, which is not 0.
            parameters = {"temperature": None} | dict(as_used)
            # An application's own limit belongs to how it asks, and goes before the one of the recording.
            limit: Any = parameters.pop("max_tokens", max_tokens)
            respondents[AS_USED] = PatientRespondent(model, parameters=parameters, max_tokens=limit, price=price)
        return cls(questions=questions, respondents=respondents, samples=samples)

    @property
    def turns(self) -> list[Turn]:
        """Question by question, so that a part of it is a recording of its own."""
        turns = product(self.questions, self.respondents, range(self.samples))
        return [Turn(arm=arm, question=question, sample=sample) for question, arm, sample in turns]

    async def identities(self) -> dict[str, Mapping[str, str]]:
        """Who is asked, by arm, with the system prompt where questions get it."""
        if not any(question.takes_system for question in self.questions):
            return {arm: asked.identity for arm, asked in self.respondents.items()}
        return {arm: {**await asked.conditions(), **asked.identity} for arm, asked in self.respondents.items()}

    def opened(self, path: Path, identities: Mapping[str, Mapping[str, str]]) -> AnswerLog:
        log = AnswerLog(path, facts=self.questions.fingerprint, arms=identities)
        about = {
            "type": "golden",
            "model": next(iter(self.respondents.values())).model.name,
            "rule": self.questions.rule,
            "left_out": dict(self.questions.left_out),
            "questions": len(self.questions),
            "expected": len(self.questions) * len(self.respondents) * self.samples,
            "parameters": {arm: json.loads(asked.identity["parameters"]) for arm, asked in self.respondents.items()},
        }
        # At every call, since one that goes on may ask for more samples than the last.
        log.append(about)
        return log

    def interview(self, log: AnswerLog, max_cost_usd: float | None) -> Interview:
        interview = Interview(respondents=self.respondents, log=log, purse=Purse(max_cost_usd))
        interview.check_budget()
        interview.remember()
        return interview
