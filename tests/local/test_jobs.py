"""Fine-tuning jobs on the wire, with a scripted trainer."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.local import LocalBackend
from ragtune.testing import ScriptedBackend
from tests.local.kit import create, messages, pairs, rows, trainer, until, upload, verdicts, wait_for


def test_a_job_goes_its_way_to_a_model(client: openai.OpenAI) -> None:
    """12 examples in batches of 4 for 3 epochs are 9 steps; the events tell the whole story in order."""
    job = create(client, suffix="my facts", seed=7, metadata={"team": "science"})
    assert job.status == "validating_files"
    assert (job.fine_tuned_model, job.finished_at, job.error, job.trained_tokens) == (None, None, None, None)
    done = wait_for(client, job.id)
    assert done.status == "succeeded"
    assert done.fine_tuned_model.startswith("ft:tiny-random:local:my-facts:")
    assert len(done.fine_tuned_model.rsplit(":", 1)[1]) == 8
    assert (done.seed, done.metadata, done.trained_tokens, done.error) == (
        7,
        {"team": "science"},
        len(rows()) // 4 * 3,
        None,
    )
    told = messages(client, job.id)
    steps = [f"Step {step}/9: training loss={3 / step:.2f}" for step in range(1, 10)]
    assert [message for message in told if message.startswith("Step")] == steps
    assert [message for message in told if not message.startswith(("Step", "Checkpoint"))] == [
        f"Created fine-tuning job: {job.id}",
        f"Validating training file: {job.training_file}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
        f"New fine-tuned model created: {done.fine_tuned_model}",
        "The job has successfully completed",
    ]


def test_auto_becomes_numbers_when_the_files_are_known(client: openai.OpenAI) -> None:
    """The worker's rule for 12 examples: batches of 2, and epochs until there are 100 steps."""
    job = client.fine_tuning.jobs.create(model="tiny-random", training_file=upload(client))
    assert job.hyperparameters.n_epochs == "auto"
    done = wait_for(client, job.id)
    assert done.method.supervised.hyperparameters.model_dump() == done.hyperparameters.model_dump()
    assert (done.hyperparameters.n_epochs, done.hyperparameters.batch_size) == (17, 2)
    assert done.hyperparameters.learning_rate_multiplier == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("method", "multiplier"), [("supervised", 0.02), ("dpo", 0.4)])
def test_the_rate_itself_can_be_asked_for(tmp_path: Path, method: str, multiplier: float) -> None:
    """In place of OpenAI's multiplier; the job reports both, and the worker is told just that rate."""
    asked: Any = {"type": method, method: {"hyperparameters": {"learning_rate": 2e-5}}}
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        file = upload(client, pairs() if method == "dpo" else rows())
        job = client.fine_tuning.jobs.create(model="tiny-random", training_file=file, method=asked)
        done = wait_for(client, job.id)
    told = getattr(done.method, method).hyperparameters.model_dump()
    assert told["learning_rate"] == 2e-5
    assert told["learning_rate_multiplier"] == pytest.approx(multiplier)
    spec = json.loads((tmp_path / "jobs" / job.id / "spec.json").read_text())
    assert spec["learning_rate"] == 2e-5


def test_a_preference_job_reports_its_beta(client: openai.OpenAI) -> None:
    """`hyperparameters` is null as on OpenAI's wire; under `method.dpo` stand the numbers that `auto` became."""
    file = upload(client, pairs())
    job = wait_for(client, create(client, training_file=file, method={"type": "dpo"}).id)
    assert (job.status, job.hyperparameters) == ("succeeded", None)
    found = job.method.dpo.hyperparameters
    assert (found.beta, found.batch_size, found.n_epochs, found.learning_rate_multiplier) == (0.1, 2, 17, 1.0)
    chosen: dict[str, Any] = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.3, "n_epochs": 1}}}
    job = wait_for(client, create(client, training_file=file, method=chosen).id)
    assert (job.method.dpo.hyperparameters.beta, job.method.dpo.hyperparameters.n_epochs) == (0.3, 1)


