"""`[gate]` of a recipe file: an alias leads to the model when it passes, once, and a refusal is an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

import ragtune as rt
from ragtune.cli import app
from ragtune.recipe_file import RecipeFile
from ragtune.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

BASE = "gpt-4o-mini-2024-07-18"
TOML = f"""\
[data]
rows = "faq.csv"
user = "{{Question}}"
assistant = "{{Answer}}"
[model]
base = "{BASE}"
[server]
key_file = "key.txt"
[evaluation]
[gate]
alias = "lakes-prod"
by = "ci"
reworded_at_least = 0.6
"""


def answer(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
    """Stands for a tuned model that knows each lake; the base knows none."""
    number = "".join(sign for sign in messages[-1]["content"] if sign.isdigit())
    return f"{number} metres" if model != BASE else "I do not know."


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server whose jobs take no time, and a folder with rows and a key for it."""
    lines = [f"How deep is lake {n}?,{n} metres" for n in range(101, 121)]
    (tmp_path / "faq.csv").write_text("\n".join(["Question,Answer", *lines]) + "\n")
    with ScriptedBackend(answer=answer) as backend:
        (tmp_path / "key.txt").write_text(backend.api_key)
        yield backend.base_url


def run(folder: Path, url: str, text: str, *options: str) -> Result:
    (folder / "ragtune.toml").write_text(text)
    return CliRunner().invoke(app, ["run", str(folder / "ragtune.toml"), "--to", url, *options])


def outcomes(folder: Path) -> list[str]:
    return [row.outcome for row in rt.Registry(folder / "models.sqlite3").history("lakes-prod")]


@pytest.mark.slow
def test_a_model_that_passes_is_promoted_once(tmp_path: Path, url: str) -> None:
    assert run(tmp_path, url, TOML, "--dry-run").stdout.endswith("promote: due\n")
    done = run(tmp_path, url, TOML)
    assert done.exit_code == 0, done.output
    registry = rt.Registry(tmp_path / "models.sqlite3")
    held = registry.version("lakes-prod")
    assert (held.scores is not None, held.fingerprint is not None) == (True, True)
    assert f"promote: lakes-prod: {held.name} promoted by ci" in done.stdout
    assert run(tmp_path, url, TOML).exit_code == 0
    assert run(tmp_path, url, TOML, "--dry-run").stdout.endswith("promote: done before\n")
    assert outcomes(tmp_path) == ["promoted"]


@pytest.mark.slow
def test_what_a_person_rolled_back_is_not_promoted_again(tmp_path: Path, url: str) -> None:
    registry = rt.Registry(tmp_path / "models.sqlite3")
    registry.add("the-old-one")
    registry.promote("lakes-prod", "the-old-one", force=True, by="anna", why="the first one")
    assert run(tmp_path, url, TOML).exit_code == 0
    registry.rollback("lakes-prod", by="anna")
    assert run(tmp_path, url, TOML).exit_code == 0
    assert registry.aliases() == {"lakes-prod": "the-old-one"}


@pytest.mark.slow
def test_a_promotion_that_was_not_noted_is_found_in_the_registry(tmp_path: Path, url: str) -> None:
    """As after a kill between the two."""
    run(tmp_path, url, TOML, "--until", "evaluate")
    state = (tmp_path / "ragtune-out/state.json").read_text()
    run(tmp_path, url, TOML)
    (tmp_path / "ragtune-out/state.json").write_text(state)
    assert run(tmp_path, url, TOML).exit_code == 0
    assert outcomes(tmp_path) == ["promoted"]


@pytest.mark.slow
def test_a_refusal_is_told_each_time_and_on_record_once(tmp_path: Path, url: str) -> None:
    text = TOML.replace("0.6", "1.0")
    for options in ((), (), ("--dry-run",)):
        done = run(tmp_path, url, text, *options)
        assert done.exit_code == 1
        assert "lakes-prod: ft:" in done.stderr
        assert "was refused: reworded_at_least = 1 in [gate] not passed: " in done.stderr
    assert outcomes(tmp_path) == ["refused"]
    assert rt.Registry(tmp_path / "models.sqlite3").aliases() == {}
    # Another limit is another decision.
    assert run(tmp_path, url, TOML).exit_code == 0
    assert outcomes(tmp_path) == ["refused", "promoted"]


@pytest.mark.slow
def test_a_condition_that_nothing_was_measured_for_is_no_pass(tmp_path: Path, url: str) -> None:
    done = run(tmp_path, url, TOML + "forgetting_at_most = 0.1\n")
    assert (done.exit_code, "the scorecard holds no control questions" in done.stderr) == (1, True), done.output


def test_an_alias_that_cannot_be_moved_is_told_with_the_registrys_reason(tmp_path: Path, url: str) -> None:
    """And not as the refusal of before, or as an alias that leads nowhere."""
    assert run(tmp_path, url, TOML.replace("0.6", "1.0")).exit_code == 1
    rt.Registry(tmp_path / "models.sqlite3").add("lakes-prod")
    done = run(tmp_path, url, TOML)
    assert (done.exit_code, "'lakes-prod' is the name of a model in this registry" in done.stderr) == (1, True)
    assert outcomes(tmp_path) == ["refused"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TOML.replace("reworded_at_least = 0.6\n", ""), "ragtune.toml line 10, column 2: [gate] has no condition"),
        (TOML.replace("[evaluation]\n", ""), "[gate] holds its limits against an evaluation; add [evaluation]"),
        (TOML.replace("lakes-prod", "latest"), "column 2: gate.alias means something else wherever a model is named"),
        (TOML.replace("reworded_at", "rewordd_at"), "there is no key 'gate.rewordd_at_least'; did you mean 'reworded"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_way_out(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "ragtune.toml").write_text(text)
    with pytest.raises(rt.SpecError) as refusal:
        RecipeFile.load(tmp_path / "ragtune.toml")
    assert says in str(refusal.value)


def test_a_file_without_a_gate_has_no_such_stage(tmp_path: Path) -> None:
    done = run(tmp_path, "http://127.0.0.1:9/v1", TOML.partition("[gate]")[0], "--until", "promote")
    assert (done.exit_code, "has no table [gate]" in done.stderr) == (1, True), done.stderr
