"""A model as judge between two arms: both orders, its own bias, and how often a person agrees with it."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ragtune._sync import run
from ragtune.errors import EvaluationError
from ragtune.evaluation.asking.answerers import Asking, arm_of
from ragtune.evaluation.asking.calls import SyncCalls
from ragtune.evaluation.asking.drive import in_threads
from ragtune.evaluation.asking.question import Shown
from ragtune.evaluation.figures import p_text
from ragtune.evaluation.log import AnswerLog, read_log
from ragtune.evaluation.statistics import intervals, mcnemar

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from ragtune.evaluation.asking.answerers import Answerer, Arm
    from ragtune.evaluation.log import Line

__all__ = ["JUDGE_PROMPT", "Judgement", "Verdict", "judge"]

Verdict = Literal["first", "second", "tie", "neither"]

JUDGE_PROMPT = """Two assistants answered a question. Which answer is better? Judge by the reference alone: by whether \
it is right, not by how long or how polite it is.

Question: {question}
Reference answer: {reference}

Answer A: {a}

Answer B: {b}

Reply with one word: A, B or tie."""
_word = re.compile(r"\b(A|B|[Tt]ie|TIE)\b")
# What stands before the words of an error, which are no verdict.
_FAILED = "(no answer) "


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a judge said of two arms, question by question.

    Each pair was shown in both orders. A verdict counts for an arm only where both orders agree on it; where they do
    not, it is a tie, and counts against the judge's consistency.

    Attributes:
        first: an arm.
        second: the other one.
        verdicts: by fact and number of the wording: `first`, `second`, `tie`, or `neither` where the judge did not say.
        consistent: share of the judged pairs on which both orders agree; None where nothing was judged.
        first_place: share of all single verdicts for an answer that name the one shown first. A half is no bias; None
            where there is no verdict for either.
        win_rate: mean over facts, a win 1 and a tie a half, for the first arm; NaN where nothing was judged.
        low: lower end of its 95 % bootstrap interval over facts.
        high: upper end.
        p: two-sided, of wins against losses by the exact sign test, which is McNemar's.

    Example:
        ```python
        from ragtune.evaluation import Judgement

        said = Judgement(
            first="tuned", second="base", verdicts={("lake", 0): "first"}, consistent=1.0, first_place=0.5,
            win_rate=1.0, low=0.025, high=1.0, p=1.0,
        )
        print(said.agreement({("lake", 0): "first"}))
        #> (1.0, None)
        ```
    """

    first: str
    second: str
    verdicts: Mapping[tuple[str, int], Verdict] = field(repr=False)
    consistent: float | None
    first_place: float | None
    win_rate: float
    low: float
    high: float
    p: float

    def count(self, verdict: Verdict) -> int:
        """Return how many pairs got a verdict."""
        return sum(said == verdict for said in self.verdicts.values())

    def agreement(self, labels: Mapping[tuple[str, int], Verdict]) -> tuple[float, float | None]:
        """Return how often a person's labels agree with the judge, and Cohen's kappa (None where it is undefined).

        Args:
            labels: `first`, `second` or `tie` by fact and number of the wording, as a person sees it.

        Raises:
            EvaluationError: the judge said nothing about any of them.
        """
        pairs = [(said, label) for place, label in labels.items() if (said := self.verdicts.get(place)) is not None]
        if not pairs:
            raise EvaluationError("labels: none is of a pair that was judged; name fact and number of the wording")
        agreed = sum(said == label for said, label in pairs) / len(pairs)
        judged, labelled = (Counter(pair[side] for pair in pairs) for side in (0, 1))
        chance = sum(judged[verdict] * labelled[verdict] for verdict in judged) / len(pairs) ** 2
        return agreed, None if chance == 1 else (agreed - chance) / (1 - chance)

    def __str__(self) -> str:
        wins, losses, ties, neither = (self.count(verdict) for verdict in get_args(Verdict))
        lines = [f"{self.first} against {self.second}: {wins} won, {losses} lost, {ties} tied, {neither} not judged"]
        rate, low, high = (100 * share for share in (self.win_rate, self.low, self.high))
        if self.consistent is not None:
            lines.append(
                f"win rate {rate:.0f}% ({low:.0f} to {high:.0f}%), p {p_text(self.p)}; "
                f"both orders agree on {100 * self.consistent:.0f}%"
            )
        if self.first_place is not None:
            lines.append(
                f"the answer shown first won {100 * self.first_place:.0f}% of single verdicts (50% is no bias)"
            )
        return "\n".join(lines)


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


