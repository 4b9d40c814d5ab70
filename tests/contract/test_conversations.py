"""Conversations: the trained prompt goes along, streams keep what came, slips are told, answers show themselves."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt
from ragtune.model import AnswerList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ragtune._api import Api

CHAT = ("POST", "/chat/completions")
QUESTION = {"role": "user", "content": "And 4 + 4?"}
TALK = [{"role": "user", "content": "3 + 3?"}, {"role": "assistant", "content": "6."}, QUESTION]
TRAINED = {"role": "system", "content": "Add up."}


def answered(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "8.", **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "ft:x", "choices": [choice], "usage": usage}


def chunk(reason: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@pytest.fixture
def server(stub: Any, wire: Any) -> Any:
    metadata = {"ragtune_fingerprint": "f", "ragtune_system": "Add up."}
    stub.on("GET", "/fine_tuning/jobs", wire.page(wire.job(fine_tuned_model="ft:x", metadata=metadata)))
    return stub.on(*CHAT, answered())


@pytest.fixture
def streaming(server: Any) -> Any:
    server.headers["content-type"] = "text/event-stream"
    return server.on(*CHAT, chunk(content="Eight ") + chunk(content="it is.") + chunk("stop") + b"data: [DONE]\n\n")


def sent(server: Any) -> list[list[dict[str, Any]]]:
    return [request.json["messages"] for request in server.sent(*CHAT)]


def model(api: Api) -> rt.TunedModel:
    found = rt.TunedModel(api, "ft:x", journal=None)
    found._model._state.warned_of_end = True
    return found


def test_the_trained_prompt_goes_before_a_conversation(server: Any, api: Api) -> None:
    asked = model(api)
    asked.chat(TALK)
    asked.chat(TALK, system=None)
    asked.chat(TALK, system="Shout.")
    shout = {"role": "system", "content": "Shout."}
    asked.chat([shout, *TALK])
    asked.chat([{"role": "developer", "content": "Shout."}, QUESTION])
    assert sent(server) == [
        [TRAINED, *TALK],
        TALK,
        [shout, *TALK],
        [shout, *TALK],
        [{"role": "developer", "content": "Shout."}, QUESTION],
    ]


def test_no_prompt_is_none_wherever_it_is_said(server: Any, api: Api) -> None:
    asked = model(api)
    for none in (None, ""):
        asked.ask("And 4 + 4?", system=none)
        asked.ask_many(["And 4 + 4?"], system=none)
    rt.TunedModel(api, "ft:x", system=None, journal=None).ask("And 4 + 4?")
    assert sent(server) == [[QUESTION]] * 5
    assert "TRAINED" in repr(rt.TRAINED)


def test_two_system_prompts_are_refused(server: Any, api: Api) -> None:
    with pytest.raises(ValueError, match="hold a system prompt already"):
        model(api).chat([TRAINED, QUESTION], system="Shout.")
    assert sent(server) == []


def test_messages_of_the_client_itself_are_taken(server: Any, api: Api) -> None:
    """As its users write it: the message of the last answer goes into the history."""
    last: Any = openai.types.chat.ChatCompletionMessage(role="assistant", content="6.")
    model(api).chat([TALK[0], last, QUESTION])
    assert [message["content"] for message in sent(server)[0]] == ["Add up.", "3 + 3?", "6.", "And 4 + 4?"]


def test_a_conversation_is_streamed_like_a_question(streaming: Any, api: Api) -> None:
    with model(api).stream(TALK) as stream:
        assert list(stream) == ["Eight ", "it is."]
    assert stream.text == stream.answer.text == "Eight it is."
    list(model(api).stream(TALK, system=None, stream=True))
    assert sent(streaming) == [[TRAINED, *TALK], TALK]


def test_the_asynchronous_twin_does_the_same(streaming: Any, make_async_api: Callable[[], Any]) -> None:
    async def main() -> tuple[str, str]:
        client, api = make_async_api()
        async with client:
            asked = rt.AsyncTunedModel(api, "ft:x", journal=None)
            asked._state.warned_of_end = True
            async with asked.stream(TALK) as stream:
                async for piece in stream:
                    early = piece
                    break
            with suppress(rt.EmptyAnswer):
                raise AssertionError(stream.answer)
            streaming.headers.clear()
            streaming.on(*CHAT, answered())
            answer = await asked.chat(TALK, system=None)
            with pytest.raises(TypeError, match=r"call stream\(\.\.\.\)"):
                await asked.chat(TALK, stream=True)
            assert early == stream.text
            return stream.text, answer.text

    assert asyncio.run(main()) == ("Eight ", "8.")
    assert sent(streaming) == [[TRAINED, *TALK], TALK]


@pytest.mark.parametrize("leave", ["break", "close", "block"])
def test_a_stream_that_is_left_early_keeps_its_text(streaming: Any, api: Api, leave: str) -> None:
    stream = model(api).stream("And 4 + 4?")
    with stream:
        for _ in stream:
            if leave == "break":
                break
            if leave == "close":
                stream.close()
                break
    assert stream.text == ("Eight it is." if leave == "block" else "Eight ")
    if leave != "block":
        with pytest.raises(rt.EmptyAnswer, match=r"stream\.text has what came so far"):
            _ = stream.answer


@pytest.fixture
def cut_off() -> Iterator[str]:
    """A server whose connection breaks in the middle of a chunked body, as when a proxy is restarted."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    asked = b""
                    while not asked.endswith(b"}"):
                        asked += connection.recv(65_536)
                    piece = chunk(content="The tower was ")
                    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                    connection.sendall(head + f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    listener.close()


def test_a_connection_that_breaks_in_a_stream_is_told_as_one(cut_off: str) -> None:
    """As the client's own error, with what to do; what came is kept."""
    with openai.OpenAI(base_url=cut_off, api_key="k", max_retries=0) as client:
        asked = rt.TunedModel(client, "m", system="", journal=None)
        asked._model._state.warned_of_end = True
        stream = asked.stream("When?")
        with pytest.raises(openai.APIConnectionError) as broken:
            list(stream)
    assert "broke off" in " ".join(broken.value.__notes__)
    assert stream.text == "The tower was "
    assert stream.answer.broken_off
    assert "broke off" in stream.answer.wrapped(80)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "The model is overloaded", "code": 503}},
        {"error": "The model is overloaded"},
        {"object": "error", "message": "The model is overloaded"},
        {"detail": "The model is overloaded"},
    ],
)
def test_an_error_with_status_200_is_told_in_the_servers_words(
    server: Any, api: Api, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server.on(*CHAT, body)
    with pytest.raises(rt.EmptyAnswer, match=r"no choice at all \(The model is overloaded\)"):
        _ = model(api).ask("When?").text
    stream = model(api).stream("When?")
    assert list(stream) == []
    assert "without a single piece of an answer" in caplog.text
    with pytest.raises(rt.EmptyAnswer, match=r"ask\(\.\.\.\) shows what the server says"):
        _ = stream.answer


def test_a_refused_stream_has_no_answer(server: Any, api: Api, wire: Any) -> None:
    server.on(*CHAT, (401, wire.error("no")))
    stream = model(api).stream("When?")
    with pytest.raises(openai.AuthenticationError):
        list(stream)
    with pytest.raises(rt.EmptyAnswer):
        _ = stream.answer


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda asked: asked.ask("x", stream=True), r"ask gives the whole answer.*call stream\(...\)"),
        (lambda asked: asked.ask_many(["x"], stream=True), "ask_many gives the whole answer"),
        (lambda asked: asked.chat(TALK, stream=True), "chat gives the whole answer"),
        (lambda asked: asked.complete("x", stream=True), "legacy completions come whole"),
        (lambda asked: asked.stream("x", stream=False), r"comes from ask\(prompt\) or chat\(messages\)"),
        (lambda asked: asked.stream(["x"]), "one question is a text, not a list"),
        (lambda asked: asked.chat(["x"]), "chat takes a list of messages, each with role and content"),
        (lambda asked: asked.chat({"role": "user", "content": "x"}), "chat takes a list of messages"),
    ],
)
def test_a_slip_says_what_to_call(server: Any, api: Api, slip: Callable[[rt.TunedModel], object], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        slip(model(api))
    assert server.requests == []


@pytest.mark.parametrize(
    "message",
    [
        {"content": "8.", "reasoning_content": "4 and 4"},
        {"content": "8.", "reasoning": "4 and 4"},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "4 and 4"}]},
                {"type": "text", "text": "8."},
            ]
        },
        {"content": [{"type": "reasoning", "text": "4 and 4"}, "8."]},
    ],
)
def test_what_was_thought_stands_beside_what_was_said(server: Any, api: Api, message: dict[str, Any]) -> None:
    server.on(*CHAT, answered(**message))
    answer = model(api).ask("?")
    assert (answer.text, answer.choices[0].thinking) == ("8.", "4 and 4")
    server.headers["content-type"] = "text/event-stream"
    server.on(*CHAT, chunk(**message) + chunk("stop") + b"data: [DONE]\n\n")
    with model(api).stream("?") as stream:
        assert list(stream) == ["8."]
    assert (stream.answer.text, stream.answer.choices[0].thinking) == ("8.", "4 and 4")


