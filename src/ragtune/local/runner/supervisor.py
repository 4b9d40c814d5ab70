"""One job's training: a worker is started, followed, started again after a crash, and judged by its last word."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.local.runner.event_tail import Follower
from ragtune.local.runner.outcomes import concluded
from ragtune.local.runner.validation import JobFaultError
from ragtune.local.runner.worker import Worker
from ragtune.local.store.schema import NewEvent
from ragtune.train.placement import SPEC_FILE, settled
from ragtune.train.spec import BASE_LEARNING_RATE, EXIT_HELD, EXIT_STORAGE, TrainMethod, TrainSpec

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

    from ragtune.local.models.registry import BaseModels
    from ragtune.local.store import Store
    from ragtune.local.store.schema import JobRow
    from ragtune.modelling.hardware.formats import Device, Dtype

__all__ = ["Launch", "train"]

_TICK_S = 0.1
_CRASHES_WITHOUT_PROGRESS = 5
_HELD_WAIT_S = 120.0
_STOP_WAIT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How workers are started.

    Attributes:
        command: argv to which the path of the spec is added.
        threads: CPU threads of a worker, None for its own choice.
        device: where workers train, None for the best device of their machine.
        dtype: number format of frozen bases, None for the right one on that device.
        checkpoints: address that checkpoints are copied to, None for none.
        closing: set when the server stops: workers are asked to write a checkpoint and end.
        hurry: set when the server cannot wait any longer: workers are killed.
    """

    command: Sequence[str]
    threads: int | None
    device: Device | None = None
    dtype: Dtype | None = None
    checkpoints: str | None = None
    closing: threading.Event
    hurry: threading.Event


def train(job: JobRow, *, store: Store, bases: BaseModels, launch: Launch) -> None:
    """Bring a running job to its end, or to a checkpoint when it is paused or the server stops.

    Raises:
        JobFaultError: the job has failed.
        OSError: the disk is full.
    """
    spec = _write_spec(job, store=store, bases=bases, launch=launch)
    follower = Follower(store, job)
    follower.drain()
    crashes, farthest, held_since = 0, follower.step, None
    # The last word decides and never the exit code, which a launcher may change. What a worker of an earlier server
    # said last counts as well.
    while not concluded(job, follower.end, store) and _wanted(job, store, launch):
        if not spec.exists():
            spec = _write_spec(job, store=store, bases=bases, launch=launch)
        with _started(launch, spec) as worker:
            follower.forget_end()
            exit_code = _follow(worker, job, follower=follower, store=store, launch=launch)
            last_words = worker.last_words()
        if follower.end is not None or not _wanted(job, store, launch):
            continue
        _refuse_gone(spec.parent, launch)
        if exit_code == EXIT_STORAGE:
            message = f"The training process could not write to {spec.parent}; free some space and create the job again"
            raise JobFaultError(message, code="storage_error")
        # The worker of a server that was killed still writes its checkpoint; until then the folder is its own.
        if exit_code == EXIT_HELD:
            held_since = held_since or time.monotonic()
            if time.monotonic() - held_since > _HELD_WAIT_S:
                message = f"Another process still trains in {spec.parent}; end it and create the job again"
                raise JobFaultError(message, code="worker_held")
            launch.closing.wait(5 * _TICK_S)
            continue
        # New steps since the last crash start the count anew: such a job gets to its end, if slowly.
        crashes, farthest = (1 if follower.step > farthest else crashes + 1), max(farthest, follower.step)
        if crashes >= _CRASHES_WITHOUT_PROGRESS:
            how = f"{_how(exit_code)}: {last_words}" if last_words else _how(exit_code)
            message = (
                f"The training process ended {crashes} times in a row without progress, last with {how}. "
                f"{_way_out(exit_code, last_words)}, and create the job again"
            )
            raise JobFaultError(message, code="worker_crashed")
        note = f"The training process ended unexpectedly with {_how(exit_code)}; it is started again"
        store.jobs.note(job.id, NewEvent(message=note, level="warn"))
        # On this and not by sleeping, so that a stop need not wait.
        launch.closing.wait(crashes * _TICK_S)


