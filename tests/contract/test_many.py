"""Two hundred jobs and one poller."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt
from ragtune import aio

if TYPE_CHECKING:
    from ragtune._api import Api

LIST = ("GET", "/fine_tuning/jobs")


class Account:
    """A server's list of jobs, newest first, that reaches back over strangers' jobs; it counts its looks."""

    def __init__(self, stub: Any, wire: Any, count: int, *, others: int = 0) -> None:
        self.bodies = {f"ftjob-{n}": wire.job(f"ftjob-{n}", "queued") for n in range(count)}
        self.others = {f"ftjob-other-{n}": wire.job(f"ftjob-other-{n}", "running") for n in range(others)}
        stub.on(*LIST, self.page)
        for job_id in self.bodies:
            stub.on("GET", f"/fine_tuning/jobs/{job_id}", lambda _, job_id=job_id: self.bodies[job_id])

    def page(self, request: Any) -> Any:
        listed = [*self.others.values(), *reversed(self.bodies.values())]
        after = request.query.get("after", [None])[0]
        start = [job["id"] for job in listed].index(after) + 1 if after else 0
        limit = int(request.query["limit"][0])
        return {"data": listed[start : start + limit], "has_more": start + limit < len(listed)}

    def set(self, status: str, *numbers: int) -> None:
        for n in numbers:
            self.bodies[f"ftjob-{n}"] |= {"status": status}


def handles(api: Api, count: int) -> list[rt.FineTuneJob]:
    return [rt.FineTuneJob.get(api, f"ftjob-{n}") for n in range(count)]


@pytest.mark.slow
def test_two_hundred_jobs_take_two_requests_a_look(stub: Any, api: Api, wire: Any, clock: Any) -> None:
    """Each change is told once, each job ends once, and the handles that were given are the ones that come."""
    account = Account(stub, wire, 200)
    jobs = handles(api, 200)
    before = len(stub.requests)
    acts = iter([lambda: account.set("running", *range(200)), lambda: account.set("succeeded", *range(200))])
    clock.on_sleep = lambda: next(acts)()
    told = [(job, job.status) for job in rt.watch_many(jobs)]
    assert [status for _, status in told] == ["queued"] * 200 + ["running"] * 200 + ["succeeded"] * 200
    assert {id(job) for job, _ in told} == {id(job) for job in jobs}
    assert [request.path for request in stub.requests[before:]] == [LIST[1]] * 6


@pytest.mark.slow
def test_two_hundred_jobs_stay_within_twenty_megabytes() -> None:
    """A process of its own, whose resident size nobody else changes; against a real server, in eight looks or so."""
    script = Path(__file__).parents[2] / "benchmarks" / "watch_many.py"
    done = subprocess.run([sys.executable, script, "--looks", "8"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("200 jobs ended")
    more = re.search(r"at most ([\d.]+) MB more", done.stdout)
    assert more is not None
    assert float(more[1]) < 20, done.stdout


@pytest.mark.slow
def test_the_last_jobs_are_asked_for_one_by_one(stub: Any, api: Api, wire: Any, clock: Any) -> None:
    """Behind 250 strangers' jobs three pages find two jobs, which two requests find as well."""
    account = Account(stub, wire, 30, others=250)
    jobs = handles(api, 30)
    before = len(stub.requests)
    acts = iter([lambda: account.set("failed", *range(28)), lambda: None, lambda: account.set("failed", 28, 29)])
    clock.on_sleep = lambda: next(acts)()
    ended = [job.id for job in rt.watch_many(jobs) if job.details.is_final]
    assert sorted(ended) == sorted(account.bodies)
    paths = [request.path for request in stub.requests[before:]]
    assert paths[:6] == [LIST[1]] * 6
    assert sorted(paths[6:]) == sorted(["/fine_tuning/jobs/ftjob-28", "/fine_tuning/jobs/ftjob-29"] * 2)


def test_jobs_that_no_list_holds_are_found_all_the_same(stub: Any, api: Api, wire: Any, clock: Any) -> None:
    """They may belong to another account, or the server may list nothing; the list is tried once."""
    account = Account(stub, wire, 5)
    stub.on(*LIST, wire.page())
    jobs = handles(api, 5)
    acts = iter([lambda: None, lambda: account.set("succeeded", *range(5))])
    clock.on_sleep = lambda: next(acts)()
    assert len([job for job in rt.watch_many(jobs) if job.details.is_final]) == 5
    assert len(stub.sent(*LIST)) == 1


@pytest.mark.slow
def test_trouble_is_outlasted_and_pauses_are_the_servers(stub: Any, api: Api, wire: Any, clock: Any) -> None:
    account = Account(stub, wire, 150)
    jobs = handles(api, 150)
    stub.headers["openai-poll-after-ms"] = "9000"
    stub.on(*LIST, account.page, (503, wire.error("busy")), account.page, (200, b"<html>"), account.page)
    account.set("running", *range(150))
    clock.on_sleep = lambda: account.set("cancelled", *range(150)) if len(clock.slept) > 2 else None
    told = [job.status for job in rt.watch_many(jobs)]
    assert told == ["running"] * 150 + ["cancelled"] * 150
    assert 9.0 in clock.slept


def test_the_deadline_counts_what_goes_on(stub: Any, api: Api, wire: Any, clock: Any) -> None:
    account = Account(stub, wire, 4)
    account.set("succeeded", 0)
    with pytest.raises(rt.WaitTimeout, match="3 of 4 jobs have not ended"):
        list(rt.watch_many(handles(api, 4), timeout_s=60))
    assert sum(clock.slept) == pytest.approx(60)


def test_no_jobs_need_no_request(stub: Any) -> None:
    assert list(rt.watch_many([])) == []
    assert stub.requests == []


def test_a_job_that_is_gone_says_so(stub: Any, api: Api, wire: Any, clock: Any) -> None:
    Account(stub, wire, 1)
    jobs = handles(api, 1)
    stub.on("GET", "/fine_tuning/jobs/ftjob-0", (404, wire.error("no such job")))
    with pytest.raises(openai.NotFoundError) as gone:
        list(rt.watch_many(jobs))
    assert "ftjob-0" in gone.value.__notes__[0]


def test_the_asynchronous_twin_watches_alike(stub: Any, wire: Any, make_async_api: Any, clock: Any) -> None:
    account = Account(stub, wire, 3)
    clock.on_sleep = lambda: account.set("succeeded", 0, 1, 2)

    async def watch() -> list[str]:
        client, api = make_async_api()
        async with client:
            jobs = [await rt.AsyncFineTuneJob.get(api, job_id) for job_id in account.bodies]
            return [job.status async for job in aio.watch_many(jobs)]

    assert asyncio.run(watch()) == ["queued"] * 3 + ["succeeded"] * 3