def test_a_model_that_only_thought_says_so(server: Any, api: Api) -> None:
    server.on(*CHAT, answered(content=None, reasoning_content="hm"))
    with pytest.raises(rt.EmptyAnswer, match=r"thought \(2 characters\) and said nothing.*raise max_tokens"):
        _ = model(api).ask("?").text


def test_answers_show_themselves_in_a_notebook(server: Any, api: Api, wire: Any) -> None:
    server.on(
        *CHAT, answered(content="<b>8</b> & more"), (400, wire.error("no <i>")), answered(content=None, refusal="No.")
    )
    answers = model(api).ask_many(["4 + 4?", "a", "b"], concurrency=1)
    assert isinstance(answers, list)
    assert isinstance(answers, AnswerList)
    assert answers.questions == ("4 + 4?", "a", "b")
    page = answers._repr_html_()
    assert page.count("<tr>") == 4
    for shown in ("4 + 4?", "&lt;b&gt;8&lt;/b&gt; &amp; more", "BadRequestError", "the model refused", ">7<"):
        assert shown in page
    assert isinstance(answers[0], rt.Answer)
    alone = answers[0]._repr_html_()
    assert "&lt;b&gt;8" in alone
    assert "ft:x · stop · 5 + 2 = 7 tokens" in alone
