"""What TRL's trainers of preferences have in common here: they are handed encoded examples, and measured each step."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from ragtune.train.methods.precision import in_base_format

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from datasets import Dataset
    from peft import PeftModel

    from ragtune.train.methods.loss import Meter

__all__ = ["ARGUMENTS", "MeasuredTrainer"]

ARGUMENTS: dict[str, Any] = {
    "max_length": None,  # the encoder has cut what is too long
    "activation_checkpointing": False,  # as in a supervised run, nothing is computed twice
}


class MeasuredTrainer:
    """Stands in front of a trainer of TRL among the bases of a class, and measures its loss.

    Attributes:
        meter: the figures of the steps since they were taken last.
    """

    meter: Meter
    _collate: Callable[[Sequence[dict[str, Any]]], dict[str, torch.Tensor]]

    @staticmethod
    @abstractmethod
    def row(example: Any) -> dict[str, Any]:
        """One example as a row of the trainer's dataset."""

    @abstractmethod
    def _measure(self, loss: torch.Tensor, inputs: dict[str, torch.Tensor], meter: Meter) -> None:
        """Add the figures of a batch to a meter."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The mean loss of the examples of a micro-batch."""
        with in_base_format(model):
            loss: torch.Tensor = super().compute_loss(model, inputs)  # type: ignore[misc]  # of the trainer behind
        if model.training:
            self._measure(loss, inputs, self.meter)
        return loss

    def score(self, model: PeftModel, examples: Sequence[Any], meter: Meter) -> None:
        """Measure examples that are not trained on."""
        batch = self._collate(list(map(self.row, examples)))
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
        with in_base_format(model):
            loss = super().compute_loss(model, inputs)  # type: ignore[misc]  # of the same
        self._measure(loss, inputs, meter)

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        return dataset  # encoded already, with the loss exactly on the answers

    def create_model_card(self, *_: object, **__: object) -> None:
        """Write nothing: a checkpoint is not published."""
