"""What no evaluation can be made of is said before the first question, and what a scorer gives at the first answer."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ragtune as rt
from ragtune import aio
from ragtune.evaluation import ByLetter, ByLikelihood, Context, Price, WithPassages, judge
from tests.evaluation.conftest import lakes, number_in


class Asked:
    """An answerer that counts its questions."""

    def __init__(self) -> None:
        self.questions: list[str] = []

    def __call__(self, question: str) -> str:
        self.questions.append(question)
        return f"{number_in(question)} metres"


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"seed": -1}, rt.EvaluationError, "seed=-1 must be a whole number of at least 0"),
        ({"seed": "x"}, TypeError, "seed is 'x'; it takes a whole number"),
        ({"timeout_s": None}, TypeError, "timeout_s is None; it takes a number"),
        ({"timeout_s": math.nan}, rt.EvaluationError, "more than 0 seconds"),
        ({"concurrency": True}, TypeError, "concurrency is True"),
        ({"max_tokens": 0}, rt.EvaluationError, "max_tokens=0 must be a whole number of at least 1"),
        ({"max_cost_usd": "5"}, TypeError, "max_cost_usd is '5'; it takes a number"),
        ({"max_cost_usd": math.inf}, rt.EvaluationError, "max_cost_usd=inf must be a number from 0 on"),
        ({"max_cost_usd": math.nan}, rt.EvaluationError, "max_cost_usd=nan must be a number from 0 on"),
        ({"kinds": 3}, rt.EvaluationError, "kinds=3: give kinds of wording"),
        ({"kinds": [3]}, rt.EvaluationError, "there is no 3"),
        ({"facts": 3}, TypeError, "facts is 3; it takes a FactSet"),
        ({"log": "."}, rt.EvaluationError, "is a folder"),
        ({"log": 3}, TypeError, "log is 3"),
        ({"log": "a" * 300}, rt.EvaluationError, "cannot be written"),
        ({"answerers": {3: len}}, rt.EvaluationError, "the name 3 is no text"),
        ({"answerers": {" ": len}}, rt.EvaluationError, "is no text"),
        ({"scorers": {" refused": len}}, rt.EvaluationError, "' refused' is no name"),
        ({"scorers": {"a=b": len}}, rt.EvaluationError, "is no name"),
        ({"scorers": {3: len}}, rt.EvaluationError, "3 is no name"),
        ({"prices": 3}, rt.EvaluationError, "prices=3: give a dict"),
        ({"max_cost": 2.0}, rt.EvaluationError, "max_cost=: there is no such argument; there is max_cost_usd="),
        ({"stream": True}, rt.EvaluationError, "stream=: an evaluation says that itself"),
    ],
)
@pytest.mark.parametrize("face", ["threads", "tasks"])
def test_a_wrong_argument_fails_before_the_first_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], kind: type[Exception], said: str, face: str
) -> None:
    monkeypatch.chdir(tmp_path)
    model = Asked()
    given: dict[str, Any] = {"answerers": {"model": model}, "facts": lakes(2), "log": "eval.jsonl"} | change
    with pytest.raises(kind, match=said):
        _ = rt.evaluate(**given) if face == "threads" else asyncio.run(aio.evaluate(**given))
    assert model.questions == []


def test_a_log_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    model = Asked()
    with pytest.raises(rt.EvaluationError, match="cannot be written"):
        rt.evaluate({"model": model}, lakes(1), log=tmp_path / "file" / "eval.jsonl")
    assert model.questions == []


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    given: dict[str, Any] = {"seed": np.int64(3), "concurrency": np.int32(2), "max_tokens": np.int64(9)}
    given |= {"timeout_s": np.float32(9), "kinds": "reworded"}
    card = rt.evaluate({"model": Asked()}, lakes(2), log=tmp_path / "e.jsonl", **given)
    assert (card.kinds, card.seed) == (("reworded",), 3)
    assert rt.Scorecard.load(card.path, seed=given["seed"])["model"] == card["model"]


def mixed(context: Context) -> object:
    return "short" if number_in(context.text) == "2" else 0.7


def test_a_scorer_that_mixes_labels_and_numbers_stops_at_the_first_answer_that_shows_it(tmp_path: Path) -> None:
    """One question at a time, the third answer is the first of the second kind; a right scorer goes on from there."""
    model, log = Asked(), tmp_path / "eval.jsonl"
    with pytest.raises(rt.EvaluationError, match=r"'mixed' gave the label 'short' .* and the score 0\.7") as told:
        rt.evaluate({"model": model}, lakes(9), [mixed], log=log, concurrency=1)  # type: ignore[list-item]
    assert len(model.questions) <= 4
    assert "of 18 answers; the same call goes on there" in told.value.__notes__[0]
    card = rt.evaluate({"model": model}, lakes(9), log=log)
    assert (card["model"]["verbatim"].mean, len(model.questions)) == (1.0, 18)
    with pytest.raises(rt.EvaluationError, match="labels alone"):
        rt.Scorecard.load(log, scorers=[mixed])  # type: ignore[list-item]


def test_a_scorer_that_gives_texts_back_is_no_scorer_of_labels(tmp_path: Path) -> None:
    log = tmp_path / "eval.jsonl"
    rt.evaluate({"model": Asked()}, lakes(60), log=log, kinds=["verbatim"])
    with pytest.raises(rt.EvaluationError, match="more than 50 different labels"):
        rt.Scorecard.load(log, scorers={"echo": lambda context: context.text})


@pytest.mark.parametrize("score", [math.inf, math.nan, [1], object(), 10**400, 1j])
def test_what_is_no_score_is_left_out_and_listed(tmp_path: Path, score: Any) -> None:
    def scorer(context: Context) -> Any:
        return score if number_in(context.text) == "2" else True

    card = rt.evaluate({"model": Asked()}, lakes(4), [scorer], log=tmp_path / "e.jsonl", kinds=["verbatim"])
    assert (card["model"]["verbatim"].mean, card["model"]["verbatim"].n) == (1.0, 3)
    assert "a score is a bool, a finite number, a label or None" in card.failures[0].error


def test_a_scorer_may_be_called_as_a_column_of_the_log(tmp_path: Path) -> None:
    named = {"latency_s": lambda context: 0.25, "cost_usd": lambda context: Decimal("0.5")}
    card = rt.evaluate({"model": Asked()}, lakes(3), named, log=tmp_path / "e.jsonl")  # type: ignore[arg-type]
    assert (card["model"]["verbatim"].mean, card.by("cost_usd")["model"]["verbatim"].mean) == (0.25, 0.5)
    assert card.usage[0].cost_usd is None


def test_the_order_of_answers_decides_no_label(tmp_path: Path) -> None:
    """Of a scorer that gives labels the first by the alphabet is shown, whoever answers first."""

    def grade(context: Context) -> str:
        return "even" if int(number_in(context.text)) % 2 == 0 else "a_odd"

    for count in (3, 4):
        facts = lakes(count)
        facts = rt.FactSet(facts=facts.facts[::-1])
        card = rt.evaluate({"model": Asked()}, facts, [grade], log=tmp_path / f"{count}.jsonl")
        assert (card.scorer, card.scorers) == ("grade=a_odd", ("grade=a_odd", "grade=even"))


def test_a_card_made_while_asking_is_the_one_of_its_log(tmp_path: Path) -> None:
    facts, log = lakes(7, control=True), tmp_path / "eval.jsonl"
    rt.evaluate({"a": Asked()}, facts.select(["verbatim"]), log=tmp_path / "other.jsonl")
    rt.evaluate({"b": lambda q: f"{number_in(q)} m" if number_in(q) != "3" else None}, facts, log=log)  # type: ignore[dict-item, return-value]
    card = rt.evaluate({"a": lambda q: "12 m \ud83d", "b": Asked()}, facts, ("f1", "contains"), log=log)
    assert card.to_json() == rt.Scorecard.load(log, scorers=("f1", "contains")).to_json()


@pytest.mark.parametrize(
    ("make", "given", "said"),
    [
        (ByLetter, {"template": "{question}"}, "must be text that holds {question} and {options}"),
        (ByLikelihood, {"template": 3}, "template=3 must be text"),
        (WithPassages, {"retriever": 3}, "retriever=3 is no function"),
        (WithPassages, {"retriever": len, "template": 3}, "must hold {passages} once"),
        (WithPassages, {"retriever": len, "k": "5"}, "k='5' must be at least 1, a whole number"),
        (rt.arms, {"retriever": 3}, "retriever is 3; it takes a function"),
        (rt.arms, {"template": 3}, "template is 3; it takes a text"),
        (rt.arms, {"base": None}, "give base=, tuned= or both"),
    ],
)
def test_an_arm_that_cannot_be_asked_is_refused_when_it_is_made(make: Any, given: dict[str, Any], said: str) -> None:
    who = {"base": len} if make is rt.arms else {"answerer": len}
    with pytest.raises((rt.EvaluationError, TypeError), match=said.replace("{", r"\{")):
        make(**(who | given))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"concurrency": 0}, "concurrency=0 must be a whole number of at least 1"),
        ({"timeout_s": 0}, "more than 0 seconds"),
        ({"timeout_s": None}, "timeout_s is None"),
        ({"seed": -1}, "seed=-1"),
        ({"kinds": 3}, "kinds=3"),
        ({"kinds": ("poetry",)}, "no 'poetry'"),
        ({"max_cost_usd": -1}, "must be a number from 0 on"),
        ({"price": 3, "max_cost_usd": 1}, "price is 3"),
        ({"prompt": "A or B?"}, "lacks {question}"),
        ({"second": "tuned"}, "both 'tuned'"),
        ({"log": "."}, "cannot be read"),
        ({"judge": 3}, "is a int"),
    ],
)
def test_a_judge_that_cannot_judge_is_refused_before_it_is_asked(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    log, referee = tmp_path / "eval.jsonl", Asked()
    given: dict[str, Any] = {"log": log, "judge": referee} | change
    rt.evaluate({"tuned": Asked(), "base": Asked()}, lakes(2), log=log)
    with pytest.raises((rt.EvaluationError, TypeError), match=said.replace("{", r"\{")):
        judge(**given)
    assert referee.questions == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, "3", None, True])
def test_a_price_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(rt.EvaluationError, match=r"usd_per_question=.* is no price; give US dollars, 0 or more"):
        Price(usd_per_question=value)
