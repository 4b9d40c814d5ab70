"""Bodies of servers that copied the wire: each field may be missing, null, in capitals, a text or a list."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ragtune as rt
from ragtune.dialects import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from ragtune._api import Api

JOB, EVENTS = ("GET", "/fine_tuning/jobs/ftjob-1"), ("GET", "/fine_tuning/jobs/ftjob-1/events")
CHAT = ("POST", "/chat/completions")
PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "42"}]


def answered(content: object) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@pytest.fixture
def server(stub: Any, wire: Any) -> Any:
    checkpoint = {"id": "c1", "fine_tuned_model_checkpoint": "m:ckpt", "step_number": 1, "metrics": {"train_loss": 1.0}}
    step = wire.event(1, type="metrics", data={"step": 1, "total_steps": 2, "train_loss": 1.0})
    stub.on(*JOB, wire.job(fine_tuned_model="m", hyperparameters={"n_epochs": 1}, finished_at=1_800_000_100))
    stub.on("GET", "/fine_tuning/jobs", wire.page(wire.job(fine_tuned_model="m")))
    stub.on(*EVENTS, wire.page(wire.event(2), step))
    stub.on("GET", "/fine_tuning/jobs/ftjob-1/checkpoints", wire.page(checkpoint))
    stub.on("GET", "/models", wire.page({"id": "m", "object": "model", "created": 1, "owned_by": "x"}))
    stub.on("GET", "/models/m", {"id": "m", "object": "model", "created": 1, "owned_by": "x"})
    stub.on("GET", "/files", wire.page({"id": "file-1", "filename": "x", "bytes": 1, "status": "processed"}))
    return stub.on(*CHAT, answered("hi"))


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("SUCCESS", "succeeded"),
        ("Completed", "succeeded"),
        ("JOB_STATE_SUCCEEDED", "succeeded"),
        ("FAILED_VALIDATION", "failed"),
        ("CANCELLED", "cancelled"),
        ("InProgress", "running"),
        ("SUSPENDED", "paused"),
        ("simmering", "simmering"),
    ],
)
def test_a_state_is_understood_in_capitals_and_in_the_words_of_other_servers(
    api: Api, server: Any, wire: Any, word: str, meant: str
) -> None:
    server.on(*JOB, wire.job(status=word))
    assert rt.FineTuneJob.get(api, "ftjob-1", journal=None).status == meant


def test_a_dialects_own_words_go_first() -> None:
    mine = Dialect(name="mine", statuses={"STOPPED": "paused"}, source="the tests")
    assert mine.status("stopped") == "paused"


def test_an_unknown_state_is_said_once_while_waiting(
    api: Api, server: Any, wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(*JOB, wire.job(status="simmering"))
    job = rt.FineTuneJob.get(api, "ftjob-1", journal=None)
    with caplog.at_level(logging.WARNING, "ragtune"), pytest.raises(rt.WaitTimeout):
        rt.JobMonitor(job).wait(timeout_s=300)
    assert caplog.text.count("'simmering', a state that ragtune does not know") == 1


def test_events_without_an_id_are_told_once_each(api: Api, server: Any, wire: Any) -> None:
    bodies = [wire.event(number, data=data) for number, data in ((3, "step 1"), (2, [1]), (1, None))]
    server.on(*EVENTS, wire.page(*({key: value for key, value in body.items() if key != "id"} for body in bodies)))
    job = rt.FineTuneJob.get(api, "ftjob-1", journal=None)
    events = list(rt.JobMonitor(job).events())
    assert [event.message for event in events] == ["event 1", "event 2", "event 3"]
    assert len({event.id for event in events}) == 3
    assert all(event.data == {} for event in events)


def test_an_answer_in_parts_is_the_text_of_its_parts(api: Api, server: Any) -> None:
    server.on(*CHAT, answered(PARTS))
    assert rt.TunedModel(api, "m", system="", journal=None).ask("x").wrapped(20) == "42"


def test_a_stream_in_parts_is_text_piece_by_piece(api: Api, server: Any) -> None:
    server.headers["content-type"] = "text/event-stream"
    model = rt.TunedModel(api, "m", system="", journal=None)
    model._model._warned_of_end = True
    server.on(*CHAT, chunk({"content": PARTS}) + chunk({"content": "!"}, "stop") + b"data: [DONE]\n\n")
    with model.stream("x") as stream:
        assert list(stream) == ["42", "!"]
    assert (stream.answer.text, stream.answer.broken_off, stream.answer.hint) == ("42!", False, None)


def test_a_stream_that_breaks_off_says_so(api: Api, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    server.headers["content-type"] = "text/event-stream"
    model = rt.TunedModel(api, "m", system="", journal=None)
    model._model._warned_of_end = True
    server.on(*CHAT, chunk({"content": "The tower was finished in "}))
    with model.stream("x") as stream:
        assert list(stream) == ["The tower was finished in "]
    assert stream.answer.broken_off
    assert "broke off" in stream.answer.wrapped(80)
    assert "broke off" in caplog.text


WRONG: list[Any] = [None, "DROP", "UPPER", "a text", "", [], [1], {}, {"a": 1}, 0, -1, 1e300, True, [None], [{}]]


def places(body: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything inside a body."""
    items = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [way for key, value in items for way in ((*at, key), *places(value, (*at, key)))]


def mutated(body: Any, way: tuple[Any, ...], value: object) -> Any:
    changed = json.loads(json.dumps(body))
    inner = changed
    for key in way[:-1]:
        inner = inner[key]
    if value == "DROP":
        del inner[way[-1]]
    else:
        inner[way[-1]] = str(inner[way[-1]]).upper() if value == "UPPER" else value
    return changed


CALLS: tuple[Callable[[Api], object], ...] = (
    lambda api: rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1", journal=None)).wait(timeout_s=900),
    lambda api: rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1", journal=None)).metrics(),
    lambda api: rt.FineTuneJob.get(api, "ftjob-1", journal=None).checkpoints(),
    lambda api: str(rt.list_jobs(api)) + repr(rt.list_jobs(api).columns()),
    lambda api: [*rt.Maintenance(api).models(), *rt.Maintenance(api).files(), *rt.Maintenance(api).events("ftjob-1")],
    lambda api: rt.TunedModel.latest(api).ask("x", system="").wrapped(40),
    lambda api: rt.TunedModel(api, "m", journal=None).expiry(),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_of_a_foreign_server_ends_in_a_bare_error(api: Api, server: Any, data: st.DataObject) -> None:
    before = {key: value[0] for key, value in server.answers.items()}
    key = data.draw(st.sampled_from(sorted(before)))
    way = data.draw(st.sampled_from(places(before[key])))
    server.on(*key, mutated(before[key], way, data.draw(st.sampled_from(WRONG))))
    try:
        for call in CALLS:
            with suppress(rt.RagtuneError, openai.APIError):
                call(api)
    finally:
        server.on(*key, before[key])
