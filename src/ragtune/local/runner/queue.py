"""The queue: jobs are validated one at a time and trained a few at a time, oldest first."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from ragtune.local.models.registry import find_model
from ragtune.local.runner.outcomes import begin, fail, fault_of, requeue_interrupted, tidy, validate_files
from ragtune.local.runner.supervisor import Launch, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ragtune.local.models.registry import BaseModels, ServedModel
    from ragtune.local.store import Store
    from ragtune.local.store.schema import JobRow, JobStatus
    from ragtune.modelling.hardware.formats import Device, Dtype

__all__ = ["Queue"]

logger = logging.getLogger("ragtune")

# Changes are told; this is for one that was not.
_IDLE_S = 60.0
_KILL_WAIT_S = 10.0
_WRITE_AGAIN_S = 2.0


class Queue:
    """Works on the jobs of a store in threads of its own.

    One thread validates files, `max_running` threads train. All decisions go through the store, so a job that is
    cancelled or paused by a request is seen by the thread that works on it.

    Args:
        store: where the jobs are.
        bases: the base models that may be trained.
        trainer: argv of the training program; the path of a job's spec is added.
        threads: CPU threads of each training, None for its own choice.
        device: where to train, None for the best device of this machine.
        dtype: number format of frozen bases, None for the right one on that device.
        max_running: most jobs that train at the same time.
        checkpoints: address that checkpoints are copied to, None for none.
        made: hears of each model that a job has made; None tells nobody.
    """

    def __init__(
        self,
        store: Store,
        *,
        bases: BaseModels,
        trainer: Sequence[str],
        threads: int | None = None,
        device: Device | None = None,
        dtype: Dtype | None = None,
        max_running: int = 1,
        checkpoints: str | None = None,
        made: Callable[[ServedModel], None] | None = None,
    ) -> None:
        self._store = store
        self._made = made
        self._bases = bases
        self._launch = Launch(
            command=trainer,
            threads=threads,
            device=device,
            dtype=dtype,
            checkpoints=checkpoints,
            closing=threading.Event(),
            hurry=threading.Event(),
        )
        self._changed = threading.Condition()
        # Jobs with a thread at work. Their state alone does not tell: one that was paused and resumed stands in the
        # queue again while its worker still writes a checkpoint.
        self._busy: set[str] = set()
        loops: list[tuple[str, JobStatus, Callable[[JobRow], None]]] = [
            # Files are looked at while others train: a broken one is told at once and not after hours in the queue.
            ("ragtune-validate", "validating_files", self._validate),
            *((f"ragtune-train-{number}", "queued", self._train) for number in range(max_running)),
        ]
        self._threads = [
            threading.Thread(target=self._loop, args=(status, work), name=name, daemon=True)
            for name, status, work in loops
        ]

    def start(self) -> None:
        """Take up work, first of all the jobs that were running when the server last ended."""
        requeue_interrupted(self._store)
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that a job was made or changed."""
        with self._changed:
            self._changed.notify_all()

    def stop(self, timeout_s: float) -> None:
        """Let running jobs write a checkpoint and end; after `timeout_s` seconds their processes are killed.

        A killed job loses nothing but the steps since its last checkpoint.
        """
        # Before the wake: a thread that wakes looks at it first.
        self._launch.closing.set()
        self.wake()
        try:
            deadline = time.monotonic() + timeout_s
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        finally:
            # Also when Ctrl-C cuts the wait short: no process may outlive the server unattended.
            self._launch.hurry.set()
            for thread in self._threads:
                thread.join(_KILL_WAIT_S)

    def _loop(self, status: JobStatus, work: Callable[[JobRow], None]) -> None:
        while (job := self._claim(status)) is not None:
            try:
                self._attempt(work, job)
            finally:
                self._release(job)

    def _attempt(self, work: Callable[[JobRow], None], job: JobRow) -> None:
        """Work on a job; what goes wrong is the job's failure."""
        try:
            work(job)
        except Exception as error:
            self._let_fail(job, error)

    def _let_fail(self, job: JobRow, error: Exception) -> None:
        fault = fault_of(job, error)
        while True:
            try:
                fail(job, fault, self._store)
                return
            except Exception:
                logger.exception("job %s has failed, which cannot be written down yet: %s", job.id, fault.message)
            # For example a full disk: nothing could be trained meanwhile. A next start would take the job up again.
            if self._launch.closing.wait(_WRITE_AGAIN_S):
                return

    def _claim(self, status: JobStatus) -> JobRow | None:
        """Wait for the next job in a state that nobody works on; None when the server stops."""
        with self._changed:
            while not self._launch.closing.is_set():
                job = self._store.jobs.next(status, but_not=self._busy)
                if job is not None:
                    self._busy.add(job.id)
                    return job
                self._changed.wait(_IDLE_S)
        return None

    def _release(self, job: JobRow) -> None:
        with self._changed:
            self._busy.discard(job.id)
            self._changed.notify_all()

    def _validate(self, job: JobRow) -> None:
        validate_files(job, store=self._store, bases=self._bases)

    def _train(self, job: JobRow) -> None:
        moved = begin(job, self._store)
        if moved is None:
            return
        train(moved, store=self._store, bases=self._bases, launch=self._launch)
        status = self._store.jobs.status(job.id)
        if status == "cancelled":
            tidy(moved, self._store)
        elif status == "succeeded":
            self._tell_of(moved.tuned_name)
        elif status == "running":
            logger.warning("job %s stopped at a checkpoint; the next start on this folder goes on with it", job.id)

    def _tell_of(self, name: str) -> None:
        model = find_model(name, bases=self._bases, store=self._store)
        if self._made is not None and model is not None:
            self._made(model)
