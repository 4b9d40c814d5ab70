"""Answers that must have a form: tokens that a JSON Schema or a grammar forbids are never drawn (by llguidance)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ragtune._extras import require
from ragtune.local.engine.request import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from ragtune.modelling.encoding.tokenizer import Tokenizer
    from ragtune.records.base import JsonMapping

__all__ = ["JSON_STYLE", "Constraint", "json_grammar", "token_table"]

# One way to write each value: a model that may put white space anywhere can go on with it for ever.
JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def json_grammar(schema: JsonMapping) -> str:
    """The grammar of all JSON texts that fit a schema."""
    matcher = _library().LLMatcher
    return str(matcher.grammar_from_json_schema(dict(schema), overrides=JSON_STYLE))


def token_table(tokenizer: Tokenizer, *, size: int, end_tokens: Collection[int]) -> Any:
    """A tokenizer as llguidance wants it; takes about half a second for a vocabulary of 50,000."""
    _library()
    return import_module("llguidance.hf").from_tokenizer(
        tokenizer, n_vocab=max(size, len(tokenizer)), eos_token=sorted(end_tokens)
    )


class Constraint:
    """Follows one answer and says which tokens may come next.

    Args:
        tokens: the model's `token_table`.
        grammar: what the answer must be: from `json_grammar`, or of llguidance's own kinds.
        param: the parameter that it came with, for the errors.

    Raises:
        RequestError: answers cannot be held to it, for example because a schema holds a keyword that is not served.
    """

    def __init__(self, tokens: Any, grammar: str, *, param: str) -> None:
        self._param = param
        self._matcher = _library().LLMatcher(tokens, grammar, log_level=0)
        self._raise_if_lost("Invalid schema")

    def allowed(self, size: int) -> torch.Tensor:
        """Which tokens may come next, as a tensor of bools over a vocabulary of that size."""
        import numpy as np
        import torch

        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._raise_if_lost()
        allowed = np.unpackbits(bits, bitorder="little")[:size].astype(bool)
        # A model's output may be wider than its vocabulary; what stands there is no token.
        return torch.from_numpy(np.pad(allowed, (0, size - len(allowed))))

    def take(self, token: int) -> bool:
        """Note which token came; says whether the answer is whole and nothing more can follow."""
        self._matcher.consume_token(token)
        self._raise_if_lost()
        return bool(self._matcher.is_stopped())

    def _raise_if_lost(self, what: str = "The answer cannot be held any further to the schema") -> None:
        if self._matcher.is_error():
            # A pattern's fault is drawn over several lines; some end with an option that no request has.
            reason = " ".join(self._matcher.get_error().partition(" Enable '")[0].split())[:500].rstrip(".")
            message = f"{what} in '{self._param}': {reason}; send a simpler schema"
            raise RequestError(message, param=self._param)


def _library() -> Any:
    require("local", "llguidance", reason="holding answers to a schema")
    return import_module("llguidance")
