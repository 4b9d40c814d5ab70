"""`respond`: the Responses API through the real client, with the same answer as the other calls give."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

import ragtune as rt
from ragtune.testing import ScriptedBackend

if TYPE_CHECKING:
    from ragtune._api import Api

RESPONSES = ("POST", "/responses")
REQUEST: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)


def text_part(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], **more}


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": list(parts)}


def response(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    body = {"id": "resp_1", "object": "response", "created_at": 1_800_000_000, "model": "m", "status": "completed"}
    return body | {"output": list(output), "usage": usage, "error": None, "incomplete_details": None} | more


def test_an_answer_is_the_one_that_ask_gives() -> None:
    """The same question both ways to one server: text, reason, model and usage agree."""
    with ScriptedBackend(answer="Pressure.") as backend, backend.client() as client:
        model = rt.TunedModel(client, "tiny-random", system="Answer briefly.")
        asked, answer = model.ask("Why do winds turn?"), model.respond("Why do winds turn?")
        assert (answer.text, answer.finish_reason, answer.usage) == (asked.text, "stop", asked.usage)
        assert (answer.model, answer.object) == ("tiny-random", "response")
        sent = backend.requests[-1].body
        assert (sent["input"], sent["instructions"]) == ("Why do winds turn?", "Answer briefly.")
        assert sent["temperature"] == 0.0
        REQUEST.validate_python(sent)


def test_a_conversation_goes_on_from_an_answer() -> None:
    """The server keeps what was said; the system prompt goes with each question, as it is not carried over."""
    with ScriptedBackend(answer=lambda _, messages: f"{len(messages)} messages") as backend, backend.client() as client:
        model = rt.TunedModel(client, "tiny-random", system="Answer briefly.")
        first = model.respond("Hi")
        assert first.text == "2 messages"
        assert model.respond("And?", previous_response_id=first.id).text == "4 messages"
        items: Any = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        assert model.respond([*items, {"role": "user", "content": "c"}], system=None).text == "3 messages"
        assert model.respond([{"role": "developer", "content": "Shout."}, *items[:1]]).text == "2 messages"


def test_the_async_model_responds_too() -> None:
    async def run() -> None:
        async with backend.async_client() as client:
            model = rt.AsyncTunedModel(client, "tiny-random")
            assert (await model.respond("Hi", max_output_tokens=2)).hint == (
                "cut off at max_output_tokens; raise it for the rest"
            )
            plan = await model.respond("Hi", dry_run=True)
            assert [call.name for call in plan.calls] == ["responses.create"]

    with ScriptedBackend(answer="one two three") as backend:
        asyncio.run(run())


def test_a_plan_sends_nothing(api: Api, stub: Any) -> None:
    plan = rt.TunedModel(api, "m", system="Be brief.", journal=None).respond("Hi", dry_run=True, max_output_tokens=5)
    (call,) = plan.calls
    assert (call.method, call.path) == RESPONSES
    expected = {"model": "m", "input": "Hi", "instructions": "Be brief.", "temperature": 0.0, "max_output_tokens": 5}
    assert call.body == expected
    assert stub.requests == []


def test_parts_refusals_calls_and_log_probabilities_are_read(api: Api, stub: Any) -> None:
    """What other servers send beside the text, reasoning for one, is in `raw` alone."""
    model = rt.TunedModel(api, "m", system="", journal=None)
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    stub.on(*RESPONSES, response(reasoning, message(text_part("a", logprobs=[token]), text_part("b"))))
    answer = model.respond("Hi")
    assert (answer.text, answer.logprobs["content"], answer.usage and answer.usage.total_tokens) == ("ab", [token], 5)
    assert answer.raw["output"][0] == reasoning
    stub.on(*RESPONSES, response(message({"type": "refusal", "refusal": "No."})))
    with pytest.raises(rt.EmptyAnswer, match="the model refused"):
        print(model.respond("Hi").text)
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"}
    stub.on(*RESPONSES, response(call))
    called = model.respond("Hi")
    function = {"name": "look", "arguments": "{}"}
    assert called.choices[0].tool_calls == ({"id": "call_1", "type": "function", "function": function},)
    assert called.finish_reason == "tool_calls"


def test_a_response_that_failed_or_was_filtered_says_so(api: Api, stub: Any) -> None:
    model = rt.TunedModel(api, "m", system="", journal=None)
    stub.on(*RESPONSES, response(status="failed", error={"code": "server_error", "message": "out of memory"}))
    with pytest.raises(rt.EmptyAnswer, match="out of memory"):
        print(model.respond("Hi").text)
    cut = response(message(text_part("a")), status="incomplete", incomplete_details={"reason": "content_filter"})
    stub.on(*RESPONSES, cut)
    assert model.respond("Hi").hint == "the server's content filter ended this answer"


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ({"max_tokens": 5}, "max_output_tokens"),
        ({"stream": True}, "stream"),
        ({"instructions": "Be brief."}, "system"),
        ({"response_format": {"type": "json_object"}}, "text="),
        ({"messages": []}, "first argument"),
    ],
)
def test_a_parameter_of_chat_completions_is_told_its_name_here(
    api: Api, stub: Any, given: dict[str, Any], way_out: str
) -> None:
    with pytest.raises(TypeError, match=way_out):
        rt.TunedModel(api, "m", journal=None).respond("Hi", **given)
    assert stub.requests == []


def told(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": 0, **more}


def said(piece: str, *, item: int = 0) -> dict[str, Any]:
    place = {"item_id": f"msg_{item}", "output_index": item, "content_index": 0}
    return told("output_text.delta", **place, delta=piece, logprobs=[])


def opened(**more: Any) -> dict[str, Any]:
    return told("created", response=response(status="in_progress") | {"usage": None} | more)


def model_of(api: Api) -> rt.TunedModel:
    model = rt.TunedModel(api, "m", system="", journal=None)
    model._model._state.warned_of_end = True
    return model


def test_a_stream_gives_the_answer_that_respond_gives() -> None:
    """Piece by piece, from one server; an earlier answer can be gone on from."""
    with ScriptedBackend(answer="Pressure and heat.") as backend, backend.client() as client:
        model = rt.TunedModel(client, "tiny-random", system="Answer briefly.")
        whole = model.respond("Why do winds turn?")
        with model.stream_response("Why do winds turn?", max_output_tokens=9) as stream:
            pieces = list(stream)
        answer = stream.answer
        assert len(pieces) > 1
        assert "".join(pieces) == stream.text == answer.text == whole.text
        assert (answer.finish_reason, answer.usage, answer.object) == ("stop", whole.usage, "response")
        assert (answer.broken_off, answer.hint) == (False, None)
        assert (answer.question, answer.system) == ("Why do winds turn?", "Answer briefly.")
        sent = backend.requests[-1].body
        assert (sent["stream"], sent["instructions"], sent["max_output_tokens"]) == (True, "Answer briefly.", 9)
        cut = model.stream_response("And?", previous_response_id=answer.id, max_output_tokens=1)
        assert "".join(cut) == cut.answer.text
        assert cut.answer.hint == "cut off at max_output_tokens; raise it for the rest"


def test_the_async_model_streams_responses_too() -> None:
    async def run() -> None:
        async with backend.async_client() as client:
            model = rt.AsyncTunedModel(client, "tiny-random", system=None)
            async with model.stream_response([{"role": "user", "content": "Hi"}]) as stream:
                pieces = [piece async for piece in stream]
        assert "".join(pieces) == stream.answer.text == "one two three"
        assert stream.answer.id is not None
        assert stream.answer.id.startswith("resp_")

    with ScriptedBackend(answer="one two three") as backend:
        asyncio.run(run())


def test_a_stream_that_is_left_early_keeps_what_came() -> None:
    with ScriptedBackend(answer="one two three") as backend, backend.client() as client:
        stream = rt.TunedModel(client, "tiny-random", system=None).stream_response("Hi")
        for _ in stream:
            break
        assert stream.text
        assert stream.text != "one two three"
        with pytest.raises(rt.EmptyAnswer, match=r"left before its end.*came so far; ask again, or use respond\(\)"):
            print(stream.answer)
        begun = rt.TunedModel(client, "tiny-random", system=None).stream_response("Hi")
        next(pieces := iter(begun))
        with pytest.raises(rt.EmptyAnswer, match=r"not been read to its end.*; read on, or use respond\(\)"):
            print(begun.answer)
        begun.close()
        assert list(pieces) == []
        with pytest.raises(rt.EmptyAnswer, match="left before its end"):
            print(begun.answer)


def test_a_stream_of_events_that_just_ends_says_so(api: Api, stub: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What came is the answer so far: the items that ended, and the text of the one that did not."""
    first = message(text_part("One. "))
    events = [opened(), said("One. "), told("output_item.done", output_index=0, item=first), said("Two", item=1)]
    stub.on("STREAM", RESPONSES[1], events)
    stream = model_of(api).stream_response("Hi")
    assert list(stream) == ["One. ", "Two"]
    assert (stream.answer.text, stream.answer.broken_off, stream.answer.finish_reason) == ("One. Two", True, None)
    assert "broke off" in stream.answer.wrapped(80)
    assert "broke off" in caplog.text
    assert stream.answer.id == "resp_1"


