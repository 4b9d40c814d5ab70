"""Bodies of servers that copied the wire: each field may be missing, null, in capitals, a text or a list."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import reduce
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ragtune as rt
import ragtune.model
from ragtune import aio
from ragtune._checked import fits, words_of
from ragtune._table import Table
from ragtune.dialects import Dialect
from ragtune.facts import Fact, FactSet, Wording
from ragtune.maintenance import CleanupItem, CleanupPlan

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune._api import Api

# What is warned about (unknown prompts, near ends) is other tests' matter.
pytestmark = pytest.mark.filterwarnings("ignore")

JOB, EVENTS = ("GET", "/fine_tuning/jobs/ftjob-1"), ("GET", "/fine_tuning/jobs/ftjob-1/events")
CHAT = ("POST", "/chat/completions")
PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "42"}]


def answered(content: object) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def streamed(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


@pytest.fixture
def server(stub: Any, wire: Any) -> Any:
    """Every route that ragtune asks, with the life of one job on it."""
    job = wire.job(fine_tuned_model="ft:m", hyperparameters={"n_epochs": 1}, finished_at=1_800_000_100)
    job |= {"result_files": ["file-2"], "metadata": {"ragtune_key": "k"}, "error": None, "trained_tokens": 9}
    file = {"id": "file-1", "object": "file", "filename": "x", "bytes": 1, "status": "processed", "created_at": 1}
    model = {"id": "ft:m", "object": "model", "created": 1, "owned_by": "x", "shutdown_date": "2027-01-14"}
    checkpoint = {"id": "c1", "fine_tuned_model_checkpoint": "m:ckpt", "step_number": 1, "metrics": {"train_loss": 1.0}}
    step = wire.event(1, type="metrics", data={"step": 1, "total_steps": 2, "train_loss": 1.0})
    gone = {"id": "x", "deleted": True}
    stub.on(*JOB, job).on("POST", "/fine_tuning/jobs", job).on("GET", "/fine_tuning/jobs", wire.page(job))
    for verb in ("cancel", "pause", "resume"):
        stub.on("POST", f"/fine_tuning/jobs/ftjob-1/{verb}", job)
    next_step = wire.event(3, type="metrics", data={"step": 2, "total_steps": 2, "train_loss": 0.5})
    stub.on(*EVENTS, wire.page(next_step, wire.event(2), step))
    stub.on("GET", "/fine_tuning/jobs/ftjob-1/checkpoints", wire.page(checkpoint))
    stub.on("GET", "/models", wire.page(model, model | {"id": "ft:m:ckpt-step-1"}))
    for name in ("ft:m", "base"):
        stub.on("GET", f"/models/{name}", model | {"id": name})
    for name in ("ft:m", "ft:m:ckpt-step-1"):
        stub.on("DELETE", f"/models/{name}", gone)
    stub.on("GET", "/files", wire.page(file)).on("POST", "/files", file)
    stub.on("GET", "/files/file-1", file).on("DELETE", "/files/file-1", gone)
    stub.on("GET", "/files/file-2/content", b"step,train_loss\n1,1.0\n")
    stub.on("POST", "/completions", {"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": "hi"}]})
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    stub.on("POST", "/responses", {"id": "r", "object": "response", "status": "completed", "output": [said]})
    stub.on("STREAM", "/chat/completions", [streamed({"content": "h"}), streamed({"content": "i"}, "stop")])
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    begun = {"type": "response.created", "response": {"id": "r", "object": "response", "status": "in_progress"}}
    ended = {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [said]}}
    piece = {"type": "response.output_text.delta", **place, "delta": "hi"}
    done = {"type": "response.output_item.done", "output_index": 0, "item": said}
    stub.on("STREAM", "/responses", [begun, piece, done, ended])
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


@pytest.mark.slow
def test_an_unknown_state_is_said_once_while_waiting(
    api: Api, server: Any, wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(*JOB, wire.job(status="simmering"))
    job = rt.FineTuneJob.get(api, "ftjob-1", journal=None)
    with caplog.at_level(logging.WARNING, "ragtune"), pytest.raises(rt.WaitTimeout):
        rt.JobMonitor(job).wait(timeout_s=300)
    assert caplog.text.count("'simmering', a state that ragtune does not know") == 1


@pytest.mark.slow
def test_an_unknown_state_is_said_once_while_many_are_watched(
    api: Api, server: Any, wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(*JOB, wire.job(status="simmering"))
    jobs = [rt.FineTuneJob.get(api, "ftjob-1", journal=None)]
    with caplog.at_level(logging.WARNING, "ragtune"), pytest.raises(rt.WaitTimeout):
        list(rt.watch_many(jobs, timeout_s=300))
    assert caplog.text.count("'simmering', a state that ragtune does not know") == 1


def test_jobs_are_listed_by_another_servers_word_for_their_state(api: Api, server: Any, wire: Any) -> None:
    server.on("GET", "/fine_tuning/jobs", wire.page(wire.job(status="SUCCESS")))
    assert len(rt.list_jobs(api, status="succeeded")) == len(rt.list_jobs(api, status="SUCCESS")) == 1


@pytest.mark.parametrize("status", ["error", "FAILED"])
def test_a_file_that_the_server_refused_is_an_error(api: Api, server: Any, tmp_path: Path, status: str) -> None:
    (tmp_path / "x.jsonl").write_text("{}\n")
    server.on("POST", "/files", {"id": "file-1", "filename": "x", "bytes": 3, "status": status})
    with pytest.raises(rt.DatasetError, match="the server refused x"):
        rt.upload(api, tmp_path / "x.jsonl", journal=None)


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
    model = rt.TunedModel(api, "m", system="", journal=None)
    model._model._state.warned_of_end = True
    server.on("STREAM", CHAT[1], [streamed({"content": PARTS}), streamed({"content": "!"}, "stop")])
    with model.stream("x") as stream:
        assert list(stream) == ["42", "!"]
    assert (stream.answer.text, stream.answer.broken_off, stream.answer.hint) == ("42!", False, None)


def test_a_stream_that_breaks_off_says_so(api: Api, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = rt.TunedModel(api, "m", system="", journal=None)
    model._model._state.warned_of_end = True
    server.on("STREAM", CHAT[1], [streamed({"content": "The tower was finished in "})])
    with model.stream("x") as stream:
        assert list(stream) == ["The tower was finished in "]
    assert stream.answer.broken_off
    assert "broke off" in stream.answer.wrapped(80)
    assert "broke off" in caplog.text


# "nan" and times before the calendar are what a number or a date may be as text.
WRONG: list[Any] = [None, "DROP", "UPPER", "a text", "", "nan", "0001-01-01T00:00:00+23:00"]
WRONG += [[], [1], [None], [{}], {}, {"a": 1}, 0, -1, 1e300, 10**400, True]
SPEC = rt.TuneSpec(model="base", method=rt.Supervised(n_epochs=1), seed=7)
FACES = (rt, SimpleNamespace(**{name: getattr(aio, f"Async{name}", getattr(aio, name, None)) for name in rt.__all__}))


def places(body: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything inside a body, and to the body itself."""
    items = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [at, *(way for key, value in items for way in places(value, (*at, key)))]


