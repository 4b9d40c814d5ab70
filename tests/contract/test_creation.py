"""A job is bought exactly once, whatever happens to the answer; against a scripted server over loopback."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt
from ragtune._api import Api
from ragtune._api.ports import SyncPort

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEC = rt.TuneSpec(model="base", method=rt.Supervised(n_epochs=2), seed=7, suffix="sums", metadata={"team": "a"})
DEAD = rt.TuneSpec(model="gpt-4.1-nano-2025-04-14", method=rt.Supervised(n_epochs=2))
JOBS, FILES = ("POST", "/fine_tuning/jobs"), ("POST", "/files")


@pytest.fixture
def server(stub: Any, wire: Any) -> Any:
    """A server that takes everything and knows nothing yet."""
    stub.on("GET", "/files", wire.page())
    stub.on("GET", "/fine_tuning/jobs", wire.page())
    stub.on("POST", "/files", {"id": "file-1", "filename": "x", "bytes": 1, "status": "processed"})
    return stub.on("POST", "/fine_tuning/jobs", wire.job("ftjob-1", "validating_files"))


def made(stub: Any, wire: Any, *, status: str = "queued") -> Callable[[Any], Any]:
    """A list of jobs that holds one with the key that is asked for."""

    def answer(request: Any) -> Any:
        key = request.query["metadata[ragtune_key]"][0]
        return wire.page(wire.job("ftjob-9", status, metadata={"ragtune_key": key}))

    return answer


def test_a_job_carries_key_fingerprint_and_system_prompt(server: Any, api: Api, dataset: rt.Dataset) -> None:
    job = rt.FineTuneJob.create(api, dataset, SPEC)
    body = server.sent(*JOBS)[0].json
    assert (job.id, job.reused) == ("ftjob-1", False)
    assert body["metadata"]["team"] == "a"
    assert body["metadata"]["ragtune_fingerprint"] == dataset.fingerprint
    assert body["metadata"]["ragtune_system"] == "Add up."
    assert len(body["metadata"]["ragtune_key"]) == 32
    assert body["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    assert (body["training_file"], body["validation_file"]) == ("file-1", "file-1")
    assert [len(server.sent(*call)) for call in (JOBS, FILES)] == [1, 2]


def test_fields_that_are_left_out_are_not_sent(server: Any, api: Api, dataset: rt.Dataset) -> None:
    """Nor as null, which servers refuse in a suffix."""
    assert dataset.train.path is not None
    rt.FineTuneJob.create(api, rt.Dataset.from_files(dataset.train.path), rt.TuneSpec(model="base"))
    body = server.sent(*JOBS)[0].json
    assert set(body) == {"model", "method", "metadata", "training_file"}
    assert b"null" not in server.sent(*JOBS)[0].body


def test_the_uploaded_name_says_which_content_it_is(server: Any, api: Api, dataset: rt.Dataset) -> None:
    rt.upload(api, dataset)
    sent = server.sent(*FILES)[0].body
    assert dataset.train.sha256 is not None
    assert f'filename="train-{dataset.train.sha256[:16]}.jsonl"'.encode() in sent
    assert dataset.train.path is not None
    assert dataset.train.path.read_bytes() in sent


@pytest.mark.parametrize("status", ["queued", "running", "paused", "succeeded", "a status of tomorrow"])
def test_a_job_with_the_same_key_is_handed_back(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset, status: str
) -> None:
    server.on("GET", "/fine_tuning/jobs", made(server, wire, status=status))
    job = rt.FineTuneJob.create(api, dataset, SPEC)
    assert (job.id, job.reused) == ("ftjob-9", True)
    assert not server.sent(*JOBS)
    assert not server.sent(*FILES)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_failed_or_cancelled_job_is_made_again(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset, status: str
) -> None:
    server.on("GET", "/fine_tuning/jobs", made(server, wire, status=status))
    assert rt.FineTuneJob.create(api, dataset, SPEC).id == "ftjob-1"


@pytest.mark.parametrize(
    ("finished_at", "answer", "made_again"),
    [
        (1_700_000_000, {"code": "model_not_found"}, True),
        (1_700_000_000, {"code": None}, False),
        (1_900_000_000, {"code": "model_not_found"}, False),
        (None, {"code": "model_not_found"}, False),
    ],
    ids=["deleted", "no such route", "about to appear", "of unknown age"],
)
def test_a_job_whose_model_was_deleted_is_not_handed_back(
    server: Any,
    api: Api,
    wire: Any,
    dataset: rt.Dataset,
    caplog: pytest.LogCaptureFixture,
    finished_at: int | None,
    answer: dict[str, Any],
    made_again: bool,
) -> None:
    """Another one is bought only when the server says that the model is not there and it cannot appear any more."""

    def jobs(request: Any) -> Any:
        metadata = {"ragtune_key": request.query["metadata[ragtune_key]"][0]}
        done = wire.job("ftjob-9", fine_tuned_model="ft:x", finished_at=finished_at, metadata=metadata)
        return wire.page(done)

    server.on("GET", "/fine_tuning/jobs", jobs)
    server.on("GET", "/models/ft:x", (404, {"error": {"message": "no", "param": None} | answer}))
    job = rt.FineTuneJob.create(api, dataset, SPEC)
    assert (job.id, job.reused) == (("ftjob-1", False) if made_again else ("ftjob-9", True))
    assert ("ft:x was deleted" in caplog.text) is made_again


def test_another_job_is_made_when_it_is_asked_for(server: Any, api: Api, wire: Any, dataset: rt.Dataset) -> None:
    server.on("GET", "/fine_tuning/jobs", made(server, wire))
    assert rt.FineTuneJob.create(api, dataset, SPEC, new=True).id == "ftjob-1"


def test_a_server_that_ignores_the_filter_hands_no_strangers_job_back(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    server.on("GET", "/fine_tuning/jobs", wire.page(wire.job("ftjob-8", "running", metadata={"ragtune_key": "other"})))
    assert rt.FineTuneJob.create(api, dataset, SPEC).id == "ftjob-1"


@pytest.mark.slow
def test_the_key_changes_with_data_and_settings_and_with_nothing_else(
    server: Any, api: Api, dataset: rt.Dataset
) -> None:
    def key(data: Any, spec: rt.TuneSpec, **options: Any) -> str:
        rt.FineTuneJob.create(api, data, spec, **options)
        found: str = server.sent(*JOBS)[-1].json["metadata"]["ragtune_key"]
        return found

    other = rt.TuneSpec(model="base", method=rt.Supervised(n_epochs=3), seed=7, suffix="sums", metadata={"team": "a"})
    keys = [key(dataset, SPEC), key(dataset, other), key("file-1", SPEC), key("file-1", SPEC, validation="file-2")]
    assert len(set(keys)) == 4
    assert key(dataset, SPEC) == keys[0]
    assert key(dataset, SPEC, key="mine") == "mine"


@pytest.mark.parametrize("outcome", ["hang up", 500, 408, "not json"])
def test_a_lost_answer_sends_no_second_request_and_finds_the_job(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset, hangup: type[Exception], outcome: Any
) -> None:
    """The job shows up in the list only at the third look."""

    def lose(request: Any) -> Any:
        server.on("GET", "/fine_tuning/jobs", wire.page(), (500, wire.error("busy")), made(server, wire))
        if outcome == "hang up":
            raise hangup
        return (200, b"<html>") if outcome == "not json" else (outcome, wire.error("lost"))

    server.on(*JOBS, lose)
    job = rt.FineTuneJob.create(api, dataset, SPEC)
    assert (job.id, job.reused) == ("ftjob-9", False)
    assert len(server.sent(*JOBS)) == 1


@pytest.mark.slow
def test_even_a_client_with_retries_sends_one_request(
    server: Any, clock: Any, dataset: rt.Dataset, wire: Any, hangup: type[Exception]
) -> None:
    def lose(_: Any) -> Any:
        raise hangup

    server.on(*JOBS, lose)
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=5, timeout=10) as client:
        port = SyncPort(client, now=clock.now, monotonic=clock.now, sleep=clock.sleep)
        with pytest.raises(rt.CreateUncertain):
            rt.FineTuneJob.create(Api(port), dataset, SPEC)
    assert len(server.sent(*JOBS)) == 1


@pytest.mark.slow
def test_a_job_that_never_shows_up_is_uncertain_and_says_how_to_find_out(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset, wire: Any
) -> None:
    """Without a journal the account's own list is all there is to look at."""
    server.on(*JOBS, (502, wire.error("bad gateway")))
    with pytest.raises(rt.CreateUncertain, match=r"ragtune jobs --key [0-9a-f]{32}.*buys another one") as uncertain:
        rt.FineTuneJob.create(api, dataset, SPEC, journal=None)
    assert isinstance(uncertain.value.__cause__, openai.InternalServerError)
    assert 45 < sum(clock.slept) <= 60
    with pytest.raises(rt.CreateUncertain, match=r"ragtune runs resolve 1"):
        rt.FineTuneJob.create(api, dataset, SPEC)


