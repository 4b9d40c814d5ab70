"""What is asked of a tokenizer: the part of transformers' fast tokenizers that trainer and engine lean on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from ragtune.records.base import JsonMapping

__all__ = ["SpecialToken", "Tokenizer"]


class SpecialToken(Protocol):
    """A token that was added to a vocabulary; its text is `str(token)`."""

    special: bool


class Tokenizer(Protocol):
    """A tokenizer as transformers loads it; tests/meta/test_fences.py holds the real one against this."""

    chat_template: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None

    @property
    def all_special_tokens(self) -> list[str]:
        """The texts of the tokens with a role: begin, end, filler and others that the model names."""
        ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, SpecialToken]:
        """The tokens that were added to the vocabulary, by their ids."""
        ...

    def __len__(self) -> int: ...

    def __call__(self, text: str, *, add_special_tokens: bool = True, verbose: bool = True) -> Mapping[str, list[int]]:
        """Take a text apart; the ids stand under `input_ids`."""
        ...

    def apply_chat_template(
        self,
        conversation: Sequence[JsonMapping],
        *,
        tools: Sequence[JsonMapping] | None,
        chat_template: str | None,
        tokenize: bool,
        add_generation_prompt: bool,
        **variables: object,
    ) -> object:
        """Render a conversation: a text, unless `tokenize` is set."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text of some tokens."""
        ...

    def batch_decode(self, sequences: torch.Tensor, *, skip_special_tokens: bool = False) -> list[str]:
        """The text of each row of tokens."""
        ...

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        """The id of a token's text."""
        ...

    def convert_ids_to_tokens(self, ids: int) -> str:
        """A token as the vocabulary writes it."""
        ...

    def save_pretrained(self, save_directory: str | Path) -> object:
        """Write it to a folder."""
        ...
