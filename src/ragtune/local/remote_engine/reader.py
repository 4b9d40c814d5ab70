"""From the chunks of an engine's stream to the pieces of an answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune.local.engine.batch_row import spelled
from ragtune.local.engine.decoding.tool_calls import CallReader
from ragtune.local.engine.generation import GeneratedPiece, TokenLogprob

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openai.types import Completion, CompletionChoice

    from ragtune.local.engine.base_text import BaseText
    from ragtune.local.engine.generation import FinishReason, GeneratedCall, Generation
    from ragtune.local.engine.prompt import Prompt
    from ragtune.local.engine.request import GenerateRequest
    from ragtune.modelling.encoding.tokenizer import Tokenizer

__all__ = ["AnswerReader"]

_BY_ID = "token_id:"  # how vLLM names tokens when it is asked to
_LEAST = -9999.0
_BROKEN = "\ufffd"
# Any other, such as vLLM's `abort`, leaves an answer open, and so it counts as broken off.
_ENDS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length"}


@dataclass(eq=False, kw_only=True)
class _Choice:
    """One answer so far."""

    reader: CallReader | None
    length: int = 0
    tokens: int = 0
    called: bool = False
    reason: FinishReason | None = None
    last: list[GeneratedCall] = field(default_factory=list)


class AnswerReader:
    """Reads the stream of one request; the last piece of each answer waits for the engine's usage.

    Args:
        asked: what was asked.
        prompt: what the base reads.
        base: how it is spoken to.
        generation: where pieces go.
    """

    def __init__(self, asked: GenerateRequest, prompt: Prompt, base: BaseText, generation: Generation) -> None:
        self._asked = asked
        self._base = base
        self._prompt = prompt
        self._generation = generation
        self._choices = [
            _Choice(reader=None if prompt.calls is None else CallReader(prompt.calls)) for _ in range(asked.n)
        ]
        self.begun = False
        generation.prompt_tokens = len(prompt.tokens)

    @property
    def is_whole(self) -> bool:
        """Whether every answer has come to its end."""
        return all(choice.reason for choice in self._choices)

    def take(self, chunk: Completion) -> None:
        """Take one chunk."""
        for told in chunk.choices:
            if not self.begun:
                self._begin()
            choice = self._choices[told.index]
            # llama.cpp counts at the end only; until then a chunk is a token.
            told_tokens = counted(chunk.usage, "completion_tokens")
            choice.tokens = choice.tokens + 1 if told_tokens is None else told_tokens
            self._take(told.index, choice, told)
        self._generation.completion_tokens = sum(choice.tokens for choice in self._choices)
        if not chunk.choices:
            prompt, completion = counted(chunk.usage, "prompt_tokens"), counted(chunk.usage, "completion_tokens")
            if prompt is not None:
                self._generation.prompt_tokens = prompt
            if completion is not None:
                self._generation.completion_tokens = completion

    def finish(self, *, reason: FinishReason | None = None) -> None:
        """Send the last piece of each answer; those that have not ended end with `reason`."""
        if not self.begun:
            self._begin()
        for index, choice in enumerate(self._choices):
            end = choice.reason or reason or "stop"
            text = ""
            if choice.reader is not None:
                text, begun = choice.reader.close(cut=end == "length")
                if begun is not None and (self._asked.parallel_tool_calls or not choice.called):
                    choice.last.append(begun)
                    choice.called = True
            # To an engine a call is text like any other, and its end a plain stop.
            end = "tool_calls" if choice.called and end == "stop" else end
            piece = GeneratedPiece(index=index, text=text, calls=tuple(choice.last), finish_reason=end)
            self._generation.put(piece)

    def _begin(self) -> None:
        self.begun = True
        if not self._asked.echo:
            return
        given = self._asked.prompt
        text = given if isinstance(given, str) else self._base.tokenizer.decode(self._prompt.tokens)
        for index, choice in enumerate(self._choices):
            choice.length = len(text)
            self._generation.put(GeneratedPiece(index=index, text=text))

    def _take(self, index: int, choice: _Choice, told: CompletionChoice) -> None:
        tokens = tuple(self._logprobs(told.logprobs, choice.length)) if self._asked.logprobs else ()
        text, calls = whole_signs(told.text or ""), list[Any]()
        choice.length += len(text)
        if choice.reader is not None:
            text, calls = choice.reader.push(text)
            if not self._asked.parallel_tool_calls:
                # One call was allowed, and what stands behind it is nothing that could be told.
                text, calls = ("", []) if choice.called else (text, calls[:1])
            choice.called = choice.called or bool(calls)
        if text or tokens or calls:
            self._generation.put(GeneratedPiece(index=index, text=text, logprobs=tokens, calls=tuple(calls)))
        choice.reason = choice.reason or _ENDS.get(str(told.finish_reason))

    def _logprobs(self, told: Any, offset: int) -> Iterator[TokenLogprob]:
        """The tokens of one chunk, in OpenAI's shape for completions or, by llama.cpp, in that for chats."""
        if told is None:
            return
        content = (told.model_extra or {}).get("content")
        tokens = content_tokens(content) if content else legacy_tokens(told)
        for token, logprob, top in tokens:
            text, known = named(self._base.tokenizer, token)
            likeliest = sorted(top.items(), key=lambda one: -one[1])[: self._asked.top_logprobs]
            others = [(*named(self._base.tokenizer, other), value) for other, value in likeliest]
            yield TokenLogprob(
                token=text,
                bytes=known,
                logprob=None if logprob is None else likelihood(logprob),
                offset=offset,
                top=tuple((other, likelihood(value), known) for other, known, value in others),
            )
            offset += len(text)


def counted(usage: object, name: str) -> int | None:
    """A count of an engine; None for what counts nothing, and what was counted here stands."""
    found = getattr(usage, name, None)
    return found if type(found) is int and 0 <= found < 2**31 else None


def whole_signs(text: str) -> str:
    """A text without halves of signs, which no answer can be sent with; two halves become their sign."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def likelihood(value: object) -> float:
    """A log-probability that JSON can hold; below the least that OpenAI tells there is nothing to tell apart.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value < math.inf:
        raise ValueError(f"{value!r:.60} is no log-probability")
    return max(float(value), _LEAST)


def legacy_tokens(told: Any) -> Iterator[tuple[str, float | None, dict[str, float]]]:
    """Name, log-probability and likeliest tokens of each token, from OpenAI's shape for completions."""
    tops = told.top_logprobs or [None] * len(told.tokens or ())
    for token, logprob, top in zip(told.tokens or (), told.token_logprobs or (), tops, strict=False):
        yield token, logprob, top or {}


def content_tokens(content: list[dict[str, Any]]) -> Iterator[tuple[str, float | None, dict[str, float]]]:
    """The same from OpenAI's shape for chats, with the ids that llama.cpp adds to it."""

    def name(token: dict[str, Any]) -> str:
        return f"{_BY_ID}{token['id']}" if "id" in token else str(token["token"])

    for token in content:
        yield name(token), token["logprob"], {name(one): one["logprob"] for one in token.get("top_logprobs") or ()}


def named(tokenizer: Tokenizer, token: str) -> tuple[str, tuple[int, ...] | None]:
    """Text and bytes of a token that an engine names by its id, or else by its text."""
    if token.startswith(_BY_ID):
        return spelled(tokenizer, int(token.removeprefix(_BY_ID)))
    return token, None if _BROKEN in token else tuple(token.encode())
