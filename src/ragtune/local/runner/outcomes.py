"""What becomes of a job, written down: one function for each change of its state.

Whoever runs jobs decides when; these say what a change means for the job's row, its events, its files and its models.
"""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from ragtune._sqlite import is_full
from ragtune.errors import BackendError
from ragtune.local.runner.event_tail import result_csv
from ragtune.local.runner.validation import JobFaultError, validate
from ragtune.local.store.schema import NewEvent
from ragtune.train.checkpoints.folders import remove_torn

if TYPE_CHECKING:
    from ragtune.local.models.registry import BaseModels
    from ragtune.local.store import Store
    from ragtune.local.store.schema import JobRow
    from ragtune.train.events import Event

__all__ = ["begin", "concluded", "fail", "fault_of", "requeue_interrupted", "tidy", "validate_files"]

logger = logging.getLogger("ragtune")

# What the last event of a job tells of the whole run.
_FIGURES = ("trained_tokens", "cpu_seconds", "wall_seconds", "operations", "gflops")


def requeue_interrupted(store: Store) -> None:
    """Let the jobs that were running when a server ended stand in the queue again, before all others."""
    while (job := store.jobs.next("running", but_not=())) is not None:
        # In front of all others, since they have waited once already.
        store.jobs.move(job.id, come_from=("running",), to="queued", queued_at=0.0)
        logger.warning("job %s was interrupted; it goes on from its last checkpoint", job.id)


def validate_files(job: JobRow, *, store: Store, bases: BaseModels) -> None:
    """Look at a job's files, settle its hyperparameters, and let it stand in the queue.

    Raises:
        JobFaultError: a file breaks a rule.
        BackendError: the weights of the base are not on this machine.
    """
    jobs, blobs = store.jobs, store.files.blobs
    jobs.note(job.id, NewEvent(message=f"Validating training file: {job.training_file}"))
    if job.model != job.base and job.parent is None:
        jobs.note(job.id, NewEvent(message=f"{job.model} stands for {job.base} here: that is what is trained"))
    # For its refusal: a base that is not there is told now and not after hours in the queue.
    bases.folder(job.base)
    weights = bases.weights_sha256(job.base)
    parent = None if job.parent is None else store.models.find(job.parent)
    # An adapter holds differences to its base: on other weights of the same shape it loads, and says nonsense.
    if parent is not None and parent.base_sha256 not in (None, weights):
        message = (
            f"`{job.parent}` was trained on other weights than those that this server has under {job.base!r}: start it "
            "with the folder that the model was trained on, and create the job again"
        )
        raise JobFaultError(message, code="model_not_available")
    resolved = validate(
        job,
        training=blobs.path(job.training_sha256),
        validation=None if job.validation_sha256 is None else blobs.path(job.validation_sha256),
    )
    note = NewEvent(message="Files validated, moving job to queued state")
    jobs.move(job.id, come_from=("validating_files",), to="queued", resolved=resolved, base_sha256=weights, note=note)


def begin(job: JobRow, store: Store) -> JobRow | None:
    """Let a queued job run; None when it is not queued any more."""
    # The folder is made for the first worker: a job that goes on was announced before.
    begun = store.job_folder(job.id).exists()
    note = None if begun else NewEvent(message="Fine-tuning job started")
    return store.jobs.move(job.id, come_from=("queued",), to="running", note=note)


def concluded(job: JobRow, end: Event | None, store: Store) -> bool:
    """Act on a worker's final word; True when it has given one that ends the job.

    Raises:
        JobFaultError: the word is that the training failed.
    """
    # Why it was stopped stands in the job's row and not in the worker's word.
    if end is None or end["state"] == "stopped":
        return False
    if end["state"] == "succeeded":
        _succeed(job, end, store)
        return True
    error: dict[str, str] = end.get("error") or {}
    message = error.get("message") or "The training failed without a reason"
    raise JobFaultError(message, code=error.get("code") or "server_error", param=error.get("param"))


def _succeed(job: JobRow, end: Event, store: Store) -> None:
    adapter = store.job_folder(job.id) / "adapter"
    if not adapter.is_dir():
        message = f"The training reported success but left no adapter in {adapter}"
        raise JobFaultError(message, code="server_error")
    figures = {name: end.get(name) for name in _FIGURES}
    with store.transaction():
        # Inside the transaction: a cancel that came first has won, and its job gets no model.
        if store.jobs.status(job.id) != "running":
            return
        store.models.add(job.tuned_name, base=job.base, adapter=adapter, job=job.id)
        result = store.files.add_bytes(
            result_csv(store.jobs.metrics(job.id)), filename="step_metrics.csv", purpose="fine-tune-results"
        )
        store.jobs.note(job.id, NewEvent(message=f"New fine-tuned model created: {job.tuned_name}"))
        store.jobs.move(
            job.id,
            come_from=("running",),
            to="succeeded",
            trained_tokens=end.get("trained_tokens"),
            result_file=result.id,
            note=NewEvent(message="The job has successfully completed", data=figures),
        )
    tidy(job, store)


def fault_of(job: JobRow, error: Exception) -> JobFaultError:
    """What went wrong with a job, in the words of its `error`."""
    if isinstance(error, JobFaultError):
        return error
    if isinstance(error, BackendError):
        return JobFaultError(str(error), code="model_not_available")
    if is_full(error):
        message = "The server's disk is full; free some disk space and create the job again"
        return JobFaultError(message, code="storage_error")
    logger.error("job %s: the server stumbled", job.id, exc_info=error)
    return JobFaultError(f"The server could not go on: {error}", code="server_error")


def fail(job: JobRow, fault: JobFaultError, store: Store) -> None:
    """Let a job end with an error, unless it was cancelled before."""
    moved = store.jobs.move(
        job.id,
        come_from=("validating_files", "queued", "running"),
        to="failed",
        error=fault.body(),
        note=NewEvent(message=fault.message, level="error"),
    )
    if moved is not None:
        tidy(moved, store)


def tidy(job: JobRow, store: Store) -> None:
    """Remove what an ended job no longer needs: its resumable state, and what was torn or deleted while it ran."""
    folder = store.job_folder(job.id)
    for name in ("checkpoints", "best"):
        shutil.rmtree(folder / name, ignore_errors=True)
    remove_torn(folder)
    store.models.drop_unused(job.id)
    store.files.drop_unused(job.training_sha256, job.validation_sha256)
