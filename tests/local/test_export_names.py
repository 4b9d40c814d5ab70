"""Which model `ragtune export` means, and what it finds out before it makes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import ragtune as rt
from ragtune.cli import app
from ragtune.local import LocalBackend
from tests.local.kit import create, trainer, wait_for


def export(*words: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, words), "--folder", "be"])


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The second of two models in `be`, to which the alias `prod` leads."""
    monkeypatch.chdir(tmp_path)
    with LocalBackend("be", trainer=trainer()) as backend, backend.client() as client:
        made = [wait_for(client, create(client, n_epochs=1, seed=seed).id).fine_tuned_model for seed in (1, 2)]
    registry = rt.Registry("models.sqlite3")
    registry.add(made[-1])
    registry.promote("prod", made[-1], force=True, by="anna", why="first")
    return made[-1]


def test_an_alias_and_the_latest_are_models(name: str) -> None:
    for word, told in (("prod", f"prod leads to {name}\n"), ("latest", f"the latest is {name}\n")):
        shown = export(word, "out", "--dry-run")
        assert (shown.exit_code, shown.stderr) == (0, told), shown.output
        assert shown.stdout == f"{name} would be written to out\n"
    assert not Path("out").exists()


def test_a_dry_run_refuses_what_would_be_refused(name: str) -> None:
    """The name is looked up first: whoever misspelt it needs no converter."""
    for options in ((), ("--dry-run",), ("--gguf", "--converter", "nowhere"), ("--gguf", "--dry-run")):
        lost = export("ft:nope", "out", *options)
        assert (lost.exit_code, "'ft:nope' is no tuned model of" in lost.stderr) == (1, True), lost.output
    without = export(name, "out", "--gguf", "--converter", "nowhere", "--dry-run")
    assert (without.exit_code, "converter: nowhere is not there" in without.stderr) == (1, True)
    Path("out").mkdir()
    there = export(name, "out", "--dry-run")
    assert (there.exit_code, "is there already" in there.stderr) == (1, True)


def test_a_folder_without_a_model_has_no_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no backend has kept its state here" in export("latest", "out").stderr
    with LocalBackend("be", trainer=trainer()):
        assert "be has no tuned model yet; `ragtune tune --folder be` makes one" in export("latest", "out").stderr
