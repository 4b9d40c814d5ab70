"""How scripted jobs live: a runner without threads and processes that goes on when somebody asks."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from ragtune.local.runner.event_tail import Follower
from ragtune.local.runner.outcomes import (
    begin,
    concluded,
    fail,
    fault_of,
    requeue_interrupted,
    tidy,
    validate_files,
)
from ragtune.local.store.schema import NewEvent
from ragtune.train.events import append

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ragtune.local.models.registry import BaseModels
    from ragtune.local.store import Store
    from ragtune.local.store.schema import JobRow
    from ragtune.train.events import Event

__all__ = ["End", "JobPace", "Life", "Lives", "ScriptedRunner"]

End = Literal["succeeded", "failed", "cancelled", "paused", "running"]
JobPace = Literal["immediate", "poll"] | float

_RETRIEVE = "fine_tuning.jobs.retrieve"


@dataclass(frozen=True, kw_only=True)
class Life:
    """How one job goes; see `ScriptedBackend.next_job` for the fields."""

    end: End = "succeeded"
    steps: int | None = None
    code: str = "server_error"
    message: str = "The training failed"
    param: str | None = None
    trained_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.end not in get_args(End):
            message = f"end={self.end!r}: a scripted job ends as one of {', '.join(get_args(End))}"
            raise ValueError(message)
        if self.steps is not None and self.steps < 0:
            message = f"steps={self.steps}: give 0 or more steps, or None for as many as the hyperparameters make"
            raise ValueError(message)


class Lives:
    """Which life each job gets: those that were announced, in their order, then ordinary ones."""

    def __init__(self) -> None:
        self._announced: deque[tuple[Life, int | None]] = deque()
        self._of: dict[str, Life] = {}

    def announce(self, life: Life, times: int | None) -> None:
        """Keep a life for the next jobs; `times` None keeps it for all."""
        self._announced.append((life, times))

    def clear(self) -> None:
        """Forget what was announced; jobs that have a life keep it."""
        self._announced.clear()

    def of(self, job_id: str) -> Life:
        """The life of a job."""
        if job_id not in self._of:
            # Jobs are looked at from the oldest on, so that lives go out in the order in which jobs were made.
            self._of[job_id] = self._next()
        return self._of[job_id]

    def change(self, job_id: str, life: Life) -> None:
        """Give a job another life."""
        self._of[job_id] = life

    def _next(self) -> Life:
        if not self._announced:
            return Life()
        life, times = self._announced[0]
        if times is not None:
            self._announced.popleft()
            if times > 1:
                self._announced.appendleft((life, times - 1))
        return life


class ScriptedRunner:
    """Validates files and ends jobs as the real runner does, and lets jobs train by script, stage by stage.

    The stages of a job: its files are validated, it starts, each step, its end. They happen inside requests, so
    nothing ever runs beside a test.

    Args:
        store: where the jobs are.
        bases: the base models that may be trained.
        lives: how the jobs go.
        pace: when stages happen, see `ScriptedBackend`.
    """

    def __init__(self, store: Store, *, bases: BaseModels, lives: Lives, pace: JobPace) -> None:
        self._store = store
        self._bases = bases
        self._lives = lives
        self._pace = pace
        # Requests come in threads side by side: without it two of them would play one stage twice.
        self._turn = threading.Lock()
        self._trainings: dict[str, _Training] = {}
        self._stage_at: dict[str, float] = {}

    @property
    def stage_s(self) -> float:
        """Seconds after which a job can have gone on."""
        return 0.001 if isinstance(self._pace, str) else float(self._pace)

    def start(self) -> None:
        """Take up the jobs of an earlier backend on the folder."""
        requeue_interrupted(self._store)
        self.wake()

    def wake(self) -> None:
        """Let the time of jobs that were made or resumed begin."""
        now = time.monotonic()
        self._stage_at = {job_id: self._stage_at.get(job_id, now) for job_id in self._store.jobs.unfinished()}

    def stop(self, timeout_s: float) -> None:
        """Do nothing: nothing runs between requests."""

    def before(self, call: str | None, job_id: str | None) -> None:
        """Let jobs live as far as the pace says, before a request is looked at.

        Args:
            call: which call the request makes.
            job_id: which job it asks about, if any.
        """
        with self._turn:
            for living in self._store.jobs.unfinished():
                if self._pace == "immediate":
                    while self._advance(living, time.time()):
                        pass
                elif self._pace == "poll":
                    if (call, job_id) == (_RETRIEVE, living):
                        self._advance(living, time.time())
                else:
                    self._catch_up(living, float(self._pace))

    def _catch_up(self, job_id: str, pace_s: float) -> None:
        now = time.monotonic()
        at = self._stage_at.get(job_id, now) + pace_s
        # The time on the clock at which the stage was due, however late somebody asks.
        while at <= now and self._advance(job_id, time.time() - (now - at)):
            self._stage_at[job_id] = at
            at += pace_s

    def _advance(self, job_id: str, at: float) -> bool:
        """Bring a job one stage on, or to its end where time does not count; False when nothing is left to do."""
        job = self._store.jobs.find(job_id)
        life = self._lives.of(job_id)
        match job and job.status:
            case "validating_files" if job:
                self._attempt(job, partial(validate_files, job, store=self._store, bases=self._bases))
            case "queued" if job:
                begin(job, self._store)
            case "running" if job:
                # Not `setdefault`, which would read the whole training file again at every stage.
                if job_id not in self._trainings:
                    self._trainings[job_id] = _Training(job, self._store)
                training = self._trainings[job_id]
                if training.step < training.last(life):
                    # All in one go: nobody can look in between, and each look at the store takes time.
                    steps = training.last(life) - training.step if self._pace == "immediate" else 1
                    training.go_on(steps, at)
                else:
                    return self._end(job, life=life, training=training, at=at)
            case _:
                return False
        return True

    def _attempt(self, job: JobRow, work: Callable[[], object]) -> None:
        """Work on a job; what goes wrong is the job's failure."""
        try:
            work()
        except Exception as error:
            fail(job, fault_of(job, error), self._store)

    def _end(self, job: JobRow, *, life: Life, training: _Training, at: float) -> bool:
        match life.end:
            case "running":
                return False
            case "paused":
                note = NewEvent(message="Fine-tuning job paused")
                self._store.jobs.move(job.id, come_from=("running",), to="paused", note=note)
                # What comes after the resume was not scripted.
                self._lives.change(job.id, replace(life, end="succeeded", steps=None))
            case "cancelled":
                note = NewEvent(message="Fine-tuning job cancelled")
                moved = self._store.jobs.move(job.id, come_from=("running",), to="cancelled", note=note)
                if moved is not None:
                    tidy(moved, self._store)
            case "succeeded" | "failed":
                training.end(life, at)
                self._attempt(job, partial(concluded, job, training.follower.end, self._store))
        return True


