"""The tests of the help desk: a real server over loopback, no key, no torch, no waiting."""

from __future__ import annotations

import json
from pathlib import Path

import openai
import pytest
from helpdesk import Night, retrain

import ragtune as rt
from ragtune.testing import ScriptedBackend


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Twelve answers of the help desk."""
    rows = [{"question": f"How do I reset device {n}?", "answer": f"Hold button {n}."} for n in range(12)]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def night(client: openai.OpenAI, answers: Path) -> Night:
    return retrain(client, answers, answers.parent / "dataset", base="tiny-random")


def test_a_night_ends_with_a_model_that_knows_the_answers(ragtune_client: openai.OpenAI, answers: Path) -> None:
    """A tuned model of the scripted server knows its training file by heart."""
    model = rt.TunedModel(ragtune_client, night(ragtune_client, answers).model or "")
    assert model.ask("How do I reset device 7?").text == "Hold button 7."


def test_a_closed_account_keeps_yesterdays_model(
    ragtune_tuning_closed: ScriptedBackend, ragtune_client: openai.OpenAI, answers: Path
) -> None:
    assert night(ragtune_client, answers).reason == "this account may not train any more"


def test_a_lost_reply_buys_one_job(
    ragtune_create_loses_its_reply: ScriptedBackend, ragtune_client: openai.OpenAI, answers: Path
) -> None:
    """The job was made and the connection broke: it is found and waited for, not bought again."""
    assert night(ragtune_client, answers).reason == "trained"
    assert len(ragtune_client.fine_tuning.jobs.list().data) == 1


def test_a_bad_line_is_named(ragtune_job_failed: ScriptedBackend, ragtune_client: openai.OpenAI, answers: Path) -> None:
    assert night(ragtune_client, answers).reason == "the server found fault with line 10 [invalid_training_file]"


def test_a_cancelled_job_is_no_alarm(
    ragtune_job_cancelled: ScriptedBackend, ragtune_client: openai.OpenAI, answers: Path
) -> None:
    assert night(ragtune_client, answers).reason == "somebody cancelled the training"


def test_an_empty_account_is_told_by_its_code(
    ragtune_quota_used_up: ScriptedBackend, ragtune_client: openai.OpenAI, answers: Path
) -> None:
    assert night(ragtune_client, answers) == Night(model=None, reason="refused: insufficient_quota")


def test_a_model_that_appears_late_is_waited_for(
    ragtune_model_appears_late: ScriptedBackend, ragtune_client: openai.OpenAI, answers: Path
) -> None:
    assert night(ragtune_client, answers).reason == "trained"
    looks = [request.call for request in ragtune_model_appears_late.requests].count("models.retrieve")
    assert looks == 2