def _started(launch: Launch, spec: Path) -> Worker:
    try:
        return Worker(launch.command, spec)
    except OSError as error:
        program = launch.command[0]
        if error.filename not in (program, None):  # Windows names no file
            raise
        message = (
            f"The training program {program} cannot be started ({error.strerror}); correct the launcher or trainer of "
            "the server, and create the job again"
        )
        raise JobFaultError(message, code="server_error") from error


def _refuse_gone(folder: Path, launch: Launch) -> None:
    """Where copies are kept, a job whose folder was removed goes on from them."""
    if launch.checkpoints is None and not folder.is_dir():
        message = (
            f"The job's folder {folder} was removed while it trained, with all it had learned; create the job again, "
            "and leave the folder alone until it has ended"
        )
        raise JobFaultError(message, code="storage_error")


def _write_spec(job: JobRow, *, store: Store, bases: BaseModels, launch: Launch) -> Path:
    folder = store.job_folder(job.id)
    folder.mkdir(parents=True, exist_ok=True)
    values = job.resolved
    if values is None:
        message = f"{job.id}: its hyperparameters were never settled; create the job again"
        raise JobFaultError(message, code="server_error")
    kind: TrainMethod = job.method["type"]
    before = settled(folder)  # a job goes on in the number format that it was begun in
    blobs = store.files.blobs
    spec = TrainSpec(
        job_id=job.id,
        output_dir=folder,
        base_path=bases.folder(job.base),
        adapter_path=_parent_adapter(job, store),
        method=kind,
        training_file=blobs.path(job.training_sha256),
        validation_file=None if job.validation_sha256 is None else blobs.path(job.validation_sha256),
        n_epochs=values["n_epochs"],
        batch_size=values["batch_size"],
        learning_rate=values.get("learning_rate") or values["learning_rate_multiplier"] * BASE_LEARNING_RATE[kind],
        beta=values.get("beta"),
        desirable_weight=values.get("desirable_weight"),
        undesirable_weight=values.get("undesirable_weight"),
        reasoning=values.get("reasoning"),
        evaluate_every=values.get("evaluate_every"),
        early_stop=values.get("early_stop"),
        seed=job.seed,
        threads=launch.threads,
        device=launch.device if before is None else before.device,
        dtype=launch.dtype if before is None else before.dtype,
        checkpoints=launch.checkpoints,
        # A pipe that only the server holds: it closes however the server ends, and the worker then ends as well.
        lifeline="stdin",
    )
    path = folder / SPEC_FILE
    spec.save(path)
    return path


def _parent_adapter(job: JobRow, store: Store) -> Path | None:
    if job.parent is None:
        return None
    parent = store.models.find(job.parent)
    if parent is None:
        message = f"The model `{job.parent}` that was to be trained further was deleted; create the job on another one"
        raise JobFaultError(message, code="model_not_found")
    return parent.adapter


def _wanted(job: JobRow, store: Store, launch: Launch) -> bool:
    return not launch.closing.is_set() and store.jobs.status(job.id) == "running"


def _follow(worker: Worker, job: JobRow, *, follower: Follower, store: Store, launch: Launch) -> int:
    """Take in a worker's events until it has ended; pass on what is asked of the job meanwhile."""
    kill_at: float | None = None
    first = follower.step
    while (exit_code := worker.poll()) is None:
        follower.drain()
        if kill_at is None and not _wanted(job, store, launch):
            worker.ask_to_stop()
            kill_at = time.monotonic() + _STOP_WAIT_S
        # Before a step of its own it has nothing to keep, and may still be loading what it needs for it.
        idle = kill_at is not None and follower.step == first
        # A pause and the end of the server wait for a checkpoint; of a cancelled job nothing is kept.
        cancelled = store.jobs.status(job.id) == "cancelled"
        if idle or cancelled or launch.hurry.is_set() or (kill_at is not None and time.monotonic() > kill_at):
            worker.kill()
        time.sleep(_TICK_S)
    # Only after the process is gone is the file complete.
    follower.drain()
    return exit_code


def _way_out(exit_code: int, last_words: str) -> str:
    """What to do about a worker that ends again and again."""
    if last_words.startswith(("ModuleNotFoundError", "ImportError")):
        return "Install what its Python misses (pip install 'ragtune[local]')"
    # A system that is out of memory kills with signal 9, which Windows has no name for.
    if exit_code == -9 or "MemoryError" in last_words:
        return "Lower batch_size or free memory"
    return "Repair that (all it said is in worker.log in the job's folder)"


def _how(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
