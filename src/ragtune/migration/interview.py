"""Asking a model many questions and writing each answer down as it comes, so that no answer is ever paid twice."""

from __future__ import annotations

import json
import threading
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ragtune._api.errors import never_left
from ragtune._api.fields import number, object_of, objects
from ragtune._api.identity import is_loopback
from ragtune._progress import NoBar, bar, visible
from ragtune.errors import BudgetExceeded, EvaluationError, ModelExpired, NoTunedModel
from ragtune.evaluation.asking.answerers import usable_model
from ragtune.evaluation.asking.paying import timed
from ragtune.evaluation.asking.question import Failure, Returned, Shown
from ragtune.evaluation.asking.respondents import ModelRespondent, reply_of
from ragtune.evaluation.log import read_log
from ragtune.model import AsyncTunedModel, TunedModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.evaluation import Price
    from ragtune.evaluation.asking.drive import Drive
    from ragtune.evaluation.asking.prices import Purse
    from ragtune.evaluation.asking.question import Prompt
    from ragtune.evaluation.log import AnswerLog, Line
    from ragtune.migration.questions import GoldenQuestion
    from ragtune.model import Answer

__all__ = ["AskSettings", "Interview", "PatientRespondent", "Turn", "answer_lines", "asked_model"]

TIMEOUT_S = 120.0
MAX_TOKENS = 256
_OF_ANSWERS: Mapping[str, Any] = {
    "text": str | None,
    "prompt": str | list | None,
    "answers": list | None,
    "cost_usd": int | float | None,
}


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One question to one arm; `sample` numbers the times that it is asked."""

    arm: str
    question: GoldenQuestion
    sample: int = 0
    prompt: Prompt | None = None


@dataclass(frozen=True, kw_only=True)
class AskSettings:
    """How fast is asked, and for how long an answer is waited."""

    concurrency: int = 8
    timeout_s: float = TIMEOUT_S
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise EvaluationError(f"concurrency={self.concurrency!r} must be a whole number of at least 1")
        # Turned round, so that a number which is none is refused as well.
        if not self.timeout_s > 0:
            raise EvaluationError(f"timeout_s={self.timeout_s!r} must be more than 0 seconds")


def asked_model(given: object, *, asynchronous: bool) -> AsyncTunedModel:
    """Return the model to ask.

    Raises:
        TypeError: it is none, or needs an event loop where there is none.
    """
    model = usable_model(given)
    if isinstance(model, AsyncTunedModel) and asynchronous:
        return model
    if isinstance(model, TunedModel) and not asynchronous:
        return model._model
    wanted = "rt.AsyncTunedModel or a pair of an openai.AsyncOpenAI" if asynchronous else "rt.TunedModel or a pair of "
    wanted += "" if asynchronous else "an openai.OpenAI"
    raise TypeError(f"model is a {type(given).__qualname__}; give an {wanted} and a model's name")


class PatientRespondent(ModelRespondent):
    """A model that is asked for log-probabilities too, until it turns out that its server gives none."""

    def __init__(
        self, model: AsyncTunedModel, *, parameters: Mapping[str, object], max_tokens: int | None, price: Price | None
    ) -> None:
        given: Any = max_tokens
        is_whole = isinstance(given, Integral) and not isinstance(given, bool)
        if given is not None and not (is_whole and given >= 1):
            raise EvaluationError(f"max_tokens={max_tokens!r} must be a whole number of at least 1, or None")
        limit = None if max_tokens is None else int(max_tokens)
        super().__init__(model, parameters=parameters, max_tokens=limit, price=price)
        shown = json.dumps(self.parameters, sort_keys=True, default=str)
        self.identity = {"server": _place(model), "model": model.name, "parameters": shown}
        self._gives_logprobs = True

    async def answer(self, prompt: Prompt, shown: Shown) -> Returned:
        """Ask."""
        answer = await self._asked(prompt)
        told = _logprobs(answer)
        reply = reply_of(answer)
        return replace(reply, details={"logprobs": told}) if told else reply

    async def _asked(self, prompt: Prompt) -> Answer:
        import openai

        if self._gives_logprobs:
            try:
                # What the application sends goes last, also where it wants no log-probabilities.
                return await self.chat(prompt, **{"logprobs": True, **self.parameters})
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                # It may be the prompt that is refused; then this says so.
                answer = await self.chat(prompt, **self.parameters)
                self._gives_logprobs = False
                return answer
        return await self.chat(prompt, **self.parameters)


def _place(model: AsyncTunedModel) -> str:
    """Whose answers they are. A server on this machine may have another port at each start."""
    address = model._state.api.port.base_url
    url = urlsplit(address)
    return f"{url.scheme}://{url.hostname}{url.path}" if is_loopback(address) else address


def _logprobs(answer: Answer) -> list[list[object]]:
    tokens = objects(object_of(answer.logprobs).get("content"))
    return [[str(token.get("token")), number(token.get("logprob"))] for token in tokens]


@dataclass
class Interview:
    """Asks turns and writes the answers into a log.

    Attributes:
        respondents: who is asked, by arm.
        log: takes every answer.
        purse: pays.
    """

    respondents: Mapping[str, PatientRespondent]
    log: AnswerLog
    purse: Purse
    done: set[tuple[str, str, int]] = field(default_factory=set)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def remember(self) -> None:
        """Take in what the log holds already; what was not answered is asked again."""
        for _, line in answer_lines(self.log.path):
            if line.get("text") is not None:
                self.done.add((line["arm"], line["fact"], line["wording"]))
                self.purse.spent_usd += line.get("cost_usd") or 0.0

    def left(self, turns: Sequence[Turn]) -> Iterator[Turn]:
        """Iterate the turns that have no answer."""
        return (turn for turn in turns if _key(turn) not in self.done)

    def check_budget(self) -> None:
        """Refuse a limit that cannot be kept.

        Raises:
            EvaluationError: what an answer costs at most is not known.
        """
        if self.purse.limit_usd is None:
            return
        # Turned round for the same reason as above.
        if not self.purse.limit_usd >= 0:
            raise EvaluationError(f"max_cost_usd={self.purse.limit_usd!r} must not be below 0; None sets no limit")
        for arm, asked in self.respondents.items():
            if asked.price is None or asked.price.at_most("", asked.max_tokens) is None:
                unknown = "its price is not known" if asked.price is None else "its answers have no longest length"
                way = "price=ragtune.evaluation.Price(...)" if asked.price is None else "max_tokens="
                message = f"max_cost_usd={self.purse.limit_usd:g} cannot be kept for {arm!r}: {unknown}; give {way}"
                raise EvaluationError(message)

    async def ask_all(self, turns: Sequence[Turn], settings: AskSettings, drive: Drive) -> None:
        """Ask everything that has no answer yet; errors as in `ragtune.record`.

        Args:
            turns: what is asked.
            settings: how fast.
            drive: `in_threads`, which never suspends, or `in_tasks`.
        """
        asked = drive(
            self.left(turns),
            self.ask,
            concurrency=settings.concurrency,
            timeout_s=settings.timeout_s,
            late=lambda turn: self._late(turn, settings.timeout_s),
        )
        shown = visible() if settings.progress is None else settings.progress
        there = sum(_key(turn) in self.done for turn in turns)
        progress_bar = bar("ask", unit="answer", total=len(turns), done=there) if shown else NoBar()
        with _ProgressNote(self, turns), closing(progress_bar) as drawn:
            async with aclosing(asked):
                async for _ in asked:
                    drawn.update()
        self._check_spent(turns)

    async def ask(self, turn: Turn) -> bool:
        """Ask one question and write down what comes; False where its money is reserved by others.

        Raises:
            ModelExpired: the model is not there any more.
            openai.OpenAIError: nobody is there to answer, or the key is refused: asking on would tell nothing.
        """
        asked, question = self.respondents[turn.arm], turn.question
        shown = Shown(text=question.text)
        prompt = await self._prompt(turn)
        reserved = 0.0
        if asked.price is not None and self.purse.limit_usd is not None:
            # Set aside before it is sent: answers under way side by side must not go beyond the limit together.
            reserved = asked.price.at_most(prompt, asked.max_tokens) or 0.0
        if not self.purse.reserve(reserved):
            return False
        spent = 0.0
        try:
            reply = await timed(asked, prompt, shown)
            # An answer of unknown price counts as the dearest that it could be.
            spent = reserved if reply.cost_usd is None else reply.cost_usd
        except Exception as error:
            if (over := _end(error, asked.model.name)) is not None:
                raise over from error
            fault = Failure(type=type(error).__name__, message=str(error)[:2000])
            reply = Returned(text=None, fault=fault)
        finally:
            self.purse.settle(reserved, spent)
        self._write(turn, prompt, reply)
        return True

    async def _prompt(self, turn: Turn) -> Prompt:
        if turn.prompt is not None:
            return turn.prompt
        if turn.question.takes_system:
            return await self.respondents[turn.arm].prompt(Shown(text=turn.question.text))
        prompt: Any = [dict(message) for message in turn.question.messages]
        return prompt  # type: ignore[no-any-return]  # a conversation may hold more than texts

    def _late(self, turn: Turn, timeout_s: float) -> None:
        self._write(turn, turn.prompt, Returned.late(timeout_s))

    def _write(self, turn: Turn, prompt: Prompt | None, reply: Returned) -> None:
        line: Line = {**answer_line(turn), **reply.line(prompt)}
        with self._writing:
            written = self.log.append(
                {name: value for name, value in line.items() if value is not None and value is not False}
            )
            if written and reply.text is not None:
                self.done.add(_key(turn))

    def _check_spent(self, turns: Sequence[Turn]) -> None:
        purse = self.purse
        if purse.limit_usd is None:
            return
        begun = {(line["arm"], line["fact"], line["wording"]) for _, line in answer_lines(self.log.path)}
        # By what the log holds: a question that failed was asked, and money was not what it lacked.
        never = sum(_key(turn) not in begun for turn in turns)
        if never:
            message = (
                f"the answers in {self.log.path} cost ${purse.spent_usd:.4f}, and the next could go beyond "
                f"max_cost_usd={purse.limit_usd:g}; {never} of {len(turns)} questions were not asked. The same call "
                "with a higher limit goes on"
            )
            raise BudgetExceeded(message)


def answer_line(turn: Turn) -> Line:
    """Return what a line of the log says of a question, whatever came back."""
    question = turn.question
    line: Line = {
        "type": "answer",
        "arm": turn.arm,
        "fact": question.id,
        # The log is one of an evaluation's, which counts wordings; here the same question is asked again.
        "kind": "verbatim",
        "wording": turn.sample,
        "question": question.text,
        "group": question.group,
    }
    return line | ({"answers": list(question.answers)} if question.answers else {})


def answer_lines(path: Path, *, start: int = 0) -> Iterator[tuple[int, Line]]:
    """Iterate the answers of a recording or comparison, with the offset at which each begins.

    Raises:
        EvaluationError: as `read_log`, or a line does not say what an answer says.
    """
    for offset, line in read_log(path, start=start):
        if line["type"] != "answer":
            continue
        for name, kind in _OF_ANSWERS.items():
            value = line.get(name)
            if not isinstance(value, kind) or (name == "prompt" and value is None and line.get("text") is not None):
                message = (
                    f"{path} at byte {offset}: {name} = {value!r:.60} in an answer; take the line out, or record anew"
                )
                raise EvaluationError(message)
        yield offset, line


def _key(turn: Turn) -> tuple[str, str, int]:
    return turn.arm, turn.question.id, turn.sample


def _end(error: Exception, model: str) -> Exception | None:
    """The error that ends everything; None for one that concerns a single question."""
    import openai

    # Every further question would be refused as well.
    if isinstance(error, openai.NotFoundError | ModelExpired | NoTunedModel):
        return ModelExpired(f"{model} does not answer any more: {str(error).splitlines()[0][:300]}")
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError) or never_left(error):
        return error
    return None


class _ProgressNote:
    """Adds to whatever interrupts an interview how far it came."""

    def __init__(self, interview: Interview, turns: Sequence[Turn]) -> None:
        self._interview, self._turns = interview, turns

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt | Exception):
            there = sum(_key(turn) in self._interview.done for turn in self._turns)
            path = self._interview.log.path
            error.add_note(f"{path} keeps {there} of {len(self._turns)} answers; the same call goes on there")
