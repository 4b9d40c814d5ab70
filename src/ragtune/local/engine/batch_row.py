"""One answer in the making: its own sampling, its own form, its own end."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ragtune.local.engine.decoding.detokenizer import TextStream
from ragtune.local.engine.decoding.sampling import Sampler
from ragtune.local.engine.decoding.tool_calls import CallReader
from ragtune.local.engine.generation import FinishReason, GeneratedCall, GeneratedPiece, Generation, TokenLogprob

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from ragtune.local.engine.decoding.grammar import Constraint
    from ragtune.local.engine.decoding.tool_calls import CallFormat
    from ragtune.local.engine.request import GenerateRequest
    from ragtune.modelling.encoding.tokenizer import Tokenizer

__all__ = ["BatchRow", "Start", "spelled", "told_token"]


_BLANK = "\u2581"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a row needs to begin.

    Attributes:
        prompt: token ids to start from.
        room: most tokens of the answer.
        end_tokens: ids at which the model itself ends.
        constraint: what holds the answer to a form, None for free text.
        calls: how this base writes calls of tools, None when it was shown none.
        echo: text and log-probabilities of the prompt that the answer begins with, None without.
    """

    prompt: list[int]
    room: int
    end_tokens: Collection[int]
    constraint: Constraint | None = None
    calls: CallFormat | None = None
    echo: tuple[str, tuple[TokenLogprob, ...]] | None = None


@dataclass(eq=False, kw_only=True)
class _Unsent:
    """What was written and not handed on yet."""

    text: str = ""
    tokens: list[TokenLogprob] = field(default_factory=list)
    calls: list[GeneratedCall] = field(default_factory=list)


class BatchRow:
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
        self.tokens: list[int] = []
        self.begun = False
        self.finished = False

    def begin(self, tokenizer: Tokenizer, start: Start) -> None:
        """Get ready to take tokens of the model with this tokenizer."""
        self._tokenizer, self._start = tokenizer, start
        self.generation.prompt_tokens = len(start.prompt)
        self.tokens = list(start.prompt)
        # Calls are marked with special tokens in some families; elsewhere these are no part of an answer.
        hidden = start.calls is None
        self._text = TextStream(
            lambda ids: str(tokenizer.decode(ids, skip_special_tokens=hidden)), stop=self.request.stop
        )
        self._reader = CallReader(start.calls) if start.calls is not None else None
        self._sampler = Sampler(self.request, self.index)
        self._unsent = _Unsent()
        self._called = False
        self.begun = True
        if start.echo is not None:
            text, tokens = start.echo
            self.generation.put(GeneratedPiece(index=self.index, text=text, logprobs=tokens))
        # Nobody wants a token: the prompt alone is to be scored.
        if start.room == 0:
            self._send("length")

    def pick(self, logits_V: torch.Tensor) -> None:  # V: size of the vocabulary
        """Choose the next token from the model's logits and write it down."""
        constraint = self._start.constraint
        allowed_V = constraint.allowed(len(logits_V)) if constraint is not None else None
        token = self._sampler.draw(logits_V, allowed_V)
        self.generation.completion_tokens += 1
        if token in self._start.end_tokens:
            self._finish("stop")  # the end token is no part of the text
            return
        self.tokens.append(token)
        self._sampler.took(token)
        if self.request.logprobs:
            scores_V, top = logits_V.log_softmax(-1), self.request.top_logprobs
            told = told_token(self._tokenizer, token, scores_V, offset=self._text.read, top=top)
            self._unsent.tokens.append(told)
        whole = constraint is not None and constraint.take(token)
        self._write(self._text.push(token))
        if self._text.stopped or whole or self.generation.is_cancelled:
            self._finish("stop")
        elif len(self.tokens) - len(self._start.prompt) >= self._start.room:
            self._finish("length")
        elif self._called and not self.request.parallel_tool_calls:
            self._send("tool_calls")
        elif self._unsent.text or self._unsent.calls:
            self._send(None)

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self.finished = True
        self.generation.put(error)

    def abandon(self) -> None:
        """End at once, because nobody waits for it."""
        self.finished = True
        self.generation.put(GeneratedPiece(index=self.index, text="", finish_reason="stop"))

    def _write(self, text: str) -> None:
        if self._reader is None:
            self._unsent.text += text
            return
        shown, calls = self._reader.push(text)
        if not self.request.parallel_tool_calls:
            calls = [] if self._called else calls[:1]
        self._unsent.text += shown
        self._unsent.calls += calls
        self._called = self._called or bool(calls)

    def _finish(self, reason: FinishReason) -> None:
        self._write(self._text.close())
        if self._reader is not None:
            text, begun = self._reader.close(cut=reason == "length" or self._text.stopped)
            self._unsent.text += text
            if begun is not None and (self.request.parallel_tool_calls or not self._called):
                self._unsent.calls.append(begun)
        if self._text.stopped:
            # What was held back until now may have held a stop text.
            reason = "stop"
        self._send("tool_calls" if self._called and reason == "stop" else reason)

    def _send(self, reason: FinishReason | None) -> None:
        unsent, self._unsent = self._unsent, _Unsent()
        self.finished = reason is not None
        ready, echo = len(unsent.tokens), len(self._start.echo[0]) if self._start.echo else 0
        if not self.finished or self._text.stopped:
            # What begins in text that is held back may yet be cut off with it.
            ready = sum(token.offset < self._text.told for token in unsent.tokens)
            self._unsent.tokens = unsent.tokens[ready:]
        piece = GeneratedPiece(
            index=self.index,
            text=unsent.text,
            logprobs=tuple(replace(token, offset=token.offset + echo) for token in unsent.tokens[:ready]),
            calls=tuple(unsent.calls),
            finish_reason=reason,
        )
        self.generation.put(piece)


