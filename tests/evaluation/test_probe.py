"""What a base knows before it is trained: samples, categories, logs that go on, budgets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune import aio
from ragtune.evaluation import Price
from ragtune.testing import ScriptedBackend
from tests.evaluation.conftest import lakes, number_in

BASE = "gpt-4.1-2025-04-14"


@pytest.mark.slow
def test_facts_are_sorted_by_what_samples_get_right(tmp_path: Path) -> None:
    """Lake 1 is known in any words, 2 in the trained ones, 3 by one sample in seven, 4 never."""
    asked: dict[str, int] = {}

    def answer(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        question = str(messages[-1]["content"])
        asked[question] = asked.get(question, 0) + 1
        number = number_in(question)
        right = {"1": True, "2": "How" in question, "3": "How" in question and asked[question] == 5}.get(number, False)
        return f"It is {number} m deep." if right else "I do not know."

    with ScriptedBackend(answer=answer) as backend, backend.client() as client:
        found = rt.probe((client, BASE), lakes(4), samples=8, log=tmp_path / "probe.jsonl", concurrency=1)
        assert set(asked.values()) == {8}
        bodies = [request.body for request in backend.requests if request.call == "chat.completions.create"]
    assert [body["temperature"] for body in bodies].count(0.0) == 8
    assert {body["temperature"] for body in bodies} == {0.0, 0.5}
    assert {row.id: row.knowledge for row in found} == {
        "lake-1": "known",
        "lake-2": "maybe",
        "lake-3": "maybe",
        "lake-4": "unknown",
    }
    weakly = found[2]
    assert (weakly.greedy, weakly.sampled, weakly.answers) == (0.0, pytest.approx(1 / 14), 16)
    assert [len(part) for part in (found.known, found.maybe, found.unknown, found.unanswered)] == [1, 2, 1, 0]
    assert [fact.id for fact in found.select("maybe", "unknown")] == ["lake-2", "lake-3", "lake-4"]
    assert found.sentence.startswith("Of 4 facts: 1 known (25%), 2 maybe (50%), 1 unknown (25%). Train on")
    assert json.loads(found.to_json())["counts"] == {"known": 1, "maybe": 2, "unknown": 1, "unanswered": 0}
    assert found.to_pandas()["Knowledge"].tolist() == ["known", "maybe", "maybe", "unknown"]


def test_a_probe_goes_on_and_asks_again_only_what_was_not_answered(tmp_path: Path) -> None:
    """An error is no ignorance: the fact is left out until its answers are there."""
    calls = 0

    def shaky(question: str) -> str:
        nonlocal calls
        calls += 1
        if number_in(question) == "2" and calls < 20:
            raise OSError("no network")
        return f"{number_in(question)} metres"

    log = tmp_path / "probe.jsonl"
    first = rt.probe(shaky, lakes(3), samples=2, log=log, concurrency=1)
    assert [fact.id for fact in first.unanswered] == ["lake-2"]
    assert first.share["known"] == 1.0
    assert calls == 12
    calls = 100
    again = rt.probe(shaky, lakes(3), samples=2, log=log, concurrency=1)
    assert calls == 104
    assert len(again.known) == 3


def test_samples_of_another_temperature_are_not_those_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "probe.jsonl"
    with ScriptedBackend(answer="No.") as backend, backend.client() as client:
        rt.probe((client, BASE), lakes(1), samples=2, log=log)
        with pytest.raises(rt.EvaluationError, match=r"'base, sample 2' was .*0\.5.* and is .*0\.9"):
            rt.probe((client, BASE), lakes(1), samples=2, temperature=0.9, log=log)


def test_stars_are_no_shares_that_a_probe_could_take(tmp_path: Path) -> None:
    def stars(context: rt.evaluation.Context) -> int:
        return 3

    with pytest.raises(rt.EvaluationError, match=r"scorer: 'stars' gave 3; a probe takes .* shares from 0 to 1"):
        rt.probe(lambda question: "?", lakes(2), samples=1, scorer=stars, log=tmp_path / "probe.jsonl")


def test_controls_are_not_asked(tmp_path: Path) -> None:
    """General knowledge and what nothing answers are no facts to teach."""
    found = rt.probe(lambda question: "I do not know.", lakes(3, control=True), samples=1)
    assert [row.id for row in found] == ["lake-1", "lake-2", "lake-3"]
    assert found.share["unknown"] == 1.0
    assert "several wordings" in found.sentence


def test_a_probe_keeps_its_budget(tmp_path: Path) -> None:
    """Each answer costs a cent, four cents buy four of twelve, and an unknown price buys nothing."""
    price = Price(usd_per_question=0.01)
    log = tmp_path / "probe.jsonl"
    with pytest.raises(rt.BudgetExceeded, match="8 of 12 questions were not asked"):
        rt.probe(lambda q: "?", lakes(2), samples=3, log=log, max_cost_usd=0.04, prices={"base": price}, concurrency=1)
    assert len(rt.probe(lambda q: "?", lakes(2), samples=3, log=log, prices={"base": price}).unknown) == 2
    with pytest.raises(rt.EvaluationError, match="price is not known"):
        rt.probe(lambda q: "?", lakes(2), max_cost_usd=1.0)


def test_the_async_twin_takes_async_clients(tmp_path: Path) -> None:
    """The same answers, the same categories."""

    async def main(backend: ScriptedBackend) -> list[int]:
        async with backend.async_client() as client:
            found = await aio.probe((client, BASE), lakes(3), samples=3, log=tmp_path / "probe.jsonl")
        return [len(found.known), len(found.unknown)]

    with ScriptedBackend(answer="It is 2 metres.") as backend:
        assert asyncio.run(main(backend)) == [1, 2]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"samples": 0}, "samples=0"),
        ({"samples": True}, "samples is True; it takes a whole number"),
        ({"temperature": 0}, "temperature=0"),
        ({"temperature": "warm"}, "temperature is 'warm'; it takes a number"),
        ({"sample": 4}, "sample=: there is no such argument; there is samples="),
        ({"scorers": ["f1"]}, "scorers=: there is no such argument; there is scorer="),
        ({"prices": {"tuned": Price()}}, "nobody is named 'tuned'"),
        ({"scorer": "bleu"}, "no 'bleu'"),
        ({"kinds": ["reversed"]}, "no fact has a wording of kind 'reversed'"),
        ({"base": 3}, r"answerers\['base'\] is a int"),
        ({"facts": []}, "facts is a list; it takes a FactSet"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], said: str) -> None:
    """Before anybody is asked."""
    given: dict[str, Any] = {"base": lambda question: "?", "facts": lakes(2)} | wrong
    with pytest.raises((rt.EvaluationError, TypeError), match=said):
        rt.probe(given.pop("base"), given.pop("facts"), **given)
    with pytest.raises(rt.EvaluationError, match="'known2' is not one of"):
        rt.probe(lambda question: "?", lakes(1), samples=1).select("known2")  # type: ignore[arg-type]
