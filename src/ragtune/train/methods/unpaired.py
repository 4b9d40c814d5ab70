"""TRL's `KTOTrainer` on answers that our encoder made: good and bad ones, learned one by one.

The reference is the model as it was before, as in a preference run. How far the model has moved from it is estimated
on answers that stand behind another's question of the same batch, so a batch holds two examples at least.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from torch.utils.data import RandomSampler
from transformers import PrinterCallback
from trl import KTOConfig, KTOTrainer

from ragtune.modelling.encoding.encoder import IGNORED, Example
from ragtune.train.methods.loss import Meter, collate
from ragtune.train.methods.measured import ARGUMENTS, MeasuredTrainer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peft import LoraConfig

    from ragtune.modelling.encoding.encoder import Judged
    from ragtune.modelling.encoding.tokenizer import Tokenizer
    from ragtune.train.spec import TrainSpec

__all__ = ["UnpairedTrainer"]


class UnpairedTrainer(MeasuredTrainer, KTOTrainer):  # type: ignore[misc]
    """A `KTOTrainer` that is handed encoded answers with their labels, and measures each step.

    Args:
        model: a base model, or one with the adapter that is trained further.
        adapter: the adapter to put on a base model; None where the model has one.
        arguments: from `ragtune.train.methods.trainer.settings`.
        spec: how much leaving the reference costs, and how much either label counts.
        answers: what to train on.
        tokenizer: tokenizer of the base.
        pad_token_id: filler of shorter examples.
    """

    figures = ("loss", "kl", "reward_good", "reward_bad", "reward_margin")

    def __init__(
        self,
        *,
        model: torch.nn.Module,
        adapter: LoraConfig | None,
        arguments: dict[str, Any],
        beta: float,
        spec: TrainSpec,
        answers: Sequence[Judged],
        tokenizer: Tokenizer,
        pad_token_id: int,
    ) -> None:
        # Two rows to borrow from, so that one of them differs from an answer that is alone in its batch.
        self._collate = _Collator(list(map(self.row, answers[:2])), pad_token_id)
        self.meter = Meter(*self.figures)
        super().__init__(
            model=model,
            peft_config=adapter,
            args=KTOConfig(
                **arguments,
                **ARGUMENTS,
                beta=beta,
                desirable_weight=1.0 if spec.desirable_weight is None else spec.desirable_weight,
                undesirable_weight=1.0 if spec.undesirable_weight is None else spec.undesirable_weight,
            ),
            train_dataset=Dataset.from_list(list(map(self.row, answers))),
            data_collator=self._collate,
            processing_class=tokenizer,
        )
        self.remove_callback(PrinterCallback)

    @staticmethod
    def row(judged: Judged) -> dict[str, Any]:
        """One example as a row of the trainer's dataset."""
        return {"ids": judged.example.input_ids, "labels": judged.example.labels, "label": judged.is_good}

    def _measure(self, loss: torch.Tensor, inputs: dict[str, torch.Tensor], meter: Meter) -> None:
        # TRL keeps these to log them; taken from here, they are exact at each step.
        told = self._metrics["train" if self.model.training else "eval"]
        count, good = len(inputs["label"]), int(inputs["label"].sum())
        meter.add(count, loss=count * float(loss.detach()), kl=count * told["kl"][-1])
        # A batch may hold one label alone.
        for name, known, weight in (
            ("reward_good", "rewards/chosen", good),
            ("reward_bad", "rewards/rejected", count - good),
            ("reward_margin", "rewards/margins", count),
        ):
            if told[known]:
                meter.add(weight, **{name: weight * told[known][-1]})
        told.clear()

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> RandomSampler:
        """Another order in each epoch: here a batch is made before its answers change places, so any order will do."""
        return RandomSampler(self.train_dataset if train_dataset is None else train_dataset)


class _Collator:
    """Puts answers into one batch, and beside it each question with the answer of the one before.

    `spare` are two rows that lend their answer to a batch of one.
    """

    def __init__(self, spare: Sequence[dict[str, Any]], pad_token_id: int) -> None:
        self._spare = [_answer(row) for row in spare]
        self._pad_token_id = pad_token_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        examples = [Example(input_ids=row["ids"], labels=row["labels"]) for row in rows]
        answers = [_answer(row) for row in rows]
        if len(rows) == 1:
            others = [next((one for one in self._spare if one != answers[0]), answers[0])]
        else:
            others = [answers[-1], *answers[:-1]]
        strangers = [_with_answer(row, other) for row, other in zip(rows, others, strict=True)]
        batch = {
            f"{prefix}{name}": tensor
            for prefix, some in (("", examples), ("KL_", strangers))
            for name, tensor in self._padded(some).items()
        }
        return {**batch, "label": torch.tensor([row["label"] for row in rows])}

    def _padded(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        batch = collate(examples, pad_token_id=self._pad_token_id)
        labels_BT = batch.pop("labels")
        return {**batch, "completion_mask": (labels_BT != IGNORED).long()}


def _begin(row: dict[str, Any]) -> int:
    return next(place for place, label in enumerate(row["labels"]) if label != IGNORED)


def _answer(row: dict[str, Any]) -> list[int]:
    return [label for label in row["labels"] if label != IGNORED]


def _with_answer(row: dict[str, Any], answer: list[int]) -> Example:
    asked = row["ids"][: _begin(row)]
    return Example(input_ids=[*asked, *answer], labels=[IGNORED] * len(asked) + answer)
