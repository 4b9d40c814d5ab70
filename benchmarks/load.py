"""What one server bears: clients that upload, list, poll and ask, and a folder with ten thousand jobs.

    python -m benchmarks.load --clients 1 10 100 1000 --folder

The server runs in a process of its own with `tiny-random`; the clients are the official asynchronous ones, each with
connections of its own, over HTTP on loopback in this process. A time is that of one call as its caller sees it, with
the client's own two retries in it; beside stand all answers that came over the wire, those included that a retry hid.
Jobs are really made and stand in the queue; the first one's trainer waits, so that no training takes the processor
(`--train` lets `ragtune.train` train them one after the other meanwhile).

`--folder` fills a folder through the store's own code and compares one with 10 jobs and 100 events with one of 10,000
jobs and 100,000 events: how long a start takes, and each list, page and look.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx2
import openai
import psutil

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from ragtune.local.store import Store

BASE = "tiny-random"
WAITING = (sys.executable, "-c", "import sys; sys.stdin.read()")
ROUNDS = {1: 50, 10: 20, 100: 5, 1000: 1}
LISTED = 20
STARTS = 5
ANSWER_TOKENS = 4
QUESTION: Any = [{"role": "user", "content": "Hi"}]


# The server


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server in another process."""

    base_url: str
    key: str
    start_s: float
    start_cpu_s: float
    process: psutil.Process

    def client(self, **options: Any) -> openai.OpenAI:
        """The official client, which waits for whoever is before it."""
        return openai.OpenAI(base_url=self.base_url, api_key=self.key, timeout=600, **options)

    def cpu_s(self) -> float:
        """Seconds of processor time that the server has taken, without its workers."""
        times = self.process.cpu_times()
        return times.user + times.system

    def peak_mb(self) -> float:
        """Most resident memory that the server ever had, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


def serve(pipe: Connection, folder: str, train: bool, warm: bool) -> None:
    """Serve a folder until the other end of the pipe closes."""
    from ragtune.local import LocalBackend

    begin, used = time.perf_counter(), time.process_time()
    with LocalBackend(folder, trainer=None if train else WAITING, threads=1) as backend:
        start_s, start_cpu_s = time.perf_counter() - begin, time.process_time() - used
        if warm:
            backend.warm(BASE)
        pipe.send((backend.base_url, backend.api_key, start_s, start_cpu_s))
        try:
            pipe.recv()
        except EOFError:
            return


@contextmanager
def served(folder: Path, *, train: bool = False, warm: bool = False) -> Iterator[Served]:
    """A server on a folder, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, str(folder), train, warm))
    process.start()
    there.close()
    try:
        base_url, key, start_s, start_cpu_s = here.recv()
        watched = psutil.Process(process.pid)
        yield Served(base_url=base_url, key=key, start_s=start_s, start_cpu_s=start_cpu_s, process=watched)
    finally:
        here.close()
        process.join()


# The clients


