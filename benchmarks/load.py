"""What one server bears: clients that upload, list, poll and ask, a thousand of them at once.

    python -m benchmarks.load --clients 1 10 100 1000

The server runs in a process of its own with `tiny-random`; the clients are the official asynchronous ones, each with
connections of its own, over HTTP on loopback in this process. A time is that of one call as its caller sees it, with
the client's own two retries in it; beside stand all answers that came over the wire, those included that a retry hid.
Jobs are really made and stand in the queue; the first one's trainer waits, so that no training takes the processor
(`--train` lets `ragtune.train` train them one after the other meanwhile).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import psutil

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

BASE = "tiny-random"
WAITING = (sys.executable, "-c", "import sys; sys.stdin.read()")
ROUNDS = {1: 20, 10: 10, 100: 2, 1000: 1}
LISTED = 20
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


def main() -> None:
    """Load, measure, print."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--clients", type=int, nargs="*", default=[1, 10, 100, 1000])
    options.add_argument("--rounds", type=int, help="of each client; else fewer the more there are")
    options.add_argument("--train", action="store_true", help="let the jobs be trained meanwhile, one after the other")
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


if __name__ == "__main__":
    main()