def test_a_stream_that_the_server_gives_up_says_why(api: Api, stub: Any, caplog: pytest.LogCaptureFixture) -> None:
    error = {"code": "server_error", "message": "out of memory"}
    stub.on("STREAM", RESPONSES[1], [opened(), told("failed", response=response(status="failed", error=error))])
    stream = model_of(api).stream_response("Hi")
    assert list(stream) == []
    assert "out of memory" in caplog.text
    assert stream.answer.broken_off
    with pytest.raises(rt.EmptyAnswer, match="out of memory"):
        print(stream.answer.text)


@pytest.mark.parametrize(
    "more",
    [{"status": "cancelled"}, {"status": "failed"}, {"status": "incomplete"}],
    ids=lambda more: more["status"],
)
def test_a_response_that_the_server_gave_up_is_no_whole_answer(
    api: Api, stub: Any, more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the last event is called; in one piece it is told as well."""
    half = response(message(text_part("One ")), **more)
    stub.on("STREAM", RESPONSES[1], [opened(), said("One "), told("completed", response=half)])
    stream = model_of(api).stream_response("Hi")
    assert "".join(stream) == stream.answer.text == "One "
    assert (stream.answer.broken_off, stream.answer.finish_reason) == (True, None)
    assert "broke off" in caplog.text
    stub.on(*RESPONSES, half)
    answer = model_of(api).respond("Hi")
    assert (answer.text, answer.broken_off) == ("One ", True)
    assert answer.hint == "the answer broke off before its end; ask again"


def test_what_comes_after_the_last_event_of_a_response_is_no_part_of_it(api: Api, stub: Any) -> None:
    whole = response(message(text_part("One.")))
    events = [opened(), said("One."), told("completed", response=whole), said(" Two."), opened(id="resp_2")]
    stub.on("STREAM", RESPONSES[1], events)
    stream = model_of(api).stream_response("Hi")
    assert list(stream) == ["One."]
    assert stream.text == stream.answer.text == "One."
    assert (stream.answer.id, stream.answer.broken_off) == ("resp_1", False)


@pytest.mark.parametrize("call", ["respond", "stream_response", "ask", "stream", "complete"])
def test_a_parameter_that_is_misspelt_is_told_the_nearest_one(call: str) -> None:
    near = "max_output_tokens" if "respon" in call else "max_tokens"
    with ScriptedBackend() as backend, backend.client() as client:
        model = rt.TunedModel(client, "tiny-random", system=None)
        with pytest.raises(TypeError, match=rf"takes no '{near[:-1]}z'; did you mean '{near}'\?.*extra_body="):
            list(getattr(model, call)("Hi", **{f"{near[:-1]}z": 5}))
        assert [seen.path for seen in backend.requests if seen.method == "POST"] == []


def test_an_error_in_the_middle_of_events_is_the_clients_own(api: Api, stub: Any) -> None:
    stub.on("STREAM", RESPONSES[1], [opened(), said("One "), {"error": {"message": "the engine died", "code": "x"}}])
    stream = model_of(api).stream_response("Hi")
    with pytest.raises(openai.APIError, match="the engine died") as broken:
        list(stream)
    assert "broke off" in " ".join(broken.value.__notes__)
    assert (stream.answer.text, stream.answer.broken_off) == ("One ", True)


def test_calls_refusals_and_odd_events_are_read_from_a_stream(api: Api, stub: Any) -> None:
    """A last event without its output, as some servers send it, is filled from the events before."""
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"}
    odd = [told("reasoning.delta", delta="hm"), told("something.new", x=[1]), told("output_text.delta", delta=None)]
    events = [
        opened(),
        *odd,
        told("output_item.done", output_index=0, item=call),
        told("completed", response=response()),
    ]
    stub.on("STREAM", RESPONSES[1], events)
    stream = model_of(api).stream_response("Hi")
    assert list(stream) == []
    assert (stream.answer.finish_reason, stream.answer.broken_off) == ("tool_calls", False)
    assert stream.answer.choices[0].tool_calls[0]["function"]["name"] == "look"
    stub.on("STREAM", RESPONSES[1], [])
    nothing = model_of(api).stream_response("Hi")
    assert list(nothing) == []
    with pytest.raises(rt.EmptyAnswer, match=r"without a single piece.*respond\(\.\.\.\) shows"):
        print(nothing.answer)


@pytest.mark.parametrize("given", [{"max_tokens": 5}, {"stream": False}, {"messages": []}])
def test_slips_of_a_streamed_response_are_told_before_anything_is_sent(
    api: Api, stub: Any, given: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="stream_response takes no"):
        model_of(api).stream_response("Hi", **given)
    assert stub.requests == []


@pytest.mark.parametrize("kind", [[], {}, 3, None])
def test_an_event_without_a_word_for_its_kind_is_not_the_last(kind: Any) -> None:
    from ragtune.model.response import is_last

    assert not is_last({"type": kind, "response": {"status": "completed"}})
    assert is_last({"type": "response.completed"})
