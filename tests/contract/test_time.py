"""Dates: bases that end, models that end with them, accounts that may not train any more."""

from __future__ import annotations

import asyncio
import datetime as dt
import warnings
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt

if TYPE_CHECKING:
    from ragtune._api import Api

JOBS, FILES = ("POST", "/fine_tuning/jobs"), ("POST", "/files")
MINI = "gpt-4o-mini-2024-07-18"
SPEC = rt.TuneSpec(model=MINI, method=rt.Supervised(n_epochs=2))
END = dt.date(2027, 1, 14)


def at(clock: Any, day: dt.date) -> None:
    clock.seconds = dt.datetime.combine(day, dt.time(12), tzinfo=dt.UTC).timestamp()


def before_end(days: int) -> dt.date:
    return END - dt.timedelta(days=days)


@pytest.fixture
def server(stub: Any, wire: Any) -> Any:
    """An empty account that takes jobs."""
    stub.on("GET", "/files", wire.page()).on("GET", "/fine_tuning/jobs", wire.page())
    stub.on(*FILES, {"id": "file-1", "status": "processed"})
    return stub.on(*JOBS, wire.job(status="queued"))


def says(server: Any, name: str, date: object) -> None:
    server.on("GET", f"/models/{name}", {"id": name, "object": "model", "shutdown_date": date})


@pytest.mark.parametrize("days", [60, 59, 9])
def test_a_base_that_ends_soon_is_warned_about(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset, days: int
) -> None:
    """By a warning of our own kind, which a program can turn into an error or silence, and in the plan."""
    at(clock, before_end(days))
    with pytest.warns(rt.ExpiryWarning, match=f"{MINI}.*end on 2027-01-14, in {days} days"):
        rt.FineTuneJob.create(api, dataset, SPEC, dialect="openai")
    with pytest.warns(rt.ExpiryWarning):
        plan = rt.FineTuneJob.plan(api, dataset, SPEC, dialect="openai")
    assert any("in " + str(days) + " days" in warning for warning in plan.warnings)


def test_a_warning_points_at_the_callers_line_and_is_given_once(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset, make_async_api: Any, caplog: Any
) -> None:
    """Beneath an event loop as well; the log does not repeat it."""
    at(clock, before_end(9))

    async def create() -> None:
        client, asynchronous = make_async_api()
        await rt.AsyncFineTuneJob.create(asynchronous, dataset, SPEC, dialect="openai")
        await client.close()

    ways = (
        lambda: rt.FineTuneJob.plan(api, dataset, SPEC, dialect="openai"),
        lambda: rt.FineTuneJob.create(api, dataset, SPEC, dialect="openai"),
        lambda: asyncio.run(create()),
    )
    for way in ways:
        with pytest.warns(rt.ExpiryWarning) as warned:
            way()
        assert [one.filename for one in warned] == [__file__]
    assert "end on" not in caplog.text
    model = rt.TunedModel(api, f"ft:{MINI}:acme::abc12345")
    with pytest.warns(UserWarning, match="system prompt") as doubted:
        assert model.system() is None
    assert doubted[0].filename == __file__


def test_a_base_that_lives_long_is_not_warned_about(server: Any, api: Api, clock: Any, dataset: rt.Dataset) -> None:
    at(clock, before_end(61))
    assert rt.FineTuneJob.plan(api, dataset, SPEC, dialect="openai").warnings == ()
    rt.FineTuneJob.create(api, dataset, SPEC, dialect="openai")


def test_how_soon_is_soon_can_be_said(server: Any, api: Api, clock: Any, dataset: rt.Dataset) -> None:
    at(clock, before_end(30))
    rt.FineTuneJob.create(api, dataset, SPEC, dialect="openai", warn_days=20)
    at(clock, before_end(90))
    with pytest.warns(rt.ExpiryWarning, match="in 90 days"):
        rt.FineTuneJob.create(api, dataset, SPEC, dialect="openai", warn_days=100)


@pytest.mark.slow
def test_the_servers_date_is_better_than_the_catalogues(server: Any, api: Api, clock: Any, dataset: rt.Dataset) -> None:
    """Earlier or later, with any server, and for models that the catalogue does not know."""
    at(clock, before_end(200))
    says(server, MINI, "2026-07-01")
    with pytest.warns(rt.ExpiryWarning, match="the server says that .* end on 2026-07-01, in 3 days"):
        rt.FineTuneJob.create(api, dataset, SPEC)
    at(clock, before_end(3))
    says(server, MINI, "2028-01-01")
    rt.FineTuneJob.create(api, dataset, SPEC)
    says(server, "base", "2027-01-20")
    with pytest.warns(rt.ExpiryWarning, match="in 9 days"):
        rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base"))


@pytest.mark.parametrize("date", [None, "", "soon", 20270114, "2027-13-01"])
def test_a_date_that_cannot_be_read_is_no_date(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset, date: object
) -> None:
    says(server, "base", date)
    assert rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base")).id == "ftjob-1"


@pytest.mark.parametrize("trouble", [(503, {"error": {"message": "busy"}}), (404, {"detail": "Not Found"}), b"<html>"])
def test_a_server_that_does_not_tell_is_no_obstacle(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset, trouble: Any
) -> None:
    server.on("GET", "/models/base", trouble)
    assert rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base")).id == "ftjob-1"


