"""Encoded records: token ids, and which of them carry loss."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IGNORED", "Example", "Judged", "Pair", "Taught"]

IGNORED = -100
"""Label of a position that carries no loss (the value that PyTorch's cross entropy leaves out)."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One encoded record.

    Attributes:
        input_ids: tokens of prompt and answer.
        labels: the same tokens where the loss counts, `IGNORED` elsewhere; as long as `input_ids`.
        is_cut: whether the end was cut off at the length limit.
        thinks: whether a thought stands before an answer.
        leaves_thoughts: whether the record had thoughts that the template of the base does not write.
    """

    input_ids: list[int]
    labels: list[int]
    is_cut: bool = False
    thinks: bool = False
    leaves_thoughts: bool = False

    @property
    def teaches(self) -> bool:
        """Whether any position carries loss; the first one cannot, as nothing stands before it."""
        return any(label != IGNORED for label in self.labels[1:])

    @property
    def n_tokens(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.input_ids)

    @property
    def n_labelled(self) -> int:
        """Tokens that carry loss."""
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One encoded preference record: the same conversation with either answer.

    Attributes:
        chosen: with the preferred answer, which alone is labelled.
        rejected: with the other answer, which alone is labelled.
    """

    chosen: Example
    rejected: Example

    @property
    def is_cut(self) -> bool:
        """Whether the end of either was cut off at the length limit."""
        return self.chosen.is_cut or self.rejected.is_cut

    @property
    def teaches(self) -> bool:
        """Whether there are two answers to compare."""
        return self.chosen.teaches and self.rejected.teaches

    @property
    def n_tokens(self) -> int:
        """Tokens of both conversations."""
        return self.chosen.n_tokens + self.rejected.n_tokens

    @property
    def n_labelled(self) -> int:
        """Tokens of both answers."""
        return self.chosen.n_labelled + self.rejected.n_labelled


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One encoded answer that somebody called good or bad.

    Attributes:
        example: the conversation with the answer, which alone is labelled.
        is_good: the verdict.
    """

    example: Example
    is_good: bool

    @property
    def is_cut(self) -> bool:
        """Whether the end was cut off at the length limit."""
        return self.example.is_cut

    @property
    def teaches(self) -> bool:
        """Whether any of the answer is left."""
        return self.example.teaches

    @property
    def n_tokens(self) -> int:
        """Tokens of conversation and answer."""
        return self.example.n_tokens

    @property
    def n_labelled(self) -> int:
        """Tokens of the answer."""
        return self.example.n_labelled


Taught = Example | Pair | Judged
