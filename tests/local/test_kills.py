"""The short version of the campaign `benchmarks/kill_rounds.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kill_rounds import disturb

pytestmark = [pytest.mark.train, pytest.mark.slow]


def test_killed_processes_lose_no_job_and_change_no_loss(tmp_path: Path) -> None:
    """Four kills -9 on a real training: the job ends as the undisturbed one, and nothing half-written is left."""
    report = disturb(tmp_path / "backend", rounds=4, seed=5)
    assert report.kills.total() == 4
    assert report.is_clean, str(report)
