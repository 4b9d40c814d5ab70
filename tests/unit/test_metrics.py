"""Metrics: result files as servers send them, merging, overfitting, the picture."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.monitor import MetricRow
from ragtune.monitor.metrics import merged, row_from, rows_from_file

if TYPE_CHECKING:
    from pathlib import Path

CSV = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,2.5,0.1,,\n2,1.5,0.4,2.0,0.25\n"


@pytest.mark.parametrize(
    "content",
    [CSV, base64.b64encode(CSV), base64.encodebytes(CSV), b"\xef\xbb\xbf" + CSV, CSV.replace(b"\n", b"\r\n")],
    ids=["plain", "base64", "base64 in lines", "byte order mark", "CRLF"],
)
def test_a_result_file_is_read_plain_or_base64(content: bytes) -> None:
    assert rows_from_file(content) == [
        MetricRow(step=1, train_loss=2.5, train_accuracy=0.1),
        MetricRow(step=2, train_loss=1.5, train_accuracy=0.4, valid_loss=2.0, valid_accuracy=0.25),
    ]


def test_the_columns_of_the_service_of_2021_are_understood() -> None:
    content = b"step,elapsed_tokens,elapsed_examples,training_loss,training_token_accuracy\n1,64,1,0.5,0.75\n"
    assert rows_from_file(content) == [MetricRow(step=1, train_loss=0.5, train_accuracy=0.75)]


def test_a_file_that_is_neither_shows_how_it_begins() -> None:
    with pytest.raises(rt.RagtuneError, match="<html>"):
        rows_from_file(b"<html>sorry</html>")


def test_a_measured_zero_is_not_missing() -> None:
    assert row_from({"step": 1, "train_loss": 0.0, "valid_loss": None}) == MetricRow(step=1, train_loss=0.0)
    assert row_from({"train_loss": 1.0}) is None


def test_events_and_file_become_one_row_per_step() -> None:
    """The first of two that measured the same wins; the other fills the gaps."""
    events = [MetricRow(step=2, train_loss=1.0), MetricRow(step=1, train_loss=2.0)]
    file = [MetricRow(step=2, train_loss=1.1, valid_loss=1.5), MetricRow(step=3, train_loss=0.5)]
    assert merged([*events, *file]).rows == (
        MetricRow(step=1, train_loss=2.0),
        MetricRow(step=2, train_loss=1.0, valid_loss=1.5),
        MetricRow(step=3, train_loss=0.5),
    )


def test_a_table_leaves_out_what_nobody_measured() -> None:
    frame = rt.Metrics(rows=(MetricRow(step=1, train_loss=2.0), MetricRow(step=2, valid_loss=1.0))).to_pandas()
    assert list(frame.columns) == ["step", "train_loss", "valid_loss"]
    assert math.isnan(frame["valid_loss"][0])


@pytest.mark.parametrize(
    ("valid", "verdict"),
    [([], None), ([1.0], None), ([2.0, 1.0], False), ([2.0, 1.0, 1.01], False), ([2.0, 1.0, 1.5], True)],
)
def test_overfitting_is_a_clear_rise_of_the_validation_loss(valid: list[float], verdict: bool | None) -> None:
    rows = [MetricRow(step=n, train_loss=3.0 / n, full_valid_loss=loss) for n, loss in enumerate(valid, start=1)]
    assert rt.Metrics(rows=tuple(rows)).overfitting is verdict


def test_a_loss_that_rises_with_the_training_loss_is_no_overfitting() -> None:
    """Then the rate is too high or the data changes; the model does not learn by heart."""
    losses = [(1.0, 1.0), (2.0, 2.0)]
    rows = [MetricRow(step=n, train_loss=t, valid_loss=v) for n, (t, v) in enumerate(losses, start=1)]
    assert rt.Metrics(rows=tuple(rows)).overfitting is False


@pytest.mark.slow
def test_the_loss_curve_is_a_picture(tmp_path: Path) -> None:
    metrics = rt.Metrics(rows=(MetricRow(step=1, train_loss=2.0, valid_loss=2.1), MetricRow(step=2, train_loss=1.0)))
    path = metrics.plot(tmp_path / "new" / "loss.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(rt.RagtuneError, match="no losses"):
        rt.Metrics(rows=()).plot(tmp_path / "none.png")
    for name in ("loss", "loss.poem"):
        with pytest.raises(rt.RagtuneError, match=r"name it loss\.png"):
            metrics.plot(tmp_path / name)


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10)), max_size=30))
def test_a_written_result_file_reads_back(points: list[tuple[int, float]]) -> None:
    text = "step,train_loss\n" + "".join(f"{step},{loss!r}\n" for step, loss in points)
    expected = [MetricRow(step=step, train_loss=loss) for step, loss in points]
    assert rows_from_file(text.encode()) == rows_from_file(base64.b64encode(text.encode())) == expected


def test_what_preference_pairs_measure_is_kept_step_by_step() -> None:
    """As the embedded backend's events name it, and as result files would."""
    event = {"step": 2, "train_loss": 0.5, "train_reward_margin": 0.8, "train_reward_accuracy": 0.75}
    held_out = {"valid_reward_margin": 0.4, "full_valid_reward_margin": "0.3", "full_valid_reward_accuracy": 1}
    row = row_from(event | held_out)
    assert row == MetricRow(
        step=2,
        train_loss=0.5,
        train_reward_margin=0.8,
        train_reward_accuracy=0.75,
        valid_reward_margin=0.4,
        full_valid_reward_margin=0.3,
        full_valid_reward_accuracy=1.0,
    )
    metrics = merged([MetricRow(step=1, train_reward_margin=0.0), row])
    assert metrics.to_pandas()["train_reward_margin"].tolist() == [0.0, 0.8]
    assert "train_accuracy" not in metrics.columns()
    assert "reward margin        0 -> 0.8" in str(metrics)
    assert "validation margin    0.3" in str(metrics)


def test_a_run_prints_as_a_summary_of_at_most_ten_lines() -> None:
    losses = [(1.0, 1.5), (0.5, 1.0), (0.2, 1.4)]
    numbers = {"train_accuracy": 0.5, "valid_accuracy": 0.5, "valid_fact_accuracy": 0.5, "train_reward_margin": 1.0}
    numbers |= {"train_reward_accuracy": 1.0, "valid_reward_margin": 1.0}
    rows = [
        MetricRow(step=10 * step, train_loss=train, valid_loss=valid, **numbers)  # type: ignore[arg-type]
        for step, (train, valid) in enumerate(losses, start=1)
    ]
    lines = str(merged(rows, device="cpu", dtype="bfloat16")).splitlines()
    assert len(lines) == 10
    assert lines[0] == "30 steps on cpu in bfloat16"
    assert lines[1] == "training loss        1 -> 0.2"
    assert "validation loss      1.5 -> 1.4, best 1 at step 20" in lines
    assert lines[-1] == "overfitting          yes: the validation loss rose again behind step 20"
    assert str(merged([])) == "no step of the job has been reported yet"
    assert str(merged([MetricRow(step=1, train_loss=2.0)])) == "1 step\ntraining loss        2"
