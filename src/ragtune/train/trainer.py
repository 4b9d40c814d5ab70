"""transformers' `Trainer` with the masked loss; schedule, optimizer, checkpoints and resuming are its own."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from ragtune.train.loss import Meter, batch_sums, collate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import TrainerCallback

    from ragtune.train.encoder import Example
    from ragtune.train.spec import TrainSpec

__all__ = ["MaskedTrainer", "training_arguments"]

_WARMUP_SHARE = 0.05
_CHECKPOINTS_PER_RUN = 10


def training_arguments(
    spec: TrainSpec, checkpoints: Path, *, micro_batch_size: int, total_steps: int
) -> TrainingArguments:
    """The Trainer's settings for a spec: cosine schedule with a short warm-up, no weight decay, clipping at 1.0."""
    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=spec.n_epochs,
        per_device_train_batch_size=micro_batch_size,
        gradient_accumulation_steps=spec.batch_size // micro_batch_size,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(_WARMUP_SHARE * total_steps),
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=spec.seed,
        data_seed=spec.seed,
        save_strategy="steps",
        save_steps=spec.save_every_steps or math.ceil(total_steps / _CHECKPOINTS_PER_RUN),
        save_total_limit=2,  # the newest may be half written when the process is killed
        logging_strategy="no",
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
    )


class MaskedTrainer(Trainer):
    """A `Trainer` whose loss is the mean over the labelled tokens of a whole optimizer step.

    Args:
        model: base with adapter.
        args: settings from `training_arguments`.
        train_dataset: encoded examples.
        pad_token_id: filler of shorter examples.
        meter: is told the sums of every micro-batch.
        callbacks: what happens after each step.
    """

    def __init__(
        self,
        *,
        model: Any,
        args: TrainingArguments,
        train_dataset: Sequence[Example],
        pad_token_id: int,
        meter: Meter,
        callbacks: Sequence[TrainerCallback],
    ) -> None:
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            data_collator=partial(collate, pad_token_id=pad_token_id),
            callbacks=list(callbacks),
        )
        self.remove_callback(PrinterCallback)  # the events file tells what it would print
        self._meter = meter
        # `compute_loss` divides by the labelled tokens of the whole step, so the Trainer has to count them for it.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The micro-batch's share of the step's mean loss."""
        sums = batch_sums(model, inputs)
        self._meter.add(sums)
        share: torch.Tensor = sums.loss / num_items_in_batch
        return share
