"""What each kind of server does differently, replayed over loopback: read as what it means, or refused at once."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import ragtune as rt
from ragtune.dialects import DIALECTS, Dialect, dialect_named, dialect_of

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune._api import Api

JOBS, FILES, JOB = ("POST", "/fine_tuning/jobs"), ("POST", "/files"), ("GET", "/fine_tuning/jobs/ftjob-1")
FASTAPI_404 = (404, {"detail": "Not Found"})
# Written as a user would, from what Crusoe's and AWS's samples do: the name comes late, a suffix is refused.
MINE = Dialect(
    name="mine",
    learning_rate="absolute",
    hyperparameters="body",
    suffix="refused",
    extra_body={"trainingType": "globalStandard"},
    statuses={"completed": "succeeded", "working": "running"},
    source="the tests",
)


@pytest.fixture
def server(stub: Any, wire: Any) -> Any:
    """What all of them share: lists are empty, one file, one job, one model."""
    stub.on("GET", "/files", wire.page())
    stub.on("GET", "/fine_tuning/jobs", wire.page())
    stub.on(*FILES, {"id": "file-1", "filename": "x", "bytes": 1, "status": "processed"})
    stub.on(*JOBS, wire.job("ftjob-1", "validating_files"))
    stub.on(*JOB, wire.job("ftjob-1", "succeeded", fine_tuned_model="tuned"))
    stub.on("GET", "/fine_tuning/jobs/ftjob-1/events", wire.page())
    return stub.on("GET", "/models/tuned", {"id": "tuned", "object": "model"})


def spec(rate: Any = "auto", **more: Any) -> rt.TuneSpec:
    return rt.TuneSpec(model="base", method=rt.Supervised(n_epochs=2, learning_rate=rate), **more)


def create(api: Api, dataset: rt.Dataset, wanted: rt.TuneSpec, dialect: Any) -> rt.FineTuneJob:
    return rt.FineTuneJob.create(api, dataset, wanted, dialect=dialect, journal=None)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://mine.openai.azure.com/openai/v1/", "azure-foundry"),
        ("https://mine.services.ai.azure.com/api/projects/p/openai/v1/", "azure-foundry"),
        ("https://api.tokenfactory.nebius.com/v1/", "nebius"),
        ("http://127.0.0.1:4010/v1", "generic"),
        ("https://api.openai.com.example.org/v1", "generic"),
    ],
)
def test_the_address_says_which_server_it_is(address: str, name: str) -> None:
    assert dialect_of(address).name == name


def test_every_preset_says_where_its_facts_are_from_and_whether_it_was_ever_tried() -> None:
    known = {"openai", "azure-foundry", "nebius", "local", "unsloth-studio", "together", "fireworks", "generic"}
    assert {one.name for one in DIALECTS} == known
    assert all(one.source and one.as_of.year >= 2026 for one in DIALECTS)
    assert [one.name for one in DIALECTS if one.called_live] == ["local"]


@pytest.mark.parametrize(
    ("dialect", "wanted", "words"),
    [
        ("openai", spec(rt.Absolute(1e-4)), "an absolute learning rate"),
        ("azure-foundry", spec(rt.Absolute(1e-4)), "an absolute learning rate"),
        ("nebius", spec(rt.Multiplier(2.0)), "a learning rate multiplier"),
        ("nebius", rt.TuneSpec(model="base", method=rt.DPO()), "the method dpo"),
        ("openai", rt.TuneSpec(model="base", method=rt.KTO()), "the method kto"),
        ("openai", rt.TuneSpec(model="base", method=rt.Supervised(evaluate_every=1)), "asking held-out questions"),
        ("generic", rt.TuneSpec(model="base", method=rt.Supervised(early_stop=2)), "asking held-out questions"),
        ("local", rt.TuneSpec(model="base", method=rt.Reinforcement(grader={"type": "x"})), "the method reinforcement"),
        (MINE, spec(rt.Absolute(1e-4), suffix="sums"), "a suffix"),
        (replace(MINE, suffix="optional", longest_suffix=3), spec(suffix="sums"), "a suffix of 4 characters"),
        (replace(MINE, needs_validation=frozenset({"supervised"})), spec(), "without a validation file"),
    ],
)
def test_what_a_server_does_not_take_is_refused_before_anything_is_sent(
    server: Any, api: Api, dataset: rt.Dataset, dialect: Any, wanted: rt.TuneSpec, words: str
) -> None:
    data = rt.Dataset.from_files(dataset.train.path) if dataset.train.path else dataset
    with pytest.raises(rt.Unsupported, match=words) as refused:
        create(api, data, wanted, dialect)
    assert (dialect if isinstance(dialect, str) else dialect.name) in str(refused.value)
    assert server.requests == []


def test_a_name_that_is_no_dialect_lists_those_that_are(api: Api, dataset: rt.Dataset) -> None:
    with pytest.raises(
        rt.SpecError, match="azure-foundry, nebius, local, unsloth-studio, together, fireworks, generic"
    ):
        create(api, dataset, spec(), "banana")


def test_openai_takes_a_multiplier_below_the_method(server: Any, api: Api, dataset: rt.Dataset) -> None:
    model = rt.JobMonitor(create(api, dataset, spec(rt.Multiplier(1.8)), "openai")).wait()
    body = server.sent(*JOBS)[0].json
    assert body["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2, "learning_rate_multiplier": 1.8}
    assert "hyperparameters" not in body
    assert model.name == "tuned"


def test_azure_has_a_model_that_answers_after_its_owner_deploys_it(
    server: Any, api: Api, dataset: rt.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    """Open models need a field of Azure's own, which a preset with an extra body sends."""
    azure = replace(dialect_named("azure-foundry"), extra_body={"trainingType": "globalStandard"})
    with caplog.at_level(logging.WARNING, "ragtune"):
        model = rt.JobMonitor(create(api, dataset, spec(), azure)).wait()
    assert server.sent(*JOBS)[0].json["trainingType"] == "globalStandard"
    assert model.name == "tuned"
    assert "make a deployment of it" in caplog.text


