"""What each refusal of a server becomes, and that no key shows in any of it; over loopback."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import openai
import pytest

import ragtune as rt
from ragtune._api import Api
from ragtune._api.ports import SyncPort

CHAT = ("POST", "/chat/completions")
SECRET = "sk-test-secret-key"


def note(error: BaseException) -> str:
    return "\n".join(error.__notes__)


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"", b"{"])
def test_a_success_that_is_no_json_is_an_error_of_ours(stub: Any, api: Api, body: bytes) -> None:
    stub.on("GET", "/fine_tuning/jobs/ftjob-1", body)
    with pytest.raises(rt.RagtuneError, match=r"fine_tuning\.jobs\.retrieve"):
        rt.FineTuneJob.get(api, "ftjob-1")


def test_a_server_out_of_reach_says_which_and_what_to_look_at() -> None:
    with openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0, timeout=2) as client:
        with pytest.raises(openai.APIConnectionError) as lost:
            rt.list_jobs(client)
        assert "http://127.0.0.1:9/v1" in note(lost.value)
        spec = rt.TuneSpec(model="base")
        # The look comes first, so an unreachable server cannot leave a doubt about a job.
        with pytest.raises(openai.APIConnectionError):
            rt.FineTuneJob.create(client, "file-1", spec)


def test_a_connection_that_was_refused_leaves_no_doubt(stub: Any, client: openai.OpenAI, wire: Any) -> None:
    """The server goes away between the look and the request."""
    stub.on("GET", "/fine_tuning/jobs", wire.page())

    class Leaving(SyncPort):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == "fine_tuning.jobs.create":
                self._client.base_url = "http://127.0.0.1:9/v1"
            return await super().call(name, **arguments)

    with pytest.raises(openai.APIConnectionError):
        rt.FineTuneJob.create(Api(Leaving(client)), "file-1", rt.TuneSpec(model="base"))
    assert {request.method for request in stub.requests} == {"GET"}


def test_deleting_what_is_not_there_says_so(stub: Any, api: Api, wire: Any) -> None:
    stub.on("DELETE", "/models/ft:x", (404, wire.error("That model does not exist")))
    stub.on("DELETE", "/files/file-x", (404, wire.error("No such File object: file-x")))
    maintenance = rt.Maintenance(api, enabled=True)
    with pytest.raises(openai.NotFoundError, match="does not exist") as missing:
        maintenance.delete_model("ft:x")
    assert "Maintenance(client).models()" in note(missing.value)
    with pytest.raises(openai.NotFoundError) as missing:
        maintenance.delete_file("file-x")
    assert "'file-x' is not on this account" in note(missing.value)


def test_a_base_model_cannot_be_deleted_whatever_the_key(stub: Any, api: Api, wire: Any) -> None:
    stub.on("DELETE", "/models/base", (403, wire.error("no"))).on("DELETE", "/models/ft:x", (403, wire.error("no")))
    maintenance = rt.Maintenance(api, enabled=True)
    with pytest.raises(openai.PermissionDeniedError) as refusal:
        maintenance.delete_model("base")
    assert "'base' is a base model: only tuned models" in note(refusal.value)
    with pytest.raises(openai.PermissionDeniedError) as refusal:
        maintenance.delete_model("ft:x")
    assert "the role Owner" in note(refusal.value)


def test_the_guard_sends_no_write_and_every_read(stub: Any, api: Api, wire: Any) -> None:
    job = wire.job("ftjob-1", "running")
    stub.on("GET", "/fine_tuning/jobs", wire.page(job)).on("GET", "/fine_tuning/jobs/ftjob-1", job)
    stub.on("GET", "/fine_tuning/jobs/ftjob-1/events", wire.page(wire.event(3), wire.event(2), wire.event(1)))
    stub.on("GET", "/models", wire.page({"id": "ft:x", "shutdown_date": "2027-01-14"}, {"id": "base"}))
    stub.on("GET", "/files", wire.page({"id": "file-1", "filename": "a.jsonl", "bytes": 3}))
    closed = rt.Maintenance(api)
    assert [event.id for event in closed.events("ftjob-1", limit=2)] == ["ftevent-2", "ftevent-3"]
    assert [(model.id, model.tuned) for model in closed.models()] == [("ft:x", True), ("base", False)]
    assert [str(model.shutdown) for model in closed.models()] == ["2027-01-14", "None"]
    assert list(closed.models().to_pandas().columns) == ["Model", "Created At", "Owned By", "Shutdown"]
    assert [file.filename for file in closed.files()] == ["a.jsonl"]
    assert len(closed.jobs()) == 1
    writes = [
        lambda: closed.cancel("ftjob-1"),
        lambda: closed.delete_model("ft:x"),
        lambda: closed.delete_file("file-1"),
        lambda: closed.job("ftjob-1").cancel(),
        lambda: closed.jobs()[0].pause(),
    ]
    for write in writes:
        with pytest.raises(rt.MaintenanceDisabled, match="enabled=True"):
            write()
    plans = [
        closed.cancel("ftjob-1", dry_run=True),
        closed.delete_model("ft:x", dry_run=True),
        rt.Maintenance(api, enabled=True).delete_file("file-1", dry_run=True),
    ]
    assert [str(call) for plan in plans for call in plan.calls] == [
        "fine_tuning.jobs.cancel: POST /fine_tuning/jobs/ftjob-1/cancel",
        "models.delete: DELETE /models/ft:x",
        "files.delete: DELETE /files/file-1",
    ]
    assert {request.method for request in stub.requests} == {"GET"}


def test_an_open_guard_lets_writes_pass(stub: Any, api: Api, wire: Any) -> None:
    stub.on("DELETE", "/models/ft:x", {"id": "ft:x", "deleted": True}).on("DELETE", "/files/f", {"deleted": False})
    stub.on("POST", "/fine_tuning/jobs/ftjob-1/cancel", wire.job("ftjob-1", "cancelled"))
    stub.on("GET", "/fine_tuning/jobs/ftjob-1", wire.job("ftjob-1", "cancelled"))
    maintenance = rt.Maintenance(api, enabled=True)
    assert str(maintenance.delete_model("ft:x")) == "deleted ft:x"
    assert not maintenance.delete_file("f").deleted
    assert maintenance.cancel("ftjob-1").status == "cancelled"


def test_a_model_goes_with_its_checkpoints_when_that_is_asked_for(stub: Any, api: Api, wire: Any) -> None:
    """Those of no other model; the model itself last; nothing while the guard is closed."""
    names = ["ft:x", "ft:x:ckpt-step-3", "ft:x:ckpt-step-6", "ft:xy:ckpt-step-3", "ft:x2"]
    stub.on("GET", "/models", wire.page(*({"id": name} for name in names)))
    for name in names:
        stub.on("DELETE", f"/models/{name}", {"id": name, "deleted": True})
    expected = ["/models/ft:x:ckpt-step-3", "/models/ft:x:ckpt-step-6", "/models/ft:x"]
    plan = rt.Maintenance(api).delete_model("ft:x", checkpoints=True, dry_run=True)
    assert [call.path for call in plan.calls] == expected
    with pytest.raises(rt.MaintenanceDisabled):
        rt.Maintenance(api).delete_model("ft:x", checkpoints=True)
    assert {request.method for request in stub.requests} == {"GET"}
    deleted = rt.Maintenance(api, enabled=True).delete_model("ft:x", checkpoints=True)
    assert (deleted.id, deleted.deleted, deleted.checkpoints) == ("ft:x", True, tuple(names[1:3]))
    assert [request.path for request in stub.requests if request.method == "DELETE"] == expected


def test_no_key_shows_anywhere(
    stub: Any, client: openai.OpenAI, wire: Any, dataset: rt.Dataset, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in reprs, plans, logs, saved files, nor in an error of a server that echoes the key."""
    caplog.set_level(logging.DEBUG, logger="ragtune")
    done = wire.job("ftjob-1", "succeeded", fine_tuned_model="ft:x", metadata={"ragtune_fingerprint": "f"})
    stub.on("GET", "/fine_tuning/jobs/ftjob-1", done)
    job = rt.FineTuneJob.get(client, "ftjob-1")
    model = rt.TunedModel.from_job(job)
    shown = [repr(job), repr(rt.JobMonitor(job)), repr(model), repr(rt.Maintenance(client)), str(job.details)]
    plan = rt.FineTuneJob.plan(client, dataset, rt.TuneSpec(model="base", metadata={"note": f"my key is {SECRET}"}))
    shown += [str(plan), repr(plan), str(plan.to_dict()), str(model.ask("?", dry_run=True))]
    shown += [job.save(tmp_path / "job.json").read_text(), model.save(tmp_path / "model.json").read_text()]
    stub.on(*CHAT, (401, wire.error(f"Incorrect API key provided: {SECRET}", code="invalid_api_key")))
    with pytest.raises(openai.AuthenticationError) as refusal:
        model.ask("?")
    shown += ["".join(traceback.format_exception(refusal.value)), str(refusal.value.body), caplog.text]
    assert "[key hidden]" in str(refusal.value)
    for text in shown:
        assert SECRET not in text


