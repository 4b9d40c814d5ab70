"""Watching jobs on servers that do not behave, against a scripted server over loopback."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt

if TYPE_CHECKING:
    from ragtune._api import Api

JOB, EVENTS = ("GET", "/fine_tuning/jobs/ftjob-1"), ("GET", "/fine_tuning/jobs/ftjob-1/events")
KNOWN = {"ragtune_fingerprint": "f" * 64, "ragtune_system": "Add up."}


@pytest.fixture
def server(stub: Any, wire: Any) -> Any:
    """One job that has succeeded, with its model."""
    done = wire.job(status="succeeded", fine_tuned_model="ft:base:o::1", metadata=KNOWN)
    stub.on(*JOB, done)
    stub.on("GET", "/models/ft:base:o::1", {"id": "ft:base:o::1", "object": "model"})
    return stub.on(*EVENTS, wire.page())


def paged(events: list[dict[str, Any]], size: int = 3) -> Any:
    """Serves a list newest first, in pages that `after` goes through."""

    def answer(request: Any) -> Any:
        newest_first = events[::-1]
        after = request.query.get("after", [None])[0]
        ids = [event["id"] for event in newest_first]
        start = ids.index(after) + 1 if after else 0
        part = newest_first[start : start + size]
        return {"object": "list", "data": part, "has_more": start + size < len(newest_first)}

    return answer


def test_events_come_oldest_first_each_once_and_pages_are_read_to_the_end(server: Any, api: Api, wire: Any) -> None:
    log = [wire.event(n) for n in range(10)]
    running, done = wire.job(status="running"), wire.job(status="succeeded")
    states = iter([(running, 4), (running, 4), (running, 9), (done, 10)])

    def look(_: Any) -> Any:
        status, known = next(states)
        server.on(*EVENTS, paged(log[:known]))
        return status

    server.on(*JOB, wire.job(status="queued"), look)
    job = rt.FineTuneJob.get(api, "ftjob-1")
    seen = [event.id for event in rt.JobMonitor(job).events()]
    assert seen == [f"ftevent-{n}" for n in range(10)]


@pytest.mark.parametrize("seconds", [{"poll_s": 0}, {"poll_s": -1}, {"poll_s": float("nan")}, {"patience_s": -1}])
def test_a_watch_without_a_pause_or_an_end_is_refused(server: Any, api: Api, seconds: dict[str, float]) -> None:
    """A sleep of such a length would end the watching in the middle, or begin a loop without a pause."""
    job = rt.FineTuneJob.get(api, "ftjob-1")
    with pytest.raises(rt.SpecError, match=f"{next(iter(seconds))}=.* must be"):
        rt.JobMonitor(job, **seconds)
    with pytest.raises(rt.SpecError, match=f"{next(iter(seconds))}=.* must be"):
        next(iter(rt.watch_many([job], **seconds)))
    with pytest.raises(rt.SpecError, match="timeout_s=nan must be a number of seconds"):
        rt.JobMonitor(job).wait(float("nan"))


def test_events_go_on_behind_the_last_known_one(server: Any, api: Api, wire: Any) -> None:
    server.on(*EVENTS, paged([wire.event(n) for n in range(10)]))
    monitor = rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1"))
    assert [event.id for event in monitor.events(after="ftevent-6")] == ["ftevent-7", "ftevent-8", "ftevent-9"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_pages_out_of_order_lose_and_repeat_nothing(server: Any, api: Api, wire: Any, seed: int) -> None:
    """Late events slip in below newer ones, and a page comes twice."""
    dice = random.Random(seed)
    log = [wire.event(n) for n in range(40)]
    looks = 0

    def look(_: Any) -> Any:
        nonlocal looks
        looks += 1
        known = [event for event in log if dice.random() < looks / 8] if looks < 8 else list(log)
        dice.shuffle(known)
        server.on(*EVENTS, paged(known, size=dice.randint(1, 40)))
        return wire.job(status="running" if looks < 8 else "succeeded")

    server.on(*JOB, wire.job(status="queued"), look)
    seen = [event.id for event in rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events()]
    assert sorted(seen) == sorted(event["id"] for event in log)


def test_leaving_the_events_early_is_fine(server: Any, api: Api, wire: Any) -> None:
    server.on(*EVENTS, paged([wire.event(n) for n in range(10)]))
    for event in rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events():
        assert event.id == "ftevent-0"
        break


def test_unknown_statuses_and_event_types_pass_through(server: Any, api: Api, wire: Any, clock: Any) -> None:
    odd = wire.event(1, type="moderation_checks", level="debug", data={"blocked": False})
    server.on(*EVENTS, wire.page(odd))
    server.on(*JOB, *[wire.job(status=status) for status in ("queued", "pausing", "paused", "succeeded")])
    (event,) = rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events()
    assert (event.type, event.level, event.data) == ("moderation_checks", "debug", {"blocked": False})
    assert len(clock.slept) == 3


def test_a_server_in_trouble_is_waited_for(server: Any, api: Api, wire: Any, clock: Any) -> None:
    busy, full = (503, wire.error("busy")), (429, wire.error("slow down", code="rate_limit_exceeded"))
    server.on(*JOB, wire.job(status="running"), busy, full, (200, b"<html>"), wire.job(status="succeeded"))
    assert list(rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events()) == []
    assert len(clock.slept) == 4


def test_patience_ends_and_the_servers_error_comes_through(server: Any, api: Api, wire: Any, clock: Any) -> None:
    server.on(*JOB, wire.job(status="running"), (503, wire.error("busy")))
    monitor = rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1"), patience_s=60)
    with pytest.raises(openai.InternalServerError):
        list(monitor.events())
    assert 25 < sum(clock.slept) <= 60


def test_a_quota_that_is_used_up_is_not_waited_for(server: Any, api: Api, wire: Any, clock: Any) -> None:
    server.on(*JOB, wire.job(status="running"), (429, wire.error("no credit", code="insufficient_quota")))
    with pytest.raises(openai.RateLimitError) as refusal:
        list(rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events())
    assert "adding credit" in refusal.value.__notes__[0]
    assert clock.slept == []


@pytest.mark.parametrize(
    ("headers", "waits_s"),
    [
        ({"retry-after": "77"}, 77.0),
        ({"retry-after": "900"}, 900.0),
        ({"retry-after-ms": "77500"}, 77.5),
        ({"retry-after": "<a date>"}, 77.0),
    ],
)
def test_the_servers_wish_to_wait_is_kept(
    server: Any, api: Api, wire: Any, clock: Any, headers: dict[str, str], waits_s: float
) -> None:
    """Also where it is longer than the patience of five minutes, once."""
    date = formatdate(time.time() + 77, usegmt=True)
    server.headers |= {name: date if value == "<a date>" else value for name, value in headers.items()}
    server.on(*JOB, wire.job(status="running"), (429, wire.error("slow down")), wire.job(status="succeeded"))
    list(rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events())
    assert clock.slept == pytest.approx([waits_s, 0.5], abs=2 if date in server.headers.values() else 0)


def test_a_server_that_never_stops_asking_for_patience_is_given_up(
    server: Any, api: Api, wire: Any, clock: Any
) -> None:
    server.headers["retry-after"] = "900"
    server.on(*JOB, wire.job(status="running"), (429, wire.error("slow down")))
    with pytest.raises(openai.RateLimitError):
        list(rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events())
    assert clock.slept == [900.0]


@pytest.mark.parametrize(
    ("wish", "waits_s"), [("1500", 1.5), ("40", 0.04), ("1e12", 600.0), ("soon", 0.75), ("0", 0.75), ("nan", 0.75)]
)
def test_a_server_that_says_when_to_ask_again_is_obeyed(
    server: Any, api: Api, wire: Any, clock: Any, wish: str, waits_s: float
) -> None:
    """More than ten minutes are not believed: a slip of the server's must not look like a hang."""
    server.headers["openai-poll-after-ms"] = wish
    server.on(*JOB, wire.job(status="running"), wire.job(status="running"), wire.job(status="succeeded"))
    list(rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events())
    assert clock.slept == [waits_s, min(waits_s, 0.5)]


