"""An alias of the registry that lies there is a model's name on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import ragtune as rt
from ragtune.cli import app
from ragtune.testing import ScriptedBackend

MODEL = "gpt-4o-mini-2024-07-18"


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A model that the alias `faq-prod` leads to, in the registry of the current folder."""
    monkeypatch.chdir(tmp_path)
    rows = [{"q": f"What is {n} + {n}?", "a": f"{n + n}"} for n in range(12)]
    data = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}", system="Be short.").build("data")
    with ScriptedBackend(tmp_path / "server") as backend:
        monkeypatch.setenv("OPENAI_BASE_URL", backend.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", backend.api_key)
        client = backend.client()
        job = rt.FineTuneJob.create(client, data, rt.TuneSpec(model=MODEL))
        model = rt.JobMonitor(job).wait(progress=False)
        registry = rt.Registry("models.sqlite3")
        registry.add(model)
        registry.promote("faq-prod", model, force=True, by="anna", why="the first one")
        registry.promote(MODEL, model, force=True, by="anna", why="an alias that is called like a base")
        yield model.name


def test_an_alias_is_asked_with_the_prompt_of_its_model_which_is_told(tuned: str) -> None:
    done = run("ask", "faq-prod", "What is 3 + 3?", "--json")
    assert (done.exit_code, done.stderr) == (0, f"faq-prod leads to {tuned}\n")
    assert (json.loads(done.stdout)["model"], json.loads(done.stdout)["answer"]) == (tuned, "6")
    planned = json.loads(run("ask", "faq-prod", "Hi", "--dry-run", "--json").stdout)
    assert [call["body"]["model"] for call in planned["calls"]] == [tuned]


def test_a_base_is_no_alias_and_a_name_that_is_neither_goes_to_the_server(tuned: str) -> None:
    assert json.loads(run("ask", MODEL, "Hi", "--json").stdout)["model"] == MODEL
    assert run("ask", tuned, "What is 3 + 3?").stderr == ""
    lost = run("ask", "faq-test", "Hi")
    assert lost.exit_code == 1
    assert "`faq-test` does not exist" in lost.stderr


def test_another_registry_is_named_and_must_be_there(tuned: str, tmp_path: Path) -> None:
    Path("models.sqlite3").rename("other.sqlite3")
    assert run("ask", "faq-prod", "Hi").exit_code == 1
    assert run("ask", "faq-prod", "Hi", "--registry", "other.sqlite3").stderr == f"faq-prod leads to {tuned}\n"
    lost = run("ask", "faq-prod", "Hi", "--registry", "lost.sqlite3")
    assert (lost.exit_code, "lost.sqlite3 is not there" in lost.stderr) == (1, True)
    assert not Path("lost.sqlite3").exists()


def test_whatever_takes_a_models_name_takes_an_alias(tuned: str) -> None:
    told = f"faq-prod leads to {tuned}\n"
    scored = run("evaluate", "faq-prod", "--dataset", "data", "--questions", 3)
    assert (scored.exit_code, scored.stderr.startswith(told)) == (0, True), scored.output
    assert run("archive", "kept").exit_code == 0
    recorded = run("record", "faq-prod", "--archive", "kept", "--json")
    assert (recorded.stderr, json.loads(recorded.stdout)["model"]) == (told, tuned)
    planned = run("replay", "faq-prod", "--archive", "kept", "--to", "local", "--base", "tiny-random", "--dry-run")
    assert (planned.exit_code, planned.stderr) == (0, told), planned.output
    assert run("compare", "golden.jsonl", "faq-prod").stderr == told
