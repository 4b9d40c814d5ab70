"""The engine with a real (tiny, random) model: batching must not change what anybody is told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragtune.local.engine import ContextOverflowError, Engine, EngineClosedError, GenerateRequest, RequestError
from ragtune.local.engine.batch_row import told_token
from ragtune.modelling.bases import resolve_base

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


def ask(base: Path, prompt: str | tuple[int, ...] = "Once", **settings: Any) -> GenerateRequest:
    """A short greedy request unless said otherwise."""
    return GenerateRequest(base_path=base, prompt=prompt, **{"max_tokens": 12, "temperature": 0.0, **settings})


def test_a_batch_answers_each_row_as_if_it_were_alone(engine: Engine, base: Path) -> None:
    """Prompts of different lengths, padded into one batch, get the greedy answers they get one by one."""
    alone = [engine.submit(ask(base, prompt)).result() for prompt in PROMPTS]
    together = [generation.result() for generation in [engine.submit(ask(base, prompt)) for prompt in PROMPTS]]
    assert [t.choices for t in together] == [a.choices for a in alone]
    assert [t.prompt_tokens for t in together] == [a.prompt_tokens for a in alone]


@pytest.mark.slow
def test_one_row_at_a_time_answers_alike_in_any_company(base: Path) -> None:
    """In bfloat16, where sums of a batch are rounded otherwise than those of one row."""
    engine = Engine(threads=1, max_batch=1, dtype="bfloat16")
    asked = [ask(base, prompt, max_tokens=40, logprobs=True) for prompt in PROMPTS]
    alone = [engine.submit(one).result() for one in asked]
    together = [generation.result() for generation in map(engine.submit, asked)]
    engine.close()
    assert [t.choices for t in together] == [a.choices for a in alone]


def test_a_word_with_its_blank_is_another_token_than_the_word() -> None:
    """SentencePiece drops the blank of a token that stands alone; alternatives must not collapse by that."""
    import tokenizers
    import torch
    from transformers import PreTrainedTokenizerFast

    pieces = [("<unk>", 0.0), ("\u2581Paris", -1.0), ("Paris", -2.0)]
    metaspace = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=0))
    metaspace.decoder = tokenizers.decoders.Metaspace()
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=metaspace)
    told = told_token(tokenizer, 1, torch.tensor([-9.0, -0.5, -1.0]), top=2)
    assert (told.token, bytes(told.bytes or ())) == (" Paris", b" Paris")
    assert [text for text, _, _ in told.top] == [" Paris", "Paris"]


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
    settings: dict[str, Any] = {"max_tokens": 30, "logprobs": True}
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
        values = [logprob for _, logprob, _ in token.top]
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


@pytest.mark.slow
def test_rows_that_need_too_much_memory_together_take_turns(
    engine: Engine, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With memory for about one answer the newest rows leave and come back, and nobody notices."""
    asked = [ask(base, prompt, max_tokens=40) for prompt in PROMPTS]
    whole = [generation.result() for generation in [engine.submit(one) for one in asked]]
    monkeypatch.setattr("ragtune.local.engine.decoder._MAX_TOKENS", 90)
    parts = [generation.result() for generation in [engine.submit(one) for one in asked]]
    assert [p.choices for p in parts] == [w.choices for w in whole]
    assert [p.completion_tokens for p in parts] == [w.completion_tokens for w in whole]


@pytest.mark.slow
def test_a_short_question_does_not_wait_for_a_long_answer(engine: Engine, base: Path) -> None:
    """It joins while the long one is being written, ends first, and both say what they say alone."""
    alone = [engine.submit(ask(base, "A", max_tokens=300)).result(), engine.submit(ask(base, "Once")).result()]
    long = engine.submit(ask(base, "A", max_tokens=300))
    pieces = iter(long)
    first = next(pieces)
    short = engine.submit(ask(base, "Once")).result()
    assert long.completion_tokens < 200
    assert short.choices == alone[1].choices
    assert first.text + "".join(piece.text for piece in pieces) == alone[0].choices[0].text


def test_a_request_that_was_given_up_while_it_waited_costs_nothing(base: Path) -> None:
    """Its prompt is never read."""
    engine = Engine(threads=1, max_batch=1)
    running = engine.submit(ask(base, max_tokens=60))
    next(iter(running))
    waiting = engine.submit(ask(base, n=2))
    waiting.cancel()
    assert [choice.text for choice in waiting.result().choices] == ["", ""]
    assert (waiting.prompt_tokens, waiting.completion_tokens) == (0, 0)
    engine.close()


def test_a_bias_forbids_and_forces_tokens(engine: Engine, base: Path) -> None:
    """-100 keeps the greedy first token away, 100 makes a token come each time."""
    first = engine.submit(ask(base, max_tokens=1, logprobs=True)).result().choices[0].text
    assert engine.submit(ask(base, max_tokens=1, logit_bias={300: 100})).result().choices[0].text != first
    forced = engine.submit(ask(base, max_tokens=4, logit_bias={300: 100}, logprobs=True)).result().choices[0]
    assert len({token.token for token in forced.logprobs}) == 1
    with pytest.raises(RequestError, match="logit_bias"):
        engine.submit(ask(base, logit_bias={10**6: 1})).result()


def test_a_prompt_may_come_as_tokens_and_be_echoed(engine: Engine, base: Path) -> None:
    """The same prompt as text and as tokens gives the same answer; an echo begins with it, token by token."""
    from ragtune.modelling.base_model import load_tokenizer

    text = "Once upon a time"
    ids = tuple(load_tokenizer(base)(text, add_special_tokens=False)["input_ids"])
    by_text = engine.submit(ask(base, text)).result().choices[0].text
    assert engine.submit(ask(base, prompt=ids)).result().choices[0].text == by_text
    echoed = engine.submit(ask(base, text, echo=True, logprobs=True, top_logprobs=2, max_tokens=3)).result().choices[0]
    assert echoed.text.startswith(text)
    assert "".join(token.token for token in echoed.logprobs) == echoed.text
    assert [token.logprob is None for token in echoed.logprobs[:2]] == [True, False]
    assert len(echoed.logprobs) == len(ids) + 3


def test_a_prompt_can_be_scored_without_an_answer(engine: Engine, base: Path) -> None:
    """With no token to write, an echo tells how likely the model holds each token of the prompt, as before."""
    written = engine.submit(ask(base, "Once", logprobs=True)).result().choices[0]
    scored = engine.submit(ask(base, "Once" + written.text, echo=True, logprobs=True, max_tokens=0)).result()
    assert scored.completion_tokens == 0
    again = scored.choices[0].logprobs[-len(written.logprobs) :]
    assert [token.token for token in again] == [token.token for token in written.logprobs]
    pairs = zip(again, written.logprobs, strict=True)
    assert all(abs((a.logprob or 0) - (w.logprob or 0)) < 1e-3 for a, w in pairs)
