"""The client side on the embedded backend: a real server, a real training run of the tiny base."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt
from ragtune.aio import list_jobs, upload
from ragtune.local import LocalBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPEC = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=2, batch_size=4), seed=7, suffix="sums")

pytestmark = [pytest.mark.slow, pytest.mark.train]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    """A backend for all tests of this file."""
    with LocalBackend(tmp_path_factory.mktemp("backend"), threads=1) as backend:
        yield backend


@pytest.fixture
def account(backend: LocalBackend) -> Iterator[openai.OpenAI]:
    """A client of the backend."""
    with backend.client(timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def job_id(backend: LocalBackend, dataset: rt.Dataset) -> str:
    """A job that has trained."""
    with backend.client(timeout=60) as client:
        job = rt.FineTuneJob.create(client, dataset, SPEC, max_cost_usd=1.0)
        rt.JobMonitor(job).wait(timeout_s=300)
        return job.id


def test_a_finished_job_tells_everything_about_itself(account: openai.OpenAI, job_id: str, dataset: rt.Dataset) -> None:
    details = rt.FineTuneJob.get(account, job_id).details
    assert (details.status, details.model, details.n_epochs, details.batch_size, details.seed) == (
        "succeeded", "tiny-random", 2, 4, 7,
    )  # fmt: skip
    assert details.fine_tuned_model is not None
    assert details.fine_tuned_model.startswith("ft:tiny-random:")
    assert details.trained_tokens is not None
    assert details.trained_tokens > 0
    assert details.finished_at is not None
    assert details.created_at is not None
    assert details.finished_at >= details.created_at
    assert details.error is None
    assert details.metadata["ragtune_fingerprint"] == dataset.fingerprint
    assert details.validation_file is not None


def test_creating_again_hands_the_same_job_back(account: openai.OpenAI, job_id: str, dataset: rt.Dataset) -> None:
    again = rt.FineTuneJob.create(account, dataset, SPEC)
    assert (again.id, again.reused) == (job_id, True)
    assert rt.upload(account, dataset).reused
    assert rt.upload(account, dataset.validation).reused


def test_events_and_metrics_agree(account: openai.OpenAI, job_id: str) -> None:
    """Twelve rows in batches of four are three steps per epoch."""
    monitor = rt.JobMonitor(rt.FineTuneJob.get(account, job_id))
    events = list(monitor.events())
    assert len({event.id for event in events}) == len(events)
    times = [event.created_at for event in events if event.created_at is not None]
    assert times == sorted(times)
    steps = [event.data["step"] for event in events if event.type == "metrics"]
    metrics = monitor.metrics()
    assert steps == [row.step for row in metrics] == [1, 2, 3, 4, 5, 6]
    assert all(row.train_loss is not None and row.train_loss > 0 for row in metrics)
    assert metrics.overfitting in (True, False)
    half = events[len(events) // 2]
    assert [event.id for event in monitor.events(after=half.id)] == [e.id for e in events[len(events) // 2 + 1 :]]


def test_the_model_answers_in_every_way(account: openai.OpenAI, job_id: str, tmp_path: Path) -> None:
    model = rt.TunedModel.from_job(rt.FineTuneJob.get(account, job_id))
    assert model.system() == "Add up."
    answer = model.ask("What is 3 + 3?", max_tokens=6, logprobs=True)
    assert (answer.model, answer.finish_reason, answer.choices[0].index) == (model.name, "length", 0)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(answer.logprobs["content"]) == 6
    with model.stream("What is 3 + 3?", max_tokens=6) as stream:
        assert "".join(stream) == answer.text
    assert stream.answer.usage == answer.usage
    for piece in model.stream("What is 3 + 3?", max_tokens=6):
        assert answer.text.startswith(piece)
        break
    many = model.ask_many(["What is 3 + 3?", "b", "c"], concurrency=3, max_tokens=6)
    assert [type(one) for one in many] == [rt.Answer] * 3
    assert model.complete("Once", max_tokens=3, temperature=0).object == "text_completion"
    assert model.chat([{"role": "user", "content": "Hi"}], max_tokens=2).text is not None
    loaded = rt.TunedModel.load(account, model.save(tmp_path / "model.json"))
    assert (loaded.name, loaded.base, loaded.system()) == (model.name, "tiny-random", "Add up.")
    assert loaded.fingerprint == model.fingerprint is not None
    assert rt.TunedModel.latest(account).name == model.name
    assert model.expiry().kind == "never"


def test_an_alias_costs_nothing_and_never_ends(tmp_path: Path, dataset: rt.Dataset) -> None:
    """The catalogue speaks of OpenAI's model of that name, not of what stands behind it here."""
    name = "gpt-4o-mini-2024-07-18"
    spec = rt.TuneSpec(model=name, method=rt.Supervised(n_epochs=1), seed=7)
    with LocalBackend(tmp_path / "aliased", aliases={name: "tiny-random"}) as backend, backend.client() as client:
        assert rt.TunedModel(client, f"ft:{name}:local::1", system="").expiry().kind == "never"
        plan = rt.FineTuneJob.plan(client, dataset, spec)
        assert plan.cost is not None
        assert (plan.cost.usd, plan.warnings) == (0.0, ())
        told = rt.FineTuneJob.plan(client, dataset, spec, dialect="generic").cost
        assert any("the price is OpenAI's" in note for note in told.assumptions)
        job = rt.FineTuneJob.create(client, dataset, spec, max_cost_usd=0.0, budget=rt.Budget(0.0))
        assert rt.runs()[0].predicted_usd == 0.0
        rt.JobMonitor(job).wait(timeout_s=300)
        assert rt.runs()[0].billed_usd == 0.0