def test_no_password_of_an_address_shows(stub: Any, wire: Any, dataset: rt.Dataset) -> None:
    """In plans, and in errors of a server that answers, answers nonsense, or does not answer at all."""
    shown = []
    stub.on("GET", "/models", (500, wire.error("busy")))
    stub.on("GET", "/files", b"<html>busy</html>")
    for where in (stub.base_url, "http://127.0.0.1:9/v1"):
        url = where.replace("http://", "http://user:a-password@")
        with openai.OpenAI(base_url=url, api_key=SECRET, max_retries=0) as client:
            shown += [str(rt.Maintenance(client).delete_file("file-1", dry_run=True).to_dict())]
            shown += [repr(rt.TunedModel(client, "base").ask("?", dry_run=True))]
            shown += [str(rt.FineTuneJob.plan(client, dataset, rt.TuneSpec(model="base")))]
            for read in (rt.Maintenance(client).models, rt.Maintenance(client).files):
                with pytest.raises((openai.OpenAIError, rt.RagtuneError)) as trouble:
                    read()
                shown += ["".join(traceback.format_exception(trouble.value))]
    assert "127.0.0.1" in shown[0]
    for text in shown:
        assert "a-password" not in text


def test_errors_of_single_questions_are_values_in_their_places(stub: Any, api: Api, wire: Any) -> None:
    def answer(request: Any) -> Any:
        question = request.json["messages"][-1]["content"]
        if question == "bad":
            return 400, wire.error("no")
        return {"id": "c", "choices": [{"index": 0, "message": {"content": question}, "finish_reason": "stop"}]}

    stub.on(*CHAT, answer)
    questions = [f"q{n}" for n in range(20)]
    questions[7] = "bad"
    answers = rt.TunedModel(api, "base").ask_many(questions, concurrency=4)
    assert isinstance(answers[7], openai.BadRequestError)
    texts = [answer.text for answer in answers if isinstance(answer, rt.Answer)]
    assert texts == [question for question in questions if question != "bad"]
    assert rt.TunedModel(api, "base").ask_many([]) == []
    with pytest.raises(ValueError, match="at least 1"):
        rt.TunedModel(api, "base").ask_many(["q"], concurrency=0)


