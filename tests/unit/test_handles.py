"""Handles without a server: details, saved files, plans, twins."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt
from ragtune._api import asynchronous, synchronous
from ragtune._api.calls import CALLS
from ragtune._api.times import moment
from ragtune._saved import read_saved, write_saved
from ragtune.job.preparation.prepare import CreateOptions
from ragtune.plan import PlannedCall

if TYPE_CHECKING:
    from pathlib import Path

TWINS = [
    (rt.FineTuneJob, rt.AsyncFineTuneJob),
    (rt.JobMonitor, rt.AsyncJobMonitor),
    (rt.TunedModel, rt.AsyncTunedModel),
    (rt.Maintenance, rt.AsyncMaintenance),
]


def public(kind: type) -> dict[str, Any]:
    """Public attributes that a class defines."""
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


@pytest.mark.parametrize(("sync", "twin"), TWINS)
def test_twins_have_the_same_methods_with_the_same_arguments(sync: type, twin: type) -> None:
    assert set(public(sync)) == set(public(twin))
    for name in public(sync):
        mine, theirs = getattr(sync, name), getattr(twin, name)
        assert isinstance(vars(sync)[name], property) == isinstance(vars(twin)[name], property), name
        if callable(mine):
            assert list(inspect.signature(mine).parameters) == list(inspect.signature(theirs).parameters), name


@pytest.mark.parametrize("face", [rt.FineTuneJob, rt.AsyncFineTuneJob])
def test_create_and_plan_name_the_same_keywords(face: Any) -> None:
    """`help()` and editors show them: none hides behind `**options`."""
    create, plan = (inspect.signature(method).parameters for method in (face.create, face.plan))
    assert all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in (*create.values(), *plan.values()))
    settings = [field.name for field in fields(CreateOptions)]
    assert list(create)[4:] == list(plan)[4:] == settings
    assert [create[name].default for name in settings] == [field.default for field in fields(CreateOptions)]


def test_an_old_spelling_warns_at_the_callers_line() -> None:
    """The warning names the way on; nothing else stands in the way before the client is looked at."""
    with pytest.warns(DeprecationWarning, match=r"use ragtune\.list_jobs") as told, pytest.raises(TypeError):
        rt.FineTuneJob.list(None)  # type: ignore[arg-type]
    assert told[0].filename == __file__


@pytest.mark.parametrize("error", [None, {}, {"code": None, "message": None, "param": None}, ""])
def test_an_empty_error_on_a_healthy_job_is_no_error(error: object) -> None:
    assert rt.JobDetails.from_wire({"id": "j", "status": "running", "error": error}).error is None


def test_resolved_hyperparameters_are_read_from_method_first() -> None:
    details = rt.JobDetails.from_wire(
        {
            "id": "j",
            "status": "succeeded",
            "hyperparameters": {"n_epochs": "auto", "batch_size": 4},
            "method": {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 1.8}}},
        }
    )
    assert (details.n_epochs, details.batch_size, details.learning_rate_multiplier) == (3, 4, 1.8)
    assert rt.JobDetails.from_wire({"id": "j", "status": "x", "hyperparameters": None, "method": None}).n_epochs is None


@pytest.mark.parametrize(
    ("status", "final"), [("succeeded", True), ("failed", True), ("paused", False), ("novel", False)]
)
def test_an_unknown_status_passes_through_and_counts_as_going_on(status: str, final: bool) -> None:
    details = rt.JobDetails.from_wire({"id": "j", "status": status})
    assert (details.status, details.is_final) == (status, final)


@pytest.mark.parametrize(
    "value",
    [1_800_000_000, 1_800_000_000_000, "2027-01-15T08:00:00Z", "2027-01-15T08:00:00", "2027-01-15T09:00:00+01:00"],
)
def test_a_servers_time_is_read_however_it_is_written(value: object) -> None:
    assert moment(value) == datetime(2027, 1, 15, 8, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, 0, "soon", True, {}])
def test_what_is_no_time_is_none(value: object) -> None:
    assert moment(value) is None


def test_a_saved_handle_reads_back_and_a_half_written_one_never_shows(tmp_path: Path) -> None:
    path = write_saved(tmp_path / "deep" / "job.json", "job", {"job_id": "ftjob-1"})
    assert read_saved(path, "job")["job_id"] == "ftjob-1"
    with pytest.raises(TypeError):
        write_saved(path, "job", {"job_id": object()})
    assert read_saved(path, "job")["job_id"] == "ftjob-1"
    assert [file.name for file in path.parent.iterdir()] == ["job.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("{", "not JSON"),
        ("[" * 9_000, "not JSON"),
        ("[]", "no saved job"),
        ('{"ragtune": 1, "kind": "model"}', "but a saved model"),
        ('{"ragtune": 1, "kind": "job"}', "is a damaged job: it has no 'job_id'"),
        ('{"ragtune": 99, "kind": "job"}', "another version"),
    ],
)
def test_what_is_no_saved_job_says_why(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "job.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(rt.RagtuneError, match=says):
        read_saved(path, "job")


def test_the_wrong_kind_of_client_is_refused_by_name() -> None:
    with openai.OpenAI(api_key="sk-secret-secret", base_url="http://127.0.0.1:9") as sync:
        assert synchronous(sync).port.base_url.startswith("http://127.0.0.1:9")
        with pytest.raises(TypeError, match="AsyncOpenAI") as refusal:
            asynchronous(sync)  # type: ignore[arg-type]
        assert "sk-secret" not in str(refusal.value)
    with pytest.raises(TypeError, match="without Async"):
        synchronous(openai.AsyncOpenAI(api_key="k", base_url="http://127.0.0.1:9"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "says"), [(None, "wait"), ("", "wait"), ("ftjob-1", "from_job")])
def test_a_model_that_has_no_name_yet_cannot_be_asked(name: Any, says: str) -> None:
    with (
        openai.OpenAI(api_key="k", base_url="http://127.0.0.1:9") as client,
        pytest.raises(rt.ModelNotReady, match=says),
    ):
        rt.TunedModel(client, name)


def test_a_plan_is_json_and_prints_its_calls() -> None:
    call = PlannedCall(name="files.create", method="POST", path="/files", writes=True, body={"purpose": "fine-tune"})
    plan = rt.Plan(server="http://x/v1/", calls=(call,), warnings=("careful",))
    assert json.loads(json.dumps(plan.to_dict()))["calls"][0]["path"] == "/files"
    assert "calls: 1, of which change something: 1; nothing sent" in str(plan)
    assert "files.create: POST /files" in str(plan)
    assert "warning: careful" in str(plan)


def test_every_call_exists_in_both_clients() -> None:
    """A renamed method of the client shows here and not at a user's desk."""
    from functools import reduce

    for client in (openai.OpenAI(api_key="k"), openai.AsyncOpenAI(api_key="k")):
        for name in CALLS:
            assert callable(reduce(getattr, name.split("."), client)), name
