"""What happens after each step: metrics, validation, an adapter per epoch, and the end when somebody asks for it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from ragtune.train import events
from ragtune.train.export import keep_newest, mark_whole, save_adapter
from ragtune.train.loss import Meter, batch_sums, collate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ragtune.train.encoder import Example
    from ragtune.train.lifeline import StopRequest

__all__ = ["DivergedError", "Journal", "Stopper", "Validation", "Whole"]

KEPT_EPOCHS = 3


class DivergedError(Exception):
    """The training loss is no longer a number."""


class Validation:
    """Loss and token accuracy on held-out examples.

    Args:
        examples: the validation file.
        batch_size: examples per forward pass.
        pad_token_id: filler of shorter examples.
    """

    def __init__(self, examples: Sequence[Example], batch_size: int, pad_token_id: int) -> None:
        self._batches = [examples[i : i + batch_size] for i in range(0, len(examples), batch_size)]
        self._pad_token_id = pad_token_id

    def one_batch(self, model: Any, step: int) -> tuple[float, float]:
        """Loss and accuracy on the batch whose turn it is at this step."""
        return self._measure(model, [self._batches[step % len(self._batches)]])

    def whole_file(self, model: Any) -> tuple[float, float]:
        """Loss and accuracy on all examples."""
        return self._measure(model, self._batches)

    def _measure(self, model: Any, batches: Sequence[Sequence[Example]]) -> tuple[float, float]:
        meter = Meter()
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            for examples in batches:
                batch = collate(examples, pad_token_id=self._pad_token_id)
                meter.add(batch_sums(model, {name: tensor.to(model.device) for name, tensor in batch.items()}))
        model.train(was_training)
        return meter.take()


class Journal(TrainerCallback):
    """Writes metrics after every step, and an adapter after every epoch.

    Args:
        output_dir: folder of the run.
        meter: sums that the trainer fills.
        validation: held-out examples, or None.
        steps_per_epoch: optimizer steps per pass over the training file.
        cpu_before: CPU seconds of earlier starts of this run.
    """

    def __init__(
        self, output_dir: Path, meter: Meter, validation: Validation | None, *, steps_per_epoch: int, cpu_before: float
    ) -> None:
        self._output_dir = output_dir
        self._steps_per_epoch = steps_per_epoch
        self._meter = meter
        self._validation = validation
        self._cpu_before = cpu_before

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the step; raise `DivergedError` before a broken state could be saved."""
        loss, accuracy = self._meter.take()
        if not math.isfinite(loss):
            raise DivergedError(f"the training loss is {loss} at step {state.global_step}")
        ends_epoch = state.global_step % self._steps_per_epoch == 0
        event = {
            "type": "metrics",
            "step": state.global_step,
            "total_steps": state.max_steps,
            "epoch": round(state.global_step / self._steps_per_epoch, 4),
            "train_loss": loss,
            "train_mean_token_accuracy": accuracy,
            "tokens_seen": int(state.num_input_tokens_seen),
            **self._validate(kwargs["model"], state.global_step, state.max_steps, ends_epoch=ends_epoch),
            "cpu_seconds": round(self._cpu_before + time.process_time(), 3),
        }
        events.append(self._output_dir / "events.jsonl", event)
        if ends_epoch:
            self._save_epoch(kwargs["model"], state.global_step)

    def _validate(self, model: Any, step: int, total_steps: int, *, ends_epoch: bool) -> dict[str, float]:
        measured: dict[str, float] = {}
        if self._validation is None:
            return measured
        if step % max(1, total_steps // 20) == 0 or step == total_steps:
            loss, accuracy = self._validation.one_batch(model, step)
            measured.update(valid_loss=loss, valid_mean_token_accuracy=accuracy)
        if ends_epoch:
            loss, accuracy = self._validation.whole_file(model)
            measured.update(full_valid_loss=loss, full_valid_mean_token_accuracy=accuracy)
        return {name: value for name, value in measured.items() if math.isfinite(value)}

    def _save_epoch(self, model: Any, step: int) -> None:
        folder = self._output_dir / "epochs" / f"step-{step}"
        folder.parent.mkdir(exist_ok=True)
        save_adapter(model, folder)
        epoch = step // self._steps_per_epoch
        events.append(
            self._output_dir / "events.jsonl", {"type": "checkpoint", "step": step, "epoch": epoch, "path": str(folder)}
        )
        keep_newest(folder.parent, KEPT_EPOCHS)


class Stopper(TrainerCallback):
    """Ends the run after the step in progress, with a checkpoint, when a stop was asked for."""

    def __init__(self, request: StopRequest) -> None:
        self._request = request

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the request."""
        if self._request.asked:
            control.should_training_stop = True
            control.should_save = True


class Whole(TrainerCallback):
    """Marks each checkpoint once all of it is written, so that a kill in the middle of one is noticed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the checkpoint of this step."""
        mark_whole(self._folder / f"checkpoint-{state.global_step}")
