"""An archived job once more on another server: what is carried over, what is approximated, what is refused."""

from __future__ import annotations

import asyncio
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt
from ragtune.dialects import dialect_named
from ragtune.migration import HostedJob, replay_async, translated
from ragtune.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune._api import Api

BASE = "gpt-4o-mini-2024-07-18"
LLAMA = "meta-llama/Llama-3.1-8B"


def job(kind: str = "supervised", **more: Any) -> rt.JobDetails:
    """A job as OpenAI tells it when it is done: all numbers chosen."""
    values = {"n_epochs": 3, "batch_size": 2, "learning_rate_multiplier": 1.8}
    values |= {"beta": 0.2} if kind == "dpo" else {}
    wire = {"id": "ftjob-old", "status": "succeeded", "model": BASE, "seed": 7, "user_provided_suffix": "sums"}
    wire |= {"method": {"type": kind, kind: {"hyperparameters": values}}, "metadata": {"team": "a", "ragtune_key": "k"}}
    return rt.JobDetails.from_wire(wire | more)


def test_azure_takes_everything_as_it_was() -> None:
    there = translated(job(), "openai", dialect_named("azure-foundry"))
    assert there.spec.method == rt.Supervised(n_epochs=3, batch_size=2, learning_rate=rt.Multiplier(1.8))
    assert (there.spec.model, there.spec.seed, there.spec.suffix) == (BASE, 7, "sums")
    assert dict(there.spec.metadata) == {"team": "a"}
    assert there.dropped == ()
    assert not [one for one in there.approximated if one.startswith("learning_rate")]


def test_a_multiplier_never_becomes_a_rate_by_itself() -> None:
    """1.8 x 1e-4 = 1.8e-4, said as a guess; 1.8 itself would be a rate that destroys the model."""
    there = translated(job(), "openai", dialect_named("nebius"), base=LLAMA)
    assert there.spec.method.learning_rate == rt.Absolute(1.8e-4)
    said = next(one for one in there.approximated if one.startswith("learning_rate"))
    assert "1.8 x 0.0001" in said
    assert "is a guess" in said
    assert any(one.startswith(f"base: {BASE} becomes {LLAMA}") for one in there.approximated)


def test_on_an_embedded_backend_the_multiplier_is_a_factor_on_another_rate_and_that_is_said() -> None:
    there = translated(job(), "openai", dialect_named("local"))
    assert there.spec.method.learning_rate == rt.Multiplier(1.8)
    assert any("stays 1.8 but is a factor on 0.001 there, not on openai's rate" in one for one in there.approximated)


def test_an_absolute_rate_becomes_a_factor_where_the_servers_own_is_known() -> None:
    """1e-4 / 2e-4 = 0.5 on Studio; where nobody knows the server's rate, it is dropped and that is said."""
    there = {"n_epochs": 1, "learning_rate": 1e-4}
    nebius = job(method={"type": "supervised", "supervised": {"hyperparameters": there}})
    studio = translated(nebius, "nebius", dialect_named("unsloth-studio"), base=LLAMA)
    assert studio.spec.method.learning_rate == rt.Multiplier(0.5)
    back = translated(nebius, "nebius", dialect_named("openai"))
    assert back.spec.method.learning_rate == "auto"
    assert any("the learning rate 0.0001" in one for one in back.dropped)


def test_studio_is_told_apart_by_all_that_it_does_otherwise() -> None:
    studio = dialect_named("unsloth-studio")
    there = translated(job(), "openai", studio, base=LLAMA)
    said = "\n".join(there.warnings)
    assert "all tokens are trained, prompts too" in said
    assert "1 job at a time and answers 409" in said
    assert "not carried over: metadata (team): the server keeps none" in said
    assert "never called live" in said
    masked = replace(studio, extra_body={"train_on_completions": True})
    assert "all tokens are trained" not in "\n".join(translated(job(), "openai", masked, base=LLAMA).warnings)


def test_preference_pairs_keep_their_beta_where_they_are_taken_and_are_refused_by_name_where_not() -> None:
    there = translated(job("dpo"), "openai", dialect_named("together"), base=LLAMA)
    assert isinstance(there.spec.method, rt.DPO)
    assert there.spec.method.beta == 0.2
    for name in ("nebius", "unsloth-studio", "fireworks"):
        with pytest.raises(rt.Unsupported, match=f"{name} does not support the method dpo of ftjob-old"):
            translated(job("dpo"), "openai", dialect_named(name), base=LLAMA)


