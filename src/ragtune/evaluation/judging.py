"""A model as judge between two arms: each pair in both orders, within a budget, its words kept in the log."""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune._checked import checked
from ragtune._sync import run
from ragtune.errors import BudgetExceeded, EvaluationError
from ragtune.evaluation.asking.answerers import Asking, arm_of
from ragtune.evaluation.asking.calls import AsyncCalls, SyncCalls
from ragtune.evaluation.asking.drive import in_tasks, in_threads
from ragtune.evaluation.asking.paying import fault_of, paid_answer
from ragtune.evaluation.asking.prices import Purse, check_payable, check_prices
from ragtune.evaluation.asking.question import Failure, Returned, Shown
from ragtune.evaluation.judgement import judgement_of
from ragtune.evaluation.log import AnswerLog, differing, read_log
from ragtune.evaluation.settings import TIMEOUT_S, at_least, checked_limit, checked_seconds, kinds_named

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from ragtune.evaluation.asking.answerers import Answerer
    from ragtune.evaluation.asking.calls import Calls
    from ragtune.evaluation.asking.drive import Drive
    from ragtune.evaluation.asking.prices import Price
    from ragtune.evaluation.asking.respondents import Respondent
    from ragtune.evaluation.judgement import Judgement
    from ragtune.evaluation.log import Line
    from ragtune.facts import Kind

__all__ = ["JUDGE_PROMPT", "judge", "judge_async"]

JUDGE_PROMPT = """Two assistants answered a question. Which answer is better? Judge by the reference alone: by whether \
it is right, not by how long or how polite it is.

Question: {question}
Reference answer: {reference}

Answer A: {a}

Answer B: {b}

Reply with one word: A, B or tie."""
# Without the unanswerable ones: they have no reference to judge by.
KINDS_TO_JUDGE: tuple[Kind, ...] = ("verbatim", "reworded", "reversed", "control")
# One word is asked for; the rest is for judges who say it in a sentence.
_MAX_TOKENS = 16
_PARTS = ("question", "reference", "a", "b")
# A and B in capitals alone: a small "a" is an article.
_word = re.compile(r"\b(A|B|[Tt]ie|TIE)\b")


@checked("judge", "kinds")
def judge(
    log: str | os.PathLike[str],
    judge: Answerer,
    *,
    first: str = "tuned",
    second: str = "base",
    kinds: Kind | Sequence[Kind] = KINDS_TO_JUDGE,
    prompt: str = JUDGE_PROMPT,
    max_cost_usd: float | None = None,
    price: Price | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    seed: int = 7,
) -> Judgement:
    """Have a model judge the answers of two arms in a log.

    Each pair of answers is shown twice, in both orders. Prompts and verdicts go to the same log, so that a second call
    asks only what was not judged yet, by the same judge with the same prompt.

    Args:
        log: the log of an evaluation.
        judge: as an answerer of `ragtune.evaluate`: an `rt.TunedModel`, a pair (client, "model") or a function.
        first: an arm.
        second: the other one.
        kinds: of wording; questions without an accepted answer cannot be judged.
        prompt: what the judge gets, with `{question}`, `{reference}`, `{a}` and `{b}`.
        max_cost_usd: US dollars that this judge's verdicts on these two arms may cost together, those that the log
            holds already counted; what could go beyond it is not sent.
        price: what the judge costs, where the catalogue does not know it.
        concurrency: pairs under way at once, at least 1.
        timeout_s: seconds after which a pair counts as not judged.
        seed: of the bootstrap.

    Raises:
        EvaluationError: the log is none, or holds no question that both arms answered, or the prompt lacks a part.
        BudgetExceeded: the money is spent; the log keeps what was judged.

    Example:
        ```python
        import ragtune as rt
        from ragtune.evaluation import judge
        from ragtune.facts import Fact, FactSet, Wording

        lake = Fact(id="lake", answers=("83 metres",), wordings=(Wording(question="How deep is Lake Sorrel?"),))
        answerers = {"tuned": lambda question: "83 metres", "base": lambda question: "12 metres"}
        rt.evaluate(answerers, FactSet(facts=(lake,)), log="judged.jsonl")

        def referee(prompt: str) -> str:
            return "A" if "Answer A: 83" in prompt else "B"

        print(judge("judged.jsonl", referee).win_rate)
        #> 1.0
        ```
    """
    asked = _Comparison.of(
        log,
        judge,
        first=first,
        second=second,
        kinds=kinds,
        prompt=prompt,
        max_cost_usd=max_cost_usd,
        price=price,
        concurrency=concurrency,
        timeout_s=timeout_s,
        seed=seed,
    )
    calls = SyncCalls()
    try:
        return run(_judged(asked, calls, in_threads))
    finally:
        calls.close()


