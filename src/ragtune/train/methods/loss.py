"""The loss of a batch: cross entropy over the labelled tokens, and how many of them the model would have chosen.

Shapes: B examples, T tokens of the longest example, N labelled tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from peft import PeftModel

from ragtune.modelling.encoding.encoder import IGNORED, Example
from ragtune.train.distributed import summed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BatchSums", "Meter", "batch_sums", "collate"]


@dataclass(frozen=True, kw_only=True)
class BatchSums:
    """Sums over the labelled tokens of a batch.

    Attributes:
        loss: summed cross entropy in nats, a scalar that can be differentiated.
        n_correct: tokens that were the model's first choice.
        n_tokens: labelled tokens.
    """

    loss: torch.Tensor
    n_correct: int
    n_tokens: int


class Meter:
    """Means of some figures over the micro-batches of one optimizer step, on all processes of the run.

    Args:
        names: the figures that are measured.
    """

    def __init__(self, *names: str) -> None:
        self._sums, self._weights = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)

    def add(self, weight: float, **sums: float) -> None:
        """Count one micro-batch: how much it weighs (tokens, pairs) and the sum of each of these figures over it."""
        for name, value in sums.items():
            self._sums[name] += value
            self._weights[name] += weight

    def take(self) -> dict[str, float]:
        """The mean of each figure that was measured, by its name; starts anew. All processes have to call it."""
        # In one meeting of the processes: each waits there for the slowest.
        everything = summed([*self._sums.values(), *self._weights.values()])
        count = len(self._sums)
        means = zip(self._sums, everything[:count], everything[count:], strict=True)
        found = {name: total / weight for name, total, weight in means if weight}
        self._sums, self._weights = dict.fromkeys(self._sums, 0.0), dict.fromkeys(self._weights, 0.0)
        return found


def collate(examples: Sequence[Example], *, pad_token_id: int) -> dict[str, torch.Tensor]:
    """Put examples of different lengths into one batch, padded on the right.

    Returns:
        `input_ids`, `attention_mask` and `labels`, each of shape [B, T].
    """
    # On the right: every example then begins at position 0, and no positions need be handed to the model.
    longest = max(len(example.input_ids) for example in examples)
    input_ids_BT = torch.full((len(examples), longest), pad_token_id, dtype=torch.long)
    labels_BT = torch.full_like(input_ids_BT, IGNORED)
    mask_BT = torch.zeros_like(input_ids_BT)
    for row, example in enumerate(examples):
        length = len(example.input_ids)
        input_ids_BT[row, :length] = torch.tensor(example.input_ids)
        labels_BT[row, :length] = torch.tensor(example.labels)
        mask_BT[row, :length] = 1
    return {"input_ids": input_ids_BT, "attention_mask": mask_BT, "labels": labels_BT}


def batch_sums(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> BatchSums:
    """Run the model on a batch and compare what it expects next with the labels.

    Logits are only computed where some example of the batch has a label: the prompt's share of the vocabulary
    projection would be the largest tensor of the step.
    """
    # What stands at a place is foretold at the place before.
    next_labels_BT = batch["labels"][:, 1:]
    wanted = (next_labels_BT != IGNORED).any(dim=0).nonzero().squeeze(1)
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "use_cache": False}
    if _keeps_logits(model):
        logits = model(**inputs, logits_to_keep=wanted).logits
    else:
        logits = model(**inputs).logits[:, wanted]
    targets = next_labels_BT[:, wanted]
    labelled = targets != IGNORED
    # In float32 whatever the base computes in: a sum over a large vocabulary loses too much in half of the bits.
    logits_NV, targets_N = logits[labelled].float(), targets[labelled]
    loss = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="sum")
    n_correct = int((logits_NV.detach().argmax(dim=-1) == targets_N).sum())
    return BatchSums(loss=loss, n_correct=n_correct, n_tokens=int(targets_N.numel()))


def _keeps_logits(model: torch.nn.Module) -> bool:
    # PEFT and DistributedDataParallel take any argument and hand it on, so the model inside is asked.
    one = model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model
    inner = one.get_base_model() if isinstance(one, PeftModel) else one
    return "logits_to_keep" in inspect.signature(inner.forward).parameters
