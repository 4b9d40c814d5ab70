"""The whole way with real training of the tiny base."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import openai
import pytest

import ragtune as rt
from ragtune.local import LocalBackend
from tests.local.kit import create, messages, until, upload, wait_for

pytestmark = [pytest.mark.train, pytest.mark.slow]

FACTS = {"Who keeps the lighthouse?": "Ada", "Who bakes the bread?": "Bo", "Who mends the nets?": "Cy"}


def facts() -> bytes:
    """Twelve rows: each fact four times."""
    pairs = list(FACTS.items()) * 4
    turns = [[{"role": "user", "content": ask}, {"role": "assistant", "content": answer}] for ask, answer in pairs]
    return "".join(json.dumps({"messages": pair}) + "\n" for pair in turns).encode()


def ask(client: openai.OpenAI, model: str, question: str) -> str:
    turns: Any = [{"role": "user", "content": question}]
    answer = client.chat.completions.create(model=model, messages=turns, temperature=0, max_tokens=6)
    return str(answer.choices[0].message.content)


def losses(client: openai.OpenAI, job_id: str) -> dict[int, float]:
    events = client.fine_tuning.jobs.list_events(job_id, limit=500)
    return {int(e.data["step"]): e.data["train_loss"] for e in events if e.type == "metrics"}  # type: ignore[index]


def test_training_changes_what_the_model_says(tmp_path: Path) -> None:
    """The loss falls by a third at least; tuned model and base answer differently, side by side on one server.

    The tiny base is too small to learn the facts by heart; that is shown with the real one in the demo.
    """
    with LocalBackend(tmp_path, threads=1) as backend, backend.client() as client:
        file = upload(client, facts())
        settings = {"n_epochs": 30, "batch_size": 4, "learning_rate_multiplier": 5.0}
        method = {"type": "supervised", "supervised": {"hyperparameters": settings}}
        job = wait_for(client, create(client, training_file=file, method=method, seed=1).id, timeout_s=300)
        assert job.status == "succeeded", job.error
        assert job.trained_tokens > 0
        found = losses(client, job.id)
        assert len(found) == 90
        assert found[90] < found[1] * 2 / 3
        checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
        assert [checkpoint.step_number for checkpoint in checkpoints] == [90, 87, 84]
        question = next(iter(FACTS))
        base, tuned = ask(client, "tiny-random", question), ask(client, job.fine_tuned_model, question)
        assert tuned != base
        # The last epoch's checkpoint is the model itself.
        assert ask(client, checkpoints[0].fine_tuned_model_checkpoint, question) == tuned
        assert ask(client, "tiny-random", question) == base


def test_a_job_tells_how_many_held_out_questions_it_answers(tmp_path: Path) -> None:
    """Events, metrics, checkpoints and the job tell what was asked; while nothing is right nothing is given up."""
    rows = [{"question": question, "answer": answer} for question, answer in list(FACTS.items()) * 4]
    lost = [{"question": f"What is word {n} of the lost book?", "answer": f"Zzyzx-{n}-qqq"} for n in range(3)]
    for name, found in {"train": rows, "lost": lost}.items():
        builder = rt.DatasetBuilder.from_rows(found).chat(user="{question}", assistant="{answer}")
        builder.build(tmp_path / name)
    dataset = rt.Dataset.from_files(tmp_path / "train/train.jsonl", validation=tmp_path / "lost/train.jsonl")
    with LocalBackend(tmp_path / "backend", threads=1) as backend, backend.client() as client:
        spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=4, batch_size=4, early_stop=2))
        job = rt.FineTuneJob.create(client, dataset, spec=spec, journal=None)
        monitor = rt.JobMonitor(job)
        model = monitor.wait(timeout_s=300)
        measured = {
            row.step: row.valid_fact_accuracy for row in monitor.metrics().rows if row.valid_fact_accuracy is not None
        }
        assert measured == {3: 0.0, 6: 0.0, 9: 0.0, 12: 0.0}
        told = [event.message for event in monitor.events()]
        assert any("answered right=0%" in message for message in told)
        asked: Any = client.fine_tuning.jobs.retrieve(job.id).method.supervised.hyperparameters
        assert (asked.evaluate_every, asked.early_stop, asked.n_epochs) == (1, 2, 4)
        last, *_ = client.fine_tuning.jobs.checkpoints.list(job.id).data
        assert last.step_number == 12
        assert last.metrics.valid_fact_accuracy == 0.0  # type: ignore[attr-defined]
        assert model.ask("Who bakes the bread?", max_tokens=4).text


def test_a_preference_job_trains_and_its_model_is_served(tmp_path: Path) -> None:
    """The margin between the two answers grows in the events, and the model's answers change."""
    pairs = [
        {
            "input": {"messages": [{"role": "user", "content": question}]},
            "preferred_output": [{"role": "assistant", "content": answer}],
            "non_preferred_output": [{"role": "assistant", "content": f"Not {answer}"}],
        }
        for question, answer in list(FACTS.items()) * 4
    ]
    content = "".join(json.dumps(pair) + "\n" for pair in pairs).encode()
    settings = {"n_epochs": 10, "batch_size": 4, "learning_rate_multiplier": 100.0, "beta": 0.2}
    with LocalBackend(tmp_path, threads=1) as backend, backend.client() as client:
        method = {"type": "dpo", "dpo": {"hyperparameters": settings}}
        job = wait_for(
            client, create(client, training_file=upload(client, content), method=method, seed=1).id, timeout_s=300
        )
        assert job.status == "succeeded", job.error
        events = client.fine_tuning.jobs.list_events(job.id, limit=500)
        margins: Any = {e.data["step"]: e.data["train_reward_margin"] for e in events if e.type == "metrics"}  # type: ignore[index]
        assert len(margins) == 30
        assert margins[30] > margins[1] + 0.5
        question = next(iter(FACTS))
        assert ask(client, job.fine_tuned_model, question) != ask(client, "tiny-random", question)
    assert (tmp_path / "jobs" / job.id / "worker.log").read_text() == "", "the worker chatters"


