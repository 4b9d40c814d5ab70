"""Secrets and personal data in training files: told by line and path, masked, and covered in a copy."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragtune.checks import check_file
from ragtune.cli import app

# Made here, so that no file holds it.
TOKEN = "ghp_" + "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=36))
MAIL = "anna.schmidt@nordwind-fiktiv.de"


def chat(question: str, answer: str) -> bytes:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}).encode() + b"\n"


def private_file(folder: Path) -> Path:
    """Twelve records; a token in the second, addresses in the third, which is of no kind, and the fourth, no JSON."""
    lines = [chat(f"What is {n}?", f"It is {n}.") for n in range(12)]
    lines[1] = chat("Which token?", f"Take {TOKEN}.")
    lines[2] = json.dumps({"who": [{"mail": MAIL}]}).encode() + b"\n"
    lines[3] = b'{"messages": [' + MAIL.encode() + b"]}\n"
    path = folder / "train.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def test_a_check_reports_private_data_by_line_and_path(tmp_path: Path) -> None:
    """As warnings, in whole and in broken records, when it is asked for; never a value in any message."""
    path = private_file(tmp_path)
    assert not [problem for problem in check_file(path).problems if problem.code.startswith("private")]
    report = check_file(path, privacy=True)
    found = [item for item in report.problems if item.code.startswith("private")]
    assert [(item.line, item.path, item.code, item.severity) for item in found] == [
        (2, "messages[1].content", "private-api-key", "warning"),
        (3, "who[0].mail", "private-email", "warning"),
        (4, "", "private-email", "warning"),
    ]
    assert found[0].message == "api key ghp_… (40 characters), found by github-pat"
    shown = f"{report} {report.to_html()} {report.to_dict()}"
    assert TOKEN not in shown
    assert MAIL not in shown


def test_values_in_other_messages_are_masked_too(tmp_path: Path) -> None:
    """A role that is an address, and a key that is one."""
    path = tmp_path / "train.jsonl"
    path.write_bytes(json.dumps({"messages": [{"role": MAIL, "content": "x", MAIL: 1}]}).encode())
    assert MAIL in str(check_file(path))
    masked = str(check_file(path, privacy=True))
    assert MAIL not in masked
    assert "[EMAIL]" in masked


def test_a_masked_copy_holds_no_private_data(tmp_path: Path) -> None:
    """Lines without any stay byte for byte; the original is unchanged."""
    path = private_file(tmp_path)
    before = path.read_bytes().splitlines()
    copy = check_file(path, mask=True).fixed
    assert copy is not None
    assert path.read_bytes().splitlines() == before
    after = copy.read_bytes().splitlines()
    assert [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new] == [1, 2, 3]
    assert json.loads(after[1])["messages"][1]["content"] == "Take [API_KEY]."
    assert not [item for item in check_file(copy, privacy=True).problems if item.code.startswith("private")]


def test_a_masked_copy_of_pairs_is_repaired_by_name_too(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    pairs = [{"prompt": f"Who is {n}?", "completion": f"It is {n}, {MAIL}."} for n in "abcdefghijkl"]
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    copy = check_file(path, mask=True, fix=["completion-prefix", "completion-space"]).fixed
    assert copy is not None
    assert json.loads(copy.read_bytes().splitlines()[0])["completion"] == " a, [EMAIL]."
    copy = check_file(path, mask=True).fixed
    assert copy is not None
    assert json.loads(copy.read_bytes().splitlines()[0])["completion"] == "It is a, [EMAIL]."


def test_deep_and_odd_lines_are_searched_and_masked(tmp_path: Path) -> None:
    """A thousand levels, bytes that are not UTF-8: no crash, and nothing is left."""
    path = tmp_path / "odd.jsonl"
    deep = b'{"a": ' + b"[" * 1_000 + b'"' + MAIL.encode() + b'"' + b"]" * 1_000 + b"}\n"
    path.write_bytes(deep + b"\xff " + MAIL.encode() + b"\n")
    report = check_file(path, mask=True)
    assert report.counts["warning", "private-email"] == 2
    assert report.fixed is not None
    assert MAIL.encode() not in report.fixed.read_bytes()


def test_the_command_looks_for_private_data_and_masks_it(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"".join(chat(f"What is {n}?", f"Ask {MAIL} for {n}.") for n in range(12)))
    done = CliRunner().invoke(app, ["check", str(path), "--privacy", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output)["counts"] == [{"severity": "warning", "code": "private-email", "count": 12}]
    CliRunner().invoke(app, ["check", str(path), "--mask"])
    assert (tmp_path / "train_prepared.jsonl").read_text().count("[EMAIL]") == 12


@pytest.mark.slow
def test_without_the_extra_the_check_says_what_to_install(tmp_path: Path) -> None:
    """Before anything is read."""
    path = private_file(tmp_path)
    program = f"""
import sys
sys.modules["phonenumbers"] = None
from importlib import util
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == "phonenumbers" else find(name, *rest)
import ragtune
try:
    ragtune.check_file({str(path)!r}, privacy=True)
except ragtune.errors.MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'ragtune[privacy]'" in done.stdout


def test_a_masked_copy_is_written_even_where_all_answers_become_the_same(tmp_path: Path) -> None:
    """Nobody who asks for it wants the addresses instead."""
    path = tmp_path / "contacts.jsonl"
    pairs = [{"prompt": f"Who is {n}? ->", "completion": f" {n}.b@nordwind-fiktiv.de\n"} for n in "abcdefghijkl"]
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    copy = check_file(path, mask=True).fixed
    assert copy is not None
    assert copy.read_text().count('" [EMAIL]\\n"') == 12


def test_a_masked_copy_keeps_numbers_doubled_keys_and_spaces(tmp_path: Path) -> None:
    """Only the texts change."""
    line = '{"messages": [{"role": "user", "content": "%s"}],  "answer": %d, "x": 1e400, "x": 1}'
    path = tmp_path / "t.jsonl"
    path.write_text(line % (MAIL, 2**100) + "\n")
    copy = check_file(path, mask=True).fixed
    assert copy is not None
    assert copy.read_text() == line % ("[EMAIL]", 2**100) + "\n"
