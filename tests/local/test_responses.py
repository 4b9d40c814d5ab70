"""The Responses API on the wire, with the tiny base and the real engine; bodies are judged by OpenAI's own types."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest
from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from ragtune.local import LocalBackend
from ragtune.local.engine import GeneratedCall, GeneratedPiece
from ragtune.local.http.errors import overloaded
from ragtune.local.store import Store
from ragtune.local.store.conversations.responses import KEPT_S
from ragtune.local.wire.response_answer import ResponseAnswer
from ragtune.modelling.base_model import load_tokenizer
from ragtune.modelling.bases import resolve_base
from ragtune.testing import ScriptedBackend
from tests.local.kit import trainer
from tests.local.test_tools import SUPPLIES, TEMPLATES

Ask = Callable[..., Any]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
LOOK_UP: dict[str, Any] = {
    "type": "function",
    "name": "look_up",
    "description": "Looks.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"supplies": SUPPLIES},
        "required": ["supplies"],
        "additionalProperties": False,
    },
}
PING: dict[str, Any] = {"type": "function", "name": "ping", "parameters": None, "strict": None}


@pytest.fixture
def respond(answering: openai.OpenAI) -> Ask:
    """Ask the tiny base; greedy and short unless told otherwise. Every whole answer is judged."""
    defaults = {"model": "tiny-random", "input": "Hi", "max_output_tokens": 8, "temperature": 0}
    return lambda **options: judged(answering.responses.create(**{**defaults, **options}))


@pytest.fixture(scope="module")
def with_tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask a base whose template knows tools."""
    folder = tmp_path_factory.mktemp("marked")
    for file in resolve_base("tiny-random").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = TEMPLATES["marked"]
    tokenizer.save_pretrained(folder)
    backend = LocalBackend(tmp_path_factory.mktemp("backend"), trainer=trainer(), threads=1, bases={"marked": folder})
    defaults: dict[str, Any] = {"model": "marked", "input": "Hi", "max_output_tokens": 200, "tools": [LOOK_UP, PING]}
    with backend, backend.client(max_retries=0) as client:
        yield lambda **options: judged(client.responses.create(**{**defaults, **options}))


def judged(answer: Any) -> Any:
    """The same answer, valid by the types of OpenAI's client."""
    if isinstance(answer, Response):
        Response.model_validate(answer.to_dict())
    return answer


def texts(items: Iterable[Any]) -> list[str]:
    return [item.content[0].text for item in items]


def said(client: openai.OpenAI, *turns: tuple[str, str]) -> str:
    """What the tiny base answers to a chat, greedily."""
    messages: Any = [{"role": role, "content": text} for role, text in turns]
    asked: dict[str, Any] = {"model": "tiny-random", "max_tokens": 8, "temperature": 0}
    return str(client.chat.completions.create(messages=messages, **asked).choices[0].message.content)


def test_a_response_has_everything_that_clients_look_at(respond: Ask) -> None:
    answer = respond(metadata={"a": "b"}, top_p=0.5)
    assert (answer.object, answer.model, answer.store, answer.metadata) == ("response", "tiny-random", True, {"a": "b"})
    assert answer.id.startswith("resp_")
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (answer.temperature, answer.top_p, answer.max_output_tokens) == (0, 0.5, 8)
    assert (answer.tools, answer.tool_choice, answer.text.format.type) == ([], "auto", "text")
    (message,) = answer.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "incomplete")
    assert answer.usage.output_tokens == 8
    assert answer.usage.total_tokens == answer.usage.input_tokens + 8


@pytest.mark.parametrize(
    ("asked", "turns"),
    [
        ({}, [("user", "Hi")]),
        ({"instructions": "Be brief."}, [("system", "Be brief."), ("user", "Hi")]),
        (
            {"input": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]},
            [("developer", "Be brief."), ("user", "Hi")],
        ),
        (
            {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
            [("user", "Hi")],
        ),
        (
            {
                "instructions": "Be brief.",
                "input": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": [{"type": "output_text", "text": "Yes?"}]},
                    {"role": "user", "content": "Go on."},
                ],
            },
            [("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Go on.")],
        ),
    ],
)
def test_a_response_says_what_the_chat_says_that_it_comes_to(
    respond: Ask, answering: openai.OpenAI, asked: dict[str, Any], turns: list[tuple[str, str]]
) -> None:
    assert respond(**asked).output_text == said(answering, *turns)


