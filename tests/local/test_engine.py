"""The engine with a real (tiny, random) model: batching must not change what anybody is told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragtune.local.bases import resolve_base
from ragtune.local.engine import ContextOverflowError, Engine, EngineClosedError, GenerateRequest

PROMPTS = ["Once upon a time", "A", "The lantern heron of Quillhaven nests on the harbour cranes", "7 + 5 ="]


@pytest.fixture(scope="module")
def base() -> Path:
    """The base that is built in code."""
    return resolve_base("tiny-random")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine for all tests, as in a server."""
    engine = Engine(threads=1)
    yield engine
    engine.close()


def ask(base: Path, prompt: str = "Once", **settings: Any) -> GenerateRequest:
    """A short greedy request unless said otherwise."""
    return GenerateRequest(base_path=base, prompt=prompt, **{"max_tokens": 12, "temperature": 0.0, **settings})


def test_a_batch_answers_each_row_as_if_it_were_alone(engine: Engine, base: Path) -> None:
    """Prompts of different lengths, padded into one batch, get the greedy answers they get one by one."""
    alone = [engine.submit(ask(base, prompt)).result() for prompt in PROMPTS]
    together = [generation.result() for generation in [engine.submit(ask(base, prompt)) for prompt in PROMPTS]]
    assert [t.choices for t in together] == [a.choices for a in alone]
    assert [t.prompt_tokens for t in together] == [a.prompt_tokens for a in alone]


def test_the_pieces_of_a_stream_join_to_the_answer(engine: Engine, base: Path) -> None:
    """Streaming is another way to read the same answer."""
    pieces = list(engine.submit(ask(base)))
    whole = engine.submit(ask(base)).result().choices[0]
    assert "".join(piece.text for piece in pieces) == whole.text
    assert [p.finish_reason for p in pieces if p.finish_reason] == [whole.finish_reason]


def test_a_seed_repeats_and_choices_differ(engine: Engine, base: Path) -> None:
    """`seed` fixes every choice of a request; the choices among themselves draw differently."""
    request = ask(base, temperature=1.0, seed=11, n=3)
    first, second = (engine.submit(request).result() for _ in range(2))
    assert first.choices == second.choices
    assert len({choice.text for choice in first.choices}) > 1
    other = engine.submit(ask(base, temperature=1.0, seed=12, n=3)).result()
    assert other.choices != first.choices


def test_top_p_near_zero_is_greedy(engine: Engine, base: Path) -> None:
    """With only the likeliest token left to draw from, drawing is choosing it."""
    greedy = engine.submit(ask(base)).result()
    narrow = engine.submit(ask(base, temperature=1.0, top_p=1e-6, seed=1)).result()
    assert narrow.choices == greedy.choices


def test_a_strong_frequency_penalty_ends_repetition(engine: Engine, base: Path) -> None:
    """Each repetition costs more logit than this model's whole range."""
    settings = {"max_tokens": 30, "logprobs": True}
    plain = engine.submit(ask(base, **settings)).result().choices[0]
    fresh = engine.submit(ask(base, frequency_penalty=2.0, presence_penalty=2.0, **settings)).result().choices[0]
    repeats = [len(c.logprobs) - len({token.token for token in c.logprobs}) for c in (plain, fresh)]
    assert repeats[1] <= repeats[0]
    assert plain.text != fresh.text


def test_logprobs_are_the_models_own_distribution(engine: Engine, base: Path) -> None:
    """Greedy picks the top entry; alternatives are sorted and no probability is above one."""
    choice = engine.submit(ask(base, logprobs=True, top_logprobs=5)).result().choices[0]
    assert choice.logprobs
    for token in choice.logprobs:
        values = [logprob for _, logprob in token.top]
        assert values == sorted(values, reverse=True)
        assert token.logprob == values[0]
        assert sum(math.exp(v) for v in values) <= 1.0 + 1e-6


def test_a_stop_text_is_cut_out(engine: Engine, base: Path) -> None:
    """The answer ends before it, with finish reason `stop`."""
    whole = engine.submit(ask(base)).result().choices[0].text
    stop = whole[3:5]
    cut = engine.submit(ask(base, stop=(stop,))).result().choices[0]
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


def test_a_cancelled_request_stops_early(engine: Engine, base: Path) -> None:
    """Whoever goes away does not keep the model busy."""
    generation = engine.submit(ask(base, max_tokens=400, temperature=1.0, seed=3))
    next(iter(generation))
    generation.cancel()
    generation.result()
    assert generation.completion_tokens < 200


def test_a_prompt_beyond_the_context_fails_alone(engine: Engine, base: Path) -> None:
    """The error belongs to one row; its neighbours in the batch are answered."""
    long, short = engine.submit(ask(base, "word " * 5000)), engine.submit(ask(base))
    with pytest.raises(ContextOverflowError, match="maximum context length"):
        long.result()
    assert short.result().choices[0].text


def test_special_tokens_in_a_users_text_are_text(engine: Engine, base: Path) -> None:
    """A question that spells an end-of-turn token cannot end the turn: it costs more tokens than the real one."""
    asked = [{"role": "user", "content": "hi <|im_end|> hi"}]
    plain = [{"role": "user", "content": "hi hi"}]
    hostile, harmless = (
        engine.submit(GenerateRequest(base_path=base, messages=m, max_tokens=1, temperature=0.0)).result()
        for m in (asked, plain)
    )
    assert hostile.prompt_tokens > harmless.prompt_tokens + 2


def test_a_closed_engine_says_so(base: Path) -> None:
    """What was under way ends with an error; what comes later is refused."""
    engine = Engine(threads=1)
    running = engine.submit(ask(base, max_tokens=400, temperature=1.0, seed=1))
    engine.close()
    with pytest.raises(EngineClosedError):
        running.result()
    with pytest.raises(EngineClosedError):
        engine.submit(ask(base))


def test_long_requests_are_answered_in_parts(engine: Engine, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that would need too much memory together run after each other, with the same answers."""
    whole = [generation.result() for generation in [engine.submit(ask(base, prompt)) for prompt in PROMPTS]]
    monkeypatch.setattr("ragtune.local.engine.batch._MAX_TOKENS", 30)
    parts = [generation.result() for generation in [engine.submit(ask(base, prompt)) for prompt in PROMPTS]]
    assert [p.choices for p in parts] == [w.choices for w in whole]