@dataclass(kw_only=True)
class Seen:
    """What a level of load saw.

    Attributes:
        took: seconds of each call that was answered, by operation.
        failed: calls that ended in an error, by operation and kind.
        answers: what came over the wire, by status; retried answers and broken connections included.
        files: ids of uploaded files.
        jobs: ids of created jobs.
        unannounced: answers of 429 and above 499 that name no time to come back.
    """

    took: dict[str, list[float]] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    files: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    unannounced: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    server_cpu_s: float = 0.0

    async def call(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make one call; None where it ends in an error."""
        begin = time.perf_counter()
        try:
            answer = await call()
        except openai.APIError as error:
            status = getattr(error, "status_code", None)
            self.failed[f"{name}: {status or type(error).__name__}"] += 1
            return None
        self.took.setdefault(name, []).append(time.perf_counter() - begin)
        return answer

    @property
    def calls(self) -> int:
        """How many calls were answered."""
        return sum(len(times) for times in self.took.values())


class Watched(httpx2.AsyncHTTPTransport):
    """The ordinary transport, which notes each answer."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(verify=False, limits=httpx2.Limits(max_connections=1))
        self._seen = seen

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        try:
            response = await super().handle_async_request(request)
        except httpx2.TransportError as error:
            self._seen.answers[type(error).__name__] += 1
            raise
        self._seen.answers[str(response.status_code)] += 1
        refused = response.status_code == 429 or response.status_code >= 500
        if refused and "retry-after" not in response.headers:
            self._seen.unannounced.append(f"{response.status_code} {request.method} {request.url.path}")
        return response


async def one_client(client: openai.AsyncOpenAI, number: int, rounds: int, seen: Seen) -> None:
    """A user who uploads, makes a job, looks at lists, at the job and its events, and asks."""
    async with client:
        jobs, chat = client.fine_tuning.jobs, client.chat.completions
        for turn in range(rounds):
            content = training_file(f"{number}-{turn}-{random.random()}")
            upload = partial(client.files.create, file=("rows.jsonl", content), purpose="fine-tune")
            if (file := await seen.call("upload", upload)) is not None:
                seen.files.add(file.id)
                create = partial(jobs.create, model=BASE, training_file=file.id, seed=7)
                if (job := await seen.call("create a job", create)) is not None:
                    seen.jobs.add(job.id)
                    await seen.call("poll the job", partial(jobs.retrieve, job.id))
                    await seen.call("its events", partial(list_events, jobs, job.id))
            await seen.call("list jobs", partial(list_page, jobs))
            await seen.call("list files", partial(list_page, client.files))
            await seen.call("ask", partial(chat.create, model=BASE, messages=QUESTION, max_tokens=ANSWER_TOKENS))


async def list_page(of: Any) -> Any:
    """The first page of a list, and no further one."""
    return await of.list(limit=LISTED)


async def list_events(jobs: Any, job_id: str) -> Any:
    """The first page of a job's events."""
    return await jobs.list_events(job_id, limit=LISTED)


def training_file(mark: str) -> bytes:
    """Ten rows that no other file has."""
    rows = (
        {"messages": [{"role": "user", "content": f"{mark} {n}?"}, {"role": "assistant", "content": "Yes."}]}
        for n in range(10)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def load(server: Served, clients: int, rounds: int) -> Seen:
    """Let clients go at once."""
    seen = Seen()
    each = [
        openai.AsyncOpenAI(
            base_url=server.base_url,
            api_key=server.key,
            http_client=httpx2.AsyncClient(transport=Watched(seen), timeout=600),
        )
        for _ in range(clients)
    ]
    begin, used = time.perf_counter(), server.cpu_s()
    await asyncio.gather(*(one_client(client, number, rounds, seen) for number, client in enumerate(each)))
    seen.wall_s, seen.server_cpu_s = time.perf_counter() - begin, server.cpu_s() - used
    return seen


def lost(server: Served, seen: Seen) -> tuple[set[str], set[str]]:
    """What another client does not find of the files and jobs that were promised."""
    with server.client() as client:
        files = {file.id for file in client.files.list(limit=1000)}
        jobs = {job.id for job in client.fine_tuning.jobs.list(limit=1000)}
    return seen.files - files, seen.jobs - jobs


def told(seen: Seen, clients: int, server: Served, missing: tuple[set[str], set[str]]) -> str:
    """One level as Markdown."""
    head = (
        f"\n{clients} client(s): {seen.calls} calls in {seen.wall_s:.1f} s, {seen.calls / seen.wall_s:.0f}/s; "
        f"the server took {1000 * seen.server_cpu_s / seen.calls:.1f} CPU-ms a call, "
        f"its peak was {server.peak_mb():.0f} MB\n"
    )
    lines = [head, "| operation | calls | p50 ms | p95 ms | p99 ms |", "|---|---|---|---|---|"]
    for name, times in seen.took.items():
        marks = " | ".join(f"{1000 * share(times, percent):.0f}" for percent in (50, 95, 99))
        lines.append(f"| {name} | {len(times)} | {marks} |")
    lines += [
        "",
        f"answers over the wire: {dict(sorted(seen.answers.items()))}; 429 or 5xx without Retry-After: "
        f"{Counter(seen.unannounced) or 0}",
        f"calls that failed for good: {dict(seen.failed) or 0}",
        f"lost: {len(missing[0])} of {len(seen.files)} files, {len(missing[1])} of {len(seen.jobs)} jobs",
    ]
    return "\n".join(lines)


def share(times: Sequence[float], percent: int) -> float:
    """The time that so many percent of the calls were within."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


# The folder


def fill(folder: Path, *, jobs: int, events: int) -> None:
    """Write jobs, files, models and events through the store's own code; half of the events are of the first job.

    One job in ten waits in the queue, the others have succeeded.
    """
    from ragtune.local.store import Store

    folder.mkdir(mode=0o700, parents=True)
    store = Store(folder)
    try:
        for begin in range(0, jobs, 500):
            # What is thrown away in the end need not survive a power cut: ten thousand files are made in seconds.
            with store.transaction(), mock.patch("os.fsync"):
                for number in range(begin, min(begin + 500, jobs)):
                    own = events // 2 if number == 0 else events // 2 // jobs
                    add_job(store, number, events=own)
    finally:
        store.close()


def add_job(store: Store, number: int, *, events: int) -> None:
    """A job with a file of its own, and what became of it."""
    from ragtune.local.store.schema import JobRow, NewEvent

    file = store.files.add_bytes(training_file(str(number)), filename=f"{number}.jsonl", purpose="fine-tune")
    job = JobRow(
        id=f"ftjob-{number}", status="validating_files", model=BASE, base=BASE, parent=None, training_file=file.id,
        validation_file=None, training_sha256=file.sha256, validation_sha256=None, suffix=None, seed=7,
        tuned_name=f"ft:{BASE}:local::{number}", metadata={"all": "yes", "number": str(number)},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}}, created_at=int(time.time()),
    )  # fmt: skip
    store.jobs.add(job)
    settled = {"n_epochs": 1, "batch_size": 1, "learning_rate_multiplier": 1.0}
    store.jobs.move(job.id, come_from=("validating_files",), to="queued", resolved=settled)
    metrics: dict[str, float] = {"total_steps": events, "train_loss": 1.0, "train_mean_token_accuracy": 0.5}
    notes = (
        NewEvent(message=f"Step {step}", type="metrics", step=step, data={"step": step, **metrics})
        for step in range(1, events)  # one event was written with the job
    )
    store.jobs.note(job.id, *notes)
    if number % 10 != 9:
        store.jobs.move(job.id, come_from=("queued",), to="running")
        store.models.add(job.tuned_name, base=BASE, adapter=store.job_folder(job.id) / "adapter", job=job.id)
        store.jobs.move(job.id, come_from=("running",), to="succeeded", trained_tokens=10)


def looks(client: openai.OpenAI, jobs: int) -> dict[str, Callable[[], object]]:
    """What is asked of both folders."""
    tuning = client.fine_tuning.jobs
    events = [event.id for event in tuning.list_events("ftjob-0", limit=1000)]
    files = client.files.list(limit=1, order="asc").data[0]
    return {
        "first page of jobs": lambda: tuning.list(limit=LISTED),
        "last page of jobs": lambda: tuning.list(limit=LISTED, after="ftjob-3"),
        "jobs with one label": lambda: tuning.list(limit=LISTED, metadata={"number": "5"}),
        "jobs with a label that none has": lambda: tuning.list(limit=LISTED, metadata={"number": "none"}),
        "one job": lambda: tuning.retrieve(f"ftjob-{jobs - 2}"),
        "first page of events": lambda: tuning.list_events("ftjob-0", limit=LISTED),
        "events in the middle": lambda: tuning.list_events("ftjob-0", limit=LISTED, after=events[len(events) // 2]),
        "last page of events": lambda: tuning.list_events("ftjob-0", limit=LISTED, after=events[-2]),
        "checkpoints of a job": lambda: tuning.checkpoints.list(f"ftjob-{jobs - 2}"),
        "first page of files": lambda: client.files.list(limit=LISTED),
        "one file": lambda: client.files.retrieve(files.id),
        "one tuned model": lambda: client.models.retrieve(f"ft:{BASE}:local::5"),
        "upload and delete": lambda: client.files.delete(
            client.files.create(file=("rows.jsonl", training_file("more")), purpose="fine-tune").id
        ),
        "create and cancel a job": lambda: tuning.cancel(tuning.create(model=BASE, training_file=files.id, seed=7).id),
        "all models, which have no pages": lambda: client.models.list(),
    }


Times = tuple[float, float]  # milliseconds that passed, milliseconds of the server's processor time


def timed(folder: Path, jobs: int, *, repeats: int) -> dict[str, Times]:
    """What a start and each look take: the median of the time that passed, the mean of the processor time."""
    starts = []
    for _ in range(STARTS):
        with served(folder) as server:
            starts.append((1000 * server.start_s, 1000 * server.start_cpu_s))
    found = {"start": (statistics.median(wall for wall, _ in starts), statistics.median(cpu for _, cpu in starts))}
    with served(folder) as server, server.client(max_retries=0) as client:
        for name, look in looks(client, jobs).items():
            times, used = [], server.cpu_s()
            for _ in range(repeats):
                begin = time.perf_counter()
                look()
                times.append(time.perf_counter() - begin)
            found[name] = (1000 * statistics.median(times), 1000 * (server.cpu_s() - used) / repeats)
    return found


def compare_folders(*, jobs: int, events: int, repeats: int) -> str:
    """A small folder and a large one as Markdown."""
    with tempfile.TemporaryDirectory() as place:
        fill(Path(place) / "small", jobs=10, events=100)
        fill(Path(place) / "large", jobs=jobs, events=events)
        size = (Path(place) / "large" / "state.sqlite3").stat().st_size / 1e6
        small = timed(Path(place) / "small", 10, repeats=repeats)
        large = timed(Path(place) / "large", jobs, repeats=repeats)
    lines = [
        f"\n10 jobs and 100 events beside {jobs:,} jobs and {events:,} events ({size:.0f} MB of state); "
        f"{repeats} looks each, {STARTS} starts\n",
        "| | ms | ms in the large one | ratio | CPU-ms | CPU-ms in the large one | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (wall, cpu) in small.items():
        much, most = large[name]
        lines.append(
            f"| {name} | {wall:.1f} | {much:.1f} | {much / wall:.2f} | {cpu:.1f} | {most:.1f} | {most / cpu:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Load, measure, print."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--clients", type=int, nargs="*", default=[1, 10, 100, 1000])
    options.add_argument("--rounds", type=int, help="of each client; else fewer the more there are")
    options.add_argument("--train", action="store_true", help="let the jobs be trained meanwhile, one after the other")
    options.add_argument("--folder", action="store_true", help="compare folders")
    options.add_argument("--jobs", type=int, default=10_000)
    options.add_argument("--events", type=int, default=100_000)
    options.add_argument("--looks", type=int, default=100)
    asked = options.parse_args()
    print(f"load average before: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    for clients in asked.clients:
        rounds = asked.rounds or ROUNDS.get(clients, 1)
        with (
            tempfile.TemporaryDirectory() as place,
            served(Path(place) / "runs", train=asked.train, warm=True) as server,
        ):
            seen = asyncio.run(load(server, clients, rounds))
            print(told(seen, clients, server, lost(server, seen)), flush=True)
    if asked.folder:
        print(compare_folders(jobs=asked.jobs, events=asked.events, repeats=asked.looks))


if __name__ == "__main__":
    main()
