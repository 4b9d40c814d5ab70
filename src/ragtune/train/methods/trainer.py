"""transformers' `Trainer` with the masked loss; schedule, optimizer, checkpoints and resuming are its own."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from transformers import PrinterCallback, Trainer, TrainingArguments

from ragtune.train.methods.loss import Meter, batch_sums, collate
from ragtune.train.methods.precision import in_base_format

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from peft import PeftModel

    from ragtune.modelling.encoding.encoder import Example
    from ragtune.modelling.hardware.placement import Placement
    from ragtune.train.spec import TrainSpec

__all__ = ["MaskedTrainer", "settings"]

_WARMUP_SHARE = 0.05
_CHECKPOINTS_PER_RUN = 10


def settings(
    spec: TrainSpec,
    placement: Placement,
    checkpoints: Path,
    *,
    per_process: int,
    micro_batch_size: int,
    total_steps: int,
) -> dict[str, Any]:
    """The Trainer's settings for a spec: cosine schedule with a short warm-up, no weight decay, clipping at 1.0.

    Args:
        spec: what to train.
        placement: where, and in which number format.
        checkpoints: folder for resumable checkpoints.
        per_process: examples of a batch that each process takes.
        micro_batch_size: examples per forward pass.
        total_steps: optimizer steps of the run.
    """
    return {
        "output_dir": str(checkpoints),
        "num_train_epochs": spec.n_epochs,
        "per_device_train_batch_size": micro_batch_size,
        "gradient_accumulation_steps": per_process // micro_batch_size,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": math.ceil(_WARMUP_SHARE * total_steps),
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": spec.seed,
        "data_seed": spec.seed,
        "save_strategy": "steps",
        "save_steps": spec.save_every_steps or math.ceil(total_steps / _CHECKPOINTS_PER_RUN),
        "save_total_limit": 2,  # the newest may be half written when the process is killed
        "logging_strategy": "no",  # the events file tells each step
        "logging_nan_inf_filter": False,
        "include_num_input_tokens_seen": "non_padding",  # padding teaches nothing and is not billed
        "remove_unused_columns": False,  # examples are objects, not columns of a table
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "report_to": [],  # no service that happens to be installed hears of a run
        "use_cpu": placement.device == "cpu",
        "fp16": placement.dtype == "float16",  # scales the loss, so that float16 does not lose small gradients
        "bf16": placement.number_format == "bfloat16",
    }


class MaskedTrainer(Trainer):
    """A `Trainer` whose loss is the mean over the labelled tokens of a whole optimizer step.

    Args:
        model: base with adapter.
        arguments: from `settings`.
        examples: what to train on.
        pad_token_id: filler of shorter examples.
    """

    figures = ("loss", "mean_token_accuracy")

    def __init__(
        self, *, model: torch.nn.Module, arguments: dict[str, Any], examples: Sequence[Example], pad_token_id: int
    ) -> None:
        super().__init__(
            model=model,
            args=TrainingArguments(**arguments),
            train_dataset=examples,
            data_collator=partial(collate, pad_token_id=pad_token_id),
        )
        self.remove_callback(PrinterCallback)  # the events file tells what it would print
        self.meter = Meter(*self.figures)
        self._pad_token_id = pad_token_id
        # `compute_loss` divides by the labelled tokens of the whole step, so the Trainer has to count them for it.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The micro-batch's share of the step's mean loss."""
        assert num_items_in_batch is not None, "the Trainer counts them, since `model_accepts_loss_kwargs` is set"
        with in_base_format(model):
            sums = batch_sums(model, inputs)
        self.meter.add(sums.n_tokens, loss=float(sums.loss.detach()), mean_token_accuracy=sums.n_correct)
        # Gradients are averaged over the processes, but the tokens were counted over all of them.
        share: torch.Tensor = sums.loss * self.args.world_size / num_items_in_batch
        return share

    def score(self, model: PeftModel, examples: Sequence[Example], meter: Meter) -> None:
        """Measure examples that are not trained on."""
        batch = collate(examples, pad_token_id=self._pad_token_id)
        with in_base_format(model):
            sums = batch_sums(model, {name: tensor.to(model.device) for name, tensor in batch.items()})
        meter.add(sums.n_tokens, loss=float(sums.loss), mean_token_accuracy=sums.n_correct)