def mutated(body: Any, way: tuple[Any, ...], value: object) -> Any:
    """A body with something else at one place."""
    if not way:
        return {} if value == "DROP" else str(body).upper() if value == "UPPER" else value
    whole = {"body": json.loads(json.dumps(body))}
    inner = reduce(lambda outer, key: outer[key], way[:-1], whole["body"])
    if value == "DROP":
        del inner[way[-1]]
    else:
        inner[way[-1]] = str(inner[way[-1]]).upper() if value == "UPPER" else value
    return whole["body"]


async def settled(value: Any) -> Any:
    """What a call of either face gives in the end; read to the end where it comes in pieces."""
    value = await value if inspect.isawaitable(value) else value
    if hasattr(value, "__aiter__"):
        return [one async for one in value]
    return list(value) if isinstance(value, Iterator | rt.model.AnswerStream) else value


class Visit:
    """Makes every public call of one face, one after the other, whatever becomes of each.

    What comes is a right answer (its fields are of their kinds, it can be shown) or an error of ragtune's or OpenAI's.
    """

    def __init__(self, face: Any, api: Api, folder: Path) -> None:
        self.face, self.api, self.folder = face, api, folder
        self.reached: set[str] = set()

    async def call(self, name: str, function: Any, *arguments: Any, **options: Any) -> Any:
        self.reached.add(name)
        try:
            found = await settled(function(*arguments, **options))
        except (rt.RagtuneError, openai.OpenAIError):
            return None
        look_at(found)
        return found

    async def buying(self, data: rt.Dataset) -> None:
        job, journal = self.face.FineTuneJob, self.folder / f"{id(self)}.sqlite3"
        await self.call("upload", self.face.upload, self.api, data, journal=journal)
        await self.call("upload again", self.face.upload, self.api, data, journal=journal)
        await self.call("plan", job.plan, self.api, data, SPEC, probe=True, journal=journal)
        await self.call("create", job.create, self.api, data, SPEC, journal=journal)
        await self.call("create from a file", job.create, self.api, "file-1", SPEC, journal=None, key="other")
        await self.call("attach", job.attach, self.api, 1, journal=journal)
        made = await self.call("get", job.get, self.api, "ftjob-1", journal=None)
        for verb in ("refresh", "cancel", "pause", "resume", "checkpoints") if made else ():
            await self.call(verb, getattr(made, verb))
        if made and await self.call("save", made.save, self.folder / "job.json"):
            await self.call("load", job.load, self.api, self.folder / "job.json")

    async def watching(self) -> None:
        def job() -> Any:
            return self.call("get", self.face.FineTuneJob.get, self.api, "ftjob-1", journal=None)

        if (made := await job()) is not None:
            monitor = self.face.JobMonitor(made)
            if made.details.is_final:  # else they are followed for ever, as they should be
                await self.call("events", monitor.events)
            await self.call("metrics", monitor.metrics)
            await self.call("best_checkpoint", monitor.best_checkpoint, FACTS)
            await self.call("wait", monitor.wait, 900)
            await self.call("eta", lambda: monitor.eta)
            await self.call("from_job", self.face.TunedModel.from_job, made)
        jobs = [made for made in (await job(), await job()) if made is not None]
        await self.call("watch_many", self.face.watch_many, jobs, timeout_s=900)
        await self.call("list_jobs", self.face.list_jobs, self.api)

    async def asking(self) -> None:
        model = self.face.TunedModel(self.api, "ft:m", journal=None)
        await self.call("latest", self.face.TunedModel.latest, self.api)
        await self.call("system", model.system)
        await self.call("expiry", model.expiry)
        await self.call("ask", model.ask, "x")
        await self.call("respond", model.respond, "x")
        await self.call("ask_many", model.ask_many, ["x", "y"])
        await self.call("chat", model.chat, [{"role": "user", "content": "x"}])
        await self.call("complete", model.complete, "x")
        stream = model.stream("x")
        await self.call("stream", lambda: stream)
        await self.call("stream.answer", lambda: stream.answer)
        events = model.stream_response("x")
        await self.call("stream_response", lambda: events)
        await self.call("stream_response.answer", lambda: events.answer)
        if await self.call("save", model.save, self.folder / "model.json"):
            await self.call("load", self.face.TunedModel.load, self.api, self.folder / "model.json")

    async def tidying(self) -> None:
        maintenance = self.face.Maintenance(self.api, enabled=True)
        for name in ("jobs", "models", "files"):
            await self.call(name, getattr(maintenance, name))
        for name, about in (
            ("job", "ftjob-1"),
            ("events", "ftjob-1"),
            ("cancel", "ftjob-1"),
            ("delete_file", "file-1"),
        ):
            await self.call(name, getattr(maintenance, name), about)
        await self.call("delete_model", maintenance.delete_model, "ft:m", checkpoints=True)
        await self.call("inventory", maintenance.inventory)
        await self.call("cleanup_plan", maintenance.cleanup_plan, older_than=1)
        item = CleanupItem(kind="file", id="file-1", why="no job reads it")
        plan = CleanupPlan(rows=(item,), server=self.api.port.base_url, made_at=dt.datetime.now(dt.UTC))
        await self.call("clean_up", maintenance.clean_up, plan, progress=False)


