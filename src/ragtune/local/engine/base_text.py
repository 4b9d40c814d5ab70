"""What a base's tokenizer and configuration say: how it is spoken to, where it ends, what it can look at."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ragtune.local.engine.decoding.tool_calls import CallFormat, find_call_format
from ragtune.modelling.base_model import context_length, load_configuration, load_tokenizer
from ragtune.modelling.encoding.encoder import Encoder

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.modelling.encoding.tokenizer import Tokenizer

__all__ = ["BaseText"]

# Tokens with which the common families end a turn or a text. A base's own configuration often names only one of them.
_END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>", "<|end_of_text|>")


class BaseText:
    """How one base is spoken to; holds no weights.

    Args:
        folder: the base model.
        tokenizer: its tokenizer.
        context_tokens: what it can look at, prompt and answer together.
        vocabulary: how many token ids it knows.
        eos: the end tokens that its configuration names.
    """

    def __init__(
        self, folder: Path, *, tokenizer: Tokenizer, context_tokens: int, vocabulary: int, eos: int | list[int] | None
    ) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.context_tokens = context_tokens
        self.vocabulary = vocabulary
        self.encoder = Encoder(tokenizer, max_length=context_tokens)
        self.end_tokens = self._find_end_tokens(eos)

    @classmethod
    def read(cls, folder: Path) -> BaseText:
        """Read that of a folder, without its weights.

        Raises:
            BackendError: the folder holds no tokenizer or configuration that can be used.
        """
        config = load_configuration(folder)
        tokenizer = load_tokenizer(folder)
        return cls(
            folder,
            tokenizer=tokenizer,
            context_tokens=context_length(config.model),
            vocabulary=config.vocabulary or len(tokenizer),
            eos=config.eos,
        )

    @cached_property
    def call_format(self) -> CallFormat | None:
        """How this base writes calls of tools, None when it knows none."""
        return find_call_format(self.tokenizer)

    @property
    def special_tokens(self) -> dict[str, int]:
        """Texts and ids of the special tokens."""
        return {str(token): number for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}

    def _find_end_tokens(self, eos: int | list[int] | None) -> frozenset[int]:
        many = eos if isinstance(eos, list) else [eos]
        special = set(self.tokenizer.all_special_tokens) | set(self.special_tokens)
        # Only those that are there: for any other text tokenizers give the id of their unknown token.
        known = [self.tokenizer.convert_tokens_to_ids(token) for token in _END_TOKENS if token in special]
        return frozenset(token for token in [*many, self.tokenizer.eos_token_id, *known] if token is not None)
