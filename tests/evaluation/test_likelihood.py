"""Choosing by likelihood, on the embedded backend's own numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import openai
import pytest

import ragtune as rt
from ragtune.evaluation import ByLikelihood, Price
from ragtune.local import LocalBackend
from ragtune.testing import ScriptedBackend
from tests.evaluation.conftest import lakes, number_in


def by_hand(client: openai.OpenAI, text: str, option: str) -> float:
    """The log-probability of an option's tokens, per byte."""
    said = client.completions.create(
        model="tiny-random", prompt=f"{text} {option}", max_tokens=0, echo=True, logprobs=0
    )
    told = said.choices[0].logprobs
    assert told is not None
    assert told.text_offset is not None
    assert told.token_logprobs is not None
    ends = [*told.text_offset[1:], len(text) + 1 + len(option)]
    inside = [logprob for logprob, end in zip(told.token_logprobs, ends, strict=True) if end > len(text)]
    return math.fsum(inside) / len(option.encode())


@pytest.mark.slow
def test_the_likeliest_option_is_chosen(tmp_path: Path) -> None:
    with LocalBackend(tmp_path / "backend") as backend, backend.client() as client:
        arm = ByLikelihood(answerer=(client, "tiny-random"))
        log = tmp_path / "eval.jsonl"
        card = rt.evaluate({"model": arm}, lakes(4), ["choice"], log=log, kinds=["verbatim"])
        assert card.errors == ()
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            if line["type"] == "answer":
                text = f"Question: {line['question']}\nAnswer:"
                likely = {option: by_hand(client, text, option) for option in line["options"]}
                assert line["text"] == max(likely, key=likely.__getitem__)
                assert len(line["log_likelihoods"]) == 4


def test_a_server_without_log_probabilities_of_prompts_is_named(tmp_path: Path) -> None:
    with ScriptedBackend(answer="83 metres") as backend, backend.client() as client:
        arm = ByLikelihood(answerer=(client, "tiny-random"))
        card = rt.evaluate({"model": arm}, lakes(2), ["choice"], log=tmp_path / "eval.jsonl")
    assert len(card.errors) == 4
    assert "choosing by likelihood" in card.errors[0].error


def test_a_budget_counts_the_prompt_once_for_each_option(tmp_path: Path) -> None:
    """At a dollar a token, $100 would pay for the bytes of one prompt and not for those of four."""
    with ScriptedBackend(answer="83 metres") as backend, backend.client() as client:
        arms = {"model": ByLikelihood(answerer=(client, "tiny-random"))}
        prices = {"model": Price(input_usd_per_million=1e6)}
        with pytest.raises(rt.BudgetExceeded, match="4 of 4 questions were not asked"):
            rt.evaluate(arms, lakes(2), ["choice"], log=tmp_path / "eval.jsonl", max_cost_usd=100, prices=prices)


def test_a_function_has_no_likelihood(tmp_path: Path) -> None:
    with pytest.raises(rt.EvaluationError, match="which only a model tells"):
        rt.evaluate({"x": ByLikelihood(answerer=number_in)}, lakes(2), ["choice"], log=tmp_path / "eval.jsonl")