def test_a_stream_tells_openais_events_in_their_order(respond: Ask) -> None:
    """The text in deltas between the opening of its parts and their end; the last event is the whole response."""
    events = list(respond(stream=True))
    for number, event in enumerate(events):
        EVENT.validate_python(event.to_dict())
        assert event.sequence_number == number
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    kinds = [event.type for event in events if event not in deltas]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    whole = respond()
    text = "".join(event.delta for event in deltas)
    assert text == whole.output_text == events[-5 + 1].text == events[-1].response.output_text
    assert events[-1].response.usage == whole.usage
    assert {event.item_id for event in deltas} == {events[-1].response.output[0].id}


def test_the_events_stand_on_the_wire_as_openai_writes_them(answering: openai.OpenAI) -> None:
    """Each with its name in a line of its own, and no [DONE]."""
    raw = answering.responses.with_raw_response.create(
        model="tiny-random", input="Hi", max_output_tokens=2, stream=True, store=False
    )
    blocks = raw.http_response.read().decode().strip().split("\n\n")
    for block in blocks:
        name, data = block.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    assert blocks[-1].startswith("event: response.incomplete")


def test_a_conversation_goes_on_from_its_last_response(respond: Ask, answering: openai.OpenAI) -> None:
    """What was said is in the folder; the instructions are not carried over, as at OpenAI."""
    first = respond(instructions="Be brief.", input="Hi")
    second = respond(input="Go on.", previous_response_id=first.id)
    third = respond(input="More.", previous_response_id=second.id, instructions="Shout.")
    turns = [("user", "Hi"), ("assistant", first.output_text), ("user", "Go on.")]
    assert second.output_text == said(answering, *turns)
    turns += [("assistant", second.output_text), ("user", "More.")]
    assert third.output_text == said(answering, ("system", "Shout."), *turns)
    assert (third.previous_response_id, second.instructions) == (second.id, None)


def test_a_history_may_be_the_output_of_earlier_responses(respond: Ask) -> None:
    """As OpenAI's documentation has it: the items of the output are appended to the input."""
    first = respond(input="Hi")
    items = [{"role": "user", "content": "Hi"}, *[item.model_dump() for item in first.output]]
    by_items = respond(input=[*items, {"role": "user", "content": "Go on."}])
    by_name = respond(input=[{"id": first.output[0].id, "type": "item_reference"}, {"role": "user", "content": "A"}])
    assert by_items.output_text == respond(input="Go on.", previous_response_id=first.id).output_text
    assert by_name.usage.input_tokens > respond(input="A").usage.input_tokens


def test_a_response_is_read_and_deleted_with_its_input(respond: Ask, answering: openai.OpenAI) -> None:
    kept = answering.responses
    first = respond(input="Hi", instructions="Be brief.")
    second = respond(input=[{"role": "user", "content": text} for text in "abc"], previous_response_id=first.id)
    assert kept.retrieve(second.id).to_dict() == second.to_dict()
    page = kept.input_items.list(second.id, limit=2)
    ResponseItemList.model_validate(page.to_dict() | {"object": "list"})
    assert texts(page) == ["c", "b", "a", first.output_text, "Hi"]
    in_order = kept.input_items.list(second.id, order="asc", after=page.data[-1].id)
    assert texts(in_order) == ["c"]
    kept.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        kept.retrieve(first.id)
    with pytest.raises(openai.NotFoundError):
        kept.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        kept.input_items.list("resp_none")
    assert kept.retrieve(second.id).id == second.id
    with pytest.raises(openai.BadRequestError, match=f"goes on from '{first.id}', which was deleted") as broken:
        respond(previous_response_id=second.id)
    assert (broken.value.param, broken.value.code) == ("previous_response_id", "previous_response_not_found")


def test_what_is_not_to_be_kept_is_not(respond: Ask, answering: openai.OpenAI) -> None:
    answer = respond(store=False)
    assert answer.store is False
    with pytest.raises(openai.NotFoundError):
        answering.responses.retrieve(answer.id)
    with pytest.raises(openai.BadRequestError) as unknown:
        respond(previous_response_id=answer.id)
    assert unknown.value.code == "previous_response_not_found"
    with pytest.raises(openai.NotFoundError, match="put the item itself in its place"):
        respond(input=[{"type": "item_reference", "id": answer.output[0].id}])


