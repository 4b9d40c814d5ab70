"""One answer in the making: its own sampling, its own end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ragtune.local.engine.generation import FinishReason, GeneratedPiece, Generation, TokenLogprob
from ragtune.local.engine.text import TextStream

if TYPE_CHECKING:
    from collections.abc import Collection

    from ragtune.local.engine.request import GenerateRequest

__all__ = ["Row"]


class Row:
    """The state of one choice of one request while a batch runs.

    Args:
        request: what was asked.
        generation: where pieces go.
        index: which of the request's `n` answers this is.
    """

    def __init__(self, request: GenerateRequest, generation: Generation, index: int) -> None:
        self.request = request
        self.generation = generation
        self.index = index
        self.prompt: list[int] = []
        self.room = 0
        self.finished = False
        self._end_tokens: Collection[int] = ()
        self._written: list[int] = []
        self._pending: list[TokenLogprob] = []

    def begin(self, tokenizer: Any, *, prompt: list[int], room: int, end_tokens: Collection[int]) -> None:
        """Get ready to take tokens.

        Args:
            tokenizer: of the model that will write.
            prompt: token ids to start from.
            room: most tokens of the answer.
            end_tokens: ids at which the model itself ends.
        """
        import torch

        self.prompt, self.room, self._end_tokens = prompt, room, end_tokens
        self._tokenizer = tokenizer
        self._text = TextStream(
            lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)), stop=self.request.stop
        )
        self._counts: dict[int, int] = {}
        self._random = torch.Generator()
        if self.request.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed((self.request.seed + self.index) % 2**63)

    def pick(self, logits_V: Any) -> int:  # V: size of the vocabulary
        """Choose the next token from the model's logits, write it down, and say which it was."""
        import torch

        logits_V = logits_V.float()
        token = self._draw(logits_V)
        if self.finished:
            return token
        if self.request.logprobs:
            self._pending.append(self._logprob(torch.log_softmax(logits_V, dim=-1), token))
        self._take(token)
        return token

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self.finished = True
        self.generation.put(error)

    def _draw(self, logits_V: Any) -> int:
        import torch

        asked = self.request
        if self._counts and (asked.frequency_penalty or asked.presence_penalty):
            ids = torch.tensor(list(self._counts))
            counts = torch.tensor(list(self._counts.values()), dtype=torch.float32)
            logits_V = logits_V.clone()
            logits_V[ids] -= counts * asked.frequency_penalty + asked.presence_penalty
        if asked.temperature <= 0:
            return int(logits_V.argmax())
        probabilities_V = torch.softmax(logits_V / asked.temperature, dim=-1)
        if asked.top_p < 1:
            sorted_V, order_V = probabilities_V.sort(descending=True)
            # A token stays while those before it hold less than top_p; the likeliest therefore always stays.
            sorted_V[sorted_V.cumsum(-1) - sorted_V >= asked.top_p] = 0
            return int(order_V[torch.multinomial(sorted_V, 1, generator=self._random)])
        return int(torch.multinomial(probabilities_V, 1, generator=self._random))

    def _take(self, token: int) -> None:
        self.generation.completion_tokens += 1
        if token in self._end_tokens:
            self._pending = self._pending[:-1]  # the end token is no part of the text
            self._finish("stop")
            return
        self._written.append(token)
        self._counts[token] = self._counts.get(token, 0) + 1
        text = self._text.push(token)
        if self._text.stopped:
            self._emit(text, "stop")
        elif len(self._written) >= self.room:
            self._emit(text + self._text.close(), "stop" if self._text.stopped else "length")
        elif self.generation.is_cancelled:
            self._emit(text + self._text.close(), "stop")
        elif text:
            self._emit(text, None)

    def _finish(self, reason: FinishReason) -> None:
        self._emit(self._text.close(), reason)

    def _emit(self, text: str, reason: FinishReason | None) -> None:
        tokens, self._pending = tuple(self._pending), []
        self.finished = reason is not None
        self.generation.put(GeneratedPiece(index=self.index, text=text, logprobs=tokens, finish_reason=reason))

    def _logprob(self, logprobs_V: Any, token: int) -> TokenLogprob:
        def text_of(token_id: int) -> str:
            return str(self._tokenizer.decode([token_id]))

        text = text_of(token)
        best = logprobs_V.topk(self.request.top_logprobs) if self.request.top_logprobs else None
        top = () if best is None else tuple(
            (text_of(int(i)), _finite(float(p))) for p, i in zip(best.values, best.indices, strict=True)
        )  # fmt: skip
        known = None if "\ufffd" in text else tuple(text.encode())
        return TokenLogprob(token=text, bytes=known, logprob=_finite(float(logprobs_V[token])), top=top)


def _finite(logprob: float) -> float:
    # JSON has no infinity; -9999.0 is what OpenAI's API writes for it.
    return logprob if math.isfinite(logprob) else -9999.0
