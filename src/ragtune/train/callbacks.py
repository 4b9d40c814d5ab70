"""What happens after each step: metrics, validation, an adapter per epoch, and the end when somebody asks for it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, cast

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ragtune.train import events
from ragtune.train.checkpoints.copies import Copies, CopiesError
from ragtune.train.checkpoints.folders import keep_newest, mark_whole, save_adapter
from ragtune.train.distributed import is_main, summed

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftModel

    from ragtune.modelling.hardware.placement import Placement
    from ragtune.train.held_out.recall import Recall
    from ragtune.train.held_out.validation import Validation
    from ragtune.train.methods.loss import Meter
    from ragtune.train.stop import StopRequest

__all__ = ["CopiesCallback", "DivergedError", "EventsCallback", "StopCallback", "WholeCheckpointCallback"]

# OpenAI keeps the checkpoints of the last three epochs; the server's list (`local.store.models`) forgets the same ones.
KEPT_EPOCHS = 3


class DivergedError(Exception):
    """The training loss is no longer a number."""


class EventsCallback(TrainerCallback):
    """Writes metrics after every step, and an adapter after every epoch.

    Args:
        output_dir: folder of the run.
        meter: sums that the trainer fills.
        validation: held-out examples, or None.
        recall: held-out questions, or None.
        steps_per_epoch: optimizer steps per pass over the training file.
        cpu_before: CPU seconds of earlier starts of this run.
        placement: where it trains, and in which number format.
    """

    def __init__(
        self,
        output_dir: Path,
        *,
        meter: Meter,
        validation: Validation | None,
        recall: Recall | None,
        steps_per_epoch: int,
        cpu_before: float,
        placement: Placement,
    ) -> None:
        self._output_dir = output_dir
        self._steps_per_epoch = steps_per_epoch
        self._meter = meter
        self._validation = validation
        self._recall = recall
        self._cpu_before = cpu_before
        self._placement = placement

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: object
    ) -> None:
        """Report the step; raise `DivergedError` before a broken state could be saved."""
        model = cast("PeftModel", given["model"])
        figures = self._meter.take()
        if not math.isfinite(figures["loss"]):
            raise DivergedError(f"the training loss is {figures['loss']} at step {state.global_step}")
        ends_epoch = state.global_step % self._steps_per_epoch == 0
        # Every process makes it, also those that write nothing: the sums in it wait for all of them.
        event = {
            "type": "metrics",
            "step": state.global_step,
            "total_steps": state.max_steps,
            "epoch": round(state.global_step / self._steps_per_epoch, 4),
            **_named("train", figures),
            "tokens_seen": int(state.num_input_tokens_seen),
            **self._validate(model, state.global_step, state.max_steps, ends_epoch=ends_epoch),
            **self._ask(model, state.global_step, ends_epoch=ends_epoch),
            "cpu_seconds": round(self._cpu_before + summed([time.process_time()])[0], 3),
            "device": self._placement.device,
            "dtype": self._placement.dtype,
        }
        if is_main():
            events.append(self._output_dir / "events.jsonl", event)
            if ends_epoch:
                self._save_epoch(model, state.global_step)
        if self._recall is not None and self._recall.best.gives_up:
            control.should_training_stop = True

    def _ask(self, model: PeftModel, step: int, *, ends_epoch: bool) -> dict[str, float]:
        if self._recall is None or not ends_epoch:
            return {}
        return self._recall.measure(model, step=step, epoch=step // self._steps_per_epoch)

    def _validate(self, model: PeftModel, step: int, total_steps: int, *, ends_epoch: bool) -> dict[str, float]:
        measured: dict[str, float] = {}
        if self._validation is None:
            return measured
        # About twenty looks per run, since each costs a forward pass.
        if step % max(1, total_steps // 20) == 0 or step == total_steps:
            measured.update(_named("valid", self._validation.one_batch(model, step)))
        if ends_epoch:
            measured.update(_named("full_valid", self._validation.whole_file(model)))
        # JSON has no other numbers, and held-out examples that are lost for a moment do not end a run.
        return {name: value for name, value in measured.items() if math.isfinite(value)}

    def _save_epoch(self, model: PeftModel, step: int) -> None:
        # Saved, told, tidied up: a kill in between leaves one folder too many, and never an event without its folder.
        folder = self._output_dir / "epochs" / f"step-{step}"
        folder.parent.mkdir(exist_ok=True)
        save_adapter(model, folder)
        epoch = step // self._steps_per_epoch
        events.append(
            self._output_dir / "events.jsonl", {"type": "checkpoint", "step": step, "epoch": epoch, "path": str(folder)}
        )
        keep_newest(folder.parent, KEPT_EPOCHS)


class StopCallback(TrainerCallback):
    """Ends the run after the step in progress, with a checkpoint, when a stop was asked for."""

    def __init__(self, request: StopRequest) -> None:
        self._request = request

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: object
    ) -> None:
        """Look at the request; when one process was asked, all of them stop after the same step."""
        if summed([float(self._request.asked)])[0] > 0:
            control.should_training_stop = True
            control.should_save = True


class WholeCheckpointCallback(TrainerCallback):
    """Marks each checkpoint once all of it is written, so that a kill in the middle of one is noticed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: object) -> None:
        """Mark the checkpoint of this step, once every process has written its part."""
        # A meeting point, not a sum.
        summed([0.0])
        if is_main():
            mark_whole(self._folder / f"checkpoint-{state.global_step}")


class CopiesCallback(TrainerCallback):
    """Copies each whole checkpoint to an address; one that cannot be copied is told, and costs the run nothing.

    Args:
        copies: where to.
        output_dir: folder of the run.
    """

    def __init__(self, copies: Copies, output_dir: Path) -> None:
        self._copies = copies
        self._output_dir = output_dir

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: object) -> None:
        """Copy the checkpoint of this step, which was marked whole before."""
        if not is_main():
            return
        try:
            self._copies.keep(self._output_dir, state.global_step)
        except CopiesError as error:
            text = f"The checkpoint of step {state.global_step} was not copied: {error}; the training goes on"
            events.append(self._output_dir / "events.jsonl", {"type": "message", "level": "warn", "message": text})


def _named(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in figures.items()}