def test_a_streamed_response_is_kept_before_its_last_event(respond: Ask, answering: openai.OpenAI) -> None:
    for event in respond(stream=True):
        if event.type == "response.incomplete":
            assert answering.responses.retrieve(event.response.id).to_dict() == event.response.to_dict()
            return
    pytest.fail("the stream had no end")


def test_a_response_outlives_the_server(tmp_path: Path) -> None:
    """A later backend on the folder goes on with the conversation."""
    asked: dict[str, Any] = {"model": "tiny-random", "max_output_tokens": 4, "temperature": 0}
    with LocalBackend(tmp_path, trainer=trainer(), threads=1) as backend, backend.client() as client:
        first = client.responses.create(input="Hi", **asked)
    with LocalBackend(tmp_path, trainer=trainer(), threads=1) as backend, backend.client() as client:
        assert client.responses.retrieve(first.id).output_text == first.output_text
        second = client.responses.create(input="Go on.", previous_response_id=first.id, **asked)
        assert len(list(client.responses.input_items.list(second.id))) == 3


def test_a_response_is_forgotten_thirty_days_after_its_last_use(tmp_path: Path) -> None:
    """What is gone on from stays with it; what nobody asked for since goes, items and all."""

    def body(name: str, previous: str | None = None) -> dict[str, Any]:
        return {"id": name, "previous_response_id": previous, "output": [{"id": f"msg_{name}"}]}

    with closing(Store(tmp_path)) as store:
        for name in ("old", "used"):
            store.responses.add(body(name), items=[])
        with store.transaction() as connection:
            connection.execute("UPDATE response SET used_at = ?", (int(time.time()) - KEPT_S + 60,))
        store.responses.add(body("next", "used"), items=[])
        with store.transaction() as connection:
            connection.execute("UPDATE response SET used_at = used_at - 120")
        store.responses.add(body("last", "next"), items=[])
        assert store.responses.find("old") is store.responses.item("msg_old") is None
        assert [item["id"] for item in store.responses.conversation("last")] == ["msg_used", "msg_next", "msg_last"]


def test_a_form_is_kept(respond: Ask) -> None:
    schema = {
        "type": "object",
        "properties": {"bird": {"enum": ["heron", "gull"]}},
        "required": ["bird"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "name": "bird", "strict": True, "schema": schema}
    answer = respond(text={"format": form}, max_output_tokens=100, temperature=1)
    jsonschema.validate(json.loads(answer.output_text), schema)
    assert answer.text.format.name == "bird"
    some = respond(text={"format": {"type": "json_object"}}, input="Some JSON, please.", max_output_tokens=4)
    assert some.output_text.startswith("{")


def test_the_clients_own_helpers_read_it(answering: openai.OpenAI) -> None:
    """`parse` and `stream`, which put the events together by themselves."""

    class Bird(BaseModel):
        legs: bool

    asked: dict[str, Any] = {"model": "tiny-random", "input": "Which?", "max_output_tokens": 100}
    assert isinstance(answering.responses.parse(text_format=Bird, **asked).output_parsed, Bird)
    with answering.responses.stream(text_format=Bird, **asked) as stream:
        kinds = [event.type for event in stream]
        assert isinstance(stream.get_final_response().output_parsed, Bird)
    assert kinds[-1] == "response.completed"


def test_the_async_client_asks_streams_and_goes_on(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"model": "tiny-random", "max_output_tokens": 4, "temperature": 0}

    async def run() -> None:
        async with backend.async_client(max_retries=0) as client:
            first = await client.responses.create(input="Hi", **asked)
            stream = await client.responses.create(input="Hi", stream=True, previous_response_id=first.id, **asked)
            events = [event async for event in stream]
            assert events[-1].type == "response.incomplete"
            kept = await client.responses.retrieve(events[-1].response.id)
            assert kept.previous_response_id == first.id
            assert [item.type async for item in client.responses.input_items.list(kept.id)] == ["message"] * 3

    with LocalBackend(tmp_path, trainer=trainer(), threads=1) as backend:
        asyncio.run(run())


def test_log_probabilities_come_with_the_text(respond: Ask) -> None:
    for asked in ({"include": ["message.output_text.logprobs"]}, {"top_logprobs": 2}):
        (part,) = respond(**asked).output[0].content
        assert len(part.logprobs) == 8
        assert {len(token.top_logprobs) for token in part.logprobs} == {asked.get("top_logprobs", 0)}
    deltas = [event for event in respond(top_logprobs=1, stream=True) if event.type == "response.output_text.delta"]
    assert sum(len(event.logprobs) for event in deltas) == 8
    assert respond().output[0].content[0].logprobs == []


def test_functions_are_called_and_their_outputs_read(with_tools: Ask) -> None:
    """A random model under `required`, then the whole turn again with what the function gave."""
    called = with_tools(tool_choice="required", parallel_tool_calls=False)
    (call,) = called.output
    assert (call.type, call.status, called.status) == ("function_call", "completed", "completed")
    if call.name == "look_up":
        jsonschema.validate(json.loads(call.arguments), LOOK_UP["parameters"])
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "4"}
    asked: dict[str, Any] = {"tool_choice": "none", "max_output_tokens": 4, "temperature": 0}
    by_name = with_tools(previous_response_id=called.id, input=[output], **asked)
    by_items = with_tools(
        input=[{"role": "user", "content": "Hi"}, call.model_dump(exclude_none=True), output], **asked
    )
    assert by_name.output_text == by_items.output_text
    assert by_name.output[0].type == "message"


