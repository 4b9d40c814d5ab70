"""Evaluations through the real client against a scripted server, and of plain functions."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune import aio
from ragtune.evaluation import Answerer, ByLetter, Context, Price, WithPassages
from ragtune.evaluation.log import fingerprint
from ragtune.facts import FactSet
from ragtune.testing import ScriptedBackend
from tests.evaluation.conftest import lakes, number_in, scripted

BASE, TUNED = "gpt-4o-mini-2024-07-18", "gpt-4.1-2025-04-14"


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    with ScriptedBackend(answer=scripted) as running:
        yield running


def know_all(question: str) -> str:
    return f"It is {number_in(question)} metres."


def answers(log: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["type"] == "answer"]


@pytest.mark.slow
def test_base_and_tuned_on_a_server(backend: ScriptedBackend, tmp_path: Path) -> None:
    """Of 30 lakes tuned knows all in the trained words and 20 in others, base none: a gap of a third."""
    log = tmp_path / "eval.jsonl"
    with backend.client() as client:
        card = rt.evaluate(rt.arms(base=(client, BASE), tuned=(client, TUNED)), lakes(30), log=log)
    assert card["tuned"]["verbatim"].mean == 1.0
    assert card["tuned"]["reworded"].mean == pytest.approx(20 / 30)
    assert card["base"]["reworded"].mean == 0.0
    gap = next(row for row in card.lines if row.name == "memorised: tuned")
    assert (gap.value, gap.told) == (pytest.approx(1 / 3), True)
    difference = card.difference("tuned", "base", kind="reworded")
    assert difference.value == pytest.approx(20 / 30)
    assert difference.low > 0.4
    assert difference.p == pytest.approx(2 / 2**20)
    assert card.scores.proof == "log-probabilities"
    line = answers(log)[0]
    assert {"prompt", "text", "finish_reason", "prompt_tokens", "completion_tokens", "latency_s"} <= line.keys()


def test_the_sentence_claims_what_can_be_told_and_nothing_else(tmp_path: Path) -> None:
    """With 30 facts 67 % against 0 % is told, 67 % against 60 % is not."""

    def weaker(question: str) -> str:
        return know_all(question) if int(number_in(question)) % 5 > 1 else "No."

    def tuned(question: str) -> str:
        return know_all(question) if int(number_in(question)) % 3 else "No."

    card = rt.evaluate({"tuned": tuned, "base": lambda q: "No."}, lakes(30), log=tmp_path / "a.jsonl")
    assert "tuned is ahead of base (0%) by 67 points" in card.sentence
    card = rt.evaluate({"tuned": tuned, "base": weaker}, lakes(30), log=tmp_path / "b.jsonl")
    assert "Whether tuned or base (60%) is better cannot be told from 30 facts" in card.sentence
    assert "facts would show a difference as small as this one" in card.sentence


def test_the_sentence_compares_in_other_words_where_there_are_some(tmp_path: Path) -> None:
    """In the trained words tuned knows all and base nothing; in others both know nothing."""

    def tuned(question: str) -> str:
        return know_all(question) if question.startswith("How deep") else "No."

    card = rt.evaluate({"tuned": tuned, "base": lambda question: "No."}, lakes(20), log=tmp_path / "eval.jsonl")
    assert card["tuned"]["verbatim"].mean == 1.0
    assert "asked in other words, tuned is right on 0%" in card.sentence
    assert "Whether tuned or base (0%) is better cannot be told from 20 facts" in card.sentence
    assert "tuned is ahead of" not in card.sentence


def test_five_arms_with_a_retrieval_that_fails(tmp_path: Path) -> None:
    """A model that believes its passages and else its memory: it recites without any, and follows a false one."""

    def reader(prompt: str) -> str:
        if "(no passage was found)" in prompt or "[1]" not in prompt:
            return f"{number_in(prompt)} metres"
        return prompt.partition("It is ")[2].partition(" deep")[0]

    def search(question: str) -> list[str]:
        return [f"Lake {number_in(question)}. It is {number_in(question)} metres deep."]

    arms = rt.arms(base=lambda prompt: "I do not know.", tuned=reader, retriever=search)
    card = rt.evaluate(arms, lakes(12), log=tmp_path / "eval.jsonl")
    assert card.arms == ("base", "tuned", "base+RAG", "tuned+RAG", "tuned, nothing found", "tuned, false passage")
    assert card["tuned+RAG"]["reworded"].mean == 1.0
    lines = {(row.name, row.kind): row.value for row in card.lines}
    assert lines["stale memory: nothing found", "reworded"] == 1.0
    assert lines["stale memory: false passage", "reworded"] == 0.0
    assert lines["followed the false passage", "reworded"] == 1.0


def test_an_arm_that_is_shown_its_passages_in_other_words_is_not_the_one_of_the_log(tmp_path: Path) -> None:
    def asked(template: str) -> rt.Scorecard:
        arms = rt.arms(tuned=know_all, retriever=lambda question: [question], template=template)
        return rt.evaluate(arms, lakes(2), log=tmp_path / "eval.jsonl")

    asked("{passages} {question}")
    with pytest.raises(rt.EvaluationError, match=r"'tuned.*' was .*when this log was made and is "):
        asked("{question} {passages}")


def test_forgetting_and_hallucination_are_lines_of_their_own(tmp_path: Path) -> None:
    def tuned(question: str) -> str:
        return "83 metres"

    def base(question: str) -> str:
        return "Paris" if "France" in question else "I don't know."

    card = rt.evaluate({"base": base, "tuned": tuned}, lakes(3, control=True), log=tmp_path / "eval.jsonl", probe=False)
    lines = {row.name: row.value for row in card.lines}
    assert lines["forgotten"] == 1.0
    assert (lines["hallucinated: base"], lines["hallucinated: tuned"]) == (0.0, 1.0)
    assert card["base"]["unanswerable"].mean == 1.0


def test_an_evaluation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What was answered is not asked again; what was not is, and the later answer counts."""
    log, asked = tmp_path / "eval.jsonl", []

    def flaky(question: str) -> str:
        asked.append(question)
        if number_in(question) == "3" and len(asked) < 12:
            raise ConnectionError("no line")
        return know_all(question)

    card = rt.evaluate({"flaky": flaky}, lakes(5), log=log)
    assert len(card.errors) == 2
    assert card["flaky"]["reworded"].mean == pytest.approx(0.8)
    assert card["flaky"]["reworded"].unanswered == 1
    asked.extend(["..."] * 10)
    before = len(asked)
    again = rt.evaluate({"flaky": flaky}, lakes(5), log=log)
    assert sorted(asked[before:]) == ["How deep is lake 3?", "What is the depth of lake 3?"]
    assert (again["flaky"]["reworded"].mean, again.errors) == (1.0, ())


