"""The bodies of answers: OpenAI's chat completion and text completion, whole and in chunks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ragtune.local.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.local.engine import Completed, GeneratedChoice, GeneratedPiece, TokenLogprob
    from ragtune.local.engine.generation import FinishReason
    from ragtune.local.http.errors import ApiError

__all__ = ["AnswerBody", "ChatAnswer", "TextAnswer", "usage_of"]


class AnswerBody(Protocol):
    """How one kind of answer looks on the wire."""

    @property
    def named_events(self) -> bool:
        """Whether each event of a stream tells its kind, and none says that it was the last."""
        ...

    def whole(self, answers: Sequence[Completed]) -> dict[str, object]:
        """The body of all answers."""
        ...

    def opening(self, n: int) -> Iterator[dict[str, object]]:
        """The stream's first bodies, for `n` choices."""
        ...

    def chunks(self, first_index: int, piece: GeneratedPiece) -> Iterator[dict[str, object]]:
        """The stream's bodies for one piece; `first_index` is the index of its generation's first choice."""
        ...

    def closing(self, answers: Sequence[Completed]) -> Iterator[dict[str, object]]:
        """The stream's last bodies."""
        ...

    def failed(self, error: ApiError) -> dict[str, object]:
        """The last body of a stream that an error ends."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Common:
    named_events: ClassVar[bool] = False

    id: str
    created: int
    model: str
    with_logprobs: bool
    with_usage: bool

    def _head(self, kind: str) -> dict[str, object]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _chunk(self, kind: str, choice: dict[str, object]) -> dict[str, object]:
        # With usage asked for, every chunk but the last says that it is not told yet.
        not_yet: dict[str, object] = {"usage": None} if self.with_usage else {}
        return {**self._head(kind), "choices": [choice], **not_yet}

    def failed(self, error: ApiError) -> dict[str, object]:
        """The error's envelope."""
        return error.body()

    def _usage_chunk(self, kind: str, answers: Sequence[Completed]) -> Iterator[dict[str, object]]:
        """A body without choices, if the usage was asked for."""
        if self.with_usage:
            yield {**self._head(kind), "choices": [], "usage": usage_of(answers)}


@dataclass(frozen=True, kw_only=True)
class ChatAnswer(_Common):
    """`chat.completion` and `chat.completion.chunk`.

    Attributes:
        called_by_name: the request named the tool to call; such an answer ends with `stop` at OpenAI.
    """

    called_by_name: bool = False
    _calls: Counter[int] = field(default_factory=Counter)  # calls of tools so far, by choice
    _call_ids: dict[tuple[int, int], str] = field(default_factory=dict)  # by choice and number

    def whole(self, answers: Sequence[Completed]) -> dict[str, object]:
        """The body of a conversation's answer."""
        choices: list[dict[str, object]] = [
            {
                "index": choice.index,
                "message": self._message(choice),
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": self._reason(choice.finish_reason),
            }
            for choice in answers[0].choices
        ]
        return {**self._head("chat.completion"), "choices": choices, "usage": usage_of(answers)}

    def opening(self, n: int) -> Iterator[dict[str, object]]:
        """One chunk per choice that tells the role."""
        for index in range(n):
            yield self._part(index, {"role": "assistant", "content": "", "refusal": None})

    def chunks(self, first_index: int, piece: GeneratedPiece) -> Iterator[dict[str, object]]:
        """The chunks of one piece: its text, then the end of its choice."""
        index = first_index + piece.index
        # Tokens that are parts of a character have log-probabilities before there is any text.
        if piece.text or piece.logprobs:
            yield self._part(index, {"content": piece.text}, logprobs=self._logprobs(piece.logprobs))
        for call in piece.calls:
            # As OpenAI has it: the first chunk of a call opens it, its arguments follow.
            opened = self._call(index, self._calls[index], name=call.name)
            for delta in (opened, {"function": {"arguments": call.arguments}}):
                yield self._part(index, {"tool_calls": [{"index": self._calls[index], **delta}]})
            self._calls[index] += 1
        if piece.finish_reason is not None:
            # In a chunk of its own with nothing in it, as OpenAI sends it.
            yield self._part(index, {}, finish_reason=self._reason(piece.finish_reason))

    def closing(self, answers: Sequence[Completed]) -> Iterator[dict[str, object]]:
        """The usage, if it was asked for."""
        return self._usage_chunk("chat.completion.chunk", answers)

    def _part(
        self, index: int, delta: dict[str, object], *, finish_reason: str | None = None, logprobs: Any = None
    ) -> dict[str, object]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._chunk("chat.completion.chunk", choice)

    def _message(self, choice: GeneratedChoice) -> dict[str, object]:
        calls = [
            self._call(choice.index, number, name=call.name, arguments=call.arguments)
            for number, call in enumerate(choice.calls)
        ]
        # None is said of an answer that called and had ended; of one that was cut nobody knows what it would have said.
        content = None if calls and not choice.text and choice.finish_reason != "length" else choice.text
        message: dict[str, object] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
        return {**message, "tool_calls": calls} if calls else message

    def _call(self, index: int, number: int, *, name: str, arguments: str = "") -> dict[str, object]:
        # A call that was streamed is kept under the id that its client has seen.
        call_id = self._call_ids.setdefault((index, number), new_id("call_", length=24))
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _reason(self, reason: FinishReason | None) -> str | None:
        return "stop" if reason == "tool_calls" and self.called_by_name else reason

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, object] | None:
        if not self.with_logprobs:
            return None
        # OpenAI's schema wants both keys.
        return {"content": [_token(token) for token in tokens], "refusal": None}


