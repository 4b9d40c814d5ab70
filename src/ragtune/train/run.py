"""From a spec to an `end` event: the frame around one training run, which turns whatever happens into an answer."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ragtune.errors import BackendError, RagtuneError
from ragtune.modelling.hardware.placement import HardwareError
from ragtune.train import events
from ragtune.train.batches import BatchSizeError
from ragtune.train.checkpoints.copies import Copies, CopiesError
from ragtune.train.checkpoints.folders import last_whole_checkpoint, remove_torn
from ragtune.train.distributed import is_lost_process, is_main
from ragtune.train.examples.files import TrainingFileError
from ragtune.train.placement import SPEC_FILE, where_to_train
from ragtune.train.spec import EXIT_FAILED, EXIT_HELD, EXIT_LOST, EXIT_OK, EXIT_STORAGE, TrainSpec
from ragtune.train.stop import FolderHeldError, StopRequest, hold

if TYPE_CHECKING:
    from ragtune.train.fit import Outcome

__all__ = ["run"]

logger = logging.getLogger("ragtune")


class _LostProcessError(Exception):
    """No failure of the run: started again, it goes on from its last checkpoint."""


@dataclass(frozen=True, kw_only=True)
class _Failure:
    code: str
    message: str
    param: str | None = None


def run(spec: TrainSpec, stop: StopRequest | None = None) -> int:
    """Train as the spec says, from the last whole checkpoint where there is one.

    Everything that happens is told in `events.jsonl` of the output folder; its last line is the `end` event. A run that
    has succeeded is not repeated.

    Args:
        spec: what to train.
        stop: looked at after every step; None for a run that nobody stops.

    Returns:
        `EXIT_OK` (finished or stopped), `EXIT_FAILED`, `EXIT_HELD` when another worker holds the folder, `EXIT_LOST`
        when another process of the run is gone, or `EXIT_STORAGE` when the last word could not be written.
    """
    began = time.monotonic()
    events_file = spec.output_dir / "events.jsonl"
    try:
        # The processes of one run share its folder: there is one lock for all of them, which the first one holds.
        with hold(spec.output_dir) if is_main() else nullcontext():
            if is_main():
                events.seal(events_file)
            past, _ = events.read_from(events_file)
            # A server that was killed before it read the last word starts the worker once more.
            if past and past[-1].get("state") == "succeeded":
                _drop_checkpoints(spec)
                return EXIT_OK
            if is_main():
                remove_torn(spec.output_dir)
            failure = _bring_back(spec)
            # Once more: a run that was brought back has brought its events.
            past, _ = events.read_from(events_file)
            # The clock of a process begins at zero, and a run may take several.
            cpu_before = next((e["cpu_seconds"] for e in reversed(past) if "cpu_seconds" in e), 0.0)
            outcome = failure or _guarded(spec, stop or StopRequest(), cpu_before=cpu_before)
            spent = {
                "cpu_seconds": round(cpu_before + time.process_time(), 3),
                "wall_seconds": round(time.monotonic() - began, 3),
            }
            if is_main():
                if isinstance(outcome, _Failure):
                    remove_torn(spec.output_dir)  # on a full disk the last word may need its room
                elif outcome.state == "succeeded" and spec.checkpoints is not None:
                    # Said before it is done: nothing may follow the last word.
                    _tell(spec, "The run has succeeded; the copies of its checkpoints are needed no more and removed")
                events.append(events_file, {"type": "end", **_as_event(outcome), **spent})
            if isinstance(outcome, _Failure):
                return EXIT_FAILED
            if outcome.state == "succeeded":
                _drop_checkpoints(spec)  # not before the last word is written: a kill in between must find them
            return EXIT_OK
    except FolderHeldError as error:
        logger.warning("%s", error)
        return EXIT_HELD
    except _LostProcessError as error:
        logger.warning("another process of this run is gone: %s", error)
        return EXIT_LOST
    except OSError as error:
        logger.error("%s", error)
        return EXIT_STORAGE


def _drop_checkpoints(spec: TrainSpec) -> None:
    """Nothing is left to resume."""
    if not is_main():
        return
    shutil.rmtree(spec.output_dir / "checkpoints", ignore_errors=True)
    if spec.checkpoints is not None:
        try:
            Copies(spec.checkpoints, spec.job_id, run=spec.fingerprint()).drop()
        except CopiesError as error:
            logger.warning("%s; what lies there is needed no more and can be removed", error)


def _bring_back(spec: TrainSpec) -> _Failure | None:
    """Take up a run whose checkpoints are gone from here, where copies of them were kept."""
    if spec.checkpoints is None:
        return None
    try:
        copies = Copies(spec.checkpoints, spec.job_id, run=spec.fingerprint())
        step = copies.restore(spec.output_dir)
    except FileNotFoundError:
        return None  # the data is not there, which the training itself tells best
    except CopiesError as error:
        if last_whole_checkpoint(spec.output_dir / "checkpoints") is not None:
            logger.warning("%s; the run goes on from its own checkpoint", error)
            return None
        message = f"{error}; correct the address or the rights to it, or train without one"
        return _Failure(code="checkpoints_not_reachable", message=message)
    if step is not None and is_main():
        _tell(spec, f"The checkpoint of step {step} was brought back from {copies.address}")
    return None


def _tell(spec: TrainSpec, message: str, *, level: str = "info") -> None:
    events.append(spec.output_dir / "events.jsonl", {"type": "message", "level": level, "message": message})


def _as_event(outcome: Outcome | _Failure) -> events.Event:
    if isinstance(outcome, _Failure):
        return {"state": "failed", "trained_tokens": None, "adapter_path": None, "error": asdict(outcome)}
    adapter = None if outcome.adapter is None else str(outcome.adapter)
    return {
        "state": outcome.state,
        "trained_tokens": outcome.trained_tokens,
        "operations": outcome.operations,
        "gflops": outcome.gflops,
        "adapter_path": adapter,
        "error": None,
    }


def _guarded(spec: TrainSpec, stop: StopRequest, *, cpu_before: float) -> Outcome | _Failure:
    try:
        from ragtune.train.fit import fit
    except OSError as error:
        # So speaks a torch whose own libraries do not fit this machine; it must not be taken for the disk.
        message = f"PyTorch is installed and cannot be loaded: {error}; install one that fits this machine"
        return _Failure(code="library_not_loadable", message=message)
    try:
        placement, warning = where_to_train(spec)
        if is_main():
            # Noted before the first step: whoever takes the run up again keeps to this number format.
            spec.model_copy(update={"device": placement.device, "dtype": placement.dtype}).save(
                spec.output_dir / SPEC_FILE
            )
            if warning is not None:
                _tell(spec, warning, level="warn")
        return fit(spec, placement, stop, cpu_before=cpu_before)
    except Exception as error:
        if is_lost_process(error):
            raise _LostProcessError(str(error)) from error
        known = _explained(error, spec)
        if known is None:
            logger.exception("training failed")
            return _Failure(code="internal_error", message=f"{type(error).__name__}: {error}")
        logger.info("training failed", exc_info=True)
        return known


def _explained(error: Exception, spec: TrainSpec) -> _Failure | None:
    """What a person can act on, for everything that is known to go wrong; None for the rest."""
    from ragtune.train.callbacks import DivergedError
    from ragtune.train.start import TooLargeError, ValidationFileError

    # The narrower kinds first: what is wrong with a file is a `RagtuneError`, too, and missing hardware a
    # `BackendError`; memory that runs out may come as an `OSError` (ENOMEM) and must not be taken for the disk's.
    match error:
        case ValidationFileError():
            return _Failure(code="invalid_validation_file", message=str(error), param="validation_file")
        case TrainingFileError():
            return _Failure(code="invalid_training_file", message=str(error), param="training_file")
        case DivergedError():
            message = f"{error}; lower learning_rate_multiplier (the absolute rate was {spec.learning_rate:g})"
            return _Failure(code="nan_loss", message=message)
        case BatchSizeError():
            return _Failure(code="invalid_batch_size", message=str(error), param="batch_size")
        case HardwareError():
            return _Failure(code="hardware_not_available", message=str(error))
        case TooLargeError():
            return _Failure(code="does_not_fit", message=str(error))
        case BackendError() | RagtuneError():
            return _Failure(code="base_model_not_loadable", message=str(error), param="model")
        case _ if _is_out_of_memory(error):
            message = (
                "the machine ran out of memory; lower batch_size, shorten the longest examples, or use a smaller base"
            )
            return _Failure(code="out_of_memory", message=message)
        case _ if (cause := _storage_error(error)) is not None:
            message = f"{cause}; free some disk space or make the folder writable, then start the run again"
            return _Failure(code="storage_error", message=message)
    return None


def _is_out_of_memory(error: Exception) -> bool:
    # On the CPU PyTorch says so in a plain RuntimeError, known by its words alone; the last are oneDNN's, which found
    # no room for the code that it makes.
    words = ("can't allocate memory", "out of memory", "cannot allocate memory", "could not create a primitive")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _storage_error(error: BaseException | None) -> BaseException | None:
    """The error of the disk behind an error, if there is one."""
    # PyTorch and safetensors tell of a write that failed in errors of their own, known by their words alone.
    words = ("I/O error", "inline_container", "PytorchStreamWriter")
    found: BaseException | None = None
    while error is not None:
        if isinstance(error, OSError):
            return error
        if any(word in str(error) for word in words):
            found = error
        error = error.__cause__ or error.__context__
    return found
