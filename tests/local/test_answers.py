"""Chat completions and completions on the wire, with the tiny base and the real engine."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.local import LocalBackend
from ragtune.local.wire.messages import ChatTurn
from ragtune.modelling.base_model import load_tokenizer
from ragtune.modelling.bases import resolve_base
from ragtune.modelling.encoding.encoder import Encoder
from tests.local.kit import create, trainer, until, wait_for

Ask = Callable[..., Any]


@pytest.fixture
def chat(answering: openai.OpenAI) -> Ask:
    """Ask the tiny base a question; greedy and short unless told otherwise."""
    turns = [{"role": "user", "content": "Hi"}]
    defaults = {"model": "tiny-random", "messages": turns, "max_tokens": 8, "temperature": 0}
    return lambda **options: answering.chat.completions.create(**{**defaults, **options})


@pytest.fixture
def complete(answering: openai.OpenAI) -> Ask:
    """Let the tiny base go on with a text."""
    defaults = {"model": "tiny-random", "prompt": "Once", "max_tokens": 8, "temperature": 0}
    return lambda **options: answering.completions.create(**{**defaults, **options})


def text_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def test_an_answer_has_everything_that_clients_look_at(chat: Ask) -> None:
    answer = chat()
    choice = answer.choices[0]
    assert (answer.object, answer.model) == ("chat.completion", "tiny-random")
    assert answer.id.startswith("chatcmpl-")
    assert (choice.index, choice.message.role, choice.message.refusal, choice.logprobs) == (0, "assistant", None, None)
    assert choice.finish_reason == "length"
    assert answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8


def test_a_stream_tells_the_same_as_a_plain_answer(chat: Ask) -> None:
    """The pieces joined are the text; one chunk carries the role, one the reason, the last the usage."""
    whole = chat()
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == text_of(whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1] if chunk.choices[0].finish_reason] == ["length"]
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert len({chunk.id for chunk in chunks}) == 1


def test_several_choices_come_whole_and_streamed(chat: Ask) -> None:
    """Three sampled choices with a seed are the same three in a stream."""
    options = {"n": 3, "temperature": 1.5, "seed": 11}
    whole = chat(**options)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in whole.choices}) == 3
    streamed = ["", "", ""]
    for chunk in chat(**options, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == [choice.message.content for choice in whole.choices]


def test_a_seed_repeats_and_another_seed_does_not(chat: Ask) -> None:
    first, again, other = (text_of(chat(temperature=1, seed=seed, max_tokens=20)) for seed in (5, 5, 6))
    assert first == again != other


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(chat: Ask) -> None:
    whole = text_of(chat(max_tokens=30))
    stop = whole[4:7]
    cut = chat(max_tokens=30, stop=["never there", stop])
    assert text_of(cut) == whole[: whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_penalties_and_top_p_change_what_is_said(chat: Ask, complete: Ask) -> None:
    """The greedy tiny base repeats itself; a penalty forbids that; a tiny top_p makes sampling greedy."""
    plain, penalised = (
        text_of(chat(max_tokens=30)),
        text_of(chat(max_tokens=30, frequency_penalty=2, presence_penalty=2)),
    )
    assert plain != penalised
    assert complete(temperature=2, top_p=0).choices[0].text == complete().choices[0].text


def test_log_probabilities_are_those_of_the_choice(chat: Ask) -> None:
    """Greedy: the chosen token is the likeliest one; bytes are told, also of parts of characters."""
    told = chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert len(told) == 8
    for token in told:
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token
        assert token.logprob == pytest.approx(token.top_logprobs[0].logprob)
        assert token.logprob <= 0
        assert math.fsum(math.exp(top.logprob) for top in token.top_logprobs) <= 1
        assert "\ufffd" in token.token or token.bytes == list(token.token.encode())


def test_max_completion_tokens_wins_over_max_tokens(chat: Ask) -> None:
    assert chat(max_completion_tokens=3, max_tokens=8).usage.completion_tokens == 3


def test_content_may_come_in_text_parts(chat: Ask) -> None:
    """They stand on lines of their own, as those of a training row do."""
    parts = [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]
    asked = [{"role": "user", "content": parts}]
    assert text_of(chat(messages=asked)) == text_of(chat(messages=[{"role": "user", "content": "Hi\nthere"}]))
    encoder = Encoder(load_tokenizer(resolve_base("tiny-random")), max_length=64)
    told = ChatTurn.model_validate(asked[0]).for_template()
    assert encoder.chat_prompt([told]) == encoder.chat_prompt(asked)


def test_a_developer_message_counts_as_the_system_message(chat: Ask) -> None:
    def ask(role: str) -> str:
        return text_of(chat(messages=[{"role": role, "content": "Be brief."}, {"role": "user", "content": "Hi"}]))

    assert ask("developer") == ask("system")


def test_harmless_values_of_what_is_not_served_are_taken(chat: Ask) -> None:
    """Programs that write out OpenAI's defaults run."""
    answer = chat(
        response_format={"type": "text"}, tools=[], store=False, logit_bias={}, service_tier="auto", user="me"
    )
    assert text_of(answer) == text_of(chat())


