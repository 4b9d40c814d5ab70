"""TRL's `DPOTrainer` on pairs that our encoder made: which of two answers is preferred, learned without a judge.

The reference that the loss compares with is the model as it was before: the base, or the tuned model that is trained
further. Both live in the same weights, with the adapter switched off or replaced.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer

from ragtune.modelling.encoder import IGNORED, Example
from ragtune.train.methods.loss import Meter, collate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from peft import LoraConfig, PeftModel

    from ragtune.modelling.encoder import Pair
    from ragtune.modelling.tokenizer import Tokenizer

__all__ = ["PreferenceTrainer"]


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]
    """A `DPOTrainer` that is handed encoded pairs, and measures each step.

    Args:
        model: a base model, or one with the adapter that is trained further.
        adapter: the adapter to put on a base model; None where the model has one.
        arguments: from `ragtune.train.methods.trainer.settings`.
        beta: how much leaving the reference costs.
        pairs: what to train on.
        tokenizer: tokenizer of the base.
        pad_token_id: filler of shorter examples.
    """

    figures = ("loss", "mean_token_accuracy", "reward_margin", "reward_accuracy")

    def __init__(
        self,
        *,
        model: torch.nn.Module,
        adapter: LoraConfig | None,
        arguments: dict[str, Any],
        beta: float,
        pairs: Sequence[Pair],
        tokenizer: Tokenizer,
        pad_token_id: int,
    ) -> None:
        self._collate = partial(_collate, pad_token_id=pad_token_id)
        self.meter = Meter(*self.figures)
        super().__init__(
            model=model,
            peft_config=adapter,
            args=DPOConfig(
                **arguments,
                beta=beta,
                max_length=None,  # the encoder has cut what is too long
                # As in a supervised run: the base has its own number format, and nothing is computed twice.
                bf16=False,
                activation_checkpointing=False,
            ),
            train_dataset=Dataset.from_list([_row(pair) for pair in pairs]),
            data_collator=self._collate,
            processing_class=tokenizer,
        )
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The mean loss of the pairs of a micro-batch."""
        loss: torch.Tensor = super().compute_loss(model, inputs)
        if model.training:
            self._measure(loss, inputs, self.meter)
        return loss

    def score(self, model: PeftModel, pairs: Sequence[Pair], meter: Meter) -> None:
        """Measure pairs that are not trained on."""
        batch = self._collate([_row(pair) for pair in pairs])
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
        self._measure(super().compute_loss(model, inputs), inputs, meter)

    def _measure(self, loss: torch.Tensor, inputs: dict[str, torch.Tensor], meter: Meter) -> None:
        # TRL keeps these to log them; taken from here, they are exact at each step.
        told = self._metrics["train" if self.model.training else "eval"]
        # Two rows are one pair.
        count = len(inputs["input_ids"]) / 2
        meter.add(
            count,
            loss=count * float(loss.detach()),
            mean_token_accuracy=count * told["mean_token_accuracy"][-1],
            reward_margin=count * told["rewards/margins"][-1],
            reward_accuracy=count * told["rewards/accuracies"][-1],
        )
        told.clear()

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        return dataset  # encoded already, with the loss exactly on the answers

    def create_model_card(self, *_: object, **__: object) -> None:
        """Write nothing: a checkpoint is not published."""


def _row(pair: Pair) -> dict[str, list[int]]:
    return {
        "chosen_ids": pair.chosen.input_ids,
        "chosen_labels": pair.chosen.labels,
        "rejected_ids": pair.rejected.input_ids,
        "rejected_labels": pair.rejected.labels,
    }


def _collate(rows: Sequence[dict[str, list[int]]], *, pad_token_id: int) -> dict[str, torch.Tensor]:
    """Put pairs into one batch: the chosen answers first, then the rejected ones in the same order."""
    halves = [
        Example(input_ids=row[f"{which}_ids"], labels=row[f"{which}_labels"])
        for which in ("chosen", "rejected")
        for row in rows
    ]
    batch = collate(halves, pad_token_id=pad_token_id)
    labels_BT = batch.pop("labels")
    return {**batch, "completion_mask": (labels_BT != IGNORED).long()}