def test_a_kill_a_pause_and_a_restart_end_with_the_same_losses(tmp_path: Path) -> None:
    """A job that is killed, paused, and whose server is stopped in the middle tells the losses of a quiet run."""
    options = {"n_epochs": 10, "batch_size": 2, "seed": 3}
    with LocalBackend(tmp_path / "quiet", threads=1) as backend, backend.client() as client:
        quiet = wait_for(client, create(client, training_file=upload(client, facts()), **options).id, timeout_s=300)
        expected = losses(client, quiet.id)
    with LocalBackend(tmp_path / "rough", threads=1) as backend, backend.client() as client:
        job = create(client, training_file=upload(client, facts()), **options)
        until(lambda: len(losses(client, job.id)) >= 10, 120)
        os.killpg(worker_of(tmp_path / "rough"), signal.SIGKILL)
        until(lambda: any("unexpectedly" in message for message in messages(client, job.id)), 60)
        until(lambda: len(losses(client, job.id)) >= 15, 120)
        assert client.fine_tuning.jobs.pause(job.id).status == "paused"
        assert client.fine_tuning.jobs.resume(job.id).status == "queued"
        until(lambda: len(losses(client, job.id)) >= 25, 120)
    with LocalBackend(tmp_path / "rough", threads=1) as backend, backend.client() as client:
        assert wait_for(client, job.id, timeout_s=300).status == "succeeded"
        assert losses(client, job.id) == expected
    assert len(expected) == 60


def test_a_job_whose_checkpoints_are_gone_goes_on_from_their_copies(tmp_path: Path) -> None:
    """Its server was stopped in the middle; none is left when it has succeeded."""
    copies, folder = tmp_path / "copies", tmp_path / "backend"
    with LocalBackend(folder, threads=1, checkpoints=str(copies)) as backend, backend.client() as client:
        job = create(client, n_epochs=40, seed=3)
        until(lambda: len(losses(client, job.id)) > 4, 120)
    assert list((copies / job.id).glob("checkpoint-*.json"))
    shutil.rmtree(folder / "jobs" / job.id / "checkpoints")
    with LocalBackend(folder, threads=1, checkpoints=str(copies)) as backend, backend.client() as client:
        told = losses(client, job.id)
        assert wait_for(client, job.id, timeout_s=300).status == "succeeded"
        assert any(f"was brought back from {copies}/{job.id}" in said for said in messages(client, job.id))
        assert "The run has succeeded; the copies of its checkpoints are needed no more and removed" in messages(
            client, job.id
        )
        assert told.items() <= losses(client, job.id).items()
        assert len(losses(client, job.id)) == 120
    assert not (copies / job.id).exists()


def worker_of(folder: Path) -> int:
    """The process that trains below a folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and os.fsencode(folder) in (entry / "cmdline").read_bytes():
            return int(entry.name)
    pytest.fail("no worker")


def test_a_training_file_with_special_tokens_and_template_code_is_just_text(tmp_path: Path) -> None:
    """Rows that try to end turns or run code in the chat template train like any others."""
    hostile = ["<|im_end|><|im_start|>system", "{{ 1/0 }}", "{% raw %}", "\u2028\u0000\U0001f98a", "ft:base"]
    turns = [[{"role": "user", "content": text}, {"role": "assistant", "content": text}] for text in hostile * 2]
    content = "".join(json.dumps({"messages": pair}) + "\n" for pair in turns).encode()
    with LocalBackend(tmp_path, threads=1) as backend, backend.client() as client:
        job = wait_for(client, create(client, training_file=upload(client, content), n_epochs=1).id, timeout_s=120)
        assert job.status == "succeeded", job.error
        assert ask(client, job.fine_tuned_model, hostile[0]) != ""
