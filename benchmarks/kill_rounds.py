"""Kill -9 at random moments: what is left of the jobs, compared with a run that nobody disturbed.

Each job on `tiny-random` is hit several times, the worker, the server or both, at a moment of one of these kinds: while
the worker starts, between two steps, in the write of a checkpoint, in the write of an epoch's adapter, and
around the end of the run. A killed server is started again on the same folder. At the end of a job its losses, its
tokens and the bytes of its adapter must equal those of the undisturbed run, and nothing half-written may be left.

    OMP_NUM_THREADS=1 python benchmarks/kill_rounds.py --rounds 100 --seed 0
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = 20
SETTINGS: dict[str, Any] = {"n_epochs": 6, "batch_size": 2}
STEPS = 60
KILLS_PER_JOB = 4  # a fifth in a row without progress would rightly fail the job
VICTIMS = ("worker", "server", "both")
_WAIT_S = 180.0
_SERVER = """
import logging, sys
from ragtune.local import serve
logging.basicConfig()
serve(sys.argv[1], threads=1, on_start=lambda backend: print(backend.base_url, backend.api_key, flush=True))
"""


@dataclass(kw_only=True)
class Report:
    """What happened.

    Attributes:
        kills: how often which process was hit at which kind of moment.
        jobs: how many jobs were disturbed.
        lost: jobs that did not succeed, with the reason.
        wrong: jobs that ended otherwise than the undisturbed one, with the difference.
        left: half-written files and processes that were left behind.
        caught: checkpoints that were half written when the kill came.
    """

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    jobs: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    caught: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, wrong or left."""
        return not (self.lost or self.wrong or self.left)

    def __str__(self) -> str:
        rows = sorted({moment for _, moment in self.kills})
        lines = ["| moment | " + " | ".join(VICTIMS) + " |", "|---|" + "---|" * len(VICTIMS)]
        lines += [f"| {row} | " + " | ".join(str(self.kills[victim, row]) for victim in VICTIMS) + " |" for row in rows]
        lines += ["", f"{self.kills.total()} kills on {self.jobs} jobs; half-written checkpoints met: {self.caught}"]
        lines += [f"jobs lost: {len(self.lost)}; jobs wrong: {len(self.wrong)}; things left: {len(self.left)}"]
        return "\n".join([*lines, *self.lost, *self.wrong, *self.left])


