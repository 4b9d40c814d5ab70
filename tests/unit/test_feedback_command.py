"""`ragtune feedback` tells what there is, and what strangers wrote stays text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ragtune.cli import app


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAGTUNE_JOURNAL", str(tmp_path / "journal.sqlite3"))


def feedback(*args: str) -> Result:
    done = CliRunner().invoke(app, ["feedback", *args])
    assert done.exit_code == 0, done.output
    return done


def test_a_store_that_is_not_there_holds_nothing_and_is_not_made_by_looking() -> None:
    assert feedback("list").stdout == "no verdicts\n"
    assert feedback("list", "--unjudged").stdout == "no answer waits for a verdict\n"
    assert feedback("list", "--json").stdout == "[]\n"
    assert not Path("feedback.sqlite3").exists()
    assert "nothing that is kept is by 'anna'" in feedback("withdraw", "anna").stdout
    assert json.loads(feedback("withdraw", "anna", "--json").stdout)["verdicts"] == 0


def test_what_a_terminal_would_obey_is_shown_as_signs() -> None:
    feedback("add", "Is it\x1b[2J red?", "Yes.\nRow 2\u202e", "--bad", "--by", "anna")
    shown = feedback("list").stdout
    assert len(shown.splitlines()) == 2
    assert "Is it\\x1b[2J red?" in shown
    assert "Yes.\\nRow 2\\u202e" in shown
    assert json.loads(feedback("list", "--json").stdout)[0]["answer"] == "Yes.\nRow 2\u202e"
    assert feedback("export", "out.jsonl").stdout == "out.jsonl: 1 verdict\n"


def test_earlier_turns_of_a_talk_are_said_with_it() -> None:
    turns = ("--turn", "user=Tell me of Mars.", "--turn", "assistant=It is red = rusty.")
    feedback("add", "How hot is it?", "Warm", "--bad", *turns)
    (row,) = json.loads(feedback("list", "--json").stdout)
    assert [(one["role"], one["content"]) for one in row["history"]] == [
        ("user", "Tell me of Mars."),
        ("assistant", "It is red = rusty."),
    ]
    for wrong in ("Tell me of Mars.", "system=Be brief.", "user= "):
        done = CliRunner().invoke(app, ["feedback", "add", "How hot is it?", "Warm", "--bad", "--turn", wrong])
        assert (done.exit_code, "is neither user=TEXT nor assistant=TEXT" in done.stderr) == (2, True)


def test_a_dataset_that_is_there_is_replaced_when_that_is_said() -> None:
    for number in range(2):
        feedback("add", f"Which is {number}?", f"{number}", "--good")
    feedback("build", "--out", "next")
    again = CliRunner().invoke(app, ["feedback", "build", "--out", "next"])
    assert (again.exit_code, "--overwrite" in again.stderr, "overwrite=" in again.stderr) == (1, True, False)
    assert "2 training records" in feedback("build", "--out", "next", "--overwrite").stdout


def test_a_command_that_is_proposed_looks_into_the_same_store(tmp_path: Path) -> None:
    store = tmp_path / "said of it.sqlite3"
    feedback("add", "Which?", "That", "--good", "--store", str(store))
    said = feedback("withdraw", "nobody", "--store", str(store)).stdout
    assert f"`ragtune feedback list --store '{store}'` shows the names" in said
