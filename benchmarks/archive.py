"""How many requests and how much memory an inventory and an archive of a large account take.

    python benchmarks/archive.py [--jobs 1000] [--files 10000] [--gigabytes 0.5] [--concurrency 8]

A server over loopback makes up an account: jobs in pages of 100, files in one list, contents of pseudo-random bytes.
Inventory and archive run in a process of their own; its peak of resident memory is its own. The goals: requests are
pages, one for each content and two for each job, and memory stays below 150 MB however large the account's files are.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

GOAL_MB = 150
BLOCK = random.Random(7).randbytes(1 << 16)
BASE = "gpt-4o-mini-2024-07-18"


class Account:
    """An account that is made up as it is asked for."""

    def __init__(self, jobs: int, files: int, file_bytes: int) -> None:
        self.jobs, self.files, self.file_bytes = jobs, files, file_bytes
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()

    def job(self, number: int) -> dict[str, Any]:
        """One finished job; its files are among the account's."""
        method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 4}}}
        return {
            "id": f"ftjob-{number}",
            "object": "fine_tuning.job",
            "status": "succeeded",
            "model": BASE,
            "created_at": 1_760_000_000 + number,
            "fine_tuned_model": f"ft:{BASE}:acme::{number}",
            "training_file": f"file-{number % self.files}",
            "result_files": [],
            "trained_tokens": 100_000,
            "method": method,
            "metadata": {},
        }

    def file(self, number: int) -> dict[str, Any]:
        """One file of the list."""
        about = {"id": f"file-{number}", "object": "file", "filename": f"{number}.jsonl", "purpose": "fine-tune"}
        return about | {"bytes": self.file_bytes, "created_at": 1_760_000_000, "status": "processed"}

    def answer(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        """The body of a list."""
        if path == "/fine_tuning/jobs":
            after = query.get("after", ["ftjob--1"])[0]
            begin = int(after.removeprefix("ftjob-")) + 1
            page = [self.job(n) for n in range(begin, min(begin + 100, self.jobs))]
            return {"object": "list", "data": page, "has_more": begin + 100 < self.jobs}
        if path == "/files":
            return {"object": "list", "data": [self.file(n) for n in range(self.files)], "has_more": False}
        if path == "/models":
            names = [f"ft:{BASE}:acme::{n}{end}" for n in range(self.jobs) for end in ("", ":ckpt-step-9")]
            return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
        events = [{"id": f"e-{n}", "object": "event", "created_at": n, "message": "m" * 80} for n in range(20)]
        return {"object": "list", "data": [] if path.endswith("checkpoints") else events, "has_more": False}


def handler(account: Account) -> type[BaseHTTPRequestHandler]:
    """What answers for an account."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path = url.path.removeprefix("/v1")
            kind = "content" if path.endswith("/content") else path.rpartition("/")[2]
            with account.lock:
                account.asked[kind] += 1
            if kind == "content":
                self._content(int(path.split("/")[2].removeprefix("file-")))
                return
            body = json.dumps(account.answer(path, parse_qs(url.query))).encode()
            self._head("application/json", len(body))
            self.wfile.write(body)

        def _head(self, kind: str, size: int) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(size))
            self.end_headers()

        def _content(self, number: int) -> None:
            self._head("application/octet-stream", account.file_bytes)
            first = f"{number:016d}".encode()
            self.wfile.write(first[: account.file_bytes])
            left = account.file_bytes - len(first)
            while left > 0:
                left -= self.wfile.write(BLOCK[: min(left, len(BLOCK))])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def measured(step: str, address: str, folder: str, concurrency: int) -> None:
    """Run one step here and print what it took."""
    import openai

    import ragtune as rt

    client = openai.OpenAI(base_url=address, api_key="sk-of-nobody", max_retries=0)
    maintenance = rt.Maintenance(client, dialect="openai", journal=None)
    client.models.list  # noqa: B018  # the client loads its rooms on first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begun, cpu = time.perf_counter(), time.process_time()
    if step == "inventory":
        said = f"{len(maintenance.inventory()):,} rows"
    elif step == "verify":
        read = rt.Archive.load(folder).verify()
        said = f"{read.checked:,} contents, ok: {read.ok}"
    else:
        made = rt.Archive.create(client, folder, dialect="openai", concurrency=concurrency, journal=None)
        said = f"{len(made.held):,} things"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took = {"wall_s": round(time.perf_counter() - begun, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    print(json.dumps({"step": step, "said": said, "before_mb": round(before), "peak_mb": round(peak)} | took))


def main() -> None:
    """Run all steps against one made-up account."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--gigabytes", type=float, default=0.5)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        step, address, folder = given.step
        measured(step, address, folder, given.concurrency)
        return
    account = Account(given.jobs, given.files, max(32, int(given.gigabytes * 1e9 / given.files)))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(account))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/v1"
    print(f"{given.jobs:,} jobs, {given.files:,} files of {account.file_bytes:,} bytes; goal: peak <= {GOAL_MB} MB")
    with tempfile.TemporaryDirectory(prefix="ragtune-archive-") as folder:
        for named in ("inventory", "archive", "archive", "verify"):
            account.asked.clear()
            command = [sys.executable, __file__, "--concurrency", str(given.concurrency), "--step", named, address]
            done = subprocess.run([*command, f"{folder}/archive"], capture_output=True, text=True, check=True)
            print(done.stdout.strip(), "requests:", dict(account.asked))
    server.shutdown()


if __name__ == "__main__":
    main()