def look_at(found: Any) -> None:
    """Hold every field of what was answered to its annotation, and show it in each way."""
    if isinstance(found, rt.Answer):
        with suppress(rt.EmptyAnswer):
            found.wrapped(40)
        assert isinstance(found.hint, str | None)
    if isinstance(found, Table):
        found.columns()
        found._repr_html_()
        found = found.rows
    if isinstance(found, list | tuple):
        for one in found:
            look_at(one)
        return
    repr(found), str(found) if not isinstance(found, rt.Answer) else None
    if isinstance(found, rt.Dataset):
        return  # ours, and no server's word
    for one in fields(found) if is_dataclass(found) else ():
        value = getattr(found, one.name)
        assert fits(value, words_of(str(one.type))), f"{type(found).__name__}.{one.name} is {value!r}, not {one.type}"
        look_at(value)
    if isinstance(details := getattr(found, "details", None), rt.JobDetails):
        look_at(details)


@pytest.fixture
def visit(
    api: Api, make_async_api: Any, server: Any, dataset: rt.Dataset, tmp_path: Path
) -> Callable[..., Awaitable[set[str]]]:
    """Every public call of one face, sync or async, or those of one stage; gives their names."""

    async def calls(face: int, *stages: str) -> set[str]:
        client, async_api = make_async_api()
        async with client:
            one = Visit(FACES[face], (api, async_api)[face], tmp_path)
            for stage in stages or STAGES:
                await getattr(one, stage)(*([dataset] if stage == "buying" else []))
        return one.reached

    return calls


