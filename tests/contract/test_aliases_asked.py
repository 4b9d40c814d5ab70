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
        registry.promote("other", model, force=True, by="anna", why="a second alias")
        yield model.name


@pytest.mark.slow
def test_an_alias_is_asked_with_the_prompt_of_its_model_which_is_told(tuned: str) -> None:
    done = run("ask", "faq-prod", "What is 3 + 3?", "--json")
    assert (done.exit_code, done.stderr) == (0, f"faq-prod leads to {tuned}\n")
    assert (json.loads(done.stdout)["model"], json.loads(done.stdout)["answer"]) == (tuned, "6")
    planned = json.loads(run("ask", "faq-prod", "Hi", "--dry-run", "--json").stdout)
    assert [call["body"]["model"] for call in planned["calls"]] == [tuned]


@pytest.mark.slow
def test_a_base_is_no_alias_and_a_name_that_is_neither_goes_to_the_server(tuned: str) -> None:
    assert json.loads(run("ask", MODEL, "Hi", "--json").stdout)["model"] == MODEL
    assert run("ask", tuned, "What is 3 + 3?").stderr == ""
    lost = run("ask", "tiny-randm", "Hi")
    assert (lost.exit_code, "did you mean 'tiny-random'?" in lost.stderr) == (1, True)
    for command in (("ask", "latst", "Hi"), ("models", "show", "latst"), ("evaluate", "latst", "--dataset", "data")):
        typo = run(*command)
        assert (typo.exit_code, "did you mean 'latest'?" in typo.stderr) == (1, True), typo.output
    assert "latest" not in run("models", "delete", "latst", "--yes").stderr


@pytest.mark.slow
def test_another_registry_is_named_and_must_be_there(tuned: str, tmp_path: Path) -> None:
    Path("models.sqlite3").rename("other.sqlite3")
    assert run("ask", "faq-prod", "Hi").exit_code == 1
    assert run("ask", "faq-prod", "Hi", "--registry", "other.sqlite3").stderr == f"faq-prod leads to {tuned}\n"
    lost = run("ask", "faq-prod", "Hi", "--registry", "lost.sqlite3")
    assert (lost.exit_code, "lost.sqlite3 is not there" in lost.stderr) == (1, True)
    assert not Path("lost.sqlite3").exists()


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "ask faq-prd Hi",
        "ask faq-prd --file questions.txt",
        "evaluate faq-prd --dataset data",
        "evaluate faq-prod --base faq-prd --dataset data",
        "record faq-prd --questions questions.txt",
        "models show faq-prd",
        "models delete faq-prd --yes",
        "delete faq-prd --yes",
    ],
)
def test_a_name_that_nobody_knows_ends_with_the_alias_that_is_nearly_it(tuned: str, command: str) -> None:
    """Also where each question would have failed alike, and an evaluation would have counted that as 0 %."""
    Path("questions.txt").write_text("What is 1 + 1?\nWhat is 2 + 2?\n", encoding="utf-8")
    lost = run(*command.split())
    assert (lost.exit_code, lost.stdout) == (1, "")
    assert "no alias of models.sqlite3 (its aliases are faq-prod, other); did you mean 'faq-prod'?\n" in lost.stderr
    assert "`ragtune models`" in lost.stderr
    assert not Path("evaluation.jsonl").exists()


@pytest.mark.slow
def test_without_a_registry_a_name_that_nobody_knows_says_that_none_is_there(tuned: str) -> None:
    Path("models.sqlite3").unlink()
    assert "no registry lies here that could know it as an alias (--registry" in run("ask", "faq-prod", "Hi").stderr
    assert "alias" not in run("ask", "ft:nobody:x::y", "Hi").stderr


@pytest.mark.slow
def test_a_model_is_shown_and_deleted_by_its_alias_which_protects_it(tuned: str) -> None:
    told = f"faq-prod leads to {tuned}\n"
    shown = run("models", "show", "faq-prod", "--json")
    assert (shown.stderr, json.loads(shown.stdout)["model"]) == (told, tuned)
    assert json.loads(shown.stdout)["system"] == "Be short."
    planned = run("models", "delete", "faq-prod", "--dry-run")
    assert (planned.exit_code, f"DELETE /models/{tuned}" in planned.stdout) == (0, True), planned.output
    for verb in (("delete",), ("models", "delete")):
        kept = run(*verb, "faq-prod", "--yes")
        assert (kept.exit_code, "the aliases faq-prod and other lead to it" in kept.stderr) == (1, True), kept.output
        assert tuned in run("models").stdout
    gone = run("models", "delete", "faq-prod", "--yes", "--force")
    assert gone.exit_code == 0, gone.output
    assert tuned not in run("models").stdout


@pytest.mark.slow
def test_a_misspelt_model_is_not_registered(tuned: str) -> None:
    lost = run("registry", "add", f"{tuned}x")
    assert (lost.exit_code, f"did you mean {tuned!r}?" in lost.stderr, "--offline" in lost.stderr) == (1, True, True)
    assert [version.name for version in rt.Registry("models.sqlite3").models()] == [tuned]
    assert run("registry", "add", tuned, "--recipe", "by hand").exit_code == 0
    assert run("registry", "add", f"{tuned}x", "--offline").exit_code == 0


@pytest.mark.slow
def test_nothing_is_made_for_a_misspelt_model(tuned: str) -> None:
    assert run("registry", "add", "faq-prd", "--registry", "new.sqlite3").exit_code == 1
    assert not Path("new.sqlite3").exists()
