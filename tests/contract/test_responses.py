"""`respond`: the Responses API through the real client, with the same answer as the other calls give."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

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
