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

from ragtune.modelling.encoding.encoder import IGNORED, Example
from ragtune.train.methods.loss import Meter, collate
from ragtune.train.methods.measured import ARGUMENTS, MeasuredTrainer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from peft import LoraConfig

    from ragtune.modelling.encoding.encoder import Pair
    from ragtune.modelling.encoding.tokenizer import Tokenizer

__all__ = ["PreferenceTrainer"]


class PreferenceTrainer(MeasuredTrainer, DPOTrainer):  # type: ignore[misc]
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
                **ARGUMENTS,
                beta=beta,
            ),
            train_dataset=Dataset.from_list(list(map(self.row, pairs))),
            data_collator=self._collate,
            processing_class=tokenizer,
        )
        self.remove_callback(PrinterCallback)

    @staticmethod
    def row(pair: Pair) -> dict[str, Any]:
        """One example as a row of the trainer's dataset."""
        return {
            "chosen_ids": pair.chosen.input_ids,
            "chosen_labels": pair.chosen.labels,
            "rejected_ids": pair.rejected.input_ids,
            "rejected_labels": pair.rejected.labels,
        }

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
