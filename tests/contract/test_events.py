"""No event is lost, none comes twice: the real reader over a port whose pages shift, burst, repeat and fail."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ragtune as rt
from ragtune._api import Api
from ragtune._api.errors import UnreadableReplyError
from ragtune._api.identity import Heard
from ragtune._api.ports import SyncPort
from ragtune._sync import iterate
from ragtune.job import AsyncFineTuneJob
from ragtune.job.state import JobState

if TYPE_CHECKING:
    from collections.abc import Callable

JOB, EVENTS = ("GET", "/fine_tuning/jobs/ftjob-1"), ("GET", "/fine_tuning/jobs/ftjob-1/events")


@dataclass
class EventfulPort:
    """A server with one job, whose log grows between and during the requests, and time that passes in sleep only."""

    dice: random.Random
    rounds: int
    burst: int
    lateness: int
    page: int
    faults: float
    log: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    base_url: str = "http://127.0.0.1/v1"
    heard: Heard = field(default_factory=Heard)

    def now(self) -> float:
        return 1_763_000_000 + self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    async def work(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    def happen(self, most: int) -> None:
        """Write some events, each a little below the newest one, as a server of many hands does."""
        for _ in range(self.dice.randint(0, most)):
            number = len(self.log)
            event = {"id": f"ftevent-{number}", "created_at": 1_763_000_000 + number // 3, "message": str(number)}
            self.log.insert(min(number, self.dice.randint(0, self.lateness)), event)

    async def call(self, name: str, /, *, after: str | None = None, limit: int = 20, **_: Any) -> dict[str, Any]:
        if self.dice.random() < self.faults:
            raise UnreadableReplyError("<html>")
        if name == "fine_tuning.jobs.retrieve":
            self.rounds -= 1
            if self.rounds >= 0:
                self.happen(self.burst)
            return {"id": "ftjob-1", "status": "running" if self.rounds > 0 else "succeeded"}
        assert name == "fine_tuning.jobs.list_events"
        ids = [event["id"] for event in self.log]
        start = ids.index(after) + 1 if after else 0
        start = max(0, start - self.dice.randint(0, 2))  # what was at the end of one page comes again on the next
        part = self.log[start : start + min(limit, self.page)]
        answer = {"data": part, "has_more": start + len(part) < len(self.log)}
        if self.rounds > 0:
            self.happen(min(self.burst, 3))
        return answer

    def monitor(self, status: str = "queued") -> rt.AsyncJobMonitor:
        details = rt.JobDetails.from_wire({"id": "ftjob-1", "status": status})
        return rt.AsyncJobMonitor(AsyncFineTuneJob(JobState(api=Api(self), details=details)), patience_s=100_000)  # type: ignore[arg-type]


ports = st.builds(
    EventfulPort,
    dice=st.randoms(use_true_random=False),
    rounds=st.integers(1, 8),
    burst=st.integers(0, 150),
    lateness=st.integers(0, 40),
    # A page holds more than it repeats, or no reader would ever come to the next one.
    page=st.integers(3, 100),
    faults=st.sampled_from([0.0, 0.0, 0.3]),
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(port=ports)
def test_every_event_comes_exactly_once(port: EventfulPort) -> None:
    """Whatever bursts, late events, page sizes, repeated items and failing pages there are."""
    seen = [event.id for event in iterate(port.monitor().events())]
    assert len(seen) == len(set(seen))
    assert set(seen) == {event["id"] for event in port.log}


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(port=ports, stops=st.lists(st.integers(0, 60), max_size=5))
def test_a_restart_goes_on_behind_the_last_event(port: EventfulPort, stops: list[int]) -> None:
    """Programs that end after any number of events, each of which takes up the last id of the one before."""
    # One id cannot tell a late event from an old one, so this server writes in order.
    port.lateness = 0
    port.happen(port.burst)
    seen: list[str] = []
    for stop in [*stops, 100_000]:
        for number, event in enumerate(iterate(port.monitor().events(after=seen[-1] if seen else None))):
            seen.append(event.id)
            if number == stop:
                break
    assert seen == [event["id"] for event in port.log[::-1]]


def test_an_event_that_is_written_after_the_end_is_read() -> None:
    port = EventfulPort(random.Random(0), rounds=1, burst=0, lateness=0, page=100, faults=0.0)
    port.log = [{"id": "e1", "message": "the end"}]
    seen = []
    for event in iterate(port.monitor().events()):
        seen.append(event.message)
        port.log = [{"id": "e2", "message": "last words"}, {"id": "e1", "message": "the end"}]
    assert seen == ["the end", "last words"]


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(port=ports, stops=st.lists(st.integers(0, 60), max_size=5))
def test_a_restart_with_all_known_ids_holds_for_late_events_too(port: EventfulPort, stops: list[int]) -> None:
    seen: list[str] = []
    for stop in [*stops, 100_000]:
        for number, event in enumerate(iterate(port.monitor().events(after=list(seen)))):
            seen.append(event.id)
            if number == stop:
                break
    assert len(seen) == len(set(seen))
    assert set(seen) == {event["id"] for event in port.log}


def test_a_late_event_after_a_restart_does_not_bring_the_old_ones_back() -> None:
    """It stands sixty events deep, among hundreds that were handed out before the restart."""
    port = EventfulPort(random.Random(0), rounds=2, burst=0, lateness=0, page=100, faults=0.0)
    port.log = [{"id": f"e{n}", "created_at": 1_763_000_000 + n} for n in reversed(range(400))]
    seen = []
    for event in iterate(port.monitor().events(after="e398")):
        seen.append(event.id)
        port.log.insert(60, {"id": "late", "created_at": 1_763_000_339})
    assert seen == ["e399", "late"]


def test_a_server_that_sends_one_page_for_ever_is_read_once(stub: Any, api: Api, wire: Any) -> None:
    stub.on(*JOB, wire.job(status="succeeded"))
    stub.on(*EVENTS, wire.page(wire.event(2), wire.event(1)) | {"has_more": True})
    events = list(rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events())
    assert [event.id for event in events] == ["ftevent-1", "ftevent-2"]
    assert len(stub.sent(*EVENTS)) < 6


def test_an_unknown_last_event_repeats_all_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    port = EventfulPort(random.Random(0), rounds=1, burst=5, lateness=0, page=100, faults=0.0)
    seen = list(iterate(port.monitor("succeeded").events(after="ftevent-of-another-job")))
    assert len(seen) == len(port.log)
    assert "ftevent-of-another-job" in caplog.text


@dataclass
class TwoClocks:
    """A laptop: the wall clock goes on while it sleeps, the monotonic one stands still."""

    wall: float = 1_763_000_000.0
    awake: float = 0.0
    lid: Callable[[], float] = lambda: 0.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.awake

    def sleep(self, seconds: float) -> None:
        self.awake += seconds
        self.wall += seconds + self.lid()


def test_four_hours_of_a_laptops_sleep_cost_one_interval(stub: Any, wire: Any, client: openai.OpenAI) -> None:
    """Same ids, next look within one interval, and the deadline counts the time awake."""
    log = [wire.event(n) for n in range(6)]
    looks: list[tuple[float, float]] = []
    lids = iter([0.0, 4 * 3600.0, 0.0])
    clocks = TwoClocks(lid=lambda: next(lids, 0.0))

    def look(_: Any) -> Any:
        looks.append((clocks.awake, clocks.wall))
        stub.on(*EVENTS, wire.page(*log[: 2 * len(looks)][::-1]))
        return wire.job(status="running" if len(looks) < 3 else "succeeded", fine_tuned_model="ft:base:o::1")

    stub.on(*JOB, wire.job(status="queued"), look)
    stub.on("GET", "/models/ft:base:o::1", {"id": "ft:base:o::1"})
    api = Api(SyncPort(client, now=clocks.now, monotonic=clocks.monotonic, sleep=clocks.sleep))
    seen: list[str] = []
    rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1"), poll_s=20).wait(60, on_event=lambda e: seen.append(e.id))
    assert seen == [event["id"] for event in log]
    slept = [later - sooner for (sooner, _), (later, _) in pairwise(looks)]
    assert max(slept) <= 20
    assert looks[-1][1] - looks[0][1] > 4 * 3600


def test_a_lost_connection_is_taken_up_again(stub: Any, api: Api, wire: Any, hangup: type[Exception]) -> None:
    """Hang-ups on the job, on the first and on a later page: nothing is lost and nothing comes twice."""
    log = [wire.event(n) for n in range(5)]
    drops = iter([True, False, True, False, False, True])

    def flaky(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def drop_or_answer(request: Any) -> Any:
            if next(drops, False):
                raise hangup
            return answer(request)

        return drop_or_answer

    def page(request: Any) -> Any:
        after = request.query.get("after", [None])[0]
        rest = log[::-1] if after is None else [e for e in log[::-1] if e["id"] < after]
        return {"data": rest[:2], "has_more": len(rest) > 2}

    stub.on(*JOB, wire.job(status="running"), flaky(lambda _: wire.job(status="succeeded")))
    stub.on(*EVENTS, flaky(page))
    seen = [event.id for event in rt.JobMonitor(rt.FineTuneJob.get(api, "ftjob-1")).events()]
    assert seen == [event["id"] for event in log]


@pytest.mark.slow
def test_a_server_that_falls_silent_does_not_hold_the_deadline(stub: Any, wire: Any, hangup: type[Exception]) -> None:
    """The client would listen for ten minutes, three times."""
    woken = threading.Event()

    def silence(_: Any) -> Any:
        woken.wait(60)
        raise hangup

    stub.on(*JOB, wire.job(status="running"), silence)
    with openai.OpenAI(base_url=stub.base_url, api_key="sk-test") as client:
        job = rt.FineTuneJob.get(client, "ftjob-1")
        started = time.monotonic()
        with pytest.raises(rt.WaitTimeout, match="ftjob-1 is running and runs on"):
            rt.JobMonitor(job).wait(timeout_s=1.5)
        took = time.monotonic() - started
        woken.set()
    assert took < 30
