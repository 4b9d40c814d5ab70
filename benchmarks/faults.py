"""Whole lives of jobs while everything between client and server goes wrong; prints what was lost or bought twice.

Each round uploads, creates, watches and asks, through a TCP proxy that breaks a part of the connections
(`faulty_proxy`), against a server that answers a part of the requests with errors, odd pages or pauses, on a clock
that jumps. Whatever is raised, the same call is made again, as a person would. The server itself says at the end
which jobs, files and events there really are.

    python benchmarks/faults.py --rounds 500 --seed 0
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai

import ragtune as rt
from benchmarks.faulty_proxy import FAULTS, Fault, FaultyProxy
from ragtune._api import Api
from ragtune._api.ports import SyncPort
from ragtune.testing import ScriptedBackend

SPEC = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=2, batch_size=4), seed=7)
READS = ("files.list", "files.retrieve", "fine_tuning.jobs.list", "fine_tuning.jobs.retrieve", "models.retrieve")
EVENTS = "fine_tuning.jobs.list_events"
HOURS_4 = 4 * 3600.0
MOST_CALLS = 500


@dataclass
class Clock:
    """Waiting takes no time on it; now and then a sleep lasts hours on the wall and none on the monotonic clock."""

    rng: random.Random
    wall: float = field(default_factory=time.time)
    steady: float = 0.0
    jumps: int = 0

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds
        if self.rng.random() < 0.05:
            self.wall += self.rng.choice((HOURS_4, -HOURS_4))
            self.jumps += 1


@dataclass
class Report:
    """What was done to the rounds, and what became of them."""

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    jobs_lost: int = 0
    jobs_doubled: int = 0
    files_doubled: int = 0
    files_without_record: int = 0
    events: int = 0
    events_lost: int = 0
    events_doubled: int = 0
    unanswered: int = 0
    raised: Counter[str] = field(default_factory=Counter)

    @property
    def wrong(self) -> int:
        """Everything that must not happen."""
        lost = self.jobs_lost + self.events_lost + self.unanswered
        return lost + self.jobs_doubled + self.files_doubled + self.files_without_record + self.events_doubled

    def __str__(self) -> str:
        faults = "\n".join(f"| {name} | {number:,} |" for name, number in sorted(self.faults.items()))
        raised = ", ".join(f"{name} {number:,}" for name, number in self.raised.most_common())
        return (
            f"{self.rounds:,} lives, {sum(self.faults.values()):,} faults\n\n| fault | times |\n|---|---|\n{faults}\n\n"
            f"jobs lost {self.jobs_lost}, jobs doubled {self.jobs_doubled}, files doubled {self.files_doubled}, "
            f"files without a record {self.files_without_record}, models that did not answer {self.unanswered}\n"
            f"events {self.events:,}, lost {self.events_lost}, doubled {self.events_doubled}\n"
            f"what the caller saw: {raised or 'nothing'}"
        )


def dataset(folder: Path, number: int) -> rt.Dataset:
    """Twelve sums that no other round has."""
    path = folder / f"round-{number}.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{number}: what is {n} + {n}?"},
                {"role": "assistant", "content": f"{n + n}."},
            ]
        }
        for n in range(12)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rt.Dataset.from_files(path)


def trouble(backend: ScriptedBackend, rng: random.Random, report: Report) -> None:
    """Let the server answer a few coming requests badly."""

    def odd(page: dict[str, Any]) -> dict[str, Any]:
        events = [*page["data"], *rng.choices(page["data"], k=3)] if page["data"] else []
        rng.shuffle(events)
        return page | {"data": events}

    for _ in range(rng.randrange(4)):
        call = rng.choice(READS)
        kind = rng.choice(("429", "429 after 150 s", "500", "502", "503", "HTML page"))
        headers = {"retry-after": "150"} if kind == "429 after 150 s" else {}
        body = "<html>busy</html>" if kind == "HTML page" else None
        status = 502 if kind == "HTML page" else int(kind.split()[0])
        backend.fail_next(call, status=status, headers=headers, body=body, times=rng.choice((1, 1, 3)))
        report.faults[kind] += 1
    if rng.random() < 0.5:
        backend.change_next(EVENTS, odd, times=rng.choice((1, 2)))
        report.faults["pages doubled and out of order"] += 1
    if rng.random() < 0.3:
        backend.fail_next("fine_tuning.jobs.create", status=500, after_commit=True)
        report.faults["500 after the job was made"] += 1


class Life:
    """One round."""

    def __init__(self, backend: ScriptedBackend, folder: Path, number: int, rng: random.Random, report: Report) -> None:
        self._backend, self._report, self._rng = backend, report, rng
        self._data = dataset(folder, number)
        self._journal = rt.Journal(folder / f"round-{number}.sqlite3")
        self._clock = Clock(rng)
        self._calls = 0

    def live(self) -> None:
        """Go through a whole life and count what went wrong."""
        chance = self._rng.choice((0.1, 0.2, 0.4))

        def choose() -> Fault:
            return self._rng.choice(FAULTS) if self._rng.random() < chance else "none"

        port = int(self._backend.base_url.rsplit(":", 1)[1].split("/")[0])
        with FaultyProxy(port, choose) as proxy, ExitStack() as stack:
            address = f"http://127.0.0.1:{proxy.port}/v1"
            client = stack.enter_context(
                openai.OpenAI(base_url=address, api_key=self._backend.api_key, max_retries=0, timeout=10)
            )
            clock = self._clock
            api = Api(SyncPort(client, now=lambda: clock.wall, monotonic=lambda: clock.steady, sleep=clock.sleep))
            trouble(self._backend, self._rng, self._report)
            job = self._until_it_works(lambda: self._create(api))
            seen = self._events(job)
            model = self._until_it_works(lambda: rt.JobMonitor(job).wait())
            answer = self._until_it_works(lambda: model.ask("What is 1 + 1?"))
            self._report.faults.update({name: times for name, times in proxy.done.items() if name != "none"})
        self._report.faults["clock jumps by 4 h"] += self._clock.jumps
        self._report.unanswered += answer is None
        self._compare(job, seen)

    def _create(self, api: Api) -> rt.FineTuneJob:
        try:
            return rt.FineTuneJob.create(api, self._data, SPEC, journal=self._journal)
        except rt.CreateUncertain:
            # What the message says: wait an hour and make the same call again.
            self._clock.sleep(3_700.0)
            raise

    def _events(self, job: rt.FineTuneJob) -> list[str]:
        seen: list[str] = []

        def read() -> bool:
            # All ids, not the last: an order that changes within a second says nothing about what came before it.
            for event in rt.JobMonitor(job).events(after=seen):
                seen.append(event.id)
                if self._rng.random() < 0.02:
                    self._report.faults["the program was restarted"] += 1
                    return False
            return True

        while not self._until_it_works(read):
            pass
        return seen

    def _until_it_works(self, call: Any) -> Any:
        for _ in range(MOST_CALLS):
            try:
                return call()
            except Exception as error:
                self._report.raised[type(error).__name__] += 1
        message = "the same call failed too often"
        raise RuntimeError(message)

    def _compare(self, job: rt.FineTuneJob, seen: list[str]) -> None:
        """Ask the server itself, without the proxy."""
        self._backend.reset()
        report = self._report
        train = self._data.train
        assert train.sha256 is not None
        with self._backend.client() as client:
            files = [file for file in client.files.list() if train.sha256[:16] in file.filename]
            ids = {file.id for file in files}
            jobs = [one.id for one in client.fine_tuning.jobs.list() if one.training_file in ids]
            there = [event.id for event in client.fine_tuning.jobs.list_events(job.id)][::-1]
        report.jobs_lost += job.id not in jobs
        report.jobs_doubled += len(jobs) > 1
        report.files_doubled += len(files) > 1
        report.files_without_record += not files or len(self._journal.uploads()) == 0
        report.events += len(there)
        report.events_lost += len(set(there) - set(seen))
        report.events_doubled += len(seen) - len(set(seen))


def campaign(rounds: int, seed: int, folder: Path) -> Report:
    """Live so many lives."""
    report = Report()
    with ScriptedBackend(pace="poll") as backend:
        for number in range(rounds):
            Life(backend, folder, number, random.Random(f"{seed}:{number}"), report).live()
            report.rounds += 1
    return report


def main() -> None:
    """Run the campaign and print its report."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    logging.getLogger("ragtune").setLevel(logging.CRITICAL)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = campaign(asked.rounds, asked.seed, Path(folder))
    print(report)
    print(f"{time.monotonic() - begin:.0f} s")
    raise SystemExit(report.wrong > 0)


if __name__ == "__main__":
    main()
