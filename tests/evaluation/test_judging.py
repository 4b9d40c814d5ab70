"""A judge is a model too: it has favourites, and it does not always answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import ragtune as rt
from ragtune import aio
from ragtune.evaluation import Judgement, Price, judge
from ragtune.testing import ScriptedBackend
from tests.evaluation.conftest import lakes, number_in


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Of 12 lakes tuned knows all and base every third."""

    def tuned(question: str) -> str:
        return f"{number_in(question)} metres"

    def base(question: str) -> str:
        return f"{number_in(question)} m" if int(number_in(question)) % 3 == 0 else "0 metres"

    path = tmp_path / "eval.jsonl"
    rt.evaluate({"base": base, "tuned": tuned}, lakes(12), log=path, kinds=["verbatim"])
    return path


def parts(prompt: str) -> tuple[str, str, str]:
    """Reference, first and second answer of a prompt."""
    found = {line.partition(": ")[0]: line.partition(": ")[2] for line in prompt.splitlines() if ": " in line}
    return found["Reference answer"], found["Answer A"], found["Answer B"]


def fair(prompt: str) -> str:
    reference, a, b = parts(prompt)
    number = reference.split()[0]
    right = a.split()[0] == number, b.split()[0] == number
    return "tie" if right[0] == right[1] else "A" if right[0] else "The better one is B."


def test_a_fair_judge_agrees_with_itself_and_with_a_person(log: Path) -> None:
    """Eight wins and four ties: a win rate of (8 + 2) / 12, and p of the sign test 2 / 2 ** 8."""
    said = judge(log, fair)
    assert [said.count(verdict) for verdict in ("first", "second", "tie", "neither")] == [8, 0, 4, 0]
    assert (said.win_rate, said.p) == (pytest.approx(10 / 12), pytest.approx(2 / 2**8))
    assert (said.consistent, said.first_place) == (1.0, 0.5)
    labels = {(f"lake-{n}", 0): "tie" if n % 3 == 0 else "first" for n in range(1, 13)}
    assert said.agreement(labels) == (1.0, 1.0)  # type: ignore[arg-type]
    # Two of twelve otherwise: 10/12 agreed, by chance (8 x 8 + 4 x 2) / 144 with two labels for `second`.
    labels |= {("lake-3", 0): "second", ("lake-6", 0): "second"}
    agreed, kappa = said.agreement(labels)  # type: ignore[arg-type]
    assert agreed == pytest.approx(10 / 12)
    assert kappa == pytest.approx((10 / 12 - 72 / 144) / (1 - 72 / 144))


def test_a_judge_that_likes_what_comes_first_is_found_out(log: Path) -> None:
    """All ties, no order agrees with the other, and every verdict is for the first place."""
    said = judge(log, lambda prompt: "A")
    assert said.count("tie") == 12
    assert (said.consistent, said.first_place, said.win_rate) == (0.0, 1.0, 0.5)
    assert "won 100% of single verdicts" in str(said)


def test_a_judge_that_answers_neither_is_data(log: Path) -> None:
    def mute(prompt: str) -> str:
        reference, _, _ = parts(prompt)
        if reference == "5 metres":
            raise ConnectionError("no line")
        return "Both have their merits." if reference == "7 metres" else fair(prompt)

    said = judge(log, mute)
    assert said.count("neither") == 2
    assert said.verdicts["lake-7", 0] == "neither"
    assert "2 not judged" in str(said)
    with pytest.raises(rt.EvaluationError, match="none is of a pair"):
        said.agreement({("lake-99", 0): "tie"})


@pytest.mark.parametrize("reply", ["A tie.", "It is a TIE"])
def test_a_tie_in_a_sentence_is_no_vote_for_a(log: Path, reply: str) -> None:
    said = judge(log, lambda prompt: reply)
    assert (said.count("tie"), said.consistent) == (12, 1.0)


def test_the_words_of_an_error_are_no_verdict(log: Path) -> None:
    """They are asked for again by the next call."""

    def broken(prompt: str) -> str:
        raise TimeoutError("A timeout occurred")

    assert judge(log, broken).count("neither") == 12
    assert judge(log, fair).count("first") == 8


def test_verdicts_are_in_the_log_with_their_prompts_and_not_asked_for_twice(log: Path) -> None:
    asked = []

    def counted(prompt: str) -> str:
        asked.append(prompt)
        return fair(prompt)

    before = rt.Scorecard.load(log)["tuned"]
    said = judge(log, counted)
    assert len(asked) == 24
    again = judge(log, counted)
    assert len(asked) == 24
    assert again == said
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    prompts = [line["prompt"] for line in lines if line["type"] == "verdict"]
    assert sorted(prompts) == sorted(asked)
    assert rt.Scorecard.load(log)["tuned"] == before


@pytest.mark.slow
def test_what_a_judge_said_in_another_role_is_asked_anew(log: Path) -> None:
    with ScriptedBackend(answer="tie") as backend, backend.client() as client:

        def asked(system: str) -> int:
            before = len(backend.requests)
            judge(log, rt.TunedModel(client, "gpt-4.1-2025-04-14", system=system))
            return sum(one.call == "chat.completions.create" for one in backend.requests[before:])

        assert [asked("Be fair."), asked("Be fair."), asked("Be strict.")] == [24, 0, 24]


def test_arms_without_a_common_question_cannot_be_judged(log: Path) -> None:
    with pytest.raises(rt.EvaluationError, match="'tuned' and 'nobody' answered no question in common"):
        judge(log, fair, second="nobody")


def test_a_judges_budget_is_not_exceeded_and_more_money_goes_on(log: Path) -> None:
    """24 showings at a cent each: ten are within ten cents, and the next call pays for the other 14."""
    asked = []

    def counted(prompt: str) -> str:
        asked.append(prompt)
        return fair(prompt)

    cent = Price(usd_per_question=0.01)
    with pytest.raises(rt.BudgetExceeded, match="14 pairs were not shown"):
        judge(log, counted, price=cent, max_cost_usd=0.105)
    assert len(asked) == 10
    said = judge(log, counted, price=cent, max_cost_usd=0.245)
    assert (len(asked), said.cost_usd) == (24, pytest.approx(0.24))
    assert said == judge(log, counted, price=cent, max_cost_usd=0.245)


def test_a_judges_budget_wants_a_known_price(log: Path) -> None:
    with pytest.raises(rt.EvaluationError, match=r"cannot be kept for 'judge': its price is not known; give price="):
        judge(log, fair, max_cost_usd=1.0)


def test_the_asynchronous_judge_says_the_same(log: Path) -> None:
    """Over an AsyncOpenAI, whose judge reads the same prompts."""

    async def main(backend: ScriptedBackend) -> Judgement:
        async with backend.async_client() as client:
            return await aio.judge(log, (client, "gpt-4.1-2025-04-14"))

    with ScriptedBackend(answer=lambda model, messages: fair(str(messages[-1]["content"]))) as backend:
        said = asyncio.run(main(backend))
        with backend.client() as client:
            assert judge(log, (client, "gpt-4.1-2025-04-14")) == said
    assert said.verdicts == judge(log, fair).verdicts
    assert said.count("first") == 8