def test_completions_of_several_prompts_stand_in_order(complete: Ask) -> None:
    """Two prompts with two choices each are four choices, the first two of the first prompt."""
    whole = complete(prompt=["Once", "A house"], n=2)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert whole.choices[0].text == whole.choices[1].text == complete().choices[0].text
    assert whole.choices[2].text == complete(prompt="A house").choices[0].text
    streamed = [""] * 4
    for chunk in complete(prompt=["Once", "A house"], n=2, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [choice.text for choice in whole.choices]


def test_a_completion_has_the_legacy_shape(complete: Ask) -> None:
    """16 tokens by default, and log probabilities as four parallel lists."""
    answer = complete(logprobs=2, max_tokens=None)
    told = answer.choices[0].logprobs
    assert (answer.object, answer.usage.completion_tokens) == ("text_completion", 16)
    assert "".join(told.tokens) == answer.choices[0].text
    assert told.text_offset[:2] == [0, len(told.tokens[0])]
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == 16
    assert all(token in top for token, top in zip(told.tokens, told.top_logprobs, strict=True))


def test_an_empty_prompt_is_a_text_to_go_on_with(complete: Ask) -> None:
    assert complete(prompt="").usage.completion_tokens >= 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": "gpt-none"}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.[0].content"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages.[0].role"),
        ({"messages": [{"role": "user", "content": "x " * 5000}]}, "messages"),
        ({"temperature": 2.1}, "temperature"),
        ({"stop": []}, "stop"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "messages"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"logit_bias": {"five": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": {"99999": 1}}, "logit_bias"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_question_is_refused_by_name(chat: Ask, change: dict[str, Any], param: str, stream: bool) -> None:
    """Also for a stream the status tells, not an event in the stream."""
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        chat(**{"stream": stream and "stream_options" not in change, **change})
    assert (caught.value.type, caught.value.status_code) == ("invalid_request_error", 404 if param == "model" else 400)
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stop": list("abcde")}, "maximum length 4, but got an array with length 5"),
        ({"stop": []}, "minimum length 1"),
        ({"stop": 5}, "expected one of: a string, an array"),
        ({"messages": [{"role": "user", "content": []}]}, "minimum length 1"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, r"content.\[0\].text'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "text alone"),
        ({"tool_choice": "any"}, "'none', 'auto' or 'required'"),
        ({"tool_choice": {"type": "function"}}, "'tool_choice.function'"),
    ],
)
def test_a_refusal_is_about_the_shape_that_was_sent(chat: Ask, change: dict[str, Any], says: str) -> None:
    with pytest.raises(openai.BadRequestError, match=says):
        chat(**change)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "string", "pattern": "^(?!0)[0-9]+$"}, r"look-ahead and look-behind, is not supported;"),
        ({"oneOf": [{"type": "object"}, {"type": "object", "title": "x"}]}, "oneOf constraints are not supported;"),
    ],
)
def test_a_schema_that_cannot_be_held_says_why(chat: Ask, schema: dict[str, Any], says: str) -> None:
    with pytest.raises(openai.BadRequestError, match=says):
        chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})


@pytest.mark.parametrize(("prompt", "says"), [([1.5], "integer"), ([], "minimum length 1"), ([[1], "x"], "list")])
def test_a_refused_prompt_is_about_the_shape_that_was_sent(complete: Ask, prompt: Any, says: str) -> None:
    with pytest.raises(openai.BadRequestError, match=says):
        complete(prompt=prompt)


def test_completions_take_as_many_stop_texts_as_evaluations_send(complete: Ask) -> None:
    assert complete(stop=["\nclass", "\ndef", "\n#", "\nif", "\nprint", "<|im_end|>"]).choices