def test_a_function_can_be_named(with_tools: Ask) -> None:
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "ping"}]}
    for choice in ({"type": "function", "name": "ping"}, allowed):
        answer = with_tools(tool_choice=choice, parallel_tool_calls=False)
        assert [(item.name, item.arguments) for item in answer.output] == [("ping", "{}")]
        assert answer.tool_choice.to_dict() == choice


def test_a_call_is_streamed_as_an_item_of_its_own(with_tools: Ask) -> None:
    events = list(with_tools(tool_choice={"type": "function", "name": "ping"}, stream=True))
    for event in events:
        EVENT.validate_python(event.to_dict())
    kind = "response.function_call_arguments"
    assert [event.type for event in events[2:]] == [
        "response.output_item.added",
        f"{kind}.delta",
        f"{kind}.done",
        "response.output_item.done",
        "response.completed",
    ]
    (item,) = events[-1].response.output
    assert item == events[-2].item
    assert (events[2].item.arguments, events[4].arguments, events[4].item_id) == ("", "{}", item.id)


@pytest.mark.parametrize(("arguments", "status"), [('{"supplies": 4}', "completed"), ('{"supplies": ', "incomplete")])
def test_a_call_that_was_cut_says_so(arguments: str, status: str) -> None:
    """Also one that is whole at the very last token, which is not cut."""
    answer = ResponseAnswer(id="resp_1", created=1, repeated={}, with_logprobs=False)
    call = GeneratedCall(name="look_up", arguments=arguments)
    piece = GeneratedPiece(index=0, text="", calls=(call,), finish_reason="length")
    *_, done = answer.chunks(0, piece)
    assert (done["type"], done["item"]["status"]) == ("response.output_item.done", status)  # type: ignore[index]


def test_a_stream_that_an_error_ends_says_which() -> None:
    """What was written until then is in its last event; it is neither complete nor kept."""
    answer = ResponseAnswer(id="resp_1", created=1, repeated={"model": "m"}, with_logprobs=False)
    list(answer.chunks(0, GeneratedPiece(index=0, text="Win")))
    event = answer.failed(overloaded("The server is stopping."))
    told: Any = event["response"]
    assert (event["type"], told["status"], told["error"]["code"]) == ("response.failed", "failed", "server_error")
    assert told["error"]["message"] == "The server is stopping."
    assert [(item["status"], item["content"][0]["text"]) for item in told["output"]] == [("incomplete", "Win")]


def test_an_answer_that_cannot_be_kept_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """A database that takes no writes: 503 with a way out, in a stream as its last event; unkept answers go on."""
    with ScriptedBackend(tmp_path / "b", answer="Yes.") as backend, backend.client(max_retries=0) as client:
        asked: dict[str, Any] = {"model": "tiny-random", "input": "Hi"}
        with closing(sqlite3.connect(backend.folder / "state.sqlite3")) as database:
            database.execute("ALTER TABLE response RENAME TO away")
            database.commit()
        with pytest.raises(openai.InternalServerError, match="'store': false") as caught:
            client.responses.create(**asked)
        assert caught.value.status_code == 503
        *_, last = client.responses.create(stream=True, **asked)
        assert last.type == "response.failed"
        assert client.responses.create(store=False, **asked).output_text == "Yes."