@pytest.mark.parametrize(("name", "lost"), [("together", ["seed 7"]), ("fireworks", ["seed 7", "batch_size 2"])])
def test_what_a_wire_of_its_own_is_not_sent_is_said(name: str, lost: list[str]) -> None:
    there = translated(job(), "openai", dialect_named(name), base=LLAMA)
    told = [f"{one}, which is not sent to {name}" for one in lost]
    assert [one for one in there.dropped if "not sent" in one] == told
    assert not any("seed" in one for one in there.approximated)
    assert ("batch_size 2" in there.carried) == (name == "together")


@pytest.mark.parametrize("name", ["nebius", "together", "fireworks", "unsloth-studio"])
def test_a_server_with_other_bases_wants_one_named(name: str) -> None:
    with pytest.raises(rt.SpecError, match=f"{name} has no {BASE}; name one"):
        translated(job(), "openai", dialect_named(name))


def test_a_job_that_trained_a_tuned_model_further_wants_a_base() -> None:
    with pytest.raises(rt.SpecError, match="it trained ft:x:y::z further"):
        translated(job(model="ft:x:y::z"), "openai", dialect_named("openai"))


# Over the wire


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def archive(tmp_path: Path, dataset: rt.Dataset) -> Iterator[rt.Archive]:
    """The archive of a server with one job: three epochs, batches of two, a multiplier of 1.8."""
    method = rt.Supervised(n_epochs=3, batch_size=2, learning_rate=rt.Multiplier(1.8))
    spec = rt.TuneSpec(model=BASE, method=method, seed=7, suffix="sums", metadata={"team": "a"})
    with ScriptedBackend(tmp_path / "old") as backend, backend.client() as client:
        rt.JobMonitor(rt.FineTuneJob.create(client, dataset, spec)).wait()
        yield rt.Archive.create(client, tmp_path / "archive")


@pytest.fixture
def job_id(archive: rt.Archive) -> str:
    return archive.jobs[0].details.id


def test_a_dry_run_is_a_plan_that_says_the_approximations_first(
    stub: Any, client: openai.OpenAI, archive: rt.Archive, job_id: str
) -> None:
    plan = rt.replay(archive, job_id, client, base=LLAMA, dialect="nebius", dry_run=True)
    assert [call.name for call in plan.calls if call.writes] == [
        "files.create",
        "files.create",
        "fine_tuning.jobs.create",
    ]
    assert any("is a guess" in one for one in plan.warnings[:3])
    assert stub.requests == []


def test_a_replay_warns_before_it_sends_and_sends_the_same_bytes(
    stub: Any, wire: Any, api: Api, archive: rt.Archive, job_id: str, dataset: rt.Dataset
) -> None:
    stub.on("GET", "/files", wire.page()).on("GET", "/fine_tuning/jobs", wire.page())
    stub.on("POST", "/files", {"id": "file-9", "filename": "x", "bytes": 1})
    stub.on("POST", "/fine_tuning/jobs", wire.job("ftjob-new", "queued"))
    with pytest.warns(UserWarning, match="is a guess"):
        made = rt.replay(archive, job_id, client_of(api), base=LLAMA, dialect="nebius", journal=None)
    assert isinstance(made, rt.FineTuneJob)
    body = stub.sent("POST", "/fine_tuning/jobs")[0].json
    assert body["method"]["supervised"]["hyperparameters"] == {"n_epochs": 3, "batch_size": 2, "learning_rate": 1.8e-4}
    assert body["metadata"]["team"] == "a"
    assert body["metadata"]["ragtune_system"] == "Add up."
    assert dataset.train.path is not None
    assert Path(dataset.train.path).read_bytes() in stub.sent("POST", "/files")[0].body


def client_of(api: Api) -> Any:
    return api.port._client  # type: ignore[attr-defined]  # the fixture's own client


def test_a_spec_of_ones_own_goes_as_it_is(stub: Any, client: openai.OpenAI, archive: rt.Archive, job_id: str) -> None:
    spec = rt.TuneSpec(model=LLAMA, method=rt.Supervised(n_epochs=1, learning_rate=rt.Absolute(3e-5)))
    plan = rt.replay(archive, job_id, client, spec, dialect="nebius", dry_run=True)
    assert plan.calls[-1].body["method"]["supervised"]["hyperparameters"] == {"n_epochs": 1, "learning_rate": 3e-5}
    assert not any("is a guess" in one for one in plan.warnings)