def told_token(
    tokenizer: Tokenizer, token: int, scores_V: torch.Tensor | None = None, *, offset: int = 0, top: int = 0
) -> TokenLogprob:
    """What is told of a token.

    Args:
        tokenizer: of the model.
        token: its id.
        scores_V: natural logarithms of all tokens' probabilities at its place, None where nothing stands before it.
        offset: where it begins in the text.
        top: how many of the likeliest tokens to tell as well.
    """

    text, known = spelled(tokenizer, token)
    if scores_V is None:
        return TokenLogprob(token=text, bytes=known, logprob=None, offset=offset)
    values, ids = scores_V.topk(top) if top else ((), ())
    likeliest = [(*spelled(tokenizer, int(i)), _finite(float(p))) for p, i in zip(values, ids, strict=True)]
    others = tuple((other, logprob, bytes_) for other, bytes_, logprob in likeliest)
    return TokenLogprob(token=text, bytes=known, logprob=_finite(float(scores_V[token])), offset=offset, top=others)


def spelled(tokenizer: Tokenizer, token: int) -> tuple[str, tuple[int, ...] | None]:
    """The text of a token, and its bytes where the tokenizer tells them."""
    alone = str(tokenizer.decode([token]))
    # SentencePiece writes a blank as part of the word, and drops it where the word stands alone: without it
    # " Paris" and "Paris" would be one token.
    blank = str(tokenizer.convert_ids_to_tokens(token)).startswith(_BLANK) and not alone.startswith(" ")
    text = f" {alone}" if blank else alone
    return text, _bytes_of(tokenizer, token, text)


def _bytes_of(tokenizer: Tokenizer, token: int, text: str) -> tuple[int, ...] | None:
    """The bytes of a token, also of one that is a part of a character, where the tokenizer works on bytes."""
    if "\ufffd" not in text:
        return tuple(text.encode())
    piece = str(tokenizer.convert_ids_to_tokens(token))
    if _BYTE.fullmatch(piece):
        return (int(piece[3:5], 16),)
    known = _byte_of_letter()
    return tuple(known[letter] for letter in piece) if all(letter in known for letter in piece) else None


@cache
def _byte_of_letter() -> dict[str, int]:
    """How byte-level tokenizers write bytes as letters, read backwards."""
    letters: Any = import_module("transformers.convert_slow_tokenizer").bytes_to_unicode
    return {letter: byte for byte, letter in letters().items()}


def _finite(logprob: float) -> float:
    # JSON has no infinity; -9999.0 is what OpenAI's API writes for it.
    return logprob if math.isfinite(logprob) else -9999.0
