"""The figures of held-out examples while a run is still going."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ragtune.train.distributed import process_count, process_number
from ragtune.train.methods.loss import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peft import PeftModel

    from ragtune.modelling.encoding.examples import Taught

__all__ = ["Validation"]


class Validation:
    """How the model does on held-out examples, each process measuring its share of them.

    Args:
        score: measures a batch of examples and tells a meter.
        figures: what it measures.
        examples: the validation file.
        batch_size: examples per forward pass.
    """

    def __init__(
        self,
        score: Callable[[PeftModel, Sequence[Taught], Meter], None],
        figures: Sequence[str],
        examples: Sequence[Taught],
        *,
        batch_size: int,
    ) -> None:
        self._score = score
        self._figures = figures
        self._batches = [examples[i : i + batch_size] for i in range(0, len(examples), batch_size)]

    def one_batch(self, model: PeftModel, step: int) -> dict[str, float]:
        """The figures on the batch whose turn it is at this step."""
        # Each process measures the same batch, which counts as often in the sums as in their weight.
        return self._measure(model, [self._batches[step % len(self._batches)]])

    def whole_file(self, model: PeftModel) -> dict[str, float]:
        """The figures on all examples."""
        return self._measure(model, self._batches[process_number() :: process_count()])

    def _measure(self, model: PeftModel, batches: Sequence[Sequence[Taught]]) -> dict[str, float]:
        meter = Meter(*self._figures)
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            for examples in batches:
                self._score(model, examples, meter)
        model.train(was_training)
        return meter.take()