def test_the_asynchronous_twin_asks_many_alike(stub: Any, wire: Any, make_async_api: Any) -> None:
    def answer(request: Any) -> Any:
        question = request.json["messages"][-1]["content"]
        return {"id": "c", "choices": [{"index": 0, "message": {"content": question}}]}

    stub.on(*CHAT, answer)

    async def ask() -> list[str]:
        client, api = make_async_api()
        async with client:
            answers = await rt.AsyncTunedModel(api, "base").ask_many([f"q{n}" for n in range(9)], concurrency=3)
        return [answer.text for answer in answers if isinstance(answer, rt.Answer)]

    assert asyncio.run(ask()) == [f"q{n}" for n in range(9)]


def test_the_newest_model_that_still_exists_is_the_latest(stub: Any, api: Api, wire: Any) -> None:
    known = {"ragtune_fingerprint": "f"}
    jobs = [
        wire.job("ftjob-4", "running", created_at=4),
        wire.job("ftjob-3", "succeeded", created_at=3, fine_tuned_model="ft:deleted", metadata=known),
        wire.job("ftjob-2", "succeeded", created_at=2, fine_tuned_model="ft:there", metadata=known),
    ]
    stub.on("GET", "/fine_tuning/jobs", wire.page(*jobs)).on("GET", "/models/ft:there", {"id": "ft:there"})
    assert rt.TunedModel.latest(api).name == "ft:there"
    stub.on("GET", "/fine_tuning/jobs", wire.page(*jobs[:2]))
    with pytest.raises(rt.ModelNotReady, match="ftjob-4 is running"):
        rt.TunedModel.latest(api)
    stub.on("GET", "/fine_tuning/jobs", wire.page(jobs[1]))
    with pytest.raises(rt.NoTunedModel, match="no finished fine-tune"):
        rt.TunedModel.latest(api)


