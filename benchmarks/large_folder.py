"""A folder that has grown: 10 jobs and 100 events beside 10,000 jobs and 100,000 events.

    python -m benchmarks.large_folder [--looks 0]

Both folders are filled through the store's own code and no training. Asked is first the store, inside this process and
by processor time, which other programs do not change much; then a server in a process of its own over HTTP: how long a
start takes, each list, page and look, by the time that passes and by the server's processor time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import psutil

from benchmarks.load import BASE, LISTED, served, training_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import openai

    from ragtune.local.store import Store

STARTS = 5


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


def questions(store: Store) -> dict[str, Callable[[], object]]:
    """What the server asks its store for the looks above, for the queue, and at its end."""
    return {
        "first page of jobs": lambda: store.jobs.page(after=None, limit=LISTED),
        "jobs with one label": lambda: store.jobs.page(after=None, limit=LISTED, metadata={"number": "5"}),
        "jobs with a label that none has": lambda: store.jobs.page(after=None, limit=LISTED, metadata={"number": "x"}),
        "one job": lambda: store.jobs.find("ftjob-5"),
        "next in the queue": lambda: store.jobs.next("queued", but_not=()),
        "first page of events": lambda: store.jobs.events("ftjob-0", after=None, limit=LISTED),
        "last step of a job": lambda: store.jobs.last_step("ftjob-0"),
        "checkpoints of a job": lambda: store.models.checkpoints("ftjob-5", after=None, limit=LISTED),
        "first page of files": lambda: store.files.page(purpose=None, after=None, limit=LISTED, newest_first=True),
        "one file": lambda: store.files.find("file-none"),
        "is a content needed": lambda: store.files.drop_unused("0" * 64),
        "one tuned model": lambda: store.models.find(f"ft:{BASE}:local::5"),
        "all jobs that have not ended": store.jobs.unfinished,
        "all models, which have no pages": store.models.all,
    }


def asked_inside(folder: Path) -> dict[str, float]:
    """Microseconds of processor time for each question, and for opening the store."""
    from ragtune.local.store import Store

    begin = time.thread_time()
    store = Store(folder)
    found = {"open": 1e6 * (time.thread_time() - begin)}
    for name, question in questions(store).items():
        question()
        begin, times = time.thread_time(), 0
        while times < 10 or (times < 1_000 and time.thread_time() - begin < 0.2):
            question()
            times += 1
        found[name] = 1e6 * (time.thread_time() - begin) / times
    store.close()
    return found


def compare_folders(*, jobs: int, events: int, repeats: int) -> Iterator[str]:
    """A small folder and a large one as Markdown, asked inside and over HTTP."""
    with tempfile.TemporaryDirectory() as place:
        small, large = Path(place) / "small", Path(place) / "large"
        fill(small, jobs=10, events=100)
        fill(large, jobs=jobs, events=events)
        size = (large / "state.sqlite3").stat().st_size / 1e6
        yield f"\n10 jobs and 100 events beside {jobs:,} jobs and {events:,} events ({size:.0f} MB of state)\n"
        few, many = asked_inside(small), asked_inside(large)
        yield "| asked of the store, CPU-microseconds | small | large | ratio |\n|---|---|---|---|"
        yield from (f"| {name} | {us:.0f} | {many[name]:.0f} | {many[name] / us:.2f} |" for name, us in few.items())
        if not repeats:
            return
        short, long = timed(small, 10, repeats=repeats), timed(large, jobs, repeats=repeats)
        yield f"\n{repeats} looks each over HTTP, {STARTS} starts\n"
        yield "| | ms | ms in the large one | ratio | CPU-ms | CPU-ms in the large one | ratio |"
        yield "|---|---|---|---|---|---|---|"
        for name, (wall, cpu) in short.items():
            much, most = long[name]
            passed, used = f"{wall:.1f} | {much:.1f} | {much / wall:.2f}", f"{cpu:.1f} | {most:.1f} | {most / cpu:.2f}"
            yield f"| {name} | {passed} | {used} |"


def main() -> None:
    """Fill, ask, print."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--jobs", type=int, default=10_000)
    options.add_argument("--events", type=int, default=100_000)
    options.add_argument("--looks", type=int, default=100, help="over HTTP, of each kind; 0 asks the store alone")
    asked = options.parse_args()
    print(f"load average before: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    for line in compare_folders(jobs=asked.jobs, events=asked.events, repeats=asked.looks):
        print(line, flush=True)


if __name__ == "__main__":
    main()
