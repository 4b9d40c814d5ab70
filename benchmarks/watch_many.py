"""Memory and requests of one poller over 200 jobs, against a real server over loopback in a process of its own.

Run: python benchmarks/watch_many.py [--jobs 200] [--looks 50] [--others 0]

The server's jobs run for about that number of looks and end in ten bunches; its replies carry what OpenAI's carry.
Memory is the highest resident size of the watching process, above what it had once the handles were made.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PAUSE_S = 0.02


def body(name: str, status: str) -> dict[str, Any]:
    """A job as OpenAI sends it, about 1 kB of JSON."""
    settings = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8}
    return {
        "object": "fine_tuning.job", "id": name, "status": status, "created_at": 1_796_000_000, "finished_at": None,
        "model": "gpt-4o-mini-2024-07-18", "organization_id": "org-" + "x" * 24, "estimated_finish": None,
        "fine_tuned_model": None, "training_file": "file-" + "x" * 22, "validation_file": "file-" + "y" * 22,
        "result_files": [], "trained_tokens": None, "error": {"code": None, "message": None, "param": None},
        "user_provided_suffix": "sweep", "seed": 7, "integrations": [], "shared_with_openai": False,
        "hyperparameters": settings, "method": {"type": "supervised", "supervised": {"hyperparameters": settings}},
        "usage_metrics": None, "metadata": {"ragtune_key": "0" * 32, "ragtune_fingerprint": "1" * 64, "note": "z" * 40},
    }  # fmt: skip


class Account(BaseHTTPRequestHandler):
    """The jobs endpoint of an account whose jobs end bunch by bunch."""

    protocol_version = "HTTP/1.1"
    jobs: list[str]
    looks: int
    counts: dict[str, int]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        names, query = self.jobs, parse_qs(url.query)
        if url.path.endswith("/jobs"):
            self.counts["list"] += 1
            self.counts["looks"] += "after" not in query
            start = names.index(query["after"][0]) + 1 if "after" in query else 0
            part = names[start : start + int(query["limit"][0])]
            more = start + len(part) < len(names)
            return self.reply({"object": "list", "data": [body(n, self.status(n)) for n in part], "has_more": more})
        self.counts["retrieve"] += 1
        self.counts["looks"] += self.counts["list"] > 0
        name = url.path.rpartition("/")[2]
        return self.reply(body(name, self.status(name)))

    def status(self, name: str) -> str:
        number = int(name.rpartition("-")[2])
        due = self.looks * (0.5 + 0.5 * (number % 10) / 10)
        return "succeeded" if self.counts["looks"] > due else "running"

    def reply(self, value: Any) -> None:
        payload = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.send_header("openai-poll-after-ms", str(1000 * PAUSE_S))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        pass


def serve(pipe: Connection, jobs: int, others: int, looks: int) -> None:
    """Serve until the other end of the pipe closes."""
    names = [f"ftjob-other-{n}" for n in range(others)] + [f"ftjob-{n}" for n in range(jobs)]
    counts = {"looks": 0, "list": 0, "retrieve": -jobs}  # the handles are made by one retrieve each
    handler = type("Served", (Account,), {"jobs": names, "looks": looks, "counts": counts})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(server.server_port)
    try:
        while True:
            pipe.recv()
            pipe.send(dict(counts))
    except EOFError:
        server.shutdown()


def resident() -> float:
    """Resident size of this process now, in MB."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Watch, measure, print."""
    options = argparse.ArgumentParser()
    options.add_argument("--jobs", type=int, default=200)
    options.add_argument("--others", type=int, default=0, help="newer jobs of strangers in the same list")
    options.add_argument("--looks", type=int, default=50)
    options.add_argument("--trace", action="store_true", help="count Python's own allocations too (slower)")
    asked = options.parse_args()
    pipe, end = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(end, asked.jobs, asked.others, asked.looks), daemon=True)
    server.start()
    end.close()

    import openai

    import ragtune as rt

    # A journal of its own, so that a benchmark is not remembered as work.
    folder = tempfile.TemporaryDirectory()
    journal = os.path.join(folder.name, "journal.sqlite3")

    with openai.OpenAI(base_url=f"http://127.0.0.1:{pipe.recv()}/v1", api_key="sk-x") as client:
        jobs = [rt.FineTuneJob.get(client, f"ftjob-{n}", journal=journal) for n in range(asked.jobs)]
        before = highest = resident()
        if asked.trace:
            tracemalloc.start()
        began, cpu, ended = time.perf_counter(), time.process_time(), 0
        for job in rt.watch_many(jobs):
            ended += job.details.is_final
            highest = max(highest, resident())
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        pipe.send("counts")
        counts = pipe.recv()
    print(f"{ended} jobs ended after {wall:.1f} s, {cpu:.2f} s of CPU")
    lists, singles = counts["list"], counts["retrieve"]
    print(f"requests: {lists + singles} for {counts['looks']} looks ({lists} of the list, {singles} of single jobs)")
    print(f"memory: {before:.1f} MB at the start, at most {highest - before:.1f} MB more")
    if asked.trace:
        print(f"of which Python's own objects: {tracemalloc.get_traced_memory()[1] / 1e6:.1f} MB")
    pipe.close()
    server.join()
    folder.cleanup()


if __name__ == "__main__":
    main()