@pytest.mark.slow
def test_a_kto_job_goes_through_the_official_client_and_reports_its_weights(tmp_path: Path) -> None:
    """An extension of ours: OpenAI's schema has no such method, and its client sends and shows it all the same."""
    chosen: Any = {"type": "kto", "kto": {"hyperparameters": {"undesirable_weight": 2.5, "beta": 0.3, "n_epochs": 1}}}
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        file = upload(client, verdicts())
        plain = wait_for(client, create(client, training_file=file, method={"type": "kto"}).id)
        made = client.fine_tuning.jobs.create(model="tiny-random", training_file=file, extra_body={"method": chosen})
        weighed = wait_for(client, made.id)
    assert (plain.status, plain.hyperparameters, plain.method.type) == ("succeeded", None, "kto")
    assert plain.method.kto["hyperparameters"] == {
        "n_epochs": 17,
        "batch_size": 2,
        "learning_rate_multiplier": 1.0,
        "beta": 0.1,
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
    }
    found = weighed.method.kto["hyperparameters"]
    assert (found["undesirable_weight"], found["beta"], found["n_epochs"]) == (2.5, 0.3, 1)
    spec = json.loads((tmp_path / "jobs" / weighed.id / "spec.json").read_text())
    assert (spec["method"], spec["beta"], spec["undesirable_weight"]) == ("kto", 0.3, 2.5)


@pytest.mark.slow
def test_the_worker_is_told_what_becomes_of_thoughts(tmp_path: Path) -> None:
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        job = wait_for(client, create(client, method=asking(reasoning="mask")).id)
    assert job.method.supervised.hyperparameters.reasoning == "mask"
    assert json.loads((tmp_path / "jobs" / job.id / "spec.json").read_text())["reasoning"] == "mask"


def test_the_other_problems_of_a_broken_file_are_counted(client: openai.OpenAI) -> None:
    for others, words in ((1, "(1 more problem)"), (2, "(2 more problems)")):
        content = rows(10) + b'{"messages": [{"role": "bot", "content": "x"}]}\n' * (1 + others)
        assert words in wait_for(client, create(client, training_file=upload(client, content)).id).error.message


@pytest.mark.parametrize(
    ("content", "method", "words"),
    [
        (pairs(), "supervised", "of the format preference, but the method supervised trains on chat or completion"),
        (rows(), "dpo", "of the format chat, but the method dpo trains on preference records"),
        (pairs(), "kto", "of the format preference, but the method kto trains on unpaired records"),
    ],
)
def test_records_of_another_method_fail_the_job(client: openai.OpenAI, content: bytes, method: str, words: str) -> None:
    job = wait_for(client, create(client, training_file=upload(client, content), method={"type": method}).id)
    assert (job.status, job.error.code, job.error.param) == ("failed", "invalid_training_file", "training_file")
    assert words in job.error.message


