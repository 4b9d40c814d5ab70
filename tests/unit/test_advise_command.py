"""`ragtune advise`: the sums of the advisor on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from ragtune.cli import app

if TYPE_CHECKING:
    from pathlib import Path


def test_documents_of_a_file_are_advised_by_group(tmp_path: Path) -> None:
    rows = [
        {"text": f"{number} " + "Open the valve slowly. " * 600, "kind": kind, "day": day}
        for kind, day in (("manual", "2019-05-01"), ("notice", "2026-11-20"))
        for number in range(5)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ["--queries-per-month", "2000000", "--group", "kind", "--updated", "day", "--wrong-answer-usd", "0"]
    done = CliRunner().invoke(app, ["advise", str(path), *options, "--json"])
    assert done.exit_code == 0, done.output
    assert {row["group"]: row["verdict"] for row in json.loads(done.stdout)["groups"]} == {
        "manual": "tune",
        "notice": "do not tune",
    }
    shown = CliRunner().invoke(app, ["advise", str(path), *options])
    assert "given by you" in shown.stdout


def test_empty_lines_among_the_questions_are_none(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Moss\n\nMoss grows in damp shade.", encoding="utf-8")
    questions = tmp_path / "questions.txt"
    questions.write_bytes(b"\xef\xbb\xbfWhere does moss grow?\r\n\r\n")
    line = ["advise", str(tmp_path / "docs"), "--queries-per-month", "10", "--queries", str(questions)]
    assert "; 0 of 1 touch none" in CliRunner().invoke(app, line).stdout
    questions.write_bytes(b"Where?\nWarum \xe4?\n")
    done = CliRunner().invoke(app, line)
    assert (done.exit_code, "questions.txt line 2: is not UTF-8" in done.stderr) == (1, True), done.output


def test_a_folder_of_documents_is_read_and_faults_are_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Moss\n\nMoss grows in damp shade.", encoding="utf-8")
    done = CliRunner().invoke(app, ["advise", str(tmp_path / "docs"), "--queries-per-month", "10"])
    assert done.exit_code == 0, done.output
    (tmp_path / "bad.jsonl").write_text("no json\n", encoding="utf-8")
    for name, words in (("bad.jsonl", "line 1"), ("nothing.jsonl", "does not exist")):
        done = CliRunner().invoke(app, ["advise", str(tmp_path / name), "--queries-per-month", "10"])
        assert done.exit_code == 1
        assert words in done.stderr