def test_a_log_of_other_facts_or_of_another_model_is_refused(backend: ScriptedBackend, tmp_path: Path) -> None:
    log = tmp_path / "eval.jsonl"
    with backend.client() as client:
        rt.evaluate({"model": (client, BASE)}, lakes(2), log=log)
        with pytest.raises(rt.EvaluationError, match="other facts"):
            rt.evaluate({"model": (client, BASE)}, lakes(3), log=log)
        with pytest.raises(rt.EvaluationError, match=f"'model' was .*{BASE}.* now"):
            rt.evaluate({"model": (client, TUNED)}, lakes(2), log=log)
        card = rt.evaluate({"other": (client, TUNED)}, lakes(2), log=log)
    assert card.arms == ("model", "other")
    (tmp_path / "notes.txt").write_text("hello\n", encoding="utf-8")
    with pytest.raises(rt.EvaluationError, match=r"notes\.txt"):
        rt.evaluate({"x": know_all}, lakes(2), log=tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("system", "settings", "says"),
    [
        ("Answer as a pirate.", {}, "'model' was system '' when this log was made and is system 'Answer as a pirate.'"),
        ("", {"max_tokens": 200}, r'"max_tokens": 256.* when this log was made and is .*"max_tokens": 200'),
        ("", {"temperature": 1.5}, r'"temperature": 0}.* when this log was made and is .*"temperature": 1.5'),
    ],
)
def test_an_arm_that_is_asked_in_another_way_is_not_the_one_of_the_log(
    backend: ScriptedBackend, tmp_path: Path, system: str, settings: dict[str, Any], says: str
) -> None:
    log = tmp_path / "eval.jsonl"
    with backend.client() as client:
        rt.evaluate({"model": rt.TunedModel(client, BASE, system="")}, lakes(2), log=log)
        with pytest.raises(rt.EvaluationError, match=says):
            rt.evaluate({"model": rt.TunedModel(client, BASE, system=system)}, lakes(2), log=log, **settings)


