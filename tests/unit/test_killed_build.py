"""A build that is killed leaves nothing behind that the next one does not remove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import ragtune as rt
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

# A build that says when it is at work on its rows, and never ends.
ENDLESS = """
import itertools, sys, ragtune as rt
def rows():
    yield {"q": "a", "a": "b"}
    print("at work", flush=True)
    sys.stdin.read()
rt.DatasetBuilder.from_rows(rows()).completion(prompt="{q}", completion="{a}").build(sys.argv[1])
"""


def build(folder: Path) -> rt.Dataset:
    rows = [{"q": f"q{i}", "a": "b"} for i in range(10)]
    return rt.DatasetBuilder.from_rows(rows).completion(prompt="{q}", completion="{a}").build(folder)


@pytest.mark.slow
def test_the_next_build_sweeps_up_after_a_killed_one_but_not_after_a_living_one(tmp_path: Path) -> None:
    """A living one keeps the folder for itself."""
    folder = tmp_path / "out"
    command = [sys.executable, "-c", ENDLESS, str(folder)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ})
    assert worker.stdout
    assert worker.stdin
    assert worker.stdout.readline() == b"at work\n"
    with pytest.raises(DatasetError, match="another build is at work"):
        build(folder)
    assert (folder / ".ragtune-building/train.jsonl").exists()
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert len(build(folder).train) == 10
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    for pipe in (worker.stdin, worker.stdout):
        pipe.close()
