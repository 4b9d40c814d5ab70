"""The queue: jobs are validated one at a time and trained a few at a time, oldest first."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from ragtune._sqlite import is_full
from ragtune.errors import BackendError
from ragtune.local.runner.supervisor import Launch, fail, tidy, train
from ragtune.local.runner.validation import JobFaultError, validate
from ragtune.local.store.schema import JobStatus, NewEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ragtune.local.models.registry import BaseModels
    from ragtune.local.store import Store
    from ragtune.local.store.schema import JobRow
    from ragtune.modelling.hardware import Device, Dtype

__all__ = ["Queue"]

logger = logging.getLogger("ragtune")

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
    ) -> None:
        self._store = store
        self._bases = bases
        self._launch = Launch(
            command=trainer,
            threads=threads,
            device=device,
            dtype=dtype,
            closing=threading.Event(),
            hurry=threading.Event(),
        )
        self._changed = threading.Condition()
        self._busy: set[str] = set()
        loops: list[tuple[str, JobStatus, Callable[[JobRow], None]]] = [
            ("ragtune-validate", "validating_files", self._validate),
            *((f"ragtune-train-{number}", "queued", self._train) for number in range(max_running)),
        ]
        self._threads = [
            threading.Thread(target=self._loop, args=(status, work), name=name, daemon=True)
            for name, status, work in loops
        ]

    def start(self) -> None:
        """Take up work, first of all the jobs that were running when the server last ended."""
        self._take_up()
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

    def _take_up(self) -> None:
        while (job := self._store.jobs.next("running", but_not=())) is not None:
            self._store.jobs.move(job.id, come_from=("running",), to="queued", queued_at=0.0)
            logger.warning("job %s was interrupted; it goes on from its last checkpoint", job.id)

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
        if isinstance(error, JobFaultError):
            fault = error
        elif isinstance(error, BackendError):
            fault = JobFaultError(str(error), code="model_not_available")
        elif is_full(error):
            message = "The server's disk is full; free some disk space and create the job again"
            fault = JobFaultError(message, code="storage_error")
        else:
            logger.error("job %s: the server stumbled", job.id, exc_info=error)
            fault = JobFaultError(f"The server could not go on: {error}", code="server_error")
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
        jobs, blobs = self._store.jobs, self._store.files.blobs
        jobs.note(job.id, NewEvent(message=f"Validating training file: {job.training_file}"))
        if job.model != job.base and job.parent is None:
            jobs.note(job.id, NewEvent(message=f"{job.model} stands for {job.base} here: that is what is trained"))
        self._bases.folder(job.base)
        resolved = validate(
            job,
            training=blobs.path(job.training_sha256),
            validation=None if job.validation_sha256 is None else blobs.path(job.validation_sha256),
        )
        note = NewEvent(message="Files validated, moving job to queued state")
        jobs.move(job.id, come_from=("validating_files",), to="queued", resolved=resolved, note=note)

    def _begin(self, job: JobRow) -> JobRow | None:
        """Let a queued job run; None when it is not queued any more."""
        begun = self._store.job_folder(job.id).exists()
        note = None if begun else NewEvent(message="Fine-tuning job started")
        return self._store.jobs.move(job.id, come_from=("queued",), to="running", note=note)

    def _train(self, job: JobRow) -> None:
        moved = self._begin(job)
        if moved is None:
            return
        train(moved, store=self._store, bases=self._bases, launch=self._launch)
        status = self._store.jobs.status(job.id)
        if status == "cancelled":
            tidy(moved, self._store)
        elif status == "running":
            logger.warning("job %s stopped at a checkpoint; the next start on this folder goes on with it", job.id)
