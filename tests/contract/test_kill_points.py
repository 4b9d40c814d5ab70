"""A process that is killed at any point of `create`, and what the next call then does; over real loopback HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

import ragtune as rt
from ragtune._api import Api
from ragtune._api.ports import SyncPort
from ragtune.testing import ScriptedBackend
from tests.contract import buyer

BUYER = Path(__file__).with_name("buyer.py")

# Every step into the world on the way from the intent to the written answer, each with a point before and after it.
STEPS = [
    "models.retrieve",
    "Recorder.begin",
    "fine_tuning.jobs.list",
    "Recorder.runs_of",
    "Recorder.find_upload",
    "files.list",
    "Recorder.begin_upload",
    "files.create",
    "Recorder.end_upload",
    "Recorder.send",
    "fine_tuning.jobs.create",
    "Recorder.created",
]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedBackend]:
    """One server for all rounds; its jobs go on until the end of the tests."""
    with ScriptedBackend(tmp_path_factory.mktemp("kills"), pace="poll") as running:
        yield running


@pytest.fixture(scope="module")
def mortal() -> Iterator[subprocess.Popen[str]]:
    """A process that forks buyers, so that each need not load the OpenAI client again."""
    with subprocess.Popen(
        [sys.executable, str(BUYER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def ask(process: subprocess.Popen[str], order: dict[str, Any]) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def order_for(backend: ScriptedBackend, folder: Path, name: str, **more: Any) -> dict[str, Any]:
    """What a buyer is told: a data set of its own, so that rounds do not meet."""
    where = {"base_url": backend.base_url, "api_key": backend.api_key}
    return where | {"name": name, "folder": str(folder), "journal": str(folder / f"{name}.sqlite3")} | more


def patient(client: openai.OpenAI) -> Api:
    """The calls with a clock on which waiting takes no time."""
    slept = [0.0]

    def sleep(seconds: float) -> None:
        slept[0] += seconds

    return Api(
        SyncPort(client, now=lambda: REAL.now() + slept[0], monotonic=lambda: REAL.monotonic() + slept[0], sleep=sleep)
    )


REAL = SyncPort(openai.OpenAI(api_key="unused"))


def bought(client: openai.OpenAI, journal: rt.Journal) -> tuple[list[str], list[str]]:
    """Jobs and files of the round on the server."""
    [*runs] = journal.runs()
    hashes = {upload.sha256[:16] for upload in journal.uploads()}
    key = runs[0].key if runs else None
    jobs = [job.id for job in client.fine_tuning.jobs.list() if key and (job.metadata or {}).get("ragtune_key") == key]
    return jobs, [file.id for file in client.files.list() if any(digest in file.filename for digest in hashes)]


@pytest.mark.slow
def test_a_buyer_killed_at_any_point_never_buys_twice(
    backend: ScriptedBackend, mortal: subprocess.Popen[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After each kill the same call is made again: one job, or `CreateUncertain` and one job once that is resolved.

    Uncertain may only be what was killed after the word "sent" was written and before the server had the request.
    """
    whole = ask(mortal, order_for(backend, tmp_path, "whole"))
    assert whole["error"] is None, whole
    points: list[str] = whole["points"]
    steps = [point.removeprefix("before ") for point in points if point.startswith("before ")]
    assert [step for step in steps if step in STEPS] == STEPS, steps
    outcomes: list[tuple[str, str]] = []
    with backend.client() as client:
        for number, point in enumerate(points):
            order = order_for(backend, tmp_path, f"round-{number}", die_at=number)
            files_before = {file.id for file in client.files.list()}
            assert ask(mortal, order)["code"] == 9
            outcomes.append((point, after_a_kill(client, order, files_before)))
    uncertain = [point for point, outcome in outcomes if outcome == "uncertain"]
    assert uncertain == ["after Recorder.send", "before fine_tuning.jobs.create"]
    with capsys.disabled():
        print("\n" + "\n".join(f"  killed {point}: {outcome}" for point, outcome in outcomes))


def after_a_kill(client: openai.OpenAI, order: dict[str, Any], files_before: set[str]) -> str:
    journal, data = rt.Journal(order["journal"]), buyer.dataset(order)
    uploaded = {file.filename for file in client.files.list() if file.id not in files_before}
    assert uploaded <= {upload.filename for upload in journal.uploads()}, "an upload without a record"
    assert len(bought(client, journal)[0]) <= 1
    api = patient(client)
    try:
        job, outcome = rt.FineTuneJob.create(api, data, buyer.SPEC, journal=journal), "one job"
    except rt.CreateUncertain:
        assert bought(client, journal)[0] == []
        [run] = journal.runs()
        assert run.state == "uncertain"
        journal.give_up(run.id)
        job, outcome = rt.FineTuneJob.create(api, data, buyer.SPEC, journal=journal), "uncertain"
    jobs, files = bought(client, journal)
    assert jobs == [job.id]
    assert [run.job_id for run in journal.runs() if run.state == "created"] == [job.id]
    assert len(files) == 1
    assert [upload.file_id for upload in journal.uploads() if upload.state == "done"] == files
    assert {upload.state for upload in journal.uploads()} <= {"done", "failed"}
    return outcome


@pytest.mark.slow
def test_processes_that_buy_the_same_at_once_get_the_same_job(backend: ScriptedBackend, tmp_path: Path) -> None:
    """Four processes with one journal: one upload, one POST, four handles on one job."""
    order = order_for(backend, tmp_path, "together")
    seen = len(backend.requests)
    assert len({answer["job"] for answer in at_once([order] * 4)}) == 1
    calls = [request.call for request in backend.requests[seen:]]
    assert (calls.count("fine_tuning.jobs.create"), calls.count("files.create")) == (1, 1)


@pytest.mark.slow
def test_processes_that_buy_different_jobs_on_one_content_upload_it_once(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    seen = len(backend.requests)
    answers = at_once([order_for(backend, tmp_path, "shared", key=f"sweep-{n}") for n in range(3)])
    assert len({answer["job"] for answer in answers}) == 3, answers
    calls = [request.call for request in backend.requests[seen:]]
    assert (calls.count("fine_tuning.jobs.create"), calls.count("files.create")) == (3, 1)


def at_once(orders: list[dict[str, Any]]) -> list[Any]:
    buyer.dataset(orders[0])

    def buy(order: dict[str, Any]) -> Any:
        done = subprocess.run(
            [sys.executable, str(BUYER), "--here"], input=json.dumps(order), capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    with ThreadPoolExecutor(len(orders)) as pool:
        return list(pool.map(buy, orders))