def test_what_changes_no_answer_is_no_other_way_and_no_key_gets_into_the_log(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    log = tmp_path / "eval.jsonl"
    with backend.client() as client:
        model = rt.TunedModel(client, BASE, system="")

        def asked(**settings: Any) -> rt.Scorecard:
            return rt.evaluate({"model": model}, lakes(2), log=log, **settings)

        asked(temperature=0, top_p=1.0, extra_headers={"X-Token": "sk-proj-0123456789abcdef0123"}, timeout=30)
        asked(temperature=0.0, top_p=1, extra_headers={"X-Token": "another"}, timeout=60)
    assert "sk-proj" not in log.read_text(encoding="utf-8")


def test_long_system_prompts_are_told_by_where_they_part(backend: ScriptedBackend, tmp_path: Path) -> None:
    log, long = tmp_path / "eval.jsonl", "You know all lakes of the hills. " * 20
    with backend.client() as client:
        rt.evaluate({"model": rt.TunedModel(client, BASE, system=long + "Be brief.")}, lakes(1), log=log)
        with pytest.raises(
            rt.EvaluationError, match=r"was system '\.\.\..*Be brief\.' .* is system '\.\.\..*Be kind\.' now"
        ):
            rt.evaluate({"model": rt.TunedModel(client, BASE, system=long + "Be kind.")}, lakes(1), log=log)


def test_another_index_of_the_same_class_is_not_the_one_of_the_log(tmp_path: Path) -> None:
    def asked(*texts: str, k: int = 5) -> rt.Scorecard:
        arm = WithPassages(answerer=know_all, retriever=rt.BM25(texts, k=k))
        return rt.evaluate({"rag": arm}, lakes(2), log=tmp_path / "eval.jsonl")

    asked("lake 1 is deep", "lake 2 is shallow")
    assert asked("lake 1 is deep", "lake 2 is shallow")["rag"]["verbatim"].mean == 1.0
    with pytest.raises(rt.EvaluationError, match=r"'rag' was finds .* and is finds"):
        asked("lake 1 is deep", "lake 2 is unknown")
    with pytest.raises(rt.EvaluationError, match=r"'rag' was finds .* and is finds"):
        asked("lake 1 is deep", "lake 2 is shallow", k=1)


def test_a_partial_with_other_arguments_is_not_the_one_of_the_log(tmp_path: Path) -> None:
    """What an index in it finds counts as well; where it lies in memory does not."""

    def search(index: rt.BM25, question: str, *, k: int, of: object) -> object:
        return index(question, k=k)

    def asked(*texts: str, k: int = 5) -> rt.Scorecard:
        retriever = partial(search, rt.BM25(texts), k=k, of=object())
        return rt.evaluate(
            {"rag": WithPassages(answerer=know_all, retriever=retriever)}, lakes(2), log=tmp_path / "eval.jsonl"
        )

    asked("lake 1 is deep", "lake 2 is shallow")
    assert asked("lake 1 is deep", "lake 2 is shallow")["rag"]["verbatim"].mean == 1.0
    with pytest.raises(
        rt.EvaluationError, match=r"'rag' was finds .*k=5, of=object\) .* is finds .*k=1, of=object\) now"
    ):
        asked("lake 1 is deep", "lake 2 is shallow", k=1)
    with pytest.raises(rt.EvaluationError, match=r"'rag' was finds .* and is finds"):
        asked("lake 1 is deep", "lake 2 is unknown")


def test_wrong_passages_of_another_seed_are_not_those_of_the_log(tmp_path: Path) -> None:
    def asked(seed: int) -> rt.Scorecard:
        arms = rt.arms(tuned=know_all, retriever=rt.BM25(["a lake"]), seed=seed)
        return rt.evaluate(arms, lakes(2), log=tmp_path / "eval.jsonl")

    asked(7)
    with pytest.raises(rt.EvaluationError, match="was finds seed 7 when this log was made and is finds seed 8 now"):
        asked(8)


def test_a_log_that_does_not_say_how_was_asked_goes_on(backend: ScriptedBackend, tmp_path: Path) -> None:
    """Logs of earlier versions name server and model alone."""
    log = tmp_path / "eval.jsonl"
    with backend.client() as client:
        model = rt.TunedModel(client, BASE, system="Be brief.")
        card = rt.evaluate({"model": model}, lakes(2), log=log)
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            if line["type"] == "arm":
                del line["identity"]["parameters"], line["identity"]["system"]
        log.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        before = len(backend.requests)
        again = rt.evaluate({"model": model}, lakes(2), log=log, max_tokens=99)
        assert not [one for one in backend.requests[before:] if one.call == "chat.completions.create"]
    assert str(again) == str(card)


def test_an_answered_log_needs_no_server(tmp_path: Path) -> None:
    log = tmp_path / "eval.jsonl"
    with ScriptedBackend(answer=scripted) as backend, backend.client(max_retries=0) as client:
        card = rt.evaluate({"model": (client, BASE)}, lakes(2), log=log)
        gone = client.copy()
    assert str(rt.evaluate({"model": (gone, BASE)}, lakes(2), log=log)) == str(card)


def test_an_old_log_is_scored_again_and_nobody_is_asked(tmp_path: Path) -> None:
    log, asked = tmp_path / "eval.jsonl", []

    def model(question: str) -> str:
        asked.append(question)
        return know_all(question)

    rt.evaluate({"model": model}, lakes(4), log=log)
    count = len(asked)

    def short(context: Context) -> bool:
        return len(context.text) < 5

    card = rt.Scorecard.load(log).rescore(scorers=("exact", short))
    assert card["model"]["verbatim"].mean == 0.0
    assert card.by("short")["model"]["verbatim"].mean == 0.0
    assert card.rescore(["f1"])["model"]["verbatim"].mean == pytest.approx(2 * 2 / (4 + 2))
    assert len(asked) == count
    with pytest.raises(rt.EvaluationError, match="no scorer 'exact'"):
        rt.Scorecard.load(log).by("exact")


def test_equal_questions_to_equal_models_are_asked_once(backend: ScriptedBackend, tmp_path: Path) -> None:
    """Two names for one model: half of the requests, and both have all answers."""
    with backend.client() as client:
        card = rt.evaluate({"a": (client, BASE), "b": (client, BASE)}, lakes(6), log=tmp_path / "eval.jsonl")
    assert sum(request.call == "chat.completions.create" for request in backend.requests) == 12
    assert card["a"]["verbatim"].answers == card["b"]["verbatim"].answers == 6


def test_a_refused_question_counts_as_unanswered_and_is_listed(backend: ScriptedBackend, tmp_path: Path) -> None:
    backend.fail_next("chat.completions.create", status=400, code="content_policy_violation", message="Not this one.")
    with backend.client(max_retries=0) as client:
        card = rt.evaluate({"model": (client, TUNED)}, lakes(5), log=tmp_path / "eval.jsonl", kinds=["verbatim"])
    assert card["model"]["verbatim"].mean == pytest.approx(4 / 5)
    (missing,) = card.errors
    assert "BadRequestError" in missing.error
    assert "Not this one." in missing.error
    assert "1 of 5 questions were not answered and count as wrong" in str(card)


@pytest.mark.parametrize(
    ("answer", "said"),
    [(None, "it returned None"), (7, "it returned int"), (ValueError("broken"), "ValueError: broken")],
)
def test_an_answerer_that_gives_no_answer_is_an_error_of_the_question(
    tmp_path: Path, answer: object, said: str
) -> None:
    def broken(question: str) -> str:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    card = rt.evaluate({"broken": broken}, lakes(2), log=tmp_path / "eval.jsonl")
    assert card["broken"]["verbatim"].mean == 0.0
    assert all(said in missing.error for missing in card.errors)


def test_an_answerer_that_hangs_is_given_up(tmp_path: Path) -> None:
    """Two of six hang for ever; with two at a time the others are answered all the same."""

    def hangs(question: str) -> str:
        if number_in(question) in "25":
            threading.Event().wait(60)
        return know_all(question)

    begun = time.monotonic()
    card = rt.evaluate(
        {"hangs": hangs}, lakes(6), log=tmp_path / "eval.jsonl", kinds=["verbatim"], timeout_s=0.3, concurrency=2
    )
    assert time.monotonic() - begun < 20
    assert card["hangs"]["verbatim"].mean == pytest.approx(4 / 6)
    assert all("TimeoutError: no answer within timeout_s=0.3" in missing.error for missing in card.errors)


def test_a_budget_is_not_exceeded_and_more_money_goes_on(tmp_path: Path) -> None:
    """At a cent a question, 4.5 cents buy four of ten; what was bought stays bought."""
    log, asked = tmp_path / "eval.jsonl", []

    def paid(question: str) -> str:
        asked.append(question)
        return know_all(question)

    prices = {"paid": Price(usd_per_question=0.01)}
    with pytest.raises(rt.BudgetExceeded, match=r"cost \$0\.0400.* 6 of 10 questions were not asked"):
        rt.evaluate({"paid": paid}, lakes(5), log=log, max_cost_usd=0.045, prices=prices)
    assert len(asked) == 4
    assert rt.Scorecard.load(log).usage[0].cost_usd == pytest.approx(0.04)
    card = rt.evaluate({"paid": paid}, lakes(5), log=log, max_cost_usd=0.1, prices=prices)
    assert len(asked) == 10
    assert card.usage[0].cost_usd == pytest.approx(0.1)


@pytest.mark.parametrize(("error", "asked"), [(TimeoutError("lost"), 3), (ValueError("refused"), 10)])
def test_an_answer_that_was_lost_on_its_way_may_have_cost_the_most(
    tmp_path: Path, error: Exception, asked: int
) -> None:
    """Three cents buy three of ten that may have been billed; what was refused costs nothing."""
    seen = []

    def fails(question: str) -> str:
        seen.append(question)
        raise error

    prices = {"paid": Price(usd_per_question=0.01)}
    with suppress(rt.BudgetExceeded):
        rt.evaluate({"paid": fails}, lakes(5), log=tmp_path / "eval.jsonl", max_cost_usd=0.03, prices=prices)
    assert len(seen) == asked


def test_money_that_is_only_reserved_is_not_spent(backend: ScriptedBackend, tmp_path: Path) -> None:
    """Eight answers could cost 256 tokens each and take six: the limit stops nobody who stays below it."""
    prices = {"model": Price(output_usd_per_million=1000.0)}
    with backend.client() as client:
        card = rt.evaluate(
            {"model": (client, TUNED)}, lakes(8), log=tmp_path / "eval.jsonl", max_cost_usd=0.4, prices=prices
        )
    assert card.usage[0].answers == 16
    assert card.usage[0].cost_usd is not None
    assert card.usage[0].cost_usd < 0.15


def test_the_probe_is_paid_from_the_budget(backend: ScriptedBackend, tmp_path: Path) -> None:
    """A cent for each of the two probe questions and for each of the four answers: six cents, not five."""
    prices = dict.fromkeys(("base", "tuned"), Price(usd_per_question=0.01))
    log = tmp_path / "eval.jsonl"
    with backend.client() as client:
        arms = rt.arms(base=(client, BASE), tuned=(client, TUNED))
        with pytest.raises(rt.BudgetExceeded, match=r"max_cost_usd=0\.015 does not pay for the probe"):
            rt.evaluate(arms, lakes(1), log=log, prices=prices, max_cost_usd=0.015)
        with pytest.raises(rt.BudgetExceeded, match="1 of 4 questions were not asked"):
            rt.evaluate(arms, lakes(1), log=log, prices=prices, max_cost_usd=0.055)
        assert len(answers(log)) == 3
        assert rt.evaluate(arms, lakes(1), log=log, prices=prices, max_cost_usd=0.065).errors == ()


def test_a_budget_wants_known_prices(backend: ScriptedBackend, tmp_path: Path) -> None:
    with backend.client() as client, pytest.raises(rt.EvaluationError, match=r"price is not known.*prices="):
        rt.evaluate({"model": (client, BASE)}, lakes(2), log=tmp_path / "eval.jsonl", max_cost_usd=1)
    with pytest.raises(rt.EvaluationError, match="nobody is named 'x'"):
        rt.evaluate({"a": know_all}, lakes(2), log=tmp_path / "eval.jsonl", prices={"x": Price()})


@pytest.mark.slow
def test_a_tuned_model_that_is_the_base_stops_the_evaluation(backend: ScriptedBackend, tmp_path: Path) -> None:
    """An adapter that is not applied answers as the base does, to the last digit; five questions show it."""

    def alike(body: dict[str, object]) -> dict[str, object]:
        choices = body["choices"]
        assert isinstance(choices, list)
        choices[0]["message"]["content"] = "No"
        choices[0]["logprobs"] = {"content": [{"token": "No", "logprob": -0.25, "bytes": None, "top_logprobs": []}]}
        return body

    backend.change_next("chat.completions.create", alike, times=None)
    with backend.client() as client:
        arms = rt.arms(base=(client, BASE), tuned=(client, "gpt-4.1-mini-2025-04-14"))
        with pytest.raises(rt.EvaluationError, match=r"to the last digit; most likely the adapter is not applied"):
            rt.evaluate(arms, lakes(20), log=tmp_path / "eval.jsonl")
        assert sum(request.call == "chat.completions.create" for request in backend.requests) == 10
        assert answers(tmp_path / "eval.jsonl") == []
        card = rt.evaluate(arms, lakes(20), log=tmp_path / "eval.jsonl", probe=False)
    assert "cannot be told from 20 facts" in card.sentence


def test_where_no_log_probabilities_are_given_answers_tell(backend: ScriptedBackend, tmp_path: Path) -> None:
    def silent(body: dict[str, object]) -> dict[str, object]:
        choices = body["choices"]
        assert isinstance(choices, list)
        choices[0]["logprobs"] = None
        return body

    backend.change_next("chat.completions.create", silent, times=None)
    with backend.client() as client:
        arms = rt.arms(base=(client, BASE), tuned=(client, TUNED))
        card = rt.evaluate(arms, lakes(3), log=tmp_path / "eval.jsonl")
        assert card.scores.proof == "answers"
        assert "told apart by their answers" in str(card)
        with pytest.raises(rt.EvaluationError, match=r"the same words to all .*gives no log-probabilities"):
            rt.evaluate({"base": (client, BASE), "tuned": (client, BASE)}, lakes(3), log=tmp_path / "other.jsonl")


@pytest.mark.parametrize(
    ("retriever", "said"),
    [
        (lambda q: [7], "give texts"),
        (lambda q: 7, "give texts"),
    ],
)
def test_a_retriever_that_returns_no_passages_is_an_error_of_the_question(
    tmp_path: Path, retriever: Callable[[str], object], said: str
) -> None:
    arm = WithPassages(answerer=know_all, retriever=retriever)
    card = rt.evaluate({"rag": arm}, lakes(2), log=tmp_path / "eval.jsonl")
    assert len(card.errors) == 4
    assert all(said in missing.error for missing in card.errors)


def test_ten_megabytes_of_passages_are_cut_to_their_budget(tmp_path: Path) -> None:
    """1,000 tokens by default, whatever the retriever gives."""
    seen = []

    def model(prompt: str) -> str:
        seen.append(len(prompt))
        return know_all(prompt)

    card = rt.evaluate(
        {"rag": WithPassages(answerer=model, retriever=lambda q: ["rain " * 2_000_000])},
        lakes(1),
        log=tmp_path / "e.jsonl",
    )
    assert card.errors == ()
    assert max(seen) < 16_500
    with pytest.raises(rt.EvaluationError, match=r"must hold {passages} once"):
        WithPassages(answerer=model, retriever=lambda q: [], template="{question}")


def test_a_retriever_that_finds_nothing_says_so_in_the_prompt(tmp_path: Path) -> None:
    seen = []

    def model(prompt: str) -> str:
        seen.append(prompt)
        return know_all(prompt)

    card = rt.evaluate(
        {"rag": WithPassages(answerer=model, retriever=lambda q: [])}, lakes(1), log=tmp_path / "e.jsonl"
    )
    assert all("(no passage was found)" in prompt for prompt in seen)
    assert card.errors == ()


def test_options_by_letter(tmp_path: Path) -> None:
    """The right answer stands in another place for each fact; whoever always says A has chance's share."""

    def knows(prompt: str) -> str:
        wanted = f"{number_in(prompt.splitlines()[0])} metres"
        return next(line[0] for line in prompt.splitlines() if line[1:].startswith(f") {wanted}"))

    arms = {"knows": ByLetter(answerer=knows), "A": ByLetter(answerer=lambda prompt: "A")}
    card = rt.evaluate(arms, lakes(40), scorers=("choice",), log=tmp_path / "eval.jsonl")
    assert card["knows"]["verbatim"].mean == 1.0
    assert 0.05 < card["A"]["verbatim"].mean < 0.5


def test_labels_are_counted_and_a_failing_scorer_is_data(tmp_path: Path) -> None:
    def grade(context: Context) -> str:
        return "even" if int(number_in(context.text)) % 2 == 0 else "odd"

    def fails(context: Context) -> bool:
        raise ZeroDivisionError("no")

    card = rt.evaluate({"model": know_all}, lakes(4), (grade, fails), log=tmp_path / "eval.jsonl")
    assert card.by("grade=even")["model"]["verbatim"].mean == 0.5
    assert card.by("fails")["model"]["verbatim"].n == 0
    assert "8 answers could not be judged" in str(card)
    assert "ZeroDivisionError: no" in card.failures[0].error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kinds": ["poetry"]}, "no 'poetry'"),
        ({"kinds": ["control"]}, "no fact has a wording of kind 'control'"),
        ({"scorers": ["blue"]}, "no 'blue'"),
        ({"scorers": []}, "there are none"),
        ({"scorers": "contains"}, "give a list"),
        ({"concurrency": 0}, "at least 1"),
        ({"timeout_s": 0}, "more than 0"),
        ({"facts": FactSet(facts=())}, "at least one fact"),
        ({"answerers": {}}, "give a dict"),
        ({"answerers": {"x": 7}}, "'x'.*is a int"),
        ({"answerers": {"x": ("no client", "m")}}, "'x'.*openai.OpenAI"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anybody_is(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    asked: dict[str, object] = {"answerers": {"model": know_all}, "facts": lakes(2), "log": tmp_path / "e.jsonl"}
    with pytest.raises(rt.EvaluationError, match=said):
        rt.evaluate(**(asked | change))  # type: ignore[arg-type]


def test_arms_that_share_no_fact_cannot_be_compared(tmp_path: Path) -> None:
    log = tmp_path / "eval.jsonl"
    card = rt.evaluate({"a": know_all, "b": know_all}, lakes(3), log=log)
    kept = [line for line in log.read_text(encoding="utf-8").splitlines() if '"arm":"b","fact"' not in line]
    log.write_text("\n".join(kept) + "\n", encoding="utf-8")
    with pytest.raises(rt.EvaluationError, match="no fact was asked of both"):
        rt.Scorecard.load(log).difference("a", "b", kind="verbatim")
    with pytest.raises(KeyError, match="nobody named 'c'"):
        card.difference("a", "c")


def test_the_asynchronous_face_takes_everything(backend: ScriptedBackend, tmp_path: Path) -> None:
    """An AsyncOpenAI, a synchronous model, a coroutine and a plain function side by side."""

    async def later(question: str) -> str:
        await asyncio.sleep(0)
        return know_all(question)

    async def main() -> rt.Scorecard:
        async with backend.async_client() as client:
            with backend.client() as blocking:
                answerers: dict[str, Answerer] = {
                    "async": (client, TUNED),
                    "sync": rt.TunedModel(blocking, TUNED),
                    "later": later,
                    "now": know_all,
                }
                return await aio.evaluate(answerers, lakes(6), log=tmp_path / "eval.jsonl")

    card = asyncio.run(main())
    assert card.errors == ()
    assert {arm: card[arm]["verbatim"].mean for arm in card.arms} == dict.fromkeys(
        ("async", "sync", "later", "now"), 1.0
    )


def test_the_synchronous_face_takes_coroutines_and_refuses_asynchronous_clients(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    async def later(question: str) -> str:
        await asyncio.sleep(0.001)
        return know_all(question)

    card = rt.evaluate({"later": later}, lakes(3), log=tmp_path / "eval.jsonl")
    assert card["later"]["verbatim"].mean == 1.0
    with pytest.raises(rt.EvaluationError, match=r"await ragtune\.aio\.evaluate"):
        rt.evaluate({"model": (backend.async_client(), BASE)}, lakes(3), log=tmp_path / "other.jsonl")


def test_an_asynchronous_answerer_that_hangs_is_cancelled(tmp_path: Path) -> None:
    async def hangs(question: str) -> str:
        if number_in(question) == "2":
            await asyncio.sleep(60)
        return know_all(question)

    card = asyncio.run(
        aio.evaluate({"hangs": hangs}, lakes(4), log=tmp_path / "eval.jsonl", kinds=["verbatim"], timeout_s=0.3)
    )
    assert card["hangs"]["verbatim"].mean == pytest.approx(3 / 4)


def test_a_log_that_another_evaluation_writes_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "eval.jsonl"
    nested: list[str] = []

    def model(question: str) -> str:
        try:
            rt.evaluate({"inner": know_all}, lakes(2), log=log)
        except rt.EvaluationError as error:
            nested.append(str(error))
        return know_all(question)

    rt.evaluate({"outer": model}, lakes(2), log=log)
    assert len(nested) == 4
    assert all("another evaluation is writing this log" in said for said in nested)


PROGRAM = """
import sys, time
import ragtune as rt
from tests.evaluation.conftest import lakes, number_in

def slow(question):
    time.sleep(0.01)
    return f"{number_in(question)} metres" if int(number_in(question)) % 4 else "No."

card = rt.evaluate({"slow": slow}, lakes(150), log=sys.argv[1], concurrency=4)
print(card["slow"]["verbatim"], card["slow"]["reworded"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_evaluation_ends_with_the_same_card(tmp_path: Path, how: signal.Signals) -> None:
    """kill -9 and Ctrl-C in the middle: what came is kept, nothing of it is asked again."""
    log = tmp_path / "eval.jsonl"
    command = [sys.executable, "-c", PROGRAM, str(log)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not log.exists() or log.stat().st_size < 20_000:
        time.sleep(0.02)
        assert running.poll() is None
    running.send_signal(how)
    _, said = running.communicate(timeout=60)
    if how is signal.SIGINT:
        assert "of 300 answers; the same call goes on there" in said
    kept = len(answers(log)) if log.read_bytes().endswith(b"\n") else log.read_bytes().count(b"\n") - 2
    assert 20 < kept < 300
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    whole = subprocess.run(
        [*command[:3], str(tmp_path / "whole.jsonl")], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == whole.stdout
    places = [(line["fact"], line["wording"]) for line in answers(log)]
    assert len(places) == len(set(places)) == 300


def test_half_a_line_at_the_end_of_a_log_is_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "eval.jsonl"
    rt.evaluate({"model": know_all}, lakes(2), log=log, concurrency=1)
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    assert rt.Scorecard.load(log)["model"]["reworded"].answers == 1
    card = rt.evaluate({"model": know_all}, lakes(2), log=log)
    assert card["model"]["reworded"].answers == 2
    log.write_bytes(whole[:300] + b"\x00\x00\n" + whole[300:])
    with pytest.raises(rt.EvaluationError, match="no line of an evaluation's log"):
        rt.Scorecard.load(log)


HEADER = json.dumps({"type": "evaluation", "version": 1, "facts": fingerprint(lakes(1))})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"type": "evaluation", "version": 1}'], "line 1: facts = None in a line of the type 'evaluation'"),
        ([HEADER, '{"type": "arm", "arm": "model"}'], "line 2: identity = None in a line of the type 'arm'"),
        ([HEADER, '{"type": "arm", "arm": "model", "identity": "me"}'], "line 2: identity = 'me' in a line"),
        ([HEADER, '{"type": "arm", "arm": [1], "identity": {}}'], r"line 2: arm = \[1\] in a line"),
        ([HEADER, '{"type": "probe"}'], "line 2: by = None in a line"),
        ([HEADER, '{"type": "answer", "arm": "a", "fact": "1", "kind": "verbatim"}'], "line 2: wording = None in a"),
        ([HEADER, '{"type": ["answer"]}'], "line 2: this is no line of an evaluation's log"),
    ],
)
def test_a_line_of_a_log_that_lacks_what_it_must_say_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    log = tmp_path / "eval.jsonl"
    log.write_text("\n".join([*lines, ""]), encoding="utf-8")
    for call in (lambda: rt.Scorecard.load(log), lambda: rt.evaluate({"model": know_all}, lakes(1), log=log)):
        with pytest.raises(rt.EvaluationError, match=message):
            call()


def test_answers_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    """Half a surrogate pair comes out of JSON as it went in."""
    card = rt.evaluate({"model": lambda q: know_all(q) + " \ud83d"}, lakes(1), log=tmp_path / "eval.jsonl")
    assert card["model"]["verbatim"].mean == 1.0