@pytest.mark.usefixtures("quiet")
def test_studio_says_409_in_its_own_words_and_the_way_out_is_told(
    stub: Any, wire: Any, client: openai.OpenAI, archive: rt.Archive, job_id: str
) -> None:
    """FastAPI's body, no metadata, no Uploads; a second job has to wait."""
    stub.on("GET", "/files", wire.page()).on("GET", "/fine_tuning/jobs", wire.page())
    stub.on("POST", "/files", {"id": "file-9", "filename": "x", "bytes": 1, "status": "processed"})
    stub.on("POST", "/fine_tuning/jobs", (409, {"detail": "A training run is already active"}))
    with pytest.raises(openai.ConflictError) as refused:
        rt.replay(archive, job_id, client, base=LLAMA, dialect="unsloth-studio", journal=None)
    told = "\n".join(refused.value.__notes__)
    assert "unsloth-studio takes 1 job at a time; wait for the one that runs" in told
    assert len(stub.sent("POST", "/fine_tuning/jobs")) == 1


def test_what_the_archive_does_not_hold_is_told(client: openai.OpenAI, archive: rt.Archive) -> None:
    with pytest.raises(rt.ArchiveError, match="holds no job 'ftjob-unknown'"):
        rt.replay(archive, "ftjob-unknown", client)


def test_a_server_with_a_wire_of_its_own_is_refused_where_openais_is_spoken(api: Api, dataset: rt.Dataset) -> None:
    with pytest.raises(rt.Unsupported, match=r"rt.replay\(archive, job, client\) speaks its own"):
        rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model=LLAMA), dialect="together", journal=None)


# Together and Fireworks, as their documents tell; no test here ever spoke to them.


def together(stub: Any) -> Any:
    """Files go where a redirect says; the job answers with its own words."""
    numbers = iter("12")

    def file_goes_there(request: Any) -> Any:
        number = next(numbers)
        stub.headers = {"location": f"{stub.base_url}/storage/{number}", "x-together-file-id": f"file-{number}"}
        return 302, {}

    def kept(request: Any) -> Any:
        stub.headers = {}
        return {}

    stub.on("POST", "/files", file_goes_there)
    stub.on("PUT", "/storage/1", kept).on("PUT", "/storage/2", kept)
    stub.on("POST", "/files/file-1/preprocess", {"id": "file-1"}).on(
        "POST", "/files/file-2/preprocess", {"id": "file-2"}
    )
    stub.on("POST", "/fine-tunes", {"id": "ft-7", "status": "pending"})
    return stub.on("GET", "/fine-tunes/ft-7", {"id": "ft-7", "status": "completed", "output_name": "me/llama-sums"})


@pytest.mark.usefixtures("quiet")
def test_togethers_wire_sends_flat_settings_and_no_key_to_where_files_go(
    stub: Any, client: openai.OpenAI, archive: rt.Archive, job_id: str, dataset: rt.Dataset
) -> None:
    together(stub)
    made = rt.replay(archive, job_id, client, base=LLAMA, dialect="together")
    assert isinstance(made, HostedJob)
    assert (made.id, made.status) == ("ft-7", "queued")
    body = stub.sent("POST", "/fine-tunes")[0].json
    assert body == {
        "model": LLAMA,
        "training_file": "file-1",
        "validation_file": "file-2",
        "n_epochs": 3,
        "batch_size": 2,
        "learning_rate": 1.8e-4,
        "suffix": "sums",
        "train_on_inputs": False,
        "training_method": {"method": "sft"},
        "training_type": {"type": "Lora"},
    }
    form = stub.sent("POST", "/files")[0].json
    assert (form["purpose"], form["file_type"], form["file_name"][-6:]) == ("fine-tune", "jsonl", ".jsonl")
    put = stub.sent("PUT", "/storage/1")[0]
    assert dataset.train.path is not None
    assert put.body == Path(dataset.train.path).read_bytes()
    assert "sk-test-secret-key" not in json.dumps(put.headers)
    done = made.look(client)
    assert (done.status, done.is_final, done.model) == ("succeeded", True, "me/llama-sums")


