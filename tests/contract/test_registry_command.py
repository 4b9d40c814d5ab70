"""`ragtune registry` and `ragtune cleanup`, with their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import ragtune as rt
from ragtune.cli import app
from ragtune.local import LocalBackend
from ragtune.testing import ScriptedBackend
from tests.evaluation.conftest import lakes, number_in

MODEL = "ft:gpt-4o-mini-2024-07-18:acme::abc12345"


def ragtune(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_one_model_is_shown_by_its_name_or_alias_and_an_answer_is_limited_in_dollars(tmp_path: Path) -> None:
    place, log = ("--registry", tmp_path / "models"), tmp_path / "eval.jsonl"
    rt.evaluate({"tuned": lambda question: f"{number_in(question)} metres"}, lakes(20), log=log)
    assert ragtune("registry", "add", MODEL, "--offline", "--scorecard", log, *place).exit_code == 0
    refused = ragtune("registry", "promote", "prod", MODEL, "--answer-usd-at-most", "0.002", *place)
    assert "--answer-usd-at-most 0.002 not measured: no price of an answer is known" in refused.output
    assert ragtune("registry", "promote", "prod", MODEL, "--reversed-at-least", "0.9", *place).exit_code == 1
    done = ragtune("registry", "promote", "prod", "latest", "--reworded-at-least", "0.5", *place)
    assert (done.exit_code, f"the latest is {MODEL}" in done.stderr) == (0, True)
    shown = ragtune("registry", "show", "prod", "--json", *place)
    assert json.loads(shown.output) == json.loads(ragtune("registry", "show", MODEL, "--json", *place).output)
    assert json.loads(shown.output)["aliases"] == ["prod"]
    assert f"name: {MODEL}\n" in ragtune("registry", "show", MODEL, *place).output
    lost = ragtune("registry", "show", "nobody", *place)
    begins = f"`ragtune registry add MODEL --registry {tmp_path / 'models'}` registers it"
    assert (lost.exit_code, begins in lost.output) == (1, True)
    typo = ragtune("registry", "promote", "prod", "latst", *place)
    assert (typo.exit_code, "'latest' is the model that was added last" in typo.stderr) == (1, True)


@pytest.mark.parametrize("words", [("show", MODEL), ("promote", "prod", MODEL), ("rollback", "prod")])
def test_a_registry_that_is_not_there_is_told_and_not_made(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A model that it does not hold would be said of one that is misspelt; `list` of none is an empty list."""
    place = tmp_path / "nope"
    done = ragtune("registry", *words, "--registry", place)
    begins = f"`ragtune registry add MODEL --registry {place}` begins one"
    assert (done.exit_code, done.output) == (1, f"error: there is no registry at {place}; {begins}\n")
    listed = ragtune("registry", "list", "--registry", place)
    assert (listed.exit_code, listed.stderr) == (0, f"there is no registry at {place} yet\n")
    assert not place.exists()


def test_a_pipeline_stops_at_the_gate(tmp_path: Path) -> None:
    """Refused is exit code 1 and stands in the history, passed is 0; force needs who and why."""
    place, log = ("--registry", tmp_path / "models"), tmp_path / "eval.jsonl"
    rt.evaluate({"tuned": lambda question: f"{number_in(question)} metres"}, lakes(20), log=log)
    assert ragtune("registry", "list", *place).stdout == "no models\n"
    added = ragtune("registry", "add", MODEL, "--offline", "--scorecard", log, "--cost-usd", "3", "--json", *place)
    assert json.loads(added.output)["cost_usd"] == 3.0
    refused = ragtune("registry", "promote", "prod", MODEL, "--reworded-at-least", "0.9", "--by", "ci", *place)
    assert refused.exit_code == 1
    assert "--reworded-at-least 0.9 not passed" in refused.output
    assert ragtune("registry", "promote", "prod", MODEL, "--force", *place).exit_code == 1
    passed = ragtune("registry", "promote", "prod", MODEL, "--reworded-at-least", "0.8", "--by", "ci", *place)
    assert (passed.exit_code, passed.output) == (0, f"prod: {MODEL} promoted by ci\n")
    history = json.loads(ragtune("registry", "history", "prod", "--json", *place).output)
    assert [(row["outcome"], row["by"]) for row in history] == [("refused", "ci"), ("promoted", "ci")]
    assert "before which there was none" in ragtune("registry", "rollback", "prod", *place).output
    assert "prod" in ragtune("registry", "list", *place).output