def test_a_base_that_is_not_there_is_refused_before_the_upload(account: openai.OpenAI, dataset: rt.Dataset) -> None:
    files = len(rt.Maintenance(account).files())
    spec = rt.TuneSpec(model="tiny-rondom")
    with pytest.raises(rt.Unsupported, match=r"tiny-rondom.* has .*tiny-random"):
        rt.FineTuneJob.create(account, dataset, spec)
    with pytest.raises(rt.Unsupported, match="tiny-rondom"):
        rt.FineTuneJob.plan(account, dataset, spec, probe=True)
    assert len(rt.Maintenance(account).files()) == files
    assert all(run.model != spec.model for run in rt.runs())


def test_checkpoints_can_be_asked_with_the_same_prompt(account: openai.OpenAI, job_id: str) -> None:
    last, first = rt.FineTuneJob.get(account, job_id).checkpoints()
    assert (first.step, last.step) == (3, 6)
    assert first.model is not None
    checkpoint = rt.TunedModel(account, first.model)
    assert checkpoint.ask("What is 3 + 3?", max_tokens=2).model == first.model
    assert checkpoint.system() == "Add up."


def test_a_job_is_saved_and_found_in_another_program(
    backend: LocalBackend, account: openai.OpenAI, job_id: str, tmp_path: Path
) -> None:
    saved = rt.FineTuneJob.get(account, job_id).save(tmp_path / "job.json")
    (tmp_path / "key.txt").write_text(backend.api_key)
    program = f"""
    import ragtune as rt
    client = rt.client_from_key_file({str(tmp_path / "key.txt")!r}, base_url={backend.base_url!r}, timeout=30)
    print(rt.FineTuneJob.load(client, {str(saved)!r}).status)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout == "succeeded\n"
    assert backend.api_key not in saved.read_text()


def test_a_second_job_is_cancelled_and_does_not_count_as_made(
    account: openai.OpenAI, job_id: str, dataset: rt.Dataset
) -> None:
    spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=50, batch_size=1), seed=1)
    second = rt.FineTuneJob.create(account, dataset, spec)
    with pytest.raises(rt.WaitTimeout, match="runs on"):
        rt.JobMonitor(second).wait(timeout_s=0.2)
    with pytest.raises(rt.ModelNotReady, match="no model yet"):
        rt.TunedModel.from_job(second)
    rt.Maintenance(account, enabled=True).cancel(second.id)
    with pytest.raises(rt.JobCancelled):
        rt.JobMonitor(second).wait(timeout_s=120)
    assert [job.id for job in rt.list_jobs(account, status="cancelled")] == [second.id]
    third = rt.FineTuneJob.create(account, dataset, spec)
    assert third.id != second.id
    third.cancel()


def test_wrong_key_unknown_model_and_unknown_job_are_told_apart(backend: LocalBackend, dataset: rt.Dataset) -> None:
    with backend.client(api_key="sk-wrong-wrong-wrong", timeout=10) as stranger:
        with pytest.raises(openai.AuthenticationError) as refusal:
            rt.list_jobs(stranger)
        # The row of this server, not the one for every other, which speaks of scopes.
        assert refusal.value.__notes__[0].startswith("the embedded backend at ")
        assert "the message says where its own key is" in refusal.value.__notes__[0]
    with backend.client(timeout=10) as client:
        with pytest.raises(openai.NotFoundError, match="nope"):
            rt.TunedModel(client, "nope").ask("?")
        with pytest.raises(openai.NotFoundError, match="ftjob-nope"):
            rt.FineTuneJob.get(client, "ftjob-nope")
        with pytest.raises(openai.BadRequestError, match="not available for fine-tuning"):
            rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model="gpt-99"), force=True)


def test_the_asynchronous_classes_do_the_same(
    backend: LocalBackend, job_id: str, dataset: rt.Dataset, tmp_path: Path
) -> None:
    async def walk() -> None:
        async with backend.async_client(timeout=60) as client:
            assert (await upload(client, dataset)).reused
            job = await rt.AsyncFineTuneJob.create(client, dataset, SPEC)
            assert (job.id, job.reused) == (job_id, True)
            assert (await rt.AsyncFineTuneJob.plan(client, dataset, SPEC, probe=True)).calls == ()
            assert (await rt.AsyncFineTuneJob.load(client, await job.save(tmp_path / "job.json"))).id == job_id
            monitor = rt.AsyncJobMonitor(job)
            assert len([event async for event in monitor.events()]) > 6
            assert len(await monitor.metrics()) == 6
            model = await monitor.wait()
            answer = await model.ask("What is 3 + 3?", max_tokens=6)
            async with model.stream("What is 3 + 3?", max_tokens=6) as stream:
                assert "".join([piece async for piece in stream]) == answer.text
            many = await model.ask_many(["a", "b", "c"], max_tokens=2)
            assert [type(one) for one in many] == [rt.Answer] * 3
            assert (await rt.AsyncTunedModel.latest(client)).name == model.name
            assert job_id in [row.id for row in await list_jobs(client)]
            maintenance = rt.AsyncMaintenance(client)
            with pytest.raises(rt.MaintenanceDisabled):
                await maintenance.delete_model(model.name)
            assert model.name in [row.id for row in await maintenance.models()]

    asyncio.run(walk())


def test_the_synchronous_classes_work_inside_a_running_loop(account: openai.OpenAI, job_id: str) -> None:
    """As in a notebook, where a loop runs in the same thread."""

    async def cell() -> str:
        model = rt.JobMonitor(rt.FineTuneJob.get(account, job_id)).wait()
        return "".join(model.stream("What is 3 + 3?", max_tokens=3))

    assert asyncio.run(cell())


def test_ctrl_c_while_waiting_leaves_the_job_running(
    backend: LocalBackend, dataset: rt.Dataset, tmp_path: Path
) -> None:
    """A real SIGINT to a real program; its last line says how to come back, and the job is still there."""
    (tmp_path / "key.txt").write_text(backend.api_key)
    program = f"""
    import ragtune as rt
    client = rt.client_from_key_file({str(tmp_path / "key.txt")!r}, base_url={backend.base_url!r}, timeout=30)
    dataset = rt.Dataset.load({str(dataset.folder)!r})
    spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=50, batch_size=1), seed=2)
    job = rt.FineTuneJob.create(client, dataset, spec)
    print(job.id, flush=True)
    rt.JobMonitor(job).wait(on_event=lambda event: print("event", flush=True))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        job_id = waiting.stdout.readline().strip()
        assert waiting.stdout.readline() == "event\n"
        os.kill(waiting.pid, signal.SIGINT)
        _, err = waiting.communicate(timeout=30)
    assert f"waiting ended, {job_id} runs on" in err.splitlines()[-1]
    with backend.client(timeout=30) as client:
        job = rt.FineTuneJob.get(client, job_id)
        assert not job.details.is_final
        job.cancel()


def test_the_tuned_model_is_put_away_last(account: openai.OpenAI, job_id: str, dataset: rt.Dataset) -> None:
    """Deleting twice says that there is nothing any more; nobody waits for the model, and its job is made anew."""
    job = rt.FineTuneJob.get(account, job_id)
    name: Any = job.details.fine_tuned_model
    maintenance = rt.Maintenance(account, enabled=True)
    assert maintenance.delete_model(name, dry_run=True).calls[0].path == f"/models/{name}"
    assert maintenance.delete_model(name).deleted
    assert name not in [model.id for model in maintenance.models()]
    with pytest.raises(openai.NotFoundError):
        maintenance.delete_model(name)
    begin = time.monotonic()
    for use in (rt.TunedModel.from_job, lambda job: rt.JobMonitor(job).wait()):
        with pytest.raises(rt.NoTunedModel, match="new=True"):
            use(job)
    with pytest.raises(rt.NoTunedModel):
        rt.TunedModel.latest(account)
    again = rt.FineTuneJob.create(account, dataset, SPEC)
    assert (again.id != job_id, again.reused) == (True, False)
    assert time.monotonic() - begin < 10
    again.cancel()
