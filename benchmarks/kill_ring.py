"""Kill the program that builds, uploads, creates, watches and asks at random moments, and run it again.

SIGKILL, SIGINT and SIGTERM in turn; after each the same program runs to its end, and the server says what there is: one
job, one file, an answer, the same dataset bytes, no half-written file, everything in the journal.

    python benchmarks/kill_ring.py --rounds 200 --seed 0
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import openai

import ragtune as rt
import ragtune.job.search

SPEC = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=2, batch_size=4), seed=7)
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
SERVER = """
import sys
from ragtune.testing import ScriptedBackend
with ScriptedBackend(pace="poll") as backend:
    print(backend.base_url, backend.api_key, flush=True)
    sys.stdin.read()
"""
UNCERTAIN = 3
# Strikes in a row that came when the program was over: by then the guess of its life is a thousandth of the first one.
MOST_MISSES = 60


@dataclass
class Report:
    """What was done, and what must not be."""

    rounds: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    uncertain: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        by_signal = ", ".join(f"{name} {number}" for name, number in sorted(self.killed.items()))
        by_stage = ", ".join(f"{name} {number}" for name, number in self.reached.most_common())
        return (
            f"{self.rounds} rounds: {by_signal}; struck in: {by_stage}\n"
            f"calls that had to say CreateUncertain, resolved by `ragtune runs resolve`: {self.uncertain}\n"
            f"jobs lost or doubled, files doubled or unrecorded, half-written files: {len(self.wrong)} {self.wrong[:5]}"
        )


def ring(url: str, key: str, folder: Path, number: int) -> None:
    """The program: rows in, an answer out; each stage leaves a mark, so that we know where it was struck."""

    def mark(stage: str) -> None:
        (folder / "stage").write_text(stage)

    mark("build")
    rows = [{"q": f"{number}: what is {n} + {n}?", "a": f"{n + n}."} for n in range(40)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    dataset = builder.build(folder / "data", validation=0.1, seed=7, overwrite=True)
    with openai.OpenAI(base_url=url, api_key=key) as client:
        mark("upload and create")
        job = rt.FineTuneJob.create(client, dataset, SPEC, journal=folder / "journal.sqlite3")
        mark("wait")
        model = rt.JobMonitor(job, poll_s=0.01).wait()
        mark("ask")
        (folder / "answer").write_text(model.ask("Who?").text)
    mark("end")


def in_a_child(url: str, key: str, folder: Path, number: int) -> int:
    """Fork, so that a round need not load everything again."""
    # A strike between the fork and the `try` would unwind the campaign itself, in the child, and clear its folder away.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child
    code = 1
    try:
        # A shell that starts a program in the background has it ignore Ctrl-C, and so would its children.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        # A lost request is looked for as long as this; the minute of real life would make the campaign last a night.
        ragtune.job.search.SEARCH_S = 1.0
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        ring(url, key, folder, number)
        code = 0
    except rt.CreateUncertain:
        code = UNCERTAIN
    finally:
        os._exit(code)


def strike(
    url: str, key: str, folder: Path, number: int, *, after_s: float, how: signal.Signals, report: Report
) -> bool:
    """One round; false when the program was over before it was struck."""
    child = in_a_child(url, key, folder, number)
    time.sleep(after_s)
    os.kill(child, how)
    os.waitpid(child, 0)
    stage = folder / "stage"
    if stage.exists() and stage.read_text() == "end":
        return False
    report.killed[how.name] += 1
    report.reached[(stage.read_text() if stage.exists() else "") or "begin"] += 1
    for _ in range(3):
        code = os.waitstatus_to_exitcode(os.waitpid(in_a_child(url, key, folder, number), 0)[1])
        if code != UNCERTAIN:
            break
        report.uncertain += 1
        journal = rt.Journal(folder / "journal.sqlite3")
        for run in journal.runs():
            if run.state in ("sent", "uncertain"):
                journal.give_up(run.id)
    if code != 0:
        report.wrong.append(f"round {number}: the second run ended with {code}")
    report.wrong += [f"round {number}, {how.name}: {what}" for what in compare(url, key, folder)]
    report.rounds += 1
    return True


def compare(url: str, key: str, folder: Path) -> list[str]:
    """Ask server, journal and disk."""
    wrong = []
    data = rt.Dataset.load(folder / "data")
    hashes = {split.sha256 for split in (data.train, data.validation)}
    with openai.OpenAI(base_url=url, api_key=key) as client:
        mine = [file for file in client.files.list() if any(sha and sha[:16] in file.filename for sha in hashes)]
        jobs = [job.id for job in client.fine_tuning.jobs.list() if job.training_file in {file.id for file in mine}]
    journal = rt.Journal(folder / "journal.sqlite3")
    created = [run.job_id for run in journal.runs() if run.state == "created"]
    if len(jobs) != 1 or created != jobs:
        wrong.append(f"jobs {jobs}, in the journal {created}")
    if len(mine) != 2 or not {file.filename for file in mine} <= {upload.filename for upload in journal.uploads()}:
        wrong.append(f"files {[file.filename for file in mine]}")
    for split in (data.train, data.validation):
        if split.path is None or hashlib.sha256(split.path.read_bytes()).hexdigest() != split.sha256:
            wrong.append(f"{split.path} is not what its manifest says")
    left = [path.name for path in folder.rglob("*") if "tmp" in path.name or path.name.startswith(".")]
    if left:
        wrong.append(f"left behind: {left}")
    if not (folder / "answer").exists():
        wrong.append("no answer")
    return wrong


def campaign(rounds: int, seed: int, folder: Path) -> Report:
    """Strike so often."""
    report, dice = Report(), random.Random(seed)
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url, key = server.stdout.readline().split()
        # Loads what a life loads, and tells how long one takes.
        whole = folder / "whole"
        whole.mkdir()
        os.waitpid(in_a_child(url, key, whole, -1), 0)
        ring(url, key, _made(folder / "loaded"), -2)
        begin = time.monotonic()
        os.waitpid(in_a_child(url, key, _made(folder / "timed"), -3), 0)
        life_s = time.monotonic() - begin
        missed = 0
        for number in itertools.count():
            how, after_s = SIGNALS[report.rounds % len(SIGNALS)], dice.uniform(0.0, life_s)
            place = _made(folder / f"round-{number}")
            struck = strike(url, key, place, number, after_s=after_s, how=how, report=report)
            # The machine's pace changes; a strike that comes too late tells of it.
            life_s *= 1.02 if struck else 0.9
            missed = 0 if struck else missed + 1
            if missed == MOST_MISSES:
                report.wrong.append(f"{how.name} struck {missed} programs in a row and none of them ended by it")
                break
            if report.rounds == rounds:
                break
        server.stdin.close()
    return report


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main() -> None:
    """Run the campaign and print its report."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = campaign(asked.rounds, asked.seed, Path(folder))
    print(report)
    print(f"{time.monotonic() - begin:.0f} s")
    raise SystemExit(bool(report.wrong))


if __name__ == "__main__":
    main()