def judge(
    log: str | os.PathLike[str],
    judge: Answerer,
    *,
    first: str = "tuned",
    second: str = "base",
    kinds: tuple[str, ...] = ("verbatim", "reworded", "reversed", "control"),
    prompt: str = JUDGE_PROMPT,
    concurrency: int = 8,
    timeout_s: float = 120.0,
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
        concurrency: pairs under way at once.
        timeout_s: seconds after which a pair counts as not judged.
        seed: of the bootstrap.

    Raises:
        EvaluationError: the log is none, or holds no question that both arms answered.
    """
    path, calls = Path(log), SyncCalls()
    asking = Asking(call=calls, asynchronous=False, parameters={}, max_tokens=16, prices={})
    arm = arm_of("judge", judge, asking)
    pairs = list(_pairs(path, first, second, kinds, prompt))
    if not pairs:
        message = f"{path}: {first!r} and {second!r} answered no question in common that has a reference answer"
        raise EvaluationError(message)
    by = {"judge": dict(arm.respondent.identity), "template": prompt, "first": first, "second": second}
    try:
        with AnswerLog.reopened(path) as opened:
            known = {line["pair"] for line in _verdicts(path, by) if line["verdict"] != "neither"}
            todo = (pair for pair in pairs if pair.key not in known)
            threads = in_threads(
                todo,
                lambda pair: opened.append(_line(pair, by, run(_said(arm, pair)))) > 0,
                concurrency=concurrency,
                timeout_s=timeout_s,
                late=lambda pair: opened.append(_line(pair, by, "")),
            )
            with closing(threads):
                for _ in threads:
                    pass
    finally:
        calls.close()
    return _judgement(path, by, first, second, seed)


async def _said(arm: Arm, pair: _Pair) -> str:
    """What the judge says; an error is no verdict."""
    shown = Shown(text=pair.prompt)
    try:
        return (await arm.respondent.answer(await arm.respondent.prompt(shown), shown)).text or ""
    except Exception as error:
        return f"{_FAILED}{type(error).__name__}: {error}"


def _pairs(path: Path, first: str, second: str, kinds: tuple[str, ...], prompt: str) -> Iterator[_Pair]:
    waiting: dict[tuple[str, int], dict[str, str]] = {}
    for _, line in read_log(path):
        if line["type"] != "answer" or line["arm"] not in (first, second) or line["kind"] not in kinds:
            continue
        if line.get("text") is None or not line.get("answers"):
            continue
        place = line["fact"], line["wording"]
        answers = waiting.setdefault(place, {})
        answers[line["arm"]] = line["text"]
        if len(answers) == 2:
            del waiting[place]
            parts = {"question": line["question"], "reference": " or ".join(line["answers"])}
            for turned in (False, True):
                a, b = (second, first) if turned else (first, second)
                filled = _filled(prompt, parts | {"a": answers[a], "b": answers[b]})
                yield _Pair(place=place, turned=turned, prompt=filled)


def _filled(prompt: str, parts: Mapping[str, str]) -> str:
    # In one step: an answer may hold braces of its own.
    return re.sub(r"\{(question|reference|a|b)\}", lambda part: parts[part[1]], prompt)


def _line(pair: _Pair, by: Mapping[str, object], said: str) -> Line:
    words = [] if said.startswith(_FAILED) else [word.lower() for word in _word.findall(said)]
    # "A tie" is a tie.
    word = "tie" if "tie" in words else (words or [""])[0]
    shown = {"a": "second" if pair.turned else "first", "b": "first" if pair.turned else "second", "tie": "tie"}
    fact, number = pair.place
    verdict = {"verdict": shown.get(word, "neither"), "said": said, "prompt": pair.prompt, "turned": pair.turned}
    return {"type": "verdict", "fact": fact, "wording": number, "pair": pair.key, **by, **verdict}


def _verdicts(path: Path, by: Mapping[str, object]) -> Iterator[Line]:
    for _, line in read_log(path):
        if line["type"] == "verdict" and all(line[name] == value for name, value in by.items()):
            yield line


def _judgement(path: Path, by: Mapping[str, object], first: str, second: str, seed: int) -> Judgement:
    single: dict[tuple[str, int], dict[bool, Verdict]] = {}
    for line in _verdicts(path, by):
        single.setdefault((line["fact"], line["wording"]), {})[line["turned"]] = line["verdict"]
    both = {place: said for place, said in single.items() if len(said) == 2 and "neither" not in said.values()}
    verdicts: dict[tuple[str, int], Verdict] = dict.fromkeys(single, "neither")
    for place, said in both.items():
        verdicts[place] = said[False] if said[False] == said[True] else "tie"
    every = [(turned, said) for orders in single.values() for turned, said in orders.items()]
    chosen = [(turned, said) for turned, said in every if said in ("first", "second")]
    shown_first = sum((said == "second") == turned for turned, said in chosen)
    won = Counter(verdicts.values())
    win_rate, low, high = _win_rate(verdicts, seed)
    return Judgement(
        first=first,
        second=second,
        verdicts=verdicts,
        consistent=sum(said[False] == said[True] for said in both.values()) / len(both) if both else None,
        first_place=shown_first / len(chosen) if chosen else None,
        win_rate=win_rate,
        low=low,
        high=high,
        p=mcnemar(won["first"], won["second"]),
    )


def _win_rate(verdicts: Mapping[tuple[str, int], Verdict], seed: int) -> tuple[float, float, float]:
    points = {"first": 1.0, "tie": 0.5, "second": 0.0}
    by_fact: dict[str, list[float]] = {}
    for (fact, _), verdict in sorted(verdicts.items()):
        if verdict != "neither":
            by_fact.setdefault(fact, []).append(points[verdict])
    if not by_fact:
        return (float("nan"),) * 3
    means = np.array([[float(np.mean(scores))] for scores in by_fact.values()])
    low, high = intervals(means, seed=seed, span=(0.0, 1.0))
    return float(means.mean()), float(low[0]), float(high[0])
