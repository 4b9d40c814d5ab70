"""Which token comes next: greedy or drawn, with penalties, biases and the tokens that a grammar allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ragtune.local.engine.request import GenerateRequest

__all__ = ["Sampler"]

# The likeliest tokens nearly always hold top_p together; sorting a whole vocabulary costs more than the rest.
_LIKELIEST = 512


class Sampler:
    """Chooses the tokens of one answer.

    Args:
        request: how tokens are to be drawn.
        index: which of the request's answers this is; each draws differently.
    """

    def __init__(self, request: GenerateRequest, index: int) -> None:
        import torch

        self._asked = request
        self._counts: dict[int, int] = {}
        # One for each row: with torch's own, an answer would hang on what else is asked meanwhile.
        self._random = torch.Generator()
        if request.seed is None:
            self._random.seed()
        else:
            # torch takes 64 bits; a seed of the wire may be negative, or leave them by the index.
            self._random.manual_seed((request.seed + index) % 2**63)
        self._bias = None
        if request.logit_bias:
            self._bias = (torch.tensor(list(request.logit_bias)), torch.tensor(list(request.logit_bias.values())))

    def draw(self, logits_V: torch.Tensor, allowed_V: torch.Tensor | None = None) -> int:  # V: size of the vocabulary
        """Choose a token.

        Args:
            logits_V: the model's own, as 32-bit floats; left as they are.
            allowed_V: which tokens may come at all, None for all.
        """
        logits_V = self._adjusted(logits_V, allowed_V)
        if self._asked.temperature <= 0:
            return int(logits_V.argmax())
        probabilities_V = (logits_V / self._asked.temperature).softmax(-1)
        if self._asked.top_p < 1:
            likeliest, order = _nucleus(probabilities_V, self._asked.top_p)
            return int(order[self._pick(likeliest)])
        return self._pick(probabilities_V)

    def took(self, token: int) -> None:
        """Count a token that now stands in the answer."""
        self._counts[token] = self._counts.get(token, 0) + 1

    def _adjusted(self, logits_V: torch.Tensor, allowed_V: torch.Tensor | None) -> torch.Tensor:
        import torch

        asked = self._asked
        penalised = bool(self._counts) and bool(asked.frequency_penalty or asked.presence_penalty)
        if not penalised and self._bias is None and allowed_V is None:
            return logits_V
        logits_V = logits_V.clone()
        if penalised:
            ids = torch.tensor(list(self._counts))
            counts = torch.tensor(list(self._counts.values()), dtype=torch.float32)
            logits_V[ids] -= counts * asked.frequency_penalty + asked.presence_penalty
        if self._bias is not None:
            logits_V[self._bias[0]] += self._bias[1]
        if allowed_V is not None:
            logits_V[~allowed_V] = float("-inf")
        return logits_V

    def _pick(self, weights: torch.Tensor) -> int:
        """Draw a position in proportion to its weight."""
        import torch

        # In 64 bits: over a whole vocabulary the rounding of 32 adds up.
        cumulative = weights.cumsum(-1, dtype=torch.float64)
        point = torch.rand(1, generator=self._random, dtype=torch.float64) * cumulative[-1]
        # `right` steps over positions without any weight.
        return min(int(torch.searchsorted(cumulative, point, right=True)), len(weights) - 1)


def _nucleus(probabilities_V: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest tokens that hold `top_p` together: their probabilities and ids, likeliest first."""
    count = min(_LIKELIEST, len(probabilities_V))
    likeliest, order = probabilities_V.topk(count)
    if float(likeliest.sum()) < top_p:
        likeliest, order = probabilities_V.sort(descending=True)
    # A token stays while those before it hold less than top_p; the likeliest therefore always stays.
    kept = max(1, int((likeliest.cumsum(-1) - likeliest < top_p).sum()))
    return likeliest[:kept], order[:kept]