@pytest.mark.slow
def test_a_clean_up_is_shown_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --yes nothing is sent; a plan in a file is carried out as it was looked at."""
    rows = [{"q": f"What is {n} + 1?", "a": str(n + 1)} for n in range(12)]
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(tmp_path / "sums")
    monkeypatch.setenv("RAGTUNE_JOURNAL", str(tmp_path / "journal.sqlite3"))
    with ScriptedBackend() as backend, backend.client() as client:
        monkeypatch.setenv("OPENAI_BASE_URL", backend.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", backend.api_key)
        rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model="tiny-random"))
        before = len(client.files.list().data)
        shown = ragtune("cleanup", "--older-than", "0", "--save", tmp_path / "plan.json")
        assert (shown.exit_code, "nothing was deleted; --yes deletes it" in shown.output) == (0, True)
        assert len(client.files.list().data) == before
        done = ragtune("cleanup", "--plan", tmp_path / "plan.json", "--yes", "--json")
        assert {row["outcome"] for row in json.loads(done.stdout)} == {"deleted"}
        assert client.files.list().data == []
        assert [model.id for model in client.models.list() if model.id.startswith("ft:")] == []


@pytest.mark.train
def test_the_model_of_a_folder_is_added_by_its_server_and_stays_while_an_alias_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`registry add latest --folder` knows the price; `delete` asks the registry that lies there."""
    monkeypatch.chdir(tmp_path)
    with LocalBackend("be") as backend:
        rows = [{"q": f"What is {n} + {n}?", "a": f"{n + n}"} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("data")
        spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=1))
        model = rt.JobMonitor(rt.FineTuneJob.create(backend.client(), dataset, spec)).wait()
        added = ragtune("registry", "add", "latest", "--folder", "be", "--dataset", "data", "--json")
        assert added.exit_code == 0, added.output
        assert (json.loads(added.stdout)["name"], json.loads(added.stdout)["cost_usd"]) == (model.name, 0.0)
        promoted = ragtune("registry", "promote", "prod", model.name, "--force", "--by", "me", "--why", "a test")
        assert promoted.exit_code == 0, promoted.output
        plan = ragtune("delete", model.name, "--folder", "be")
        assert "the same command with --yes --force does it" in plan.output
        refused = ragtune("delete", model.name, "--folder", "be", "--yes")
        assert (refused.exit_code, "prod" in refused.output) == (1, True), refused.output
        forced = ragtune("delete", model.name, "--folder", "be", "--yes", "--force")
        assert forced.exit_code == 0, forced.output


@pytest.mark.slow
def test_a_clean_up_asks_the_registry_that_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `delete` does: what an alias leads to stays, without a word on the command line."""
    monkeypatch.chdir(tmp_path)
    with ScriptedBackend() as backend, backend.client() as client:
        monkeypatch.setenv("OPENAI_BASE_URL", backend.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", backend.api_key)
        rows = [{"q": f"What is {n}?", "a": f"{n}"} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("data")
        model = rt.JobMonitor(rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model="tiny-random"))).wait()
        assert "the alias" not in ragtune("cleanup", "--older-than", "0").stdout
        ragtune("registry", "add", model.name, "--offline")
        ragtune("registry", "promote", "prod", model.name, "--force", "--by", "me", "--why", "a test")
        shown = ragtune("cleanup", "--older-than", "0")
        assert "the alias prod leads to it" in shown.stdout, shown.output