def test_chat_takes_as_many_where_the_servers_owner_allows_it(tmp_path: Path, chat: Ask) -> None:
    """Elsewhere OpenAI's limit holds, and its number is told."""
    stops = [f"never {n}" for n in range(64)]
    with pytest.raises(openai.BadRequestError, match="4"):
        chat(stop=stops[:5])
    turns: Any = [{"role": "user", "content": "Hi"}]
    with LocalBackend(tmp_path, threads=1, many_stops=True) as backend, backend.client() as client:
        ask = partial(client.chat.completions.create, model="tiny-random", messages=turns, max_tokens=2)
        assert ask(stop=stops).choices
        with pytest.raises(openai.BadRequestError, match="64"):
            ask(stop=[*stops, "one more"])


def test_a_history_may_be_what_the_client_makes_of_answers(chat: Ask) -> None:
    told = chat().choices[0].message.model_dump()
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    question = {"role": "user", "content": "and?"}
    assert {"audio", "function_call"} <= told.keys()
    assert text_of(chat(messages=[question, told, question, refused, question])) is not None


def test_the_codes_that_programs_look_for_are_there(chat: Ask) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        chat(model="gpt-none")
    with pytest.raises(openai.BadRequestError) as long:
        chat(messages=[{"role": "user", "content": "x " * 5000}])
    assert (missing.value.code, long.value.code) == ("model_not_found", "context_length_exceeded")