@pytest.mark.usefixtures("quiet")
def test_an_answer_of_together_that_is_lost_is_uncertain_and_never_sent_twice(
    stub: Any, client: openai.OpenAI, archive: rt.Archive, job_id: str
) -> None:
    together(stub).on("POST", "/fine-tunes", (502, {"error": "bad gateway"}))
    with pytest.raises(rt.CreateUncertain, match="look there before you buy again"):
        rt.replay(archive, job_id, client, base=LLAMA, dialect="together")
    assert len(stub.sent("POST", "/fine-tunes")) == 1


FIREWORKS = "/accounts/me"


def fireworks(stub: Any, dataset: rt.Dataset) -> Any:
    name = f"{FIREWORKS}/supervisedFineTuningJobs/j1"
    for split in (dataset.train, dataset.validation):
        place = f"{FIREWORKS}/datasets/ragtune-{split.name}-{str(split.sha256)[:16]}:upload"
        stub.on("POST", place, {})
    stub.on("POST", f"{FIREWORKS}/datasets", {})
    stub.on("POST", f"{FIREWORKS}/supervisedFineTuningJobs", {"name": name[1:], "state": "JOB_STATE_CREATING"})
    done = {"name": name[1:], "state": "JOB_STATE_COMPLETED", "outputModel": "accounts/me/models/sums"}
    return stub.on("GET", name, done)


@pytest.mark.usefixtures("quiet")
def test_fireworks_wire_makes_a_dataset_and_fills_it(
    stub: Any, client: openai.OpenAI, archive: rt.Archive, job_id: str, dataset: rt.Dataset
) -> None:
    fireworks(stub, dataset)
    base = "accounts/fireworks/models/llama-v3p1-8b-instruct"
    made = rt.replay(archive, job_id, client, base=base, dialect="fireworks", account="me")
    assert isinstance(made, HostedJob)
    body = stub.sent("POST", f"{FIREWORKS}/supervisedFineTuningJobs")[0].json
    train, validation = (f"ragtune-{s.name}-{str(s.sha256)[:16]}" for s in (dataset.train, dataset.validation))
    assert body == {
        "dataset": f"accounts/me/datasets/{train}",
        "evaluationDataset": f"accounts/me/datasets/{validation}",
        "baseModel": base,
        "epochs": 3,
        "learningRate": 1.8e-4,
        "displayName": "sums",
    }
    assert dataset.train.path is not None
    assert Path(dataset.train.path).read_bytes() in stub.sent("POST", f"{FIREWORKS}/datasets/{train}:upload")[0].body
    done = made.look(client)
    assert (done.status, done.model) == ("succeeded", "accounts/me/models/sums")


def test_fireworks_wants_the_accounts_id(client: openai.OpenAI, archive: rt.Archive, job_id: str) -> None:
    with pytest.raises(rt.SpecError, match="account: fireworks has the account's id in each path"):
        rt.replay(archive, job_id, client, base=LLAMA, dialect="fireworks", dry_run=True)


def test_a_dry_run_for_a_wire_of_its_own_sends_nothing(
    stub: Any, client: openai.OpenAI, archive: rt.Archive, job_id: str
) -> None:
    plan = rt.replay(archive, job_id, client, base=LLAMA, dialect="fireworks", account="me", dry_run=True)
    paths = [call.path for call in plan.calls]
    assert paths[0] == "/accounts/me/datasets"
    assert paths[1].endswith(":upload")
    assert paths[-1] == "/accounts/me/supervisedFineTuningJobs"
    assert "what fireworks bills is not known here" in plan.warnings
    assert stub.requests == []
    with pytest.raises(rt.SpecError, match="the price of this server is not known"):
        rt.replay(archive, job_id, client, base=LLAMA, dialect="fireworks", account="me", max_cost_usd=1.0)
    with pytest.raises(rt.SpecError, match="budget: the price of this server is not known"):
        rt.replay(archive, job_id, client, base=LLAMA, dialect="together", budget=rt.Budget(1.0))
    assert stub.requests == []


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_the_asynchronous_face_does_the_same(stub: Any, archive: rt.Archive, job_id: str) -> None:
    together(stub)

    async def made() -> Any:
        async with openai.AsyncOpenAI(base_url=stub.base_url, api_key="sk-test-secret-key", max_retries=0) as own:
            bought = await replay_async(archive, job_id, own, base=LLAMA, dialect="together")
            assert isinstance(bought, HostedJob)
            return await bought.look_async(own)

    assert asyncio.run(made()).model == "me/llama-sums"