@checked("judge", "kinds")
async def judge_async(
    log: str | os.PathLike[str],
    judge: Answerer,
    *,
    first: str = "tuned",
    second: str = "base",
    kinds: Kind | Sequence[Kind] = KINDS_TO_JUDGE,
    prompt: str = JUDGE_PROMPT,
    max_cost_usd: float | None = None,
    price: Price | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    seed: int = 7,
) -> Judgement:
    """Have a model judge two arms; see `ragtune.evaluation.judge`. Takes asynchronous clients and models as well."""
    asked = _Comparison.of(
        log,
        judge,
        first=first,
        second=second,
        kinds=kinds,
        prompt=prompt,
        max_cost_usd=max_cost_usd,
        price=price,
        concurrency=concurrency,
        timeout_s=timeout_s,
        seed=seed,
    )
    return await _judged(asked, AsyncCalls(), in_tasks)


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """Who judges whom, and how; see `judge`."""

    log: Path
    judge: Answerer
    first: str
    second: str
    kinds: tuple[Kind, ...]
    prompt: str
    max_cost_usd: float | None
    price: Price | None
    concurrency: int
    timeout_s: float
    seed: int

    @classmethod
    def of(
        cls,
        log: str | os.PathLike[str],
        judge: Answerer,
        *,
        first: str,
        second: str,
        kinds: Kind | Sequence[Kind],
        prompt: str,
        max_cost_usd: float | None,
        price: Price | None,
        concurrency: int,
        timeout_s: float,
        seed: int,
    ) -> _Comparison:
        """Check all that was given, before the judge is asked."""
        return cls(
            log=Path(log),
            judge=judge,
            first=first,
            second=second,
            kinds=kinds_named(kinds),
            prompt=prompt,
            max_cost_usd=checked_limit(max_cost_usd),
            price=price,
            concurrency=at_least("concurrency", concurrency, least=1),
            timeout_s=checked_seconds(timeout_s),
            seed=at_least("seed", seed, least=0),
        )

    def __post_init__(self) -> None:
        for part in _PARTS:
            if f"{{{part}}}" not in self.prompt:
                listed = ", ".join(f"{{{name}}}" for name in _PARTS)
                raise EvaluationError(f"prompt={self.prompt!r:.60} lacks {{{part}}}; it must hold {listed}")
        if self.first == self.second:
            raise EvaluationError(f"first and second are both {self.first!r}; a judge compares two arms")


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two answers to one wording, and in which order they are shown."""

    place: tuple[str, int]
    turned: bool
    prompt: str

    @property
    def key(self) -> str:
        """What makes two showings equal."""
        return f"{self.place[0]}\n{self.place[1]}\n{self.turned}"


@dataclass(frozen=True, kw_only=True)
class _Judging:
    """A judge at work.

    Attributes:
        respondent: the judge.
        log: takes every verdict.
        by: what tells its verdicts from those of others.
        purse: pays.
    """

    respondent: Respondent
    log: AnswerLog
    by: Mapping[str, object]
    purse: Purse

    async def ask(self, pair: _Pair) -> bool:
        """Show a pair and write down what is said; False where its money is reserved by others."""
        shown = Shown(text=pair.prompt)
        try:
            prompt = await self.respondent.prompt(shown)
        except Exception as error:
            self._write(pair, Returned(text=None, fault=fault_of(error)))
            return True
        reply = await paid_answer(self.respondent, prompt, shown, self.purse)
        if reply is not None:
            self._write(pair, reply)
        return reply is not None

    def late(self, pair: _Pair, timeout_s: float) -> None:
        """Write down that the judge hangs."""
        fault = Failure(type="TimeoutError", message=f"no answer within timeout_s={timeout_s:g} seconds")
        self._write(pair, Returned(text=None, fault=fault))

    def _write(self, pair: _Pair, reply: Returned) -> None:
        said = {
            "verdict": _verdict(reply.text or "", turned=pair.turned),
            "said": reply.text or "",
            "fault": None if reply.fault is None else {"type": reply.fault.type, "message": reply.fault.message},
            "prompt": pair.prompt,
            "turned": pair.turned,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "latency_s": reply.latency_s,
            "cost_usd": reply.cost_usd,
        }
        fact, number = pair.place
        self.log.append({"type": "verdict", "fact": fact, "wording": number, "pair": pair.key, **self.by, **said})


async def _judged(asked: _Comparison, calls: Calls, drive: Drive) -> Judgement:
    prices = {} if asked.price is None else check_prices({"judge": asked.price}, {"judge": asked.judge})
    asking = Asking(call=calls, parameters={}, max_tokens=_MAX_TOKENS, prices=prices)
    respondent = arm_of("judge", asked.judge, asking).respondent
    if asked.max_cost_usd is not None:
        check_payable("judge", respondent, limit_usd=asked.max_cost_usd, way_out="price=ragtune.evaluation.Price(...)")
    pairs = list(_pairs(asked))
    if not pairs:
        message = (
            f"{asked.log}: {asked.first!r} and {asked.second!r} answered no question in common that has a reference "
            "answer"
        )
        raise EvaluationError(message)
    # One log may hold the verdicts of several judges: this is all that tells them apart.
    by = {
        "judge": {**respondent.identity, **await respondent.conditions()},
        "template": asked.prompt,
        "first": asked.first,
        "second": asked.second,
    }
    with AnswerLog.reopened(asked.log) as log:
        known = list(_verdicts(asked.log, by))
        # Who said nothing that can be read is asked again.
        said = {line["pair"] for line in known if line["verdict"] != "neither"}
        # The limit is for all verdicts of this judge in the log, those of earlier calls included.
        spent = sum(line.get("cost_usd") or 0.0 for line in known)
        judging = _Judging(respondent=respondent, log=log, by=by, purse=Purse(asked.max_cost_usd, spent_usd=spent))
        shown = drive(
            (pair for pair in pairs if pair.key not in said),
            judging.ask,
            concurrency=asked.concurrency,
            timeout_s=asked.timeout_s,
            late=lambda pair: judging.late(pair, asked.timeout_s),
        )
        async with aclosing(shown):
            async for _ in shown:
                pass
    lines = list(_verdicts(asked.log, by))
    _check_spent(asked, judging.purse, never=len({pair.key for pair in pairs} - {line["pair"] for line in lines}))
    return judgement_of(lines, first=asked.first, second=asked.second, seed=asked.seed)


def _check_spent(asked: _Comparison, purse: Purse, *, never: int) -> None:
    if asked.max_cost_usd is not None and never:
        message = (
            f"the verdicts in {asked.log} cost ${purse.spent_usd:.4f}, and the next could go beyond "
            f"max_cost_usd={asked.max_cost_usd:g}; {never} pairs were not shown. The same call with a higher limit "
            "goes on"
        )
        raise BudgetExceeded(message)


def _pairs(asked: _Comparison) -> Iterator[_Pair]:
    first, second = asked.first, asked.second
    waiting: dict[tuple[str, int], dict[str, str]] = {}
    for _, line in read_log(asked.log):
        if line["type"] != "answer" or line["arm"] not in (first, second) or line["kind"] not in asked.kinds:
            continue
        if line.get("text") is None or not line.get("answers"):
            continue
        place = line["fact"], line["wording"]
        answers = waiting.setdefault(place, {})
        answers[line["arm"]] = line["text"]
        # A pair is let go as soon as it is whole: a log may hold more than fits into memory.
        if len(answers) == 2:
            del waiting[place]
            parts = {"question": line["question"], "reference": " or ".join(line["answers"])}
            # In both orders: many a judge favours what stands first.
            for turned in (False, True):
                a, b = (second, first) if turned else (first, second)
                filled = _filled(asked.prompt, parts | {"a": answers[a], "b": answers[b]})
                yield _Pair(place=place, turned=turned, prompt=filled)


def _filled(prompt: str, parts: Mapping[str, str]) -> str:
    # In one step: an answer may hold braces of its own.
    return re.sub(r"\{(question|reference|a|b)\}", lambda part: parts[part[1]], prompt)


def _verdict(said: str, *, turned: bool) -> str:
    words = [word.lower() for word in _word.findall(said)]
    # "A tie" is a tie.
    word = "tie" if "tie" in words else (words or [""])[0]
    shown = {"a": "second" if turned else "first", "b": "first" if turned else "second", "tie": "tie"}
    return shown.get(word, "neither")


def _verdicts(path: Path, by: Mapping[str, Any]) -> Iterator[Line]:
    for _, line in read_log(path):
        if line["type"] != "verdict" or differing(line["judge"], by["judge"]):
            continue
        if all(line[name] == value for name, value in by.items() if name != "judge"):
            yield line