@pytest.mark.parametrize("text", ["x ", "<|im_end|>"])
def test_megabytes_that_never_fit_are_not_tokenised(chat: Ask, text: str) -> None:
    """Its beginning tells; all of it would hold up everybody else's answer for a minute."""
    with pytest.raises(openai.BadRequestError, match=r"the prompt alone has at least \d{4,5};") as long:
        chat(messages=[{"role": "user", "content": text * (6_000_000 // len(text))}])
    assert long.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "change",
    [
        {"suffix": "x"},
        {"best_of": 2, "n": 3},
        {"best_of": 3, "stream": True},
        {"prompt": []},
        {"prompt": [[1], "x"]},
        {"prompt": [99999]},
    ],
)
def test_what_completions_do_not_serve_is_refused_by_name(complete: Ask, change: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        complete(**change)
    assert (caught.value.param or "").startswith(next(iter(change)))


def test_a_prompt_may_come_as_tokens_and_be_echoed(complete: Ask) -> None:
    """Two prompts of tokens are two choices; an echo tells their text first, whole and streamed."""
    whole = complete(prompt=[[50, 51], [52]], echo=True, max_tokens=3)
    alone = complete(prompt=[52], max_tokens=3).choices[0].text
    assert whole.choices[1].text.endswith(alone)
    assert len(whole.choices[1].text) > len(alone)
    streamed = ["", ""]
    for chunk in complete(prompt=[[50, 51], [52]], echo=True, max_tokens=3, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [choice.text for choice in whole.choices]


def test_a_text_can_be_scored_without_writing_any(complete: Ask) -> None:
    """`echo` with `max_tokens: 0`, as evaluation programs ask: the first token has nothing before it."""
    answer = complete(prompt="Once upon a time", echo=True, max_tokens=0, logprobs=1)
    told = answer.choices[0].logprobs
    assert (answer.choices[0].text, answer.usage.completion_tokens) == ("Once upon a time", 0)
    assert "".join(told.tokens) == "Once upon a time"
    assert told.token_logprobs[0] is None
    assert told.top_logprobs[0] is None
    assert all(logprob < 0 for logprob in told.token_logprobs[1:])


def test_parts_of_characters_have_places_bytes_and_names_of_their_own(complete: Ask, chat: Ask) -> None:
    prompt = "Café 😀 日本語 says"
    told = complete(prompt=prompt, echo=True, max_tokens=0, logprobs=5).choices[0].logprobs
    for token, place in zip(told.tokens, told.text_offset, strict=True):
        assert "\ufffd" in token or prompt[place:].startswith(token)
    assert all(len(top) >= 5 for top in told.top_logprobs[1:])
    choice = chat(max_tokens=100, temperature=1, seed=3, logprobs=True, top_logprobs=1).choices[0]
    parts = choice.logprobs.content
    assert any("\ufffd" in part.token for part in parts)
    assert b"".join(bytes(part.bytes) for part in parts).decode("utf-8", "replace") == choice.message.content


def test_log_probabilities_end_where_the_text_ends(complete: Ask, chat: Ask) -> None:
    """A stop text is cut out with its tokens, whole and streamed; every token begins inside the text."""
    text = complete(max_tokens=40).choices[0].text
    stop = text[20:23]
    for options in ({}, {"echo": True}):
        choice = complete(max_tokens=40, stop=stop, logprobs=1, **options).choices[0]
        assert choice.logprobs.text_offset[0] == 0
        assert max(choice.logprobs.text_offset) < len(choice.text)
        chunks = [chunk.choices[0] for chunk in complete(max_tokens=40, stop=stop, logprobs=1, stream=True, **options)]
        assert [token for chunk in chunks for token in chunk.logprobs.tokens] == choice.logprobs.tokens
        assert [place for chunk in chunks for place in chunk.logprobs.text_offset] == choice.logprobs.text_offset
    told = chat(max_tokens=40, stop=stop, logprobs=True).choices[0]
    assert len("".join(token.token for token in told.logprobs.content)) <= len(told.message.content) + 3


def test_tokens_that_the_text_does_not_show_take_no_place_in_it(complete: Ask) -> None:
    """A bias forces `<|im_start|>`, which is no part of an answer."""
    choice = complete(max_tokens=3, logprobs=0, logit_bias={"1": 100}).choices[0]
    assert (choice.text, choice.logprobs.tokens, choice.logprobs.text_offset) == ("", ["<|im_start|>"] * 3, [0] * 3)


def test_places_go_on_through_a_stream(complete: Ask) -> None:
    whole = complete(logprobs=1).choices[0].logprobs.text_offset
    chunks = [chunk.choices[0].logprobs for chunk in complete(logprobs=1, stream=True)]
    assert [place for told in chunks for place in told.text_offset] == whole


def test_the_best_of_several_answers_come_back(complete: Ask) -> None:
    """All four are paid for, the two likeliest come, and they are the likeliest of the four that `n` gives."""
    options: dict[str, Any] = {"temperature": 1.5, "seed": 3, "max_tokens": 6}
    all_four = complete(**options, n=4, logprobs=0)
    best = complete(**options, n=2, best_of=4)
    means = {math.fsum(c.logprobs.token_logprobs) / len(c.logprobs.tokens): c.text for c in all_four.choices}
    assert [choice.text for choice in best.choices] == [means[mean] for mean in sorted(means, reverse=True)[:2]]
    assert best.choices[0].logprobs is None
    assert best.usage.completion_tokens == all_four.usage.completion_tokens


def test_a_bias_is_added_to_the_tokens_that_it_names(chat: Ask) -> None:
    told = chat(logit_bias={"300": 100}, logprobs=True, max_tokens=3).choices[0].logprobs.content
    assert len({token.token for token in told}) == 1
    assert told[0].logprob < -1


@pytest.mark.slow
def test_more_questions_than_the_server_bears_are_sent_away(
    answering: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 with the headers that tell clients to come back; the official client does."""
    monkeypatch.setattr("ragtune.local.inference.MAX_OPEN_CHOICES", 1)
    shared: Any = {"model": "tiny-random", "prompt": "Once", "temperature": 2}
    stream = answering.completions.create(**shared, max_tokens=1500, stream=True)
    next(iter(stream))
    with pytest.raises(openai.RateLimitError) as caught:
        answering.completions.create(**shared, max_tokens=1)
    headers = caught.value.response.headers
    assert (caught.value.code, headers["x-should-retry"], headers["retry-after"]) == (
        "rate_limit_exceeded",
        "true",
        "1",
    )
    stream.close()
    assert answering.with_options(max_retries=5).completions.create(**shared, max_tokens=1).choices


@pytest.mark.slow
def test_the_model_stops_writing_when_the_client_goes_away(tmp_path: Path) -> None:
    """A plain request and a stream that were left cost a fraction of the 4,000 tokens that they asked for."""
    shared: Any = {
        "model": "tiny-random",
        "prompt": "Once",
        "max_tokens": 2000,
        "logit_bias": {"0": -100, "1": -100, "2": -100},  # the tokens with which it could end by itself
    }
    with LocalBackend(tmp_path, trainer=trainer(), threads=1) as backend, backend.client(max_retries=0) as client:
        client.completions.create(model="tiny-random", prompt="Once", max_tokens=1)
        with pytest.raises(openai.APITimeoutError):
            client.completions.create(**shared, timeout=0.3)
        with client.completions.create(**shared, stream=True) as stream:
            next(iter(stream))
        services = backend._running.services
        until(lambda: services.inference._open == 0, 10)
        written = sum(row.completion_tokens for row in services.store.usage.days(2))
        assert 2 <= written < 2000


@pytest.mark.slow
def test_the_async_client_asks_and_streams_side_by_side(tmp_path: Path) -> None:
    """Twenty questions at once on one loop, half of them streamed, all get the greedy answer."""

    async def ask(client: openai.AsyncOpenAI, stream: bool) -> str:
        turns: Any = [{"role": "user", "content": "Hi"}]
        shared: Any = {"model": "tiny-random", "messages": turns, "max_tokens": 6, "temperature": 0}
        if not stream:
            return text_of(await client.chat.completions.create(**shared))
        chunks = [chunk async for chunk in await client.chat.completions.create(**shared, stream=True)]
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    async def all_of_them() -> list[str]:
        async with backend.async_client(max_retries=0) as client:
            return await asyncio.gather(*(ask(client, number % 2 == 0) for number in range(20)))

    with LocalBackend(tmp_path, trainer=trainer(), threads=1) as backend:
        assert len(set(asyncio.run(all_of_them()))) == 1


def test_a_stream_that_is_left_is_given_up(tmp_path: Path) -> None:
    """The place of a client that went away is free again long before the answer would have ended."""
    with LocalBackend(tmp_path, trainer=trainer(), threads=1) as backend, backend.client() as client:
        turns: Any = [{"role": "user", "content": "Hi"}]
        shared: Any = {"model": "tiny-random", "messages": turns, "temperature": 2}
        with client.chat.completions.create(**shared, max_tokens=2000, stream=True) as stream:
            next(iter(stream))
        inference = backend._running.services.inference
        until(lambda: inference._open == 0, 5)


def test_a_base_whose_weights_are_not_here_is_not_found(tmp_path: Path) -> None:
    """Its folder was there at the start and was moved away since."""
    folder = tmp_path / "mine"
    folder.mkdir()
    bases = {"mine": folder}
    with LocalBackend(tmp_path, trainer=trainer(), bases=bases) as backend, backend.client(max_retries=0) as client:
        folder.rmdir()
        with pytest.raises(openai.NotFoundError) as caught:
            client.completions.create(model="mine", prompt="x")
    assert caught.value.code == "model_not_found"
    assert str(tmp_path) not in caught.value.message


def test_a_folder_in_the_working_directory_never_stands_in_for_a_base(
    chat: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny-random").mkdir()
    monkeypatch.chdir(tmp_path)
    with LocalBackend(tmp_path / "backend", threads=1) as backend, backend.client(max_retries=0) as client:
        asked: dict[str, Any] = {"model": "tiny-random", "messages": [{"role": "user", "content": "hi"}]}
        answer = client.chat.completions.create(**asked, max_tokens=2, temperature=0)
    assert answer.choices[0].message.content == text_of(chat(messages=asked["messages"], max_tokens=2))


def test_a_relative_folder_stays_the_one_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(resolve_base("tiny-random"), tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    backend = LocalBackend("backend", threads=1, bases={"mine": "mine"})
    monkeypatch.chdir("/")
    with backend, backend.client(max_retries=0) as client:
        assert client.completions.create(model="mine", prompt="x", max_tokens=1).usage


@pytest.mark.slow
def test_a_model_that_is_deleted_before_its_turn_is_not_found(tmp_path: Path) -> None:
    """The scripted trainer's adapter cannot be loaded; while the model is known that is the server's own fault."""
    with LocalBackend(tmp_path, trainer=trainer(), threads=1) as backend, backend.client(max_retries=0) as client:
        name = wait_for(client, create(client).id, "succeeded").fine_tuned_model
        with pytest.raises(openai.InternalServerError) as fault:
            client.completions.create(model=name, prompt="x")
        assert str(tmp_path) not in fault.value.message
        own = backend._running.services
        inference = own.inference
        submit = inference.submit

        def delete_first(request: Any) -> Any:
            own.store.models.delete(name)
            return submit(request)

        inference.submit = delete_first  # type: ignore[method-assign]
        with pytest.raises(openai.NotFoundError) as caught:
            client.completions.create(model=name, prompt="x")
    assert caught.value.code == "model_not_found"