def test_after_its_end_a_base_is_refused_before_the_upload_unless_forced(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset
) -> None:
    at(clock, END)
    with pytest.raises(rt.ModelExpired, match=r"2027-01-14.*force=True"):
        rt.FineTuneJob.create(api, dataset, SPEC, dialect="openai")
    says(server, "base", "2027-01-10")
    with pytest.raises(rt.ModelExpired, match=r"2027-01-10.*force=True"):
        rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base"))
    gone = {"error": {"message": "The model `base` has been deprecated", "code": "model_not_found"}}
    server.on("GET", "/models/base", (404, gone))
    with pytest.raises(rt.ModelExpired):
        rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base"))
    assert server.sent(*FILES) == []
    assert rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base"), force=True).id == "ftjob-1"
    says(server, "base", "2027-01-10")
    with pytest.warns(rt.ExpiryWarning, match="which is past"):
        rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base"), force=True, new=True)


def test_a_closed_account_offers_to_delete_what_was_uploaded(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    """Only what this call sent: the validation file lay there before, and others may need it."""
    there: dict[str, Any] = {
        "id": "file-9",
        "filename": f"validation-{str(dataset.validation.sha256)[:16]}.jsonl",
        "purpose": "fine-tune",
    }
    there |= {"bytes": dataset.validation.bytes, "status": "processed"}
    server.on("GET", "/files", wire.page(there)).on("DELETE", "/files/file-1", {"id": "file-1", "deleted": True})
    server.on(*JOBS, (403, wire.error("closed", code="training_not_available")))
    with pytest.raises(rt.TuningClosed, match=r"2026-05-07.*2026-07-02.*2027-01-06") as closed:
        rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="base"))
    assert "base_url" in str(closed.value)
    assert "LocalBackend" in str(closed.value)
    assert closed.value.files == ("file-1",)
    assert any("delete_file" in note and "file-1" in note for note in closed.value.__notes__)
    for file_id in closed.value.files:
        rt.Maintenance(api, enabled=True).delete_file(file_id)
    assert len(server.sent("DELETE", "/files/file-1")) == 1


TUNED = f"ft:{MINI}:acme::abc12345"
CHAT = {"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "Hello"}}]}


@pytest.fixture
def model(server: Any, api: Api) -> rt.TunedModel:
    server.on("POST", "/chat/completions", CHAT)
    server.on("POST", "/completions", {"id": "c", "choices": [{"index": 0, "text": "Hello"}]})
    return rt.TunedModel(api, TUNED, system="")


def test_a_model_that_ends_soon_warns_once(server: Any, model: rt.TunedModel, clock: Any) -> None:
    """Whichever way it is used; its own date, or its base's."""
    at(clock, before_end(10))
    says(server, MINI, "2027-01-14")
    with pytest.warns(rt.ExpiryWarning, match=r"ft:gpt-4o-mini.* stops answering on 2027-01-14, in 10 days"):
        model.ask("Hi")
    model.ask("Hi")
    model.chat([{"role": "user", "content": "Hi"}])
    model.complete("Hi")
    list(model.stream("Hi"))
    assert len(model.ask_many(["Hi", "Ho"])) == 2
    assert len(server.sent("GET", f"/models/{MINI}")) == 1


@pytest.mark.parametrize("use", ["chat", "complete", "ask_many", "stream"])
def test_each_way_to_use_it_warns(server: Any, model: rt.TunedModel, clock: Any, use: str) -> None:
    at(clock, before_end(10))
    says(server, TUNED, "2027-01-14")
    uses = {
        "chat": lambda: model.chat([{"role": "user", "content": "Hi"}]),
        "complete": lambda: model.complete("Hi"),
        "ask_many": lambda: model.ask_many(["Hi"]),
        "stream": lambda: next(iter(model.stream("Hi")), None),
    }
    with pytest.warns(rt.ExpiryWarning):
        uses[use]()


def test_a_model_that_lives_long_asks_once_and_says_nothing(server: Any, model: rt.TunedModel, clock: Any) -> None:
    at(clock, before_end(61))
    says(server, TUNED, "2027-01-14")
    for _ in range(3):
        model.ask("Hi")
    assert [request.path for request in server.requests if request.method == "GET"] == [f"/models/{TUNED}"]


def test_openais_dates_bind_no_other_server(server: Any, model: rt.TunedModel, clock: Any) -> None:
    """The catalogue tells the maker's date; a warning needs a server that it holds for."""
    at(clock, before_end(10))
    assert model.expiry().date == END
    model.ask("Hi")
    assert model.ask("Hi", dry_run=True).calls[0].name == "chat.completions.create"


@pytest.mark.parametrize("trouble", [(500, {"error": {"message": "busy"}}), b"<html>"])
def test_a_server_that_cannot_tell_the_end_still_answers(server: Any, model: rt.TunedModel, trouble: Any) -> None:
    server.on("GET", f"/models/{TUNED}", trouble)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.ask("Hi").text == "Hello"


def test_a_model_that_ended_says_so(server: Any, model: rt.TunedModel, wire: Any) -> None:
    gone = wire.error("The model `x` has been deprecated, learn more here", code="model_not_found")
    server.on("POST", "/chat/completions", (404, gone))
    with pytest.raises(rt.ModelExpired) as expired:
        model.ask("Hi")
    assert isinstance(expired.value.__cause__, openai.NotFoundError)
