"""What comes back: pieces while a model writes, and the whole when it has finished."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "Completed",
    "FinishReason",
    "GeneratedCall",
    "GeneratedChoice",
    "GeneratedPiece",
    "Generation",
    "TokenLogprob",
]

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, kw_only=True)
class TokenLogprob:
    """One token of an answer and how likely the model held it.

    Attributes:
        token: its text; a token that is part of a character shows the replacement character.
        bytes: its UTF-8 bytes, or None where the tokenizer does not tell them.
        logprob: natural logarithm of its probability; None for a prompt's first token, before which nothing stands.
        offset: where it begins in the choice's text, in characters; a part of a character stands where that does.
        top: text, log-probability and bytes of the likeliest tokens at this place, likeliest first.
    """

    token: str
    bytes: tuple[int, ...] | None
    logprob: float | None
    offset: int = 0
    top: tuple[tuple[str, float, tuple[int, ...] | None], ...] = ()


@dataclass(frozen=True, kw_only=True)
class GeneratedCall:
    """One call of a tool.

    Attributes:
        name: of the tool.
        arguments: a JSON object, as text; where the answer was cut, as much of it as there is.
    """

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class GeneratedPiece:
    """A piece of one answer.

    Attributes:
        index: which of the `n` answers.
        text: what is new; may be empty in the last piece.
        logprobs: the tokens of this piece, when they were asked for.
        calls: calls of tools that were written in full since the last piece.
        finish_reason: in the last piece `stop` (the model ended, or a stop text came), `length` or `tool_calls`; None
            before it.
    """

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    calls: tuple[GeneratedCall, ...] = ()
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, kw_only=True)
class GeneratedChoice:
    """One whole answer."""

    index: int
    text: str
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...] = ()
    calls: tuple[GeneratedCall, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Completed:
    """All answers to one request.

    Attributes:
        choices: in order of their index.
        prompt_tokens: tokens of the prompt, counted once.
        completion_tokens: tokens that the model wrote in all answers, its end tokens included.
    """

    choices: tuple[GeneratedChoice, ...]
    prompt_tokens: int
    completion_tokens: int


class Generation:
    """A request under way: iterate it for pieces, or ask for the `result()`; not both.

    A loop that must not wait takes the `ready()` pieces whenever the function that it gave to `notify()` is called.

    Args:
        n: number of answers that will come.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._pieces: queue.SimpleQueue[GeneratedPiece | BaseException] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._wake: Callable[[], None] | None = None
        self._stop: Callable[[], None] | None = None
        self.prompt_tokens = 0
        self.completion_tokens = 0

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants the rest any more."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Stop writing at the next token; what was written stays."""
        self._cancelled.set()
        if self._stop is not None:
            self._stop()

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """Have a function called when nobody wants the rest, at once if that is so already (the engine's side)."""
        # First noted, then looked: a cancel that comes in between is told twice rather than never.
        self._stop = stop
        if self.is_cancelled:
            stop()

    def __iter__(self) -> Iterator[GeneratedPiece]:
        """Yield pieces as they come, of all answers mixed.

        Raises:
            BackendError: the model could not answer.
        """
        open_answers = self._n
        while open_answers:
            piece = self._pieces.get()
            if isinstance(piece, BaseException):
                raise piece
            # The pieces of all answers come mixed, and each answer ends once.
            open_answers -= piece.finish_reason is not None
            yield piece

    def notify(self, wake: Callable[[], None]) -> None:
        """Have a function called for each piece that comes, from any thread, and once now."""
        # First noted, then called: a piece that comes in between is told twice rather than never.
        self._wake = wake
        wake()

    def ready(self) -> Iterator[GeneratedPiece]:
        """Yield the pieces that have come, without waiting.

        Raises:
            BackendError: the model could not answer.
        """
        while not self._pieces.empty():
            piece = self._pieces.get()
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def result(self) -> Completed:
        """Wait for all answers.

        Raises:
            BackendError: the model could not answer.
        """
        return self.completed(self)

    def completed(self, pieces: Iterable[GeneratedPiece]) -> Completed:
        """All answers, from all their pieces."""
        by_answer: dict[int, list[GeneratedPiece]] = {index: [] for index in range(self._n)}
        for piece in pieces:
            by_answer[piece.index].append(piece)
        return Completed(
            choices=tuple(_whole(index, own) for index, own in by_answer.items()),
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
        )

    def put(self, piece: GeneratedPiece | BaseException) -> None:
        """Hand on a piece, or the error that ends everything (the engine's side)."""
        self._pieces.put(piece)
        if self._wake is not None:
            self._wake()


def _whole(index: int, pieces: list[GeneratedPiece]) -> GeneratedChoice:
    return GeneratedChoice(
        index=index,
        text="".join(piece.text for piece in pieces),
        finish_reason=pieces[-1].finish_reason or "stop",
        logprobs=tuple(chain.from_iterable(piece.logprobs for piece in pieces)),
        calls=tuple(chain.from_iterable(piece.calls for piece in pieces)),
    )