def test_the_deprecated_hyperparameters_still_count(client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.create(
        model="tiny-random", training_file=upload(client), hyperparameters={"n_epochs": 2}
    )
    assert job.method.supervised.hyperparameters.n_epochs == 2


def test_the_result_file_is_a_table_in_base64(client: openai.OpenAI) -> None:
    """OpenAI's columns, a line per step, blanks where no validation ran."""
    done = wait_for(client, create(client).id)
    file = client.files.retrieve(done.result_files[0])
    assert file.purpose == "fine-tune-results"
    text = base64.b64decode(client.files.content(file.id).read(), validate=True).decode()
    table = list(csv.DictReader(io.StringIO(text)))
    assert list(table[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert [int(row["step"]) for row in table] == list(range(1, 10))
    assert (table[2]["train_loss"], table[2]["train_accuracy"], table[2]["valid_loss"]) == ("1.0", "0.75", "")


def test_checkpoints_of_the_last_three_epochs_are_kept(client: openai.OpenAI) -> None:
    """Of five epochs of three steps the last three stay, newest first, each with the metrics of its step."""
    done = wait_for(client, create(client, n_epochs=5).id)
    found = list(client.fine_tuning.jobs.checkpoints.list(done.id, limit=2))
    assert [checkpoint.step_number for checkpoint in found] == [15, 12, 9]
    assert found[0].metrics.train_loss == pytest.approx(0.2)
    assert found[0].fine_tuned_model_checkpoint == f"{done.fine_tuned_model}:ckpt-step-15"
    names = {model.id for model in client.models.list()}
    assert {checkpoint.fine_tuned_model_checkpoint for checkpoint in found} <= names
    assert not any(name.endswith(("step-3", "step-6")) for name in names)


def test_events_page_from_the_newest(client: openai.OpenAI) -> None:
    """Pages of four show every event once, newest first."""
    done = wait_for(client, create(client).id)
    whole = client.fine_tuning.jobs.list_events(done.id, limit=1000).data
    assert whole[0].message == "The job has successfully completed"
    assert [event.id for event in client.fine_tuning.jobs.list_events(done.id, limit=4)] == [
        event.id for event in whole
    ]


def test_jobs_are_listed_by_metadata(client: openai.OpenAI) -> None:
    """All pairs must fit; `metadata=null` finds the jobs without any."""
    file = upload(client)
    first = create(client, training_file=file, metadata={"a": "1", "b": "2"})
    second = create(client, training_file=file, metadata={"a": "1"})
    third = create(client, training_file=file)
    jobs = client.fine_tuning.jobs
    assert [job.id for job in jobs.list(limit=2)] == [third.id, second.id, first.id]
    assert [job.id for job in jobs.list(metadata={"a": "1"})] == [second.id, first.id]
    assert [job.id for job in jobs.list(metadata={"a": "1", "b": "2"})] == [first.id]
    assert [job.id for job in jobs.list(extra_query={"metadata": "null"})] == [third.id]


@pytest.mark.slow
def test_one_job_trains_and_the_others_wait(tmp_path: Path) -> None:
    """With one place the second job stays queued until the first has ended; they end in the order they came."""
    with LocalBackend(tmp_path, trainer=trainer("--delay", "0.1")) as backend, backend.client() as client:
        first, second = create(client), create(client)
        wait_for(client, first.id, "running")
        assert wait_for(client, second.id, "queued").status == "queued"
        assert wait_for(client, second.id).finished_at >= wait_for(client, first.id).finished_at


@pytest.mark.slow
def test_a_running_job_says_when_it_will_presumably_end(tmp_path: Path) -> None:
    with LocalBackend(tmp_path, trainer=trainer("--delay", "0.3")) as backend, backend.client() as client:
        job = create(client)
        running = until(lambda: job_ if (job_ := client.fine_tuning.jobs.retrieve(job.id)).estimated_finish else None)
        assert 0 <= running.estimated_finish - running.created_at < 30
        client.fine_tuning.jobs.cancel(job.id)
        assert client.fine_tuning.jobs.retrieve(job.id).estimated_finish is None


@pytest.mark.slow
def test_a_cancelled_job_ends_at_once(tmp_path: Path) -> None:
    """The answer says `cancelled`, the process is gone soon after, and the job stays cancelled."""
    with LocalBackend(tmp_path, trainer=trainer("--delay", "0.2")) as backend, backend.client() as client:
        job = create(client)
        until(lambda: any(message.startswith("Step") for message in messages(client, job.id)))
        assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
        until(lambda: not (tmp_path / "jobs" / job.id / "checkpoints").exists())
        after = client.fine_tuning.jobs.retrieve(job.id)
        assert (after.status, after.fine_tuned_model, after.result_files) == ("cancelled", None, [])
        with pytest.raises(openai.BadRequestError, match="is cancelled and cannot be cancelled"):
            client.fine_tuning.jobs.cancel(job.id)


def test_a_job_that_ends_leaves_no_half_written_adapter(tmp_path: Path) -> None:
    """Its worker is killed at once, perhaps in the middle of writing one."""
    with LocalBackend(tmp_path, trainer=trainer("--delay", "0.05")) as backend, backend.client() as client:
        job = wait_for(client, create(client, n_epochs=50).id, "running")
        torn = tmp_path / "jobs" / job.id / "epochs" / ".step-3.tmp"
        torn.mkdir(parents=True)
        client.fine_tuning.jobs.cancel(job.id)
        until(lambda: not torn.exists())


@pytest.mark.slow
def test_a_paused_job_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Every step is told once, although the trainer was stopped and started in between."""
    with LocalBackend(tmp_path, trainer=trainer("--delay", "0.1")) as backend, backend.client() as client:
        job = create(client)
        until(lambda: "Step 3/9: training loss=1.00" in messages(client, job.id))
        assert client.fine_tuning.jobs.pause(job.id).status == "paused"
        until(lambda: not _alive(tmp_path, job.id))
        assert client.fine_tuning.jobs.retrieve(job.id).status == "paused"
        assert client.fine_tuning.jobs.resume(job.id).status == "queued"
        assert wait_for(client, job.id).status == "succeeded"
        told = messages(client, job.id)
        assert len([message for message in told if message.startswith("Step")]) == 9
        assert any(message.startswith("Going on from the checkpoint at step") for message in told)


@pytest.mark.slow
def test_a_paused_job_that_is_cancelled_leaves_no_checkpoints(tmp_path: Path) -> None:
    """A pause keeps what the job would go on from; nothing runs any more that could remove it after the cancel."""
    with LocalBackend(tmp_path, trainer=trainer("--delay", "0.1")) as backend, backend.client() as client:
        job = create(client)
        until(lambda: "Step 3/9: training loss=1.00" in messages(client, job.id))
        client.fine_tuning.jobs.pause(job.id)
        # The one place is free again when another job has had it: nobody works on the paused one any more.
        wait_for(client, create(client, n_epochs=1).id)
        kept = tmp_path / "jobs" / job.id / "checkpoints"
        assert kept.is_dir()
        assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
        assert not kept.exists()


def _alive(folder: Path, job_id: str) -> bool:
    events = folder / "jobs" / job_id / "events.jsonl"
    return '"stopped"' not in events.read_text()


def test_a_succeeded_job_cannot_be_moved(client: openai.OpenAI) -> None:
    done = wait_for(client, create(client).id)
    for verb in ("cancel", "pause", "resume"):
        with pytest.raises(openai.BadRequestError, match="is succeeded and cannot be"):
            getattr(client.fine_tuning.jobs, verb)(done.id)
        with pytest.raises(openai.BadRequestError, match="'dry_run'"):
            getattr(client.fine_tuning.jobs, verb)(done.id, extra_query={"dry_run": "true"})


def test_a_broken_training_file_fails_the_job_with_its_line(client: openai.OpenAI) -> None:
    """The upload is taken, as at OpenAI; the job fails and names line, place and reason."""
    content = rows(10) + b'{"messages": [{"role": "bot", "content": "x"}]}\n'
    failed = wait_for(client, create(client, training_file=upload(client, content)).id)
    assert (failed.status, failed.error.code, failed.error.param) == (
        "failed",
        "invalid_training_file",
        "training_file",
    )
    assert "Line 11, messages[0].role" in failed.error.message
    assert "more problem" not in failed.error.message
    assert failed.fine_tuned_model is None
    assert client.fine_tuning.jobs.list_events(failed.id).data[0].level == "error"


def test_a_broken_validation_file_is_told_apart(client: openai.OpenAI) -> None:
    failed = wait_for(client, create(client, validation_file=upload(client, b"[]\n")).id)
    assert (failed.error.code, failed.error.param) == ("invalid_validation_file", "validation_file")


def test_nine_examples_are_too_few(client: openai.OpenAI) -> None:
    failed = wait_for(client, create(client, training_file=upload(client, rows(9))).id)
    assert failed.error.code == "invalid_n_examples"
    assert failed.error.message == "Training file has 9 example(s), but must have at least 10 examples"


def test_a_failure_of_the_trainer_reaches_the_job(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    backend.next_job(end="failed", steps=3, code="out_of_memory", message="Out of memory; lower batch_size")
    failed = wait_for(client, create(client).id)
    assert (failed.status, failed.error.code) == ("failed", "out_of_memory")
    assert failed.error.message == "Out of memory; lower batch_size"


def test_a_job_keeps_its_rows_when_the_file_is_deleted(tmp_path: Path) -> None:
    """The bytes stay until the job has ended, then they are removed."""
    with ScriptedBackend(tmp_path, pace="poll") as backend, backend.client() as client:
        job = create(client)
        client.files.delete(job.training_file)
        assert wait_for(client, job.id).status == "succeeded"
        left = [path.stat().st_size for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
        assert len(left) == 1, "only the result file is left"


def test_a_tuned_model_can_be_tuned_further(client: openai.OpenAI) -> None:
    """The new name carries the base, not the whole old name."""
    first = wait_for(client, create(client).id)
    second = wait_for(client, create(client, model=first.fine_tuned_model, suffix="more").id)
    assert second.model == first.fine_tuned_model
    assert second.fine_tuned_model.startswith("ft:tiny-random:local:more:")


@pytest.mark.slow
def test_a_model_that_is_trained_further_cannot_be_deleted_yet(tmp_path: Path) -> None:
    """Its weights are needed until that job has ended: 409, and clients are told not to try again by themselves."""
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        first = wait_for(client, create(client).id)
        second = create(client, model=first.fine_tuned_model)
        client.fine_tuning.jobs.pause(second.id)
        with pytest.raises(openai.ConflictError, match=f"trained further by {second.id}") as caught:
            client.models.delete(first.fine_tuned_model)
        assert (caught.value.code, caught.value.param) == ("model_in_use", "model")
        assert caught.value.response.headers["x-should-retry"] == "false"
        client.fine_tuning.jobs.resume(second.id)
        assert wait_for(client, second.id).status == "succeeded"
        assert client.models.delete(first.fine_tuned_model).deleted


@pytest.mark.slow
def test_an_alias_lets_unchanged_programs_run(tmp_path: Path) -> None:
    """The tuned name carries the name that was asked for, and an event says what is really trained."""
    alias = "gpt-4o-mini-2024-07-18"
    backend = LocalBackend(tmp_path, trainer=trainer(), aliases={alias: "tiny-random"})
    with backend, backend.client() as client:
        done = wait_for(client, create(client, model=alias).id)
        assert done.fine_tuned_model.startswith(f"ft:{alias}:local::")
        assert f"{alias} stands for tiny-random here: that is what is trained" in messages(client, done.id)
        assert alias in [model.id for model in client.models.list()]


def test_models_can_be_deleted_and_bases_not(backend: LocalBackend, client: openai.OpenAI) -> None:
    """A deleted model is gone from list and disk, its checkpoints stay; a base cannot be deleted."""
    done = wait_for(client, create(client).id)
    adapter = backend.folder / "jobs" / done.id / "adapter"
    assert adapter.is_dir()
    model = client.models.retrieve(done.fine_tuned_model)
    assert (model.owned_by, model.shutdown_date) == (backend.account, None)
    assert client.models.delete(done.fine_tuned_model).deleted
    assert not adapter.exists()
    assert f"{done.fine_tuned_model}:ckpt-step-9" in [model.id for model in client.models.list()]
    for call in (client.models.retrieve, client.models.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            call(done.fine_tuned_model)
        assert caught.value.code == "model_not_found"
    with pytest.raises(openai.PermissionDeniedError, match="base model"):
        client.models.delete("tiny-random")


def asking(**settings: int | str) -> dict[str, object]:
    """A method with settings that are not OpenAI's."""
    return {"type": "supervised", "supervised": {"hyperparameters": settings}}


def judged(**settings: int) -> dict[str, object]:
    """A method that learns from single verdicts."""
    return {"type": "kto", "kto": {"hyperparameters": settings}}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": "gpt-none"}, "model"),
        ({"training_file": "file-none"}, "training_file"),
        ({"validation_file": "file-none"}, "validation_file"),
        ({"suffix": ""}, "suffix"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {str(number): "v" for number in range(17)}}, "metadata"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"batch_size": 257}}, "hyperparameters.batch_size"),
        ({"hyperparameters": {"learning_rate_multiplier": 0}}, "hyperparameters.learning_rate_multiplier"),
        ({"hyperparameters": {"learning_rate": 0}}, "hyperparameters.learning_rate"),
        ({"hyperparameters": {"learning_rate": 1e-4, "learning_rate_multiplier": 0.1}}, "learning_rate"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.1}}}}, "method.dpo.hyperparameters.beta"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method.supervised"),
        ({"method": {"type": "kto", "dpo": {}}}, "method.dpo"),
        ({"method": judged(desirable_weight=0)}, "method.kto.hyperparameters.desirable_weight"),
        ({"method": judged(batch_size=1)}, "batch_size"),
        ({"method": {"type": "kto"}, "hyperparameters": {"batch_size": 1}}, "batch_size"),
        ({"method": asking(evaluate_every=0)}, "method.supervised.hyperparameters.evaluate_every"),
        ({"method": asking(evaluate_every=1)}, "validation_file"),
        ({"method": asking(reasoning="hide")}, "method.supervised.hyperparameters.reasoning"),
        ({"hyperparameters": {"reasoning": "mask"}}, "hyperparameters.reasoning"),
        ({"method": asking(early_stop=1)}, "early_stop"),
        ({"hyperparameters": {"evaluate_every": 1}}, "hyperparameters.evaluate_every"),
        ({"method": {"type": "reinforcement", "reinforcement": {}}}, "method"),
        ({"method": {"type": "supervised", "dpo": {}}}, "method.dpo"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
def test_a_wrong_job_is_refused_by_name(client: openai.OpenAI, change: dict[str, object], param: str) -> None:
    """The envelope names the parameter at fault, and no job is made."""
    body: dict[str, object] = {"model": "tiny-random", "training_file": upload(client), **change}
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.jobs.create(**body)  # type: ignore[arg-type]
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)
    assert list(client.fine_tuning.jobs.list()) == []


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_the_first_and_the_last_seed_are_taken(client: openai.OpenAI, seed: int) -> None:
    assert client.fine_tuning.jobs.create(model="tiny-random", training_file=upload(client), seed=seed).seed == seed


def test_a_file_of_another_purpose_is_no_training_file(client: openai.OpenAI) -> None:
    file = client.files.create(file=("a.jsonl", rows()), purpose="evals")
    with pytest.raises(openai.BadRequestError, match="uploaded with the purpose 'evals'"):
        create(client, training_file=file.id)
