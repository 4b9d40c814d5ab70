"""The program from a folder of documents to a tuned model, as a user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ragtune as rt
from examples.documents_to_model import FERRIES, QUESTIONS
from ragtune.testing import AnswerRule, ScriptedBackend

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.e2e]


def run(*args: str | Path, cwd: Path, **environment: str) -> str:
    command = [sys.executable, EXAMPLES / "documents_to_model.py", "--model", "tiny-random", "--epochs", "1", *args]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_pdf_a_page_a_word_file_and_markdown_become_a_model(tmp_path: Path) -> None:
    out = run(cwd=tmp_path)
    assert "of 4 documents" in out
    assert f"rows of {len(QUESTIONS)} facts" in out
    assert "(25 minutes: ferries.pdf#p1.1)" in out
    dataset = rt.Dataset.load(tmp_path / "out/documents/dataset")
    trained = {message.text for record in dataset.train for message in record.messages}
    kept = re.findall(r"^  (.*?\?) ", out, re.MULTILINE)
    assert len(kept) == len(QUESTIONS)
    assert not trained & set(kept)
    assert "\n".join(FERRIES) in trained


def test_a_model_of_another_server_writes_the_questions(tmp_path: Path) -> None:
    rules = [
        AnswerRule(prompt=r"^A fact, as .*\nAnswer: (?P<answer>[^\n]+)", say="{answer}"),
        AnswerRule(
            prompt=r"^Write \d+ questions.*the (?P<name>\w+) ferry",
            say='["In what time does the {name} ferry cross?", "What is the crossing time of the {name} ferry?"]',
        ),
        AnswerRule(
            prompt=r"The (?P<name>\w+) ferry crosses in (?P<minutes>\d+ minutes)",
            say='[{"question": "How long does the {name} ferry take?", "answer": "{minutes}"}]',
        ),
    ]
    guide = tmp_path / "guide"
    guide.mkdir()
    for name, minutes in (("north", 40), ("south", 25)):
        (guide / f"{name}.md").write_text(f"The {name} ferry crosses in {minutes} minutes.", encoding="utf-8")
    with ScriptedBackend(answer=rules) as server:
        options = ("--documents", guide, "--writer", "gpt-4o-mini-2024-07-18", "--writer-url", server.base_url)
        out = run(*options, cwd=tmp_path, OPENAI_API_KEY=server.api_key)
    assert "2 made, 0 left out" in out
    assert "4 made, 0 left out" in out
    assert "(40 minutes: north.md#1)" in out