def test_nebius_names_no_model_and_its_files_have_no_status(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    """Nothing is waited for that never comes, and the error says how its models are deployed."""
    server.on(*FILES, {"id": "file-1", "filename": "x", "bytes": 1, "object": "file"})
    server.on("GET", "/models/tuned", FASTAPI_404)
    server.on(*JOBS, wire.job("ftjob-1", "running", suffix="sums", lora_r=16))
    server.on(*JOB, wire.job("ftjob-1", "succeeded", error={}))
    weights = {"id": "ftckpt_1", "fine_tuned_model_checkpoint": None, "step_number": 9, "result_files": ["file-9"]}
    server.on("GET", "/fine_tuning/jobs/ftjob-1/checkpoints", wire.page(weights))
    job = create(api, dataset, spec(rt.Absolute(1e-5), suffix="sums"), "nebius")
    assert server.sent(*JOBS)[0].json["method"]["supervised"]["hyperparameters"]["learning_rate"] == 1e-5
    with pytest.raises(rt.ModelNotReady, match=r"POST /v0/models.*weights: each checkpoint lists result_files"):
        rt.JobMonitor(job).wait()
    assert len(server.sent(*JOB)) == 1
    assert (job.details.error, job.details.suffix) == (None, None)
    assert job.checkpoints()[0].step == 9


def test_a_server_of_ones_own_is_described_and_then_understood(
    server: Any, api: Api, wire: Any, dataset: rt.Dataset
) -> None:
    """Its own words for states, times as text, settings beside the method, a model that gets its name late."""
    server.on(*JOBS, wire.job("ftjob-1", "working", created_at="2026-11-21T10:00:00Z"))
    late = wire.job("ftjob-1", "completed")
    server.on(
        *JOB, wire.job("ftjob-1", "working"), late, late, wire.job("ftjob-1", "completed", fine_tuned_model="tuned")
    )
    job = create(api, dataset, spec(rt.Absolute(1e-4)), MINE)
    body = server.sent(*JOBS)[0].json
    assert body["hyperparameters"] == {"n_epochs": 2, "learning_rate": 1e-4}
    assert body["method"] == {"type": "supervised"}
    assert body["trainingType"] == "globalStandard"
    assert job.status == "running"
    assert job.details.created_at is not None
    assert job.details.created_at.isoformat() == "2026-11-21T10:00:00+00:00"
    assert rt.JobMonitor(job).wait(timeout_s=600).name == "tuned"
    assert job.status == "succeeded"


def test_a_file_status_that_tells_nothing_is_not_waited_for(
    server: Any, api: Api, clock: Any, dataset: rt.Dataset
) -> None:
    """A server that says `uploaded` for ever; with a dialect that trusts it, half a minute passes."""
    server.on(*FILES, {"id": "file-1", "filename": "x", "bytes": 1, "object": "file", "status": "uploaded"})
    create(api, dataset, spec(), replace(dialect_named("generic"), file_status=False))
    assert sum(clock.slept) == 0


def test_models_that_are_deleted_in_another_way_are_left_alone(server: Any, api: Api) -> None:
    nebius = rt.Maintenance(api.speaking("nebius"), enabled=True)
    for dry_run in (False, True):
        with pytest.raises(rt.Unsupported, match="deleting a model"):
            nebius.delete_model("tuned", dry_run=dry_run)
    assert server.requests == []


@pytest.mark.parametrize(
    ("word", "means"), [("completed", "succeeded"), ("canceled", "cancelled"), ("error", "failed")]
)
def test_an_unknown_server_may_say_the_same_in_its_words(
    server: Any, api: Api, wire: Any, word: str, means: str
) -> None:
    server.on("GET", "/fine_tuning/jobs", wire.page(wire.job("ftjob-1", word)))
    server.on(*JOB, wire.job("ftjob-1", word))
    assert rt.FineTuneJob.get(api, "ftjob-1").status == means
    assert [job.status for job in rt.list_jobs(api)] == [means]


def test_a_word_that_nobody_knows_is_passed_on(server: Any, api: Api, wire: Any) -> None:
    server.on(*JOB, wire.job("ftjob-1", "pausing"))
    job = rt.FineTuneJob.get(api, "ftjob-1")
    assert (job.status, job.details.is_final) == ("pausing", False)


@pytest.mark.parametrize("way", ["get", "load", "list", "table", "maintenance"])
def test_a_dialect_can_be_said_wherever_a_job_is_come_back_to(
    api: Api, server: Any, wire: Any, tmp_path: Path, way: str
) -> None:
    """`ripe` is a word that only this server uses."""
    mine = replace(MINE, statuses={"ripe": "succeeded"})
    server.on(*JOB, wire.job("ftjob-1", "ripe", fine_tuned_model="tuned"))
    server.on("GET", "/fine_tuning/jobs", wire.page(wire.job("ftjob-1", "ripe", fine_tuned_model="tuned")))
    rt.FineTuneJob.get(api, "ftjob-1", journal=None).save(tmp_path / "job.json")
    ways = {
        "get": lambda: rt.FineTuneJob.get(api, "ftjob-1", dialect=mine, journal=None),
        "load": lambda: rt.FineTuneJob.load(api, tmp_path / "job.json", dialect=mine),
        "list": lambda: rt.list_jobs(api, dialect=mine)[0],
        "table": lambda: rt.JobMonitor.table(api, dialect=mine)[0],
        "maintenance": lambda: rt.Maintenance(api, dialect=mine).job("ftjob-1"),
    }
    assert rt.JobMonitor(ways[way]()).wait(timeout_s=10).name == "tuned"
    assert rt.TunedModel.latest(api, dialect=mine).name == "tuned"


def test_a_saved_handle_keeps_its_dialect(api: Api, server: Any, wire: Any, tmp_path: Path) -> None:
    mine = replace(MINE, statuses={"ripe": "succeeded"}, deletes_models=False)
    server.on(*JOB, wire.job("ftjob-1", "ripe", fine_tuned_model="tuned"))
    job = rt.FineTuneJob.get(api, "ftjob-1", dialect=mine, journal=None)
    again = rt.FineTuneJob.load(api, job.save(tmp_path / "job.json"))
    assert (again.status, again._state.api.dialect) == ("succeeded", mine)
    model = rt.TunedModel(api, "tuned", system="", dialect=mine, journal=None)
    assert rt.TunedModel.load(api, model.save(tmp_path / "model.json"))._model._state.api.dialect == mine


@pytest.mark.parametrize("way", ["get", "attach", "list", "table", "latest", "model", "watch_many", "maintenance"])
def test_what_was_said_at_create_is_known_wherever_one_comes_back(
    api: Api, server: Any, wire: Any, dataset: rt.Dataset, way: str
) -> None:
    """In another program, by the journal: nobody says the dialect again. `done` means something else to others."""
    mine = replace(MINE, learning_rate="either", extra_body={}, statuses={"done": "running", "ripe": "succeeded"})
    ripe = wire.job("ftjob-1", "ripe", fine_tuned_model="ft:tuned")
    server.on(*JOBS, wire.job("ftjob-1", "done"))
    server.on(*JOB, ripe).on("GET", "/fine_tuning/jobs", wire.page())
    server.on("GET", "/models/ft:tuned", {"id": "ft:tuned", "object": "model"})
    server.on("DELETE", "/models/ft:tuned", {"id": "ft:tuned", "deleted": True})
    rt.FineTuneJob.create(api, dataset, spec(), dialect=replace(mine, deletes_models=False))
    server.on("GET", "/fine_tuning/jobs", wire.page(wire.job("ftjob-2", "completed"), ripe))
    ways = {
        "get": lambda: rt.FineTuneJob.get(api, "ftjob-1").status,
        "attach": lambda: rt.FineTuneJob.attach(api, 1).status,
        "list": lambda: rt.list_jobs(api)[1].status,
        "table": lambda: rt.JobMonitor.table(api)[1].status,
        "latest": lambda: rt.TunedModel.latest(api) and "succeeded",
        "model": lambda: rt.TunedModel.from_job(rt.FineTuneJob.get(api, "ftjob-1")) and "succeeded",
        "watch_many": lambda: [job.status for job in rt.watch_many(list(rt.list_jobs(api)), timeout_s=10)][-1],
        "maintenance": lambda: rt.Maintenance(api).job("ftjob-1").status,
    }
    assert ways[way]() == "succeeded"
    assert rt.runs()[0].status == "succeeded"
    with pytest.raises(rt.Unsupported, match="deleting a model"):
        rt.Maintenance(api, enabled=True).delete_model("ft:tuned")


def test_a_damaged_dialect_in_a_saved_job_is_told_in_words(api: Api, server: Any, tmp_path: Path) -> None:
    path = rt.FineTuneJob.get(api, "ftjob-1", dialect=MINE, journal=None).save(tmp_path / "job.json")
    path.write_text(path.read_text().replace('"as_of"', '"as_off"'))
    with pytest.raises(rt.SpecError, match="say it with dialect="):
        rt.FineTuneJob.load(api, path)
