"""The verdict on every real file beside the checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import ragtune as rt

if TYPE_CHECKING:
    from pathlib import Path

VERDICTS = {
    "openai-cookbook/drone_training.jsonl": ("chat", 103, {}),
    "openai-cookbook/toy_chat_fine_tuning.jsonl": ("chat", 5, {"too-few-examples": 1}),
    "openai-cookbook/drone_upstream_record3_double_encoded.jsonl": (
        "chat",
        1,
        {"arguments-encoded-twice": 1, "too-few-examples": 1},
    ),
    "openai-cookbook/dbpedia_samples.jsonl": (None, 200, {"unknown-format": 200}),
    "legacy/data.jsonl": ("completion", 22, {}),
    "legacy/data_prepared.jsonl": ("completion", 11, {}),
    "legacy/data_prepared_1.jsonl": ("completion", 22, {}),
    "sciq/train.jsonl": (None, 11_679, {"unknown-format": 11_679}),
    "sciq/validation.jsonl": (None, 1_000, {"unknown-format": 1_000}),
    "sciq/test.jsonl": (None, 1_000, {"unknown-format": 1_000}),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_each_real_file_gets_its_verdict(shared: Path, name: str) -> None:
    """Format, number of examples, and every error by rule."""
    report = rt.check_file(shared / "data" / name)
    errors = {code: number for (severity, code), number in report.counts.items() if severity == "error"}
    assert (report.stats.format, report.stats.examples, errors) == VERDICTS[name]


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
