"""The verdict on every real file beside the checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import ragtune as rt
from ragtune.cli import app

if TYPE_CHECKING:
    from pathlib import Path

VERDICTS = {
    "openai-cookbook/drone_training.jsonl": ("chat", 103, {}),
    "openai-cookbook/toy_chat_fine_tuning.jsonl": ("chat", 5, {"too-few-examples": 1, "no-user-message": 1}),
    "openai-cookbook/drone_upstream_record3_double_encoded.jsonl": (
        "chat",
        1,
        {"arguments-encoded-twice": 1, "too-few-examples": 1},
    ),
    "openai-cookbook/dbpedia_samples.jsonl": (None, 200, {"unknown-format": 200}),
    "legacy/data.jsonl": ("completion", 22, {"no-stop-sequence": 1, "no-leading-space": 1, "few-examples": 1}),
    "legacy/data_prepared.jsonl": ("completion", 11, {"few-examples": 1}),
    "legacy/data_prepared_1.jsonl": ("completion", 22, {"few-examples": 1}),
    "sciq/train.jsonl": (None, 11_679, {"unknown-format": 11_679}),
    "sciq/validation.jsonl": (None, 1_000, {"unknown-format": 1_000}),
    "sciq/test.jsonl": (None, 1_000, {"unknown-format": 1_000}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VERDICTS)
def test_each_real_file_gets_its_verdict(shared: Path, name: str) -> None:
    """Format, number of examples, and every problem by rule."""
    report = rt.check_file(shared / "data" / name)
    found = {code: number for (_, code), number in report.counts.items()}
    assert (report.stats.format, report.stats.examples, found) == VERDICTS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", VERDICTS)
def test_the_command_ends_with_one_for_each_real_file_with_an_error(shared: Path, name: str) -> None:
    """What a script goes by: 1 where a job would fail, else 0."""
    done = CliRunner().invoke(app, ["check", str(shared / "data" / name)])
    refused = {"too-few-examples", "unknown-format", "arguments-encoded-twice"} & VERDICTS[name][2].keys()
    assert done.exit_code == bool(refused), done.output


def test_the_long_answer_of_the_toy_file_is_measured(shared: Path) -> None:
    """Row 5 holds an answer of about 8,000 tokens: too long for a context of 4,096, short enough for 65,536."""
    report = rt.check_file(shared / "data/openai-cookbook/toy_chat_fine_tuning.jsonl", model="gpt-4o-mini")
    assert report.stats.longest is not None
    assert 7_500 < report.stats.longest < 8_500
    assert "too-long" not in str(report)


def test_every_real_file_is_in_the_list(shared: Path) -> None:
    """A new file needs a verdict."""
    found = {str(path.relative_to(shared / "data")) for path in (shared / "data").rglob("*.jsonl")}
    assert found == set(VERDICTS)
