"""A build that is killed leaves nothing behind that the next one does not remove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import ragtune as rt

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


def test_the_next_build_sweeps_up_after_a_killed_one_but_not_after_a_living_one(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = [sys.executable, "-c", ENDLESS, str(folder)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}) for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == b"at work\n"
    assert len(list(folder.glob(".building-*"))) == 2
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait()
    assert len(build(folder).train) == 10
    assert len(list(folder.glob(".building-*"))) == 1
    workers[1].kill()
    workers[1].wait()
    rt.DatasetBuilder.from_rows([{"q": "x", "a": "y"}]).completion(prompt="{q}", completion="{a}").build(
        folder, overwrite=True
    )
    assert not list(folder.glob(".building-*"))
    for worker in workers:
        for pipe in (worker.stdin, worker.stdout):
            assert pipe
            pipe.close()
