"""The short version of the campaign `benchmarks/faults.py`, and a job's life in any order of what can happen to it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import ragtune as rt
from benchmarks.faults import SPEC, campaign, dataset
from benchmarks.faulty_proxy import FAULTS
from ragtune._api import Api
from ragtune._api.ports import SyncPort
from ragtune.local.store import Store
from ragtune.testing import ScriptedBackend

LIVING = ("validating_files", "queued", "running", "paused")
CALLS = ("files.create", "fine_tuning.jobs.create", "fine_tuning.jobs.list", "fine_tuning.jobs.retrieve", "files.list")


@pytest.mark.slow
def test_ten_lives_lose_nothing_and_buy_nothing_twice(tmp_path: Path) -> None:
    """Every kind of broken connection, bad answers, odd pages, jumping clocks; the server is asked what there is."""
    report = campaign(10, 7, tmp_path)
    assert report.wrong == 0, str(report)
    assert report.events > 100
    assert set(FAULTS) <= set(report.faults)


@pytest.mark.slow
def test_a_program_killed_in_the_ring_ends_right_the_next_time() -> None:
    """Six of the rounds of `benchmarks/kill_ring.py`, two per signal; a process of its own, since it forks.

    Started as a shell starts what runs in the background: deaf to Ctrl-C, with which the campaign once never ended.
    """
    script = Path(__file__).parents[2] / "benchmarks" / "kill_ring.py"
    deaf = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    command = [*deaf, sys.executable, str(script), "--rounds", "6", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 rounds: SIGINT 2, SIGKILL 2, SIGTERM 2" in done.stdout


class JobLife(RuleBasedStateMachine):
    """One order, made again and again by programs that come and go, on a server that fails now and then.

    Whatever the order of events: at most one job with the key lives or has succeeded, its file lies there once, and
    the journal knows it.
    """

    client: openai.OpenAI

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.backend = ScriptedBackend(pace="poll").start()
        # The server's own record, read past every failure that is planned for clients.
        self.store = Store(self.backend.folder)
        self.data = dataset(Path(self.folder.name), 0)
        self.seconds = 1_800_000_000.0
        self.job: rt.FineTuneJob | None = None
        self.restart()

    def teardown(self) -> None:
        if hasattr(self, "backend"):
            self.client.close()
            self.store.close()
            self.backend.stop()
            self.folder.cleanup()

    def _sleep(self, seconds: float) -> None:
        # A paused job of a server that asks to be asked again at once would be looked at for minutes.
        self.seconds += max(seconds, 1.0)

    @rule()
    def restart(self) -> None:
        """The program ends; the next one has the journal and nothing else."""
        if hasattr(self, "client"):
            self.client.close()
        self.client = self.backend.client(max_retries=0)
        port = SyncPort(self.client, now=lambda: self.seconds, monotonic=lambda: self.seconds, sleep=self._sleep)
        self.api = Api(port)
        self.journal = rt.Journal(Path(self.folder.name) / "journal.sqlite3")
        self.job = None

    @rule(call=st.sampled_from(CALLS), after=st.booleans(), drop=st.booleans())
    def fail(self, call: str, after: bool, drop: bool) -> None:
        self.backend.fail_next(call, status=None if drop else 500, drop=drop, after_commit=after)

    @rule()
    def create(self) -> None:
        try:
            self.job = rt.FineTuneJob.create(self.api, self.data, SPEC, journal=self.journal)
        except rt.CreateUncertain:
            self._sleep(3_700.0)
        except (openai.APIError, rt.RagtuneError):
            pass

    @rule()
    def attach(self) -> None:
        """Another program goes on with what the journal knows."""
        created = [run for run in self.journal.runs() if run.job_id is not None]
        if created:
            self._quietly(lambda: rt.FineTuneJob.attach(self.api, created[0].id, journal=self.journal))

    @precondition(lambda self: self.job is not None)
    @rule(verb=st.sampled_from(["refresh", "pause", "resume", "cancel"]))
    def steer(self, verb: str) -> None:
        self._quietly(getattr(self.job, verb))

    @precondition(lambda self: self.job is not None)
    @rule()
    def wait(self) -> None:
        def wait() -> None:
            model = rt.JobMonitor(self.job).wait(timeout_s=600)  # type: ignore[arg-type]
            assert model.name.startswith("ft:")

        self._quietly(wait)

    @rule()
    def delete_the_model(self) -> None:
        for model in self.client.models.list():
            if model.id.startswith("ft:"):
                self.client.models.delete(model.id)

    @staticmethod
    def _quietly(call: Any) -> None:
        with suppress(openai.APIError, rt.RagtuneError):
            call()

    @invariant()
    def nothing_is_doubled_or_lost(self) -> None:
        if not hasattr(self, "backend"):
            return
        jobs, _ = self.store.jobs.page(after=None, limit=100)
        models = {row.id for row in self.store.models.all()}
        counted = [job for job in jobs if job.status in LIVING or job.tuned_name in models]
        assert len(counted) <= 1, [(job.id, job.status) for job in jobs]
        files, _ = self.store.files.page(purpose="fine-tune", after=None, limit=100, newest_first=True)
        assert len(files) <= 1
        known = {run.job_id for run in self.journal.runs()}
        unclear = any(run.state not in ("created", "failed") for run in self.journal.runs())
        assert unclear or {job.id for job in jobs} <= known


TestJobLife = pytest.mark.slow(JobLife.TestCase)
TestJobLife.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