def test_calls_and_outputs_must_belong_together(with_tools: Ask) -> None:
    call = {"type": "function_call", "call_id": "call_1", "name": "ping", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_2", "output": "4"}
    for items, says in (([output], "No tool call found for .* call_2"), ([call], "No tool output found for .* call_1")):
        with pytest.raises(openai.BadRequestError, match=says) as caught:
            with_tools(input=[{"role": "user", "content": "Hi"}, *items])
        assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"reasoning": {"effort": "low"}}, "reasoning", "not served"),
        ({"tools": [{"type": "web_search"}]}, "tools.[0]", "of type 'web_search'"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs"]}]}, "tools.[0]", "of type 'file_search'"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice", "of type 'web_search'"),
        ({"tool_choice": "required"}, "tool_choice", "'tools'"),
        ({"tools": [LOOK_UP], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice", "no tool 'x'"),
        ({"tools": [{**LOOK_UP, "parameters": {"type": "object"}}]}, "tools.[0].parameters", "'additionalProperties'"),
        ({"tools": [{**LOOK_UP, "name": "a b"}]}, "tools.[0].name", "pattern"),
        ({"conversation": "conv_1"}, "conversation", "not served"),
        ({"background": True}, "background", "not served"),
        ({"truncation": "auto"}, "truncation", "not served"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "not served"),
        ({"text": {"verbosity": "low"}}, "verbosity", "not served"),
        ({"text": {"format": {"type": "json_object"}}}, "input", "'input' must say 'json'"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "Missing"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "strict": True, "schema": {"type": "object"}}}},
            "text.format",
            "'text.format'",
        ),
        (
            {
                "text": {
                    "format": {"type": "json_schema", "name": "x", "schema": {"pattern": "(?=a)", "type": "string"}}
                }
            },
            "text.format",
            "'text.format'",
        ),
        ({"input": []}, "input", "minimum length 1"),
        ({"input": 5}, "input", "a string, an array"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input.[0]", "of type 'reasoning'"),
        ({"input": [{"role": "bot", "content": "x"}]}, "input.[0].role", "'system'"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input.[0].content.[0]",
            "text alone",
        ),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"max_output_tokens": 0}, "max_output_tokens", "greater than or equal to 1"),
        ({"previous_response_id": "resp_none"}, "previous_response_id", "not found"),
        ({"include": ["everything"]}, "include.[0]", "'message.output_text.logprobs'"),
        ({"extra_body": {"max_tokens": 5}}, "max_tokens", "Unrecognized"),
        ({"extra_body": {"messages": []}}, "messages", "Unrecognized"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options", "only allowed when"),
        ({"input": "x " * 5000}, "input", "maximum context length"),
    ],
)
def test_a_wrong_question_is_refused_by_the_names_that_it_used(
    respond: Ask, change: dict[str, Any], param: str, says: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=says) as caught:
        respond(**change)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_values_that_ask_for_nothing_are_taken(respond: Ask) -> None:
    answer = respond(
        reasoning={"effort": "none"},
        background=False,
        truncation="disabled",
        tools=[],
        include=["reasoning.encrypted_content"],
        service_tier="auto",
        user="anna",
        prompt_cache_key="k",
        text={"verbosity": "medium"},
        conversation=None,
    )
    assert answer.user == "anna"


def test_an_unknown_model_is_not_found(respond: Ask) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        respond(model="gpt-none")
    assert caught.value.code == "model_not_found"


def test_the_scripted_server_responds_fails_and_remembers_what_it_was_asked() -> None:
    with ScriptedBackend(answer="Pressure.") as backend, backend.client(max_retries=0) as client:
        assert client.responses.create(model="tiny-random", input="Why?").output_text == "Pressure."
        assert (backend.requests[0].call, backend.requests[0].body["input"]) == ("responses.create", "Why?")
        backend.fail_next("responses.create", status=429, code="insufficient_quota")
        with pytest.raises(openai.RateLimitError):
            client.responses.create(model="tiny-random", input="Why?")