def test_waiting_returns_the_model_and_calls_back(server: Any, api: Api, wire: Any) -> None:
    server.on(*EVENTS, wire.page(wire.event(2), wire.event(1)))
    job = rt.FineTuneJob.get(api, "ftjob-1")
    told: list[object] = []
    model = rt.JobMonitor(job).wait(on_event=lambda event: told.append(event.id), on_end=told.append)
    assert (model.name, model.base, model.system()) == ("ft:base:o::1", "base", "Add up.")
    assert told == ["ftevent-1", "ftevent-2", job]


def test_a_model_that_appears_minutes_later_is_waited_for(server: Any, api: Api, wire: Any, clock: Any) -> None:
    absent = (404, wire.error("does not exist", code="model_not_found"))
    server.on("GET", "/models/ft:base:o::1", absent, absent, absent, {"id": "ft:base:o::1"})
    rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait()
    assert len(clock.slept) == 3


def test_a_model_that_is_never_listed_is_handed_out_all_the_same(
    server: Any, api: Api, wire: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("GET", "/models/ft:base:o::1", (404, {"detail": "Not Found"}))
    assert rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait().name == "ft:base:o::1"
    assert 200 < sum(clock.slept) <= 300
    assert "does not list" in caplog.text


ABSENT = {"error": {"message": "The model does not exist", "param": "model", "code": "model_not_found"}}


def test_a_model_that_was_deleted_is_not_waited_for(server: Any, api: Api, wire: Any, clock: Any) -> None:
    """By the server's clock the job ended long ago; a server that knows of the deletion says so sooner."""
    job = wire.job(status="succeeded", fine_tuned_model="ft:base:o::1", finished_at=1_700_000_000)
    server.on(*JOB, job).on("GET", "/models/ft:base:o::1", (404, ABSENT))
    for use in (lambda job: rt.JobMonitor(job).wait(), rt.TunedModel.from_job):
        with pytest.raises(rt.NoTunedModel, match="new=True"):
            use(rt.FineTuneJob.get(api, "ftjob-1"))
    server.on(*JOB, job | {"finished_at": int(time.time())})
    server.headers["x-ragtune-deleted-at"] = "1800000000"
    with pytest.raises(rt.NoTunedModel, match="not on the account any more"):
        rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait()
    assert clock.slept == []


@pytest.mark.slow
def test_a_young_model_that_never_appears_is_not_ready(
    server: Any, api: Api, wire: Any, clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is waited for in sight, for five minutes or for as long as is allowed, and never handed out."""
    job = wire.job(status="succeeded", fine_tuned_model="ft:base:o::1", finished_at=int(time.time()))
    server.on(*JOB, job).on("GET", "/models/ft:base:o::1", (404, ABSENT))
    with pytest.raises(rt.ModelNotReady, match="new=True"):
        rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait(progress=True)
    assert 200 < sum(clock.slept) <= 300
    assert "does not answer yet" in capsys.readouterr().err
    clock.slept.clear()
    with pytest.raises(rt.ModelNotReady):
        rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait(timeout_s=9)
    assert sum(clock.slept) <= 9
    clock.slept.clear()
    with pytest.raises(rt.ModelNotReady, match="can take minutes"):
        rt.TunedModel.from_job(rt.FineTuneJob.get(api, "ftjob-1"))
    assert clock.slept == []


@pytest.mark.slow
def test_a_success_without_a_model_name_says_what_that_means(server: Any, api: Api, wire: Any) -> None:
    server.on(*JOB, wire.job(status="succeeded"))
    with pytest.raises(rt.ModelNotReady, match="names no tuned model"):
        rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait()


BAD_FILE, TOO_FEW = "invalid_training_file", "invalid_n_examples"


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ({"code": BAD_FILE, "message": "Example 12, message 2: no role", "param": "training_file"}, BAD_FILE, 12),
        ({"code": BAD_FILE, "message": "Flagged lines: 4, 13", "param": None}, BAD_FILE, 4),
        ({"code": TOO_FEW, "message": "Training file has 3 example(s)", "param": None}, TOO_FEW, None),
        ({"message": "out of memory"}, None, None),
        ("out of memory", None, None),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_a_failed_job_says_why_and_where(
    server: Any, api: Api, wire: Any, body: Any, code: str | None, line: int | None
) -> None:
    server.on(*JOB, wire.job(status="failed", error=body, hyperparameters=None))
    job = rt.FineTuneJob.get(api, "ftjob-1")
    ended: list[str] = []
    with pytest.raises(rt.JobFailed, match="ftjob-1 failed") as failure:
        rt.JobMonitor(job).wait(on_end=lambda ended_job: ended.append(ended_job.status))
    assert (failure.value.code, failure.value.line, failure.value.job) == (code, line, job)
    assert ended == ["failed"]
    assert ("repair the data" in str(failure.value)) is (code in (BAD_FILE, TOO_FEW))
    assert "create it again" in str(failure.value)


def test_a_cancelled_job_is_no_failure(server: Any, api: Api, wire: Any) -> None:
    server.on(*JOB, wire.job(status="cancelled"))
    with pytest.raises(rt.JobCancelled, match="ftjob-1"):
        rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait()


def test_waiting_ends_at_its_deadline_and_the_job_runs_on(server: Any, api: Api, wire: Any, clock: Any) -> None:
    server.on(*JOB, wire.job(status="running"))
    started = clock.seconds
    with pytest.raises(rt.WaitTimeout, match=r"runs on.*FineTuneJob\.get\(client, 'ftjob-1'\)") as over:
        rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait(timeout_s=42)
    assert clock.seconds - started == pytest.approx(42)
    assert isinstance(over.value, TimeoutError)
    assert {request.method for request in server.requests} == {"GET"}


def test_a_paused_job_is_told_once_and_the_deadline_says_what_helps(
    server: Any, api: Api, wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(*JOB, wire.job(status="running"), wire.job(status="paused"))
    with (
        caplog.at_level("WARNING", "ragtune"),
        pytest.raises(rt.WaitTimeout, match=r"paused and goes on after job\.resume"),
    ):
        rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait(timeout_s=42)
    assert caplog.text.count("is paused; it goes on after job.resume()") == 1


def test_pauses_grow_while_nothing_happens_and_shrink_with_news(server: Any, api: Api, wire: Any, clock: Any) -> None:
    running = wire.job(status="running")
    server.on(*JOB, *[running] * 8, wire.job(status="succeeded"))
    server.on(*EVENTS, *[wire.page()] * 5, wire.page(wire.event(1)))
    list(rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1"), poll_s=2.0).events())
    assert clock.slept == pytest.approx([0.75, 1.125, 1.6875, 2.0, 2.0, 0.5, 0.75, 0.5])


def test_ctrl_c_while_waiting_says_how_to_come_back(server: Any, api: Api, wire: Any, clock: Any) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    clock.on_sleep = stop
    server.on(*JOB, wire.job(status="running"))
    with pytest.raises(
        KeyboardInterrupt, match=r"ftjob-1 runs on as long as its server does; come back with .*'ftjob-1'"
    ):
        rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait(progress=True)
    assert {request.method for request in server.requests} == {"GET"}


def steps(wire: Any, *losses: float, total: int = 9) -> list[dict[str, Any]]:
    return [
        wire.event(n, type="metrics", data={"step": n, "total_steps": total, "train_loss": loss})
        for n, loss in enumerate(losses, start=1)
    ]


def test_the_bar_shows_steps_and_loss_only_where_it_is_wanted(
    server: Any, api: Api, wire: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on(*EVENTS, paged([wire.event(0, message="waiting"), *steps(wire, 2.5, 1.25, total=2)]))
    monitor = rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1"))
    monitor.wait(progress=None)
    monitor.wait(progress=False)
    assert capsys.readouterr() == ("", "")
    monitor.wait(progress=True)
    bar = capsys.readouterr()
    assert bar.out == ""
    assert "2/2" in bar.err
    assert "loss 1.250" in bar.err
    assert "succeeded" in bar.err


CSV = b"step,train_loss,valid_loss\n1,2.5,\n2,1.25,1.5\n3,1.0,\n"


@pytest.mark.parametrize("content", [CSV, base64.b64encode(CSV)], ids=["plain", "base64"])
def test_metrics_come_from_events_and_from_the_result_file(server: Any, api: Api, wire: Any, content: bytes) -> None:
    """The events lost step 3 and know no validation."""
    server.on(*EVENTS, paged(steps(wire, 2.5, 1.25)))
    server.on(*JOB, wire.job(status="succeeded", result_files=["file-9"]))
    server.on("GET", "/files/file-9/content", content)
    metrics = rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).metrics()
    assert [row.step for row in metrics] == [1, 2, 3]
    assert metrics[1].valid_loss == 1.5
    assert metrics[0].time is not None


@pytest.mark.parametrize("answer", [b"<html>", (404, {"error": {"message": "gone"}})])
def test_a_result_file_that_cannot_be_read_leaves_the_events(
    server: Any, api: Api, wire: Any, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(*EVENTS, paged(steps(wire, 2.5)))
    server.on(*JOB, wire.job(status="succeeded", result_files=["file-9"]))
    server.on("GET", "/files/file-9/content", answer)
    assert len(rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).metrics()) == 1
    assert "file-9" in caplog.text


def test_the_table_has_seven_columns_newest_first(server: Any, api: Api, wire: Any) -> None:
    old = wire.job("ftjob-1", "failed", created_at=1_700_000_000, error={"code": "x", "message": "bad line"})
    new = wire.job("ftjob-2", "succeeded", created_at=1_800_000_000, fine_tuned_model="ft:x")
    server.on("GET", "/fine_tuning/jobs", wire.page(old, new))
    frame = rt.JobMonitor.table(api).to_pandas()
    assert list(frame.columns) == [
        "Job ID", "Created At", "Status", "Model", "Training File", "Error Message", "Fine-Tuned Model",
    ]  # fmt: skip
    assert list(frame["Job ID"]) == ["ftjob-2", "ftjob-1"]
    assert list(frame["Error Message"]) == [None, "bad line"]
    assert list(frame["Fine-Tuned Model"]) == ["ft:x", None]
    assert "<td>ftjob-2</td>" in rt.JobMonitor.table(api)._repr_html_()


def test_a_long_message_does_not_widen_the_printed_table(server: Any, api: Api, wire: Any) -> None:
    message = "the file has a problem\n" + "and another one " * 20
    failed = wire.job(status="failed", error={"code": "x", "message": message}, fine_tuned_model="ft:" + "x" * 80)
    server.on("GET", "/fine_tuning/jobs", wire.page(failed))
    table = rt.JobMonitor.table(api)
    head, line = str(table).splitlines()
    assert "the file has a problem and another one" in line
    assert "ft:" + "x" * 80 in line
    assert max(len(head), len(line)) < 240
    assert table.to_pandas()["Error Message"][0] == message


def test_listing_reads_no_more_than_it_needs_and_filters_by_status(server: Any, api: Api, wire: Any) -> None:
    jobs = [wire.job(f"ftjob-{n}", "failed" if n % 2 else "succeeded") for n in range(10)]
    server.on("GET", "/fine_tuning/jobs", paged(jobs, size=4))
    assert len(rt.list_jobs(api, limit=3)) == 3
    assert len(server.requests) == 1
    assert [job.id for job in rt.list_jobs(api, limit=2, status="failed")] == ["ftjob-9", "ftjob-7"]
    assert len(rt.list_jobs(api, limit=None)) == 10
    with pytest.raises(rt.SpecError, match="limit: 0 must be a whole number, 1 or more"):
        rt.list_jobs(api, limit=0)


def test_the_asynchronous_twin_watches_alike(server: Any, wire: Any, make_async_api: Any, clock: Any) -> None:
    running = wire.job(status="running")
    done = wire.job(status="succeeded", fine_tuned_model="ft:base:o::1", metadata=KNOWN)
    server.on(*JOB, running, running, done)
    server.on(*EVENTS, paged([wire.event(n) for n in range(5)]))

    async def watch() -> tuple[list[str], str, str | None]:
        client, api = make_async_api()
        async with client:
            monitor = rt.AsyncJobMonitor(await rt.AsyncFineTuneJob.get(api, "ftjob-1"))
            seen = [event.id async for event in monitor.events()]
            model = await monitor.wait()
            return seen, model.name, await model.system()

    assert asyncio.run(watch()) == ([f"ftevent-{n}" for n in range(5)], "ft:base:o::1", "Add up.")


def test_a_failure_is_traced_to_the_line_of_the_local_file(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    """The job came from this dataset, so the message names file, line and the message that is meant."""
    error = {"code": BAD_FILE, "message": "Invalid file format. Example 3, message 2 is bad", "param": "training_file"}
    server.on("POST", "/files", {"id": "file-1", "status": "processed"}).on("GET", "/files", wire.page())
    server.on("GET", "/fine_tuning/jobs", wire.page()).on("POST", "/fine_tuning/jobs", wire.job(status="queued"))
    server.on(*JOB, wire.job(status="failed", error=error))
    job = rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base"))
    with pytest.raises(rt.JobFailed) as failure:
        rt.JobMonitor(job).wait()
    blamed = list(dataset.train)[2].messages[1]
    assert failure.value.path == str(dataset.train.path)
    assert failure.value.excerpt is not None
    assert str(blamed.content) in failure.value.excerpt
    assert f"see line 3 of {dataset.train.path}: {failure.value.excerpt}; repair the data" in str(failure.value)
    assert str(list(dataset.train)[2].messages[0].content) not in str(failure.value)


def test_a_failure_hands_out_every_line_that_the_server_names(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    """The first is quoted from the local file, the others stand beside it."""
    error = {"code": BAD_FILE, "message": "Flagged lines: 2, 4 and 5", "param": "training_file"}
    server.on("POST", "/files", {"id": "file-1", "status": "processed"}).on("GET", "/files", wire.page())
    server.on("GET", "/fine_tuning/jobs", wire.page()).on("POST", "/fine_tuning/jobs", wire.job(status="queued"))
    server.on(*JOB, wire.job(status="failed", error=error))
    job = rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base"))
    with pytest.raises(rt.JobFailed) as failure:
        rt.JobMonitor(job).wait()
    assert (failure.value.line, failure.value.lines) == (2, (2, 4, 5))
    assert f"see line 2 of {dataset.train.path}" in str(failure.value)


def test_the_pace_of_the_steps_tells_when_the_job_ends(server: Any, api: Api, wire: Any, clock: Any) -> None:
    """Steps 1 to 3 came a second apart, so the ninth of nine comes six seconds after the third."""
    server.on(*JOB, wire.job(status="running", estimated_finish=1_800_009_999)).on(*EVENTS, wire.page())
    monitor = rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1"))
    assert monitor.eta is not None
    assert monitor.eta.timestamp() == 1_800_009_999
    server.on(*EVENTS, paged(steps(wire, 2.5, 1.25, 1.0)))
    with pytest.raises(rt.WaitTimeout, match=r"is running \(step 3 of 9, done about \d\d:\d\d UTC\) and runs on"):
        monitor.wait(timeout_s=9)
    assert monitor.eta.timestamp() == 1_800_000_009


def test_trouble_before_the_deadline_is_a_timeout_and_not_an_error(
    server: Any, api: Api, wire: Any, clock: Any
) -> None:
    """Patience is longer than the deadline, so nobody knows what the server would have said."""
    server.on(*JOB, wire.job(status="running"), (503, wire.error("busy")))
    with pytest.raises(rt.WaitTimeout) as over:
        rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait(timeout_s=30)
    assert isinstance(over.value.__cause__, openai.InternalServerError)
    assert sum(clock.slept) <= 30


def test_trouble_while_the_model_appears_is_waited_out(
    server: Any, api: Api, wire: Any, clock: Any, hangup: type[Exception]
) -> None:
    def drop(_: Any) -> Any:
        raise hangup

    server.on("GET", "/models/ft:base:o::1", drop, (503, wire.error("busy")), (404, ABSENT), {"id": "ft:base:o::1"})
    assert rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).wait().name == "ft:base:o::1"
    assert len(clock.slept) == 3


def test_events_that_are_known_by_their_ids_are_not_handed_out_again_in_whatever_order(
    server: Any, api: Api, wire: Any
) -> None:
    """Events of one second may come in another order each time: the id of the last one then says too little."""
    log = [wire.event(n, created_at=1_800_000_000) for n in range(6)]
    server.on(*EVENTS, wire.page(*log[::-1]), wire.page(log[3], log[5], log[0], log[4], log[1], log[2]))
    monitor = rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1"))
    first = []
    for event in monitor.events():
        first.append(event.id)
        if len(first) == 3:
            break
    rest = [event.id for event in monitor.events(after=first)]
    assert len(rest) == 3
    assert {*first, *rest} == {event["id"] for event in log}