def test_the_model_of_a_job_that_goes_on_or_failed_is_not_ready(stub: Any, api: Api, wire: Any) -> None:
    for status, words in [("running", "is running"), ("failed", "failed, so there is no model")]:
        stub.on("GET", "/fine_tuning/jobs/ftjob-1", wire.job("ftjob-1", status))
        with pytest.raises(rt.ModelNotReady, match=words):
            rt.TunedModel.from_job(rt.FineTuneJob.get(api, "ftjob-1"))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "not created from a dataset"),
        ({"ragtune_fingerprint": "f", "ragtune_system_chars": "900"}, "900 characters"),
    ],
)
def test_a_prompt_that_is_not_known_is_warned_of_once(
    stub: Any, api: Api, wire: Any, metadata: dict[str, str], words: str
) -> None:
    stub.on("GET", "/fine_tuning/jobs", wire.page(wire.job(fine_tuned_model="ft:x", metadata=metadata)))
    stub.on(*CHAT, {"id": "c", "choices": [{"index": 0, "message": {"content": "a"}}]})
    model = rt.TunedModel(api, "ft:x:ckpt-step-3")
    with pytest.warns(UserWarning, match=words):
        model.ask("?")
    model.ask("?")
    assert [message["role"] for message in stub.sent(*CHAT)[0].json["messages"]] == ["user"]


def test_the_trained_prompt_goes_along_unless_another_is_given(stub: Any, api: Api, wire: Any) -> None:
    metadata = {"ragtune_fingerprint": "f", "ragtune_system": "Add up."}
    stub.on("GET", "/fine_tuning/jobs", wire.page(wire.job(fine_tuned_model="ft:x", metadata=metadata)))
    stub.on(*CHAT, {"id": "c", "choices": [{"index": 0, "message": {"content": "a"}}]})
    model = rt.TunedModel(api, "ft:x")
    model.ask("?")
    model.ask("?", system="Shout.", temperature=None, max_tokens=3)
    model.ask("?", system="")
    model.chat([{"role": "user", "content": "mine"}])
    bodies = [request.json for request in stub.sent(*CHAT)]
    question = {"role": "user", "content": "?"}
    assert bodies[0] == {
        "model": "ft:x",
        "messages": [{"role": "system", "content": "Add up."}, question],
        "temperature": 0.0,
    }
    assert bodies[1] == {
        "model": "ft:x",
        "messages": [{"role": "system", "content": "Shout."}, question],
        "max_tokens": 3,
    }
    assert bodies[2]["messages"] == [question]
    mine = {"role": "user", "content": "mine"}
    assert bodies[3] == {"model": "ft:x", "messages": [{"role": "system", "content": "Add up."}, mine]}
    assert model.fingerprint == "f"


def test_a_shutdown_date_of_the_server_comes_before_the_catalogues(stub: Any, api: Api) -> None:
    name = "ft:gpt-4o-mini-2024-07-18:o::1"
    model = rt.TunedModel(api, name, system="")
    expiry = model.expiry()
    assert (expiry.kind, str(expiry.date)) == ("date", "2027-01-14")
    stub.on("GET", "/models/gpt-4o-mini-2024-07-18", {"id": "x", "shutdown_date": "2026-12-31"})
    assert (str(model.expiry().date), model.expiry().source) == ("2026-12-31", api.port.base_url)
    assert rt.TunedModel(api, "ft:unheard-of:o::1", system="").expiry().kind == "unknown"
