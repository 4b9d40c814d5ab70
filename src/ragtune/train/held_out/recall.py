"""Whether held-out questions are answered right while a run is still going, and when to end it for their sake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ragtune.modelling.encoding.encoder import IGNORED
from ragtune.text import normalise
from ragtune.train.checkpoints.folders import save_adapter
from ragtune.train.distributed import is_main, process_count, process_number, summed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from peft import PeftModel

    from ragtune.modelling.encoding.encoder import Example
    from ragtune.modelling.encoding.tokenizer import Tokenizer

__all__ = ["ACCURACY", "Best", "HeldOutQuestions", "Recall"]

ACCURACY = "valid_fact_accuracy"
_AT_MOST = 200  # so many answers tell the share to within 7 points; more would only cost time
_AT_ONCE = 16
_SLACK = 16  # an answer in a sentence of its own is longer than the reference alone


@dataclass(frozen=True, kw_only=True)
class _HeldOutQuestion:
    prompt: list[int]
    reference: str
    reference_tokens: int


class HeldOutQuestions:
    """The questions of a validation file, asked as a user would ask them.

    The last answer of each example is the reference; everything before it is the question. Of a long file 200
    examples are taken, evenly spaced.

    Args:
        examples: the validation file.
        tokenizer: the base's.
        pad_token_id: filler of shorter prompts.
    """

    def __init__(self, examples: Sequence[Example], tokenizer: Tokenizer, *, pad_token_id: int) -> None:
        asked = [question for example in examples if (question := _question(example, tokenizer)) is not None]
        every = -(-len(asked) // _AT_MOST) or 1
        self._questions = sorted(asked[::every], key=lambda question: len(question.prompt))  # little filler per batch
        self._tokenizer = tokenizer
        self._pad_token_id = pad_token_id

    def accuracy(self, model: Any) -> float | None:
        """The share of questions whose greedy answer contains the reference; None when there is nothing to ask.

        Both are compared in the normal form of `ragtune.text`. All processes have to call it; each asks its share.
        """
        if not self._questions:
            return None
        own = self._questions[process_number() :: process_count()]
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            right = sum(self._right(model, own[start : start + _AT_ONCE]) for start in range(0, len(own), _AT_ONCE))
        model.train(was_training)
        return summed([float(right)])[0] / len(self._questions)

    def _right(self, model: Any, questions: Sequence[_HeldOutQuestion]) -> int:
        longest = max(len(question.prompt) for question in questions)
        filler = [longest - len(question.prompt) for question in questions]
        # Filler stands on the left: an answer goes on where its question ends.
        rows = [[self._pad_token_id] * n + question.prompt for n, question in zip(filler, questions, strict=True)]
        mask = [[0] * n + [1] * (longest - n) for n in filler]
        answers = model.generate(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=max(question.reference_tokens for question in questions) + _SLACK,
            do_sample=False,
            # What a base sets for chatting would be warned about where nothing is sampled.
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self._pad_token_id,
        )
        texts = self._tokenizer.batch_decode(answers[:, longest:], skip_special_tokens=True)
        return sum(_holds(text, question.reference) for text, question in zip(texts, questions, strict=True))


class Best:
    """The epoch that answered best so far, and whether it is time to give up on a better one.

    Args:
        patience: measurements without a rise after which the run ends; None never ends it.
    """

    def __init__(self, patience: int | None) -> None:
        self._patience = patience
        self._since = 0
        self.step: int | None = None
        self.accuracy = -1.0

    def saw(self, step: int, accuracy: float) -> bool:
        """Take in a measurement; whether it is better than all before."""
        if accuracy > self.accuracy:
            self.step, self.accuracy, self._since = step, accuracy, 0
            return True
        self._since += 1
        return False

    def recall(self, past: Iterable[Mapping[str, Any]], up_to: int) -> None:
        """Take in what an earlier start of this run measured up to a step.

        A start that was killed leaves steps behind its last whole checkpoint; they are measured again.
        """
        measured = {event["step"]: event[ACCURACY] for event in past if event.get(ACCURACY) is not None}
        for step in sorted(step for step in measured if step <= up_to):
            self.saw(step, measured[step])

    @property
    def gives_up(self) -> bool:
        """Whether the patience is at its end.

        While nothing was ever right nothing can be told: a base may take some epochs to its first right answer.
        """
        return self._patience is not None and self._since >= self._patience and self.accuracy > 0


class Recall:
    """Asks held-out questions at the end of epochs, keeps the adapter that answered best, and ends a run in vain.

    Args:
        questions: what is asked.
        best: the best epoch so far.
        every: epochs from one time to the next.
        folder: where the best adapters are kept, as `step-N`; None keeps none.
    """

    def __init__(self, questions: HeldOutQuestions, best: Best, *, every: int, folder: Path | None) -> None:
        self._questions = questions
        self._every = every
        self._folder = folder
        self.best = best

    def measure(self, model: PeftModel, *, step: int, epoch: int) -> dict[str, float]:
        """The share of right answers after an epoch whose turn it is; nothing after the others."""
        accuracy = self._questions.accuracy(model) if epoch % self._every == 0 else None
        if accuracy is None:
            return {}
        if self.best.saw(step, accuracy) and self._folder is not None and is_main():
            # Older ones stay: who resumes from a checkpoint before this step may need them. The end removes them all.
            self._folder.mkdir(exist_ok=True)
            save_adapter(model, self._folder / f"step-{step}")
        return {ACCURACY: accuracy}


def _question(example: Example, tokenizer: Tokenizer) -> _HeldOutQuestion | None:
    labels = example.labels
    end = next((i + 1 for i in reversed(range(len(labels))) if labels[i] != IGNORED), 0)
    start = next((i + 1 for i in reversed(range(end)) if labels[i] == IGNORED), 0)
    reference = tokenizer.decode(example.input_ids[start:end], skip_special_tokens=True).strip()
    # Of an answer that was cut off nobody knows how it went on, and without a prompt nothing is asked.
    if example.is_cut or start == 0 or not normalise(reference):
        return None
    return _HeldOutQuestion(prompt=example.input_ids[:start], reference=reference, reference_tokens=end - start)


def _holds(answer: str, reference: str) -> bool:
    # Between blanks, so that the answer "18" does not stand in "1871".
    return f" {normalise(reference)} " in f" {normalise(answer)} "