@dataclass(frozen=True, kw_only=True)
class TextAnswer(_Common):
    """`text_completion`, whole or in chunks, which have the same shape.

    Attributes:
        best: how many answers of each prompt come back: those whose tokens are the likeliest on average.
    """

    best: int

    def whole(self, answers: Sequence[Completed]) -> dict[str, object]:
        """The body of the texts that go on from all prompts; a prompt's choices stand together."""
        choices = chain.from_iterable(_likeliest(answer.choices, self.best) for answer in answers)
        bodies = [
            self._choice(index, text=choice.text, logprobs=choice.logprobs, finish_reason=choice.finish_reason)
            for index, choice in enumerate(choices)
        ]
        return {**self._head("text_completion"), "choices": bodies, "usage": usage_of(answers)}

    def opening(self, n: int) -> Iterator[dict[str, object]]:
        """Nothing: a text has no role."""
        yield from ()

    def chunks(self, first_index: int, piece: GeneratedPiece) -> Iterator[dict[str, object]]:
        """The chunk of one piece."""
        index = first_index + piece.index
        choice = self._choice(index, text=piece.text, logprobs=piece.logprobs, finish_reason=piece.finish_reason)
        yield self._chunk("text_completion", choice)

    def closing(self, answers: Sequence[Completed]) -> Iterator[dict[str, object]]:
        """The usage, if it was asked for."""
        return self._usage_chunk("text_completion", answers)

    def _choice(
        self, index: int, *, text: str, logprobs: Sequence[TokenLogprob], finish_reason: str | None
    ) -> dict[str, object]:
        told = _legacy_logprobs(logprobs) if self.with_logprobs else None
        return {"index": index, "text": text, "logprobs": told, "finish_reason": finish_reason}


def _likeliest(choices: Sequence[GeneratedChoice], count: int) -> Sequence[GeneratedChoice]:
    """The choices whose tokens the model holds the likeliest on average, likeliest first; all when all are wanted."""

    def mean(choice: GeneratedChoice) -> float:
        told = [token.logprob for token in choice.logprobs if token.logprob is not None]
        # Per token, as at OpenAI: by the sum the shortest answer would win.
        return fmean(told) if told else 0.0

    return choices if count >= len(choices) else sorted(choices, key=mean, reverse=True)[:count]


def usage_of(answers: Sequence[Completed]) -> dict[str, int]:
    """Tokens that were read and written for some answers."""
    prompt = sum(answer.prompt_tokens for answer in answers)
    written = sum(answer.completion_tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def _token(token: TokenLogprob) -> dict[str, object]:
    top = [{"token": text, "logprob": logprob, "bytes": _listed(known)} for text, logprob, known in token.top]
    return {"token": token.token, "logprob": token.logprob, "bytes": _listed(token.bytes), "top_logprobs": top}


def _listed(known: tuple[int, ...] | None) -> list[int] | None:
    return None if known is None else list(known)


def _legacy_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, object]:
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [None if token.logprob is None else _legacy_top(token) for token in tokens],
        "text_offset": [token.offset for token in tokens],
    }


def _legacy_top(token: TokenLogprob) -> dict[str, float | None]:
    """The likeliest tokens by name; the chosen one is told in any case, even when it is not among them."""
    top: dict[str, float | None] = {}
    for text, logprob, known in (*token.top, (token.token, token.logprob, token.bytes)):
        # A name can stand here once: of two tokens that are written alike the likelier keeps its place.
        top.setdefault(_name(text, known), logprob)
    return top


def _name(text: str, known: tuple[int, ...] | None) -> str:
    # As OpenAI writes parts of characters, whose texts are all alike.
    return text if "\ufffd" not in text or known is None else "bytes:" + "".join(f"\\x{byte:02x}" for byte in known)