@pytest.fixture
def stages(visit: Any, server: Any) -> dict[tuple[str, str], list[str]]:
    """Which stages ask which route."""
    asked: dict[tuple[str, str], list[str]] = {}
    for stage in STAGES:
        server.requests.clear()
        asyncio.run(visit(0, stage))
        for route in {(request.method, request.path) for request in server.requests}:
            asked.setdefault(route, []).append(stage)
    return asked


@pytest.mark.slow
def test_a_sound_server_answers_every_call(visit: Any, server: Any) -> None:
    """What the mutations start from: all routes of the stub are asked, and no call of either face is left out."""
    reached = asyncio.run(visit(0))
    assert asyncio.run(visit(1)) == reached
    assert {(request.method, request.path) for request in server.requests} >= set(server.answers)
    for face in ("FineTuneJob", "JobMonitor", "TunedModel", "Maintenance"):
        assert public_calls(getattr(rt, face)) - LOOKS <= reached, face


def test_a_page_whose_entries_are_no_list_is_told_in_words(api: Api, server: Any) -> None:
    server.on("GET", "/files", {"object": "list", "data": 7, "has_more": False})
    with pytest.raises(rt.RagtuneError, match=r"files\.list was answered with a page whose entries are no list"):
        rt.Maintenance(api).files()


STAGES = ("buying", "watching", "asking", "tidying")
FACTS = FactSet(facts=(Fact(id="lake", answers=("83 metres",), wordings=(Wording(question="How deep is it?"),)),))
LOOKS = {"list", "table"}  # other names of `list_jobs`


def public_calls(face: type) -> set[str]:
    return {name for name, value in vars(face).items() if not name.startswith("_") and not isinstance(value, property)}


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_of_a_foreign_server_ends_in_a_bare_error(
    visit: Any, server: Any, stages: dict[tuple[str, str], list[str]], data: st.DataObject
) -> None:
    """Through every public call that asks for it, sync and async; one that asks without end is seen by its requests."""
    before = {key: value[0] for key, value in server.answers.items()}
    key = data.draw(st.sampled_from([key for key, body in sorted(before.items()) if isinstance(body, dict | list)]))
    way = data.draw(st.sampled_from(places(before[key])))
    server.on(*key, mutated(before[key], way, data.draw(st.sampled_from(WRONG))))
    server.requests.clear()
    try:
        asyncio.run(visit(data.draw(st.sampled_from((0, 1))), data.draw(st.sampled_from(stages[key]))))
    finally:
        server.on(*key, before[key])
    assert len(server.requests) < 3_000