def test_a_lost_answer_to_another_job_does_not_find_the_first(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    """With `new=True` a job of the same key was there before the request."""
    server.on("GET", "/fine_tuning/jobs", made(server, wire))
    server.on(*JOBS, (500, wire.error("lost")))
    with pytest.raises(rt.CreateUncertain):
        rt.FineTuneJob.create(api, dataset, SPEC, new=True)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 429])
def test_a_refusal_is_no_uncertainty(server: Any, api: Api, wire: Any, dataset: rt.Dataset, status: int) -> None:
    server.on(*JOBS, (status, wire.error("no", code="whatever")))
    with pytest.raises(openai.APIStatusError) as refusal:
        rt.FineTuneJob.create(api, dataset, SPEC)
    assert refusal.value.status_code == status
    assert any("nothing was created" in note and "file-1" in note for note in refusal.value.__notes__)
    assert len(server.sent(*JOBS)) == 1


def test_a_closed_account_raises_tuning_closed_with_the_dates(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    server.on(*JOBS, (403, wire.error("not available", code="training_not_available")))
    with pytest.raises(rt.TuningClosed, match=r"2026-05-07.*2026-07-02.*2027-01-06.*LocalBackend") as closed:
        rt.FineTuneJob.create(api, dataset, SPEC)
    assert isinstance(closed.value.__cause__, openai.PermissionDeniedError)
    assert "file-1" in closed.value.__notes__[0]


def test_a_stop_while_uploading_or_creating_says_how_to_go_on(
    server: Any, client: openai.OpenAI, dataset: rt.Dataset
) -> None:
    """Ctrl-C arrives while the request is under way."""

    class Stopping(SyncPort):
        def __init__(self, client: openai.OpenAI, where: str) -> None:
            super().__init__(client)
            self.where = where

        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == self.where:
                raise KeyboardInterrupt
            return await super().call(name, **arguments)

    with pytest.raises(KeyboardInterrupt, match=r"no job was created, the same call begins again"):
        rt.FineTuneJob.create(Api(Stopping(client, "files.create")), dataset, SPEC)
    with pytest.raises(KeyboardInterrupt, match="buys nothing twice"):
        rt.FineTuneJob.create(Api(Stopping(client, "fine_tuning.jobs.create")), dataset, SPEC)
    assert not server.sent(*JOBS)


def test_a_file_that_was_changed_since_is_not_sent_under_its_old_hash(
    server: Any, api: Api, tmp_path: Any, dataset: rt.Dataset
) -> None:
    """Of the same size: every later upload of the old content would be handed the new one."""
    assert dataset.train.path is not None
    path = tmp_path / "train.jsonl"
    path.write_bytes(dataset.train.path.read_bytes())
    ours = rt.Dataset.from_files(path)
    path.write_bytes(path.read_bytes().replace(b"It is", b"It as"))
    for use in (lambda: rt.upload(api, ours), lambda: rt.FineTuneJob.create(api, ours, SPEC)):
        with pytest.raises(rt.DatasetError, match=r"was changed after.*from_files"):
            use()
    assert {request.method for request in server.requests} <= {"GET"}


@pytest.mark.parametrize("key", ["", 5, "x" * 513])
def test_a_key_that_no_metadata_can_hold_is_refused(server: Any, api: Api, dataset: rt.Dataset, key: Any) -> None:
    with pytest.raises(rt.SpecError, match=r"key: .* must be a text of 1 to 512 characters"):
        rt.FineTuneJob.create(api, dataset, SPEC, key=key)
    assert server.requests == []


def test_content_that_lies_on_the_account_is_not_sent_again(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    name, size = f"train-{dataset.train.sha256[:16]}.jsonl", dataset.train.bytes  # type: ignore[index]
    broken = {"id": "file-bad", "filename": name, "bytes": size, "status": "error"}
    server.on("GET", "/files", wire.page(broken, {"id": "file-7", "filename": name, "bytes": size}))
    uploaded = rt.upload(api, dataset)
    assert (uploaded.id, uploaded.reused, uploaded.sha256) == ("file-7", True, dataset.train.sha256)
    assert not server.sent(*FILES)
    assert rt.upload(api, dataset, new=True).id == "file-1"


def test_a_file_without_a_status_is_not_waited_for(server: Any, api: Api, clock: Any, dataset: rt.Dataset) -> None:
    server.on(*FILES, {"id": "file-1", "filename": "x", "bytes": 1})
    assert rt.upload(api, dataset).status is None
    assert not clock.slept


def test_a_file_that_never_settles_is_waited_for_half_a_minute(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset
) -> None:
    pending = {"id": "file-1", "filename": "x", "bytes": 1, "status": "uploaded"}
    server.on(*FILES, pending).on("GET", "/files/file-1", pending)
    assert rt.upload(api, dataset).status == "uploaded"
    assert 30 <= sum(clock.slept) < 36


def test_a_file_that_the_server_refuses_ends_before_the_job(server: Any, api: Api, dataset: rt.Dataset) -> None:
    refused = {"id": "file-1", "filename": "x", "bytes": 1, "status": "error", "status_details": "line 3 is no JSON"}
    server.on(*FILES, refused)
    with pytest.raises(rt.DatasetError, match="line 3 is no JSON"):
        rt.FineTuneJob.create(api, dataset, SPEC)
    assert not server.sent(*JOBS)


def test_an_uploaded_file_or_its_id_can_be_trained_on(server: Any, api: Api, dataset: rt.Dataset) -> None:
    uploaded = rt.upload(api, dataset)
    rt.FineTuneJob.create(api, uploaded, SPEC, validation="file-5")
    body = server.sent(*JOBS)[0].json
    assert (body["training_file"], body["validation_file"]) == ("file-1", "file-5")
    assert body["metadata"]["ragtune_fingerprint"] == dataset.fingerprint
    assert body["metadata"]["ragtune_system"] == "Add up."
    with pytest.raises(rt.SpecError, match=r"rt\.upload"):
        rt.FineTuneJob.create(api, "train.jsonl", SPEC)


def test_a_validation_file_may_be_a_split_or_a_path_and_is_part_of_the_key(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset, tmp_path: Path
) -> None:
    """Each is uploaded beside the training file; the same content is the same order, wherever it lies."""
    server.on("POST", "/files", *({"id": f"file-{n}", "filename": "x", "status": "processed"} for n in range(1, 9)))
    copy = tmp_path / "held-out.jsonl"
    copy.write_bytes(dataset.validation.path.read_bytes())
    for validation in (dataset.validation, copy, None, dataset.train.path):
        rt.FineTuneJob.create(api, dataset, SPEC, validation=validation)
    bodies = [request.json for request in server.sent(*JOBS)]
    assert all(body["validation_file"].startswith("file-") for body in bodies)
    keys = [body["metadata"]["ragtune_key"] for body in bodies]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    with pytest.raises(rt.DatasetError, match=r"cannot read .*none\.jsonl"):
        rt.FineTuneJob.create(api, dataset, SPEC, validation=tmp_path / "none.jsonl")
    with pytest.raises(TypeError, match="validation is 3; it takes"):
        rt.FineTuneJob.create(api, dataset, SPEC, validation=3)  # type: ignore[call-overload]


def checks(dataset: rt.Dataset, folder: Path) -> list[tuple[type[Exception], str, Any, rt.TuneSpec, dict[str, Any]]]:
    """What is refused: error, words, data, spec, options."""
    few = folder / "few.jsonl"
    lines = dataset.train.path.read_text().splitlines()[:3]
    few.write_text("\n".join(lines) + "\n")
    priced = rt.TuneSpec(model="gpt-4o-mini-2024-07-18", method=rt.Supervised(n_epochs=2))
    graded = rt.TuneSpec(model="gpt-4o-mini-2024-07-18", method=rt.Reinforcement(grader={"type": "x"}))
    crowded = rt.TuneSpec(model="base", metadata={str(n): "" for n in range(14)})
    asking = rt.TuneSpec(model="base", method=rt.Supervised(early_stop=1))
    absolute = rt.TuneSpec(model="base", method=rt.Supervised(learning_rate=rt.Absolute(1e-4)))
    return [
        (rt.DatasetError, "nothing was sent", rt.Dataset.from_files(few), SPEC, {}),
        (rt.SpecError, "preference", dataset, rt.TuneSpec(model="base", method=rt.DPO()), {}),
        (rt.SpecError, "supervised and dpo", dataset, graded, {"dialect": "openai"}),
        (rt.SpecError, "17 pairs", dataset, crowded, {}),
        (rt.ModelExpired, "2026-10-23", dataset, DEAD, {"dialect": "openai"}),
        (rt.BudgetExceeded, "above the limit", dataset, priced, {"max_cost_usd": 1e-4}),
        (rt.BudgetExceeded, "no price of base", dataset, SPEC, {"max_cost_usd": 5.0}),
        (rt.BudgetExceeded, "already uploaded", "file-1", SPEC, {"max_cost_usd": 5.0}),
        (rt.SpecError, "from a validation file", "file-1", asking, {"dialect": "local"}),
        (rt.Unsupported, "absolute", dataset, absolute, {"dialect": "openai"}),
        (rt.SpecError, "acme", dataset, SPEC, {"dialect": "acme"}),
    ]


def test_what_cannot_work_is_refused_before_the_first_request(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset, tmp_path: Path
) -> None:
    """On 2026-12-01 one base is shut down and another still takes jobs."""
    clock.seconds = 1_796_083_200.0
    for kind, words, data, spec, options in checks(dataset, tmp_path):
        with pytest.raises(kind, match=words):
            rt.FineTuneJob.create(api, data, spec, **options)
        with pytest.raises(kind, match=words):
            rt.FineTuneJob.plan(api, data, spec, **options)
    # An address that nobody knows is asked who it is, by a look at the base, before anything is priced.
    assert {(request.method, request.path.split("/")[1]) for request in server.requests} == {("GET", "models")}


def test_a_date_of_openais_is_checked_with_another_server(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset
) -> None:
    """A server of one's own may go on serving a model of that name."""
    clock.seconds = 1_796_083_200.0
    with pytest.raises(rt.ModelExpired, match="2026-10-23"):
        rt.FineTuneJob.create(api, dataset, DEAD)
    assert [request.path for request in server.requests] == ["/models/gpt-4.1-nano-2025-04-14"]
    server.on("GET", "/models/gpt-4.1-nano-2025-04-14", {"id": "gpt-4.1-nano-2025-04-14"})
    assert rt.FineTuneJob.create(api, dataset, DEAD).id == "ftjob-1"
    assert "which is past" in rt.FineTuneJob.plan(api, dataset, DEAD).warnings[0]


@pytest.mark.parametrize(
    "listed", [[{"id": "base", "owned_by": "ragtune"}], [{"id": "other", "owned_by": "acme"}], (500, b"<html>")]
)
def test_a_base_is_refused_only_where_the_list_of_bases_is_whole(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset, listed: Any
) -> None:
    """A server that lists it all the same, one that is no embedded backend, and one that lists nothing."""
    server.on("GET", "/models/base", (404, wire.error("The model `base` does not exist", code="model_not_found")))
    server.on("GET", "/models", listed if isinstance(listed, tuple) else wire.page(*listed))
    assert rt.FineTuneJob.create(api, dataset, SPEC).id == "ftjob-1"


def test_no_new_jobs_are_sent_to_openai_after_its_last_day(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset
) -> None:
    """Between 2027-01-06 and the shutdown of the base on 2027-01-14."""
    clock.seconds = 1_799_500_000.0
    spec = rt.TuneSpec(model="gpt-4o-mini-2024-07-18", method=rt.Supervised(n_epochs=2))
    with pytest.raises(rt.TuningClosed, match="2027-01-06"):
        rt.FineTuneJob.create(api, dataset, spec, dialect="openai")
    assert server.requests == []


def test_force_goes_past_the_catalogue(server: Any, api: Api, clock: Any, dataset: rt.Dataset) -> None:
    clock.seconds = 1_796_083_200.0
    with pytest.warns(rt.ExpiryWarning, match="which is past"):
        assert rt.FineTuneJob.create(api, dataset, DEAD, force=True, dialect="openai").id == "ftjob-1"
    unpriced = rt.TuneSpec(model="base", method=rt.Supervised(n_epochs=2))
    assert rt.FineTuneJob.create(api, dataset, unpriced, max_cost_usd=1.0, allow_unknown_cost=True).id == "ftjob-1"


def test_a_plan_sends_nothing_and_shows_everything(server: Any, api: Api, clock: Any, dataset: rt.Dataset) -> None:
    clock.seconds = 1_796_083_200.0
    spec = rt.TuneSpec(model="gpt-4o-mini-2024-07-18", method=rt.Supervised(n_epochs=2))
    plan = rt.FineTuneJob.plan(api, dataset, spec)
    assert server.requests == []
    assert [call.name for call in plan.calls if call.writes] == [
        "files.create",
        "files.create",
        "fine_tuning.jobs.create",
    ]
    assert plan.calls[-1].body["training_file"] == "<file 1>"
    assert plan.calls[-1].body["validation_file"] == "<file 2>"
    assert plan.cost is not None
    assert any("2027-01-14" in warning for warning in plan.warnings)
    text = str(plan) + json.dumps(plan.to_dict())
    assert "sk-test-secret-key" not in text
    assert rt.FineTuneJob.create(api, dataset, spec, dry_run=True) == plan


def test_a_plan_that_probes_reads_and_knows_what_is_there(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    server.on("GET", "/fine_tuning/jobs", made(server, wire))
    plan = rt.FineTuneJob.plan(api, dataset, SPEC, probe=True)
    assert plan.calls == ()
    assert any("ftjob-9" in warning for warning in plan.warnings)
    assert {request.method for request in server.requests} == {"GET"}


def test_the_asynchronous_twin_buys_once_too(
    server: Any, wire: Any, dataset: rt.Dataset, make_async_api: Any, clock: Any
) -> None:
    def lose(request: Any) -> Any:
        server.on("GET", "/fine_tuning/jobs", wire.page(), made(server, wire))
        return 500, wire.error("lost")

    server.on(*JOBS, lose)

    async def buy() -> rt.AsyncFineTuneJob:
        client, api = make_async_api()
        async with client:
            return await rt.AsyncFineTuneJob.create(api, dataset, SPEC)

    assert asyncio.run(buy()).id == "ftjob-9"
    assert len(server.sent(*JOBS)) == 1
