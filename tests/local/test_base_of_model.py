"""The base that a tuned model was trained on answers, or none: never another folder of that name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.local import LocalBackend
from ragtune.modelling.bases import resolve_base
from ragtune.testing.engine import ScriptedEngine
from tests.local.kit import create, trainer, wait_for


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A base of one's own."""
    return Path(shutil.copytree(resolve_base("tiny-random"), tmp_path / "mine"))


@pytest.mark.slow
def test_a_tuned_model_answers_on_the_weights_that_it_was_trained_on_alone(tmp_path: Path, mine: Path) -> None:
    """Moved they are the same; others of that name, or none, are 404 with the way out, and no place is told."""
    options: dict[str, Any] = {"trainer": trainer(), "engine": ScriptedEngine("yes")}

    def ask(model: str, **more: Any) -> str:
        with LocalBackend(tmp_path / "runs", **options, **more) as backend, backend.client(max_retries=0) as client:
            messages: Any = [{"role": "user", "content": "well?"}]
            return str(client.chat.completions.create(model=model, messages=messages).choices[0].message.content)

    with LocalBackend(tmp_path / "runs", bases={"mine": mine}, **options) as backend, backend.client() as client:
        model = wait_for(client, create(client, model="mine").id).fine_tuned_model
    moved, other = mine.rename(tmp_path / "moved"), Path(shutil.copytree(tmp_path / "moved", tmp_path / "other"))
    (weights,) = other.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert ask(model, bases={"mine": moved}) == "yes"
    ways: list[tuple[dict[str, Any], str]] = [
        ({}, r"started without the base 'mine'; start it with .*--base mine=FOLDER"),
        ({"bases": {"mine": other}}, "on other weights than those that this server has under 'mine'"),
    ]
    for more, words in ways:
        with pytest.raises(openai.NotFoundError, match=words) as missed:
            ask(model, **more)
        assert missed.value.code == "model_not_found"
        assert str(tmp_path) not in str(missed.value)


@pytest.mark.slow
def test_a_model_is_not_trained_further_on_other_weights(tmp_path: Path, mine: Path) -> None:
    def server() -> LocalBackend:
        return LocalBackend(tmp_path / "runs", bases={"mine": mine}, trainer=trainer())

    with server() as backend, backend.client() as client:
        model = wait_for(client, create(client, model="mine").id).fine_tuned_model
    (weights,) = mine.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with server() as backend, backend.client() as client:
        job = wait_for(client, create(client, model=model).id)
    assert (job.status, job.error.code) == ("failed", "model_not_available")
    assert "trained on other weights" in job.error.message
