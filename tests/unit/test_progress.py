"""The progress bar: which time it counts, and what stands before it."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import TYPE_CHECKING

from ragtune import JobEvent
from ragtune.monitor.progress import ProgressBar

if TYPE_CHECKING:
    import pytest


def step(number: int, *, ago_s: float) -> JobEvent:
    when = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago_s)
    return JobEvent(id=f"e{number}", created_at=when, data={"step": number, "total_steps": 1500, "train_loss": 1.0})


def test_the_time_to_go_counts_from_the_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever comes a hundred seconds late sees one step a second, and the start-up is not counted."""
    with ProgressBar("ftjob-1", wanted=True) as bar:
        time.sleep(0.3)
        for number in range(1, 102):
            bar.show(step(number, ago_s=101 - number))
        bar.end("succeeded")
    told = re.findall(r"101/1500 \[(\d+):(\d+)<(\d+):(\d+), .*loss 1.000", capsys.readouterr().err)[-1]
    spent, left = (60 * int(told[n]) + int(told[n + 1]) for n in (0, 2))
    assert 100 <= spent < 110
    assert abs(left - 13.99 * spent) < 15


def test_the_first_step_says_nothing_of_the_time_to_go(capsys: pytest.CaptureFixture[str]) -> None:
    """Loading a model took longer than a step will."""
    with ProgressBar("ftjob-1", wanted=True) as bar:
        time.sleep(0.3)
        bar.show(step(1, ago_s=0))
        bar.end("running")
    assert re.search(r"1/1500 \[00:00<\?", capsys.readouterr().err)


def test_the_job_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("ftjob-1", wanted=True) as bar:
        bar.show(JobEvent(id="e", message="Created fine-tuning job: ftjob-1", data={}))
    assert "ftjob-1: Created fine-tuning job:" in (err := capsys.readouterr().err)
    assert "job: ftjob-1" not in err
