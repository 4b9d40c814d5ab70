"""`ragtune check`: text, JSON, a repaired copy, and exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from ragtune.cli import app

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '{"prompt": "Who is %s ->", "completion": " It is %s END"}\n'
PLAIN = '{"prompt": "%s?", "completion": "x %s"}\n'


def test_a_good_file_ends_with_zero_and_a_bad_one_with_one(tmp_path: Path) -> None:
    """Both are reported; a missing file is no good either."""
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text("".join(GOOD % (n, n) for n in "abcdefghijkl"))
    bad.write_text("{}\n")
    runner = CliRunner()
    assert runner.invoke(app, ["check", str(good)]).exit_code == 0
    both = runner.invoke(app, ["check", str(good), str(bad)])
    assert both.exit_code == 1
    assert "good.jsonl" in both.output
    assert "unknown-format" in both.output
    assert runner.invoke(app, ["check", str(tmp_path / "none.jsonl")]).exit_code == 1


def test_files_behind_one_that_cannot_be_read_are_checked_too(tmp_path: Path) -> None:
    """A folder among the files of a pattern is named, and the exit code is 1."""
    good = tmp_path / "good.jsonl"
    good.write_text("".join(GOOD % (n, n) for n in "abcdefghijkl"))
    done = CliRunner().invoke(app, ["check", str(tmp_path), str(tmp_path / "none.jsonl"), str(good)])
    assert done.exit_code == 1
    assert "is a folder" in done.output
    assert "No such file" in done.output
    assert f"{good}: completion, 12 examples" in done.output


def test_json_is_one_object_per_file_and_fix_names_the_copy(tmp_path: Path) -> None:
    """What a script reads."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(PLAIN % (n, n) for n in "abcdefghijkl"))
    done = CliRunner().invoke(app, ["check", "--json", "--fix=prompt-suffix,completion-space", str(path)])
    assert done.exit_code == 0
    values = json.loads(done.output)
    assert values["fixed"] == str(tmp_path / "pairs_prepared.jsonl")
    assert values["stats"]["examples"] == 12