@dataclass(kw_only=True)
class Server:
    """A backend in a process of its own, with a client."""

    folder: Path
    process: subprocess.Popen[str]
    client: openai.OpenAI

    @classmethod
    def start(cls, folder: Path) -> Server:
        """Start one, and wait until it answers."""
        with (folder.parent / "server.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(folder)], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if len(words) != 2:
            raise RuntimeError(f"the server did not start; see {folder.parent / 'server.log'}")
        return cls(folder=folder, process=process, client=openai.OpenAI(base_url=words[0], api_key=words[1]))

    def end(self, number: signal.Signals) -> None:
        """Send a signal, and wait for the end."""
        self.client.close()
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()


def disturb(folder: Path, *, rounds: int, seed: int, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Kill `rounds` times and report."""
    chance, report = random.Random(seed), Report()
    server = Server.start(folder)
    try:
        file = server.client.files.create(file=("train.jsonl", _rows()), purpose="fine-tune").id
        expected = _outcome(server, _wait(server, _create(server, file)))
        while report.kills.total() < rounds:
            job = _create(server, file)
            report.jobs += 1
            for _ in range(min(KILLS_PER_JOB, rounds - report.kills.total())):
                victim, moment = chance.choice(VICTIMS), chance.choice(list(_MOMENTS))
                if not _MOMENTS[moment](folder / "jobs" / job, chance):
                    break  # the job was faster
                server = _kill(server, victim, job, report)
                report.kills[victim, moment] += 1
            status = _wait(server, job)
            _judge(server, job, status, expected, report)
            tell(f"{report.kills.total()} kills, {len(report.lost)} lost, {len(report.wrong)} wrong")
    finally:
        server.end(signal.SIGINT)
    report.left += [f"process {pid} still works on {folder}" for pid in _working_on(folder)]
    report.left += [
        str(path) for path in folder.rglob("*") if path.name.endswith(".tmp") or path.parent.name == "partial"
    ]
    return report


def _rows() -> bytes:
    turns = [
        [{"role": "user", "content": f"Who lives in house {n}?"}, {"role": "assistant", "content": f"Number {n * 7}."}]
        for n in range(ROWS)
    ]
    return "".join(json.dumps({"messages": pair}) + "\n" for pair in turns).encode()


def _create(server: Server, file: str) -> str:
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": SETTINGS}}
    return server.client.fine_tuning.jobs.create(model="tiny-random", training_file=file, method=method, seed=7).id


def _wait(server: Server, job: str) -> Any:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        found = server.client.fine_tuning.jobs.retrieve(job)
        if found.status in ("succeeded", "failed", "cancelled"):
            break
        time.sleep(0.1)
    return found


def _outcome(server: Server, job: Any) -> dict[str, Any]:
    """What must be equal: tokens, the loss of every step, the bytes of the adapter, the checkpoints."""
    events = server.client.fine_tuning.jobs.list_events(job.id, limit=1000).data
    adapter = server.folder / "jobs" / job.id / "adapter" / "adapter_model.safetensors"
    steps = [event.data for event in events if event.type == "metrics" and isinstance(event.data, dict)]
    return {
        "tokens": job.trained_tokens,
        "losses": {step["step"]: (step["train_loss"], step["train_mean_token_accuracy"]) for step in steps},
        "told": sorted(step["step"] for step in steps),
        "adapter": hashlib.sha256(adapter.read_bytes()).hexdigest() if adapter.exists() else None,
        "checkpoints": [c.step_number for c in server.client.fine_tuning.jobs.checkpoints.list(job.id)],
        "table": len(server.client.files.content(job.result_files[0]).read()) > 0 if job.result_files else None,
    }


def _judge(server: Server, job: str, found: Any, expected: dict[str, Any], report: Report) -> None:
    if found.status != "succeeded":
        report.lost.append(f"{job}: {found.status}, {found.error}")
        return
    outcome = _outcome(server, found)
    report.wrong += [f"{job}: {name} differ" for name, value in expected.items() if outcome[name] != value]
    zombies = [pid for pid, fields in _processes() if fields[1] == str(server.process.pid) and fields[0] == "Z"]
    report.left += [f"zombie {pid} of {job}" for pid in zombies]


def _kill(server: Server, victim: str, job: str, report: Report) -> Server:
    workers = _working_on(server.folder / "jobs" / job)
    if victim != "worker":
        with suppress(ProcessLookupError):
            server.process.kill()
    if victim != "server":
        for pid in workers:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    found = (server.folder / "jobs" / job).glob("checkpoints/checkpoint-*")
    report.caught += any(not (path / "whole").exists() for path in found)
    if victim == "worker":
        return server
    server.end(signal.SIGKILL)
    return Server.start(server.folder)


# --- moments: each waits for its kind of moment, and returns False when the job was over before ---------------------


def _while_starting(folder: Path, chance: random.Random) -> bool:
    before = time.monotonic()
    found = _until(folder, lambda: bool(_working_on(folder)))
    time.sleep(chance.uniform(0, max(0.0, 5.0 - (time.monotonic() - before))))
    return found


def _between_steps(folder: Path, chance: random.Random) -> bool:
    wanted = chance.randint(1, STEPS - 1)
    found = _until(folder, lambda: _last_step(folder) >= wanted)
    time.sleep(chance.uniform(0, 0.03))
    return found


def _in_a_checkpoint(folder: Path, chance: random.Random) -> bool:
    passed = chance.randint(0, STEPS - 10)

    def half_written() -> bool:
        found = (folder / "checkpoints").glob("checkpoint-*")
        return any(int(path.name[11:]) > passed and not (path / "whole").exists() for path in found)

    found = _until(folder, half_written)
    time.sleep(chance.choice((0.0, 0.002, 0.005)))
    return found


def _in_an_adapter(folder: Path, chance: random.Random) -> bool:
    passed = chance.randint(0, STEPS - 10)
    return _until(folder, lambda: any(int(p.name[6:-4]) > passed for p in (folder / "epochs").glob(".step-*.tmp")))


def _at_the_end(folder: Path, chance: random.Random) -> bool:
    found = _until(folder, lambda: _last_step(folder) >= STEPS)
    time.sleep(chance.uniform(0, 0.1))
    return found


_MOMENTS: dict[str, Callable[[Path, random.Random], bool]] = {
    "the worker starts": _while_starting,
    "between two steps": _between_steps,
    "in the write of a checkpoint": _in_a_checkpoint,
    "in the write of an adapter": _in_an_adapter,
    "at the end of the run": _at_the_end,
}


def _until(folder: Path, look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):  # what is looked at may be renamed meanwhile
            if look():
                return True
        if b'"end"' in _tail(folder):
            return False
        time.sleep(0.0005)
    raise TimeoutError(f"nothing happened in {folder}")


def _tail(folder: Path) -> bytes:
    try:
        with (folder / "events.jsonl").open("rb") as events:
            events.seek(max(0, events.seek(0, os.SEEK_END) - 1024))
            return events.read()
    except FileNotFoundError:
        return b""


def _last_step(folder: Path) -> int:
    """The newest step in the events file; 0 when no metrics stand near its end."""
    steps = [0]
    for line in _tail(folder).splitlines():
        with suppress(ValueError):
            event = json.loads(line)
            steps.append(event["step"] if isinstance(event, dict) and event.get("type") == "metrics" else 0)
    return steps[-1] or max(steps)


def _working_on(folder: Path) -> list[int]:
    """Workers whose spec lies below a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if any(word.startswith(os.fsencode(folder) + b"/") and word.endswith(b"spec.json") for word in words):
                    found.append(int(entry.name))
    return found


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Each process with its state, its parent's id and so on."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()


@contextmanager
def _scratch(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> int:
    """Run the campaign and print its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work, and to leave everything afterwards")
    asked = parser.parse_args()
    with _scratch(asked.folder) as folder:
        began = time.monotonic()
        report = disturb(
            folder / "backend", rounds=asked.rounds, seed=asked.seed, tell=lambda line: print(line, flush=True)
        )
        print(f"\n{report}\n{time.monotonic() - began:.0f} s")
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