class _Training:
    """One job's training: writes the events file that a worker would write, and has it read."""

    def __init__(self, job: JobRow, store: Store) -> None:
        self.follower = Follower(store, job)
        self._job = job
        self._folder = store.job_folder(job.id)
        # Not before the job runs: `begin` takes the folder for a sign that its start was told.
        self._folder.mkdir(parents=True, exist_ok=True)
        self._data = store.files.blobs.path(job.training_sha256)
        assert job.resolved is not None, "a job is queued once its hyperparameters are settled"
        self._epochs = job.resolved["n_epochs"]
        n_examples = sum(1 for line in self._data.read_bytes().splitlines() if line.strip())
        self._per_epoch = -(-n_examples // job.resolved["batch_size"])

    @property
    def step(self) -> int:
        """The last step that was trained."""
        return self.follower.step

    def last(self, life: Life) -> int:
        """The last step that will be trained."""
        planned = self._per_epoch * self._epochs
        if life.steps is None:
            return planned
        return life.steps if life.end == "succeeded" else min(life.steps, planned)

    def go_on(self, steps: int, at: float) -> None:
        """Train some steps."""
        for step in range(self.step + 1, self.step + steps + 1):
            # The metrics before the checkpoint, which looks them up; the adapter before the word of it, which takes it
            # for granted.
            self._write(self._metrics(step), at)
            if step % self._per_epoch == 0:
                folder = self._folder / "epochs" / f"step-{step}"
                self._save_adapter(folder, f"{self._job.tuned_name}:ckpt-step-{step}")
                self._write({"type": "checkpoint", "step": step, "epoch": step // self._per_epoch}, at)
        self.follower.drain()

    def end(self, life: Life, at: float) -> None:
        """Say the last word, and leave an adapter where there is one."""
        error = None
        if life.end == "failed":
            error = {"code": life.code, "message": life.message, "param": life.param}
        else:
            self._save_adapter(self._folder / "adapter", self._job.tuned_name)
        tokens = life.trained_tokens
        if tokens is None:
            # Four characters per token, as for English text; nobody counts here.
            tokens = self._data.stat().st_size // 4 * self._epochs
        figures = {"trained_tokens": tokens, "cpu_seconds": 0.0, "wall_seconds": 0.0}
        self._write({"type": "end", "state": life.end, "error": error, **figures}, at)
        self.follower.drain()

    def _metrics(self, step: int) -> Event:
        event: Event = {
            "type": "metrics",
            "step": step,
            # A script may make more steps than the hyperparameters do.
            "total_steps": max(step, self._per_epoch * self._epochs),
            "epoch": step / self._per_epoch,
            "train_loss": 3 / step,
            "train_mean_token_accuracy": 1 - 1 / (step + 1),
        }
        if self._job.validation_sha256 is not None:
            event |= {"valid_loss": 3.3 / step, "valid_mean_token_accuracy": 1 - 1.1 / (step + 1)}
            if step % self._per_epoch == 0:
                event |= {"full_valid_loss": 3.3 / step, "full_valid_mean_token_accuracy": 1 - 1.1 / (step + 1)}
        return event

    def _write(self, event: Event, at: float) -> None:
        append(self._folder / "events.jsonl", {"time": at, **event})

    def _save_adapter(self, folder: Path, model: str) -> None:
        """What a scripted model is made of: its name, and what it has learned by heart."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.txt").write_text(model, encoding="utf-8")
        learned = folder / "training.jsonl"
        # A link of an earlier training is the same file, which cannot be copied onto itself.
        learned.unlink(missing_ok=True)
        # Not every file system has links.
        try:
            os.link(self._data, learned)
        except OSError:
            shutil.copyfile(self._data, learned)
