"""An answer that arrives in pieces, asynchronous and with a synchronous face."""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragtune._api.fields import object_of, objects, whole, words
from ragtune._checked import checked
from ragtune._sync import iterate, run
from ragtune.errors import EmptyAnswer
from ragtune.model.answer import Answer, assembled
from ragtune.model.response import assembled_response, conversation_of, is_last, text_of_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
    from types import TracebackType

    from ragtune._api import Api
    from ragtune._api.calls import Json

__all__ = ["CHAT", "RESPONSES", "AnswerStream", "AsyncAnswerStream", "StreamKind"]

logger = logging.getLogger("ragtune")

_UNREAD = ("has not been read to its end", "read on")


@dataclass(frozen=True, kw_only=True)
class StreamKind:
    """How a streamed answer is asked for and read.

    Attributes:
        chunks: asks, and gives what comes.
        sent: the messages of a request.
        pieces: the text in one chunk.
        answer: what all chunks add up to.
        is_last: whether nothing that counts comes after a chunk.
        whole: the call that gives the same answer in one piece.
    """

    chunks: Callable[[Api, Json], AsyncGenerator[Json, None]]
    sent: Callable[[Json], Iterable[Json]]
    pieces: Callable[[Json], Iterable[str]]
    answer: Callable[[Iterable[Json]], Answer]
    is_last: Callable[[Json], bool]
    whole: str


def _pieces_of(chunk: Json) -> Iterator[str]:
    for choice in objects(chunk.get("choices")):
        piece = words(object_of(choice.get("delta")).get("content"))
        # One reader reads one answer: further choices (`n`) stand in `answer.choices`.
        if piece and not whole(choice.get("index")):
            yield piece


CHAT = StreamKind(
    # By a function of our own: `Api` is imported for types alone.
    chunks=lambda api, request: api.chat_stream(request),
    sent=lambda request: request["messages"],
    pieces=_pieces_of,
    answer=lambda chunks: Answer.from_wire(assembled(chunks), streamed=True),
    # The token counts come after the reason for the end.
    is_last=lambda chunk: False,
    whole="ask",
)
RESPONSES = StreamKind(
    chunks=lambda api, request: api.respond_stream(request),
    sent=conversation_of,
    pieces=lambda event: filter(None, [text_of_event(event)]),
    answer=lambda events: Answer.from_response(assembled_response(events), streamed=True),
    is_last=is_last,
    whole="respond",
)


class AsyncAnswerStream:
    """`AnswerStream`, awaited: iterate it with `async for`, close it with `await stream.close()`.

    Example:
        ```python
        import asyncio

        import ragtune as rt
        from ragtune.local import LocalBackend

        async def main(backend: LocalBackend) -> None:
            async with backend.async_client() as client:
                model = rt.AsyncTunedModel(client, "tiny-random")
                async with model.stream("Why do winds turn?", max_tokens=4) as stream:
                    pieces = [piece async for piece in stream]
            print("".join(pieces) == stream.text == stream.answer.text)
            #> True

        with LocalBackend("runs") as backend:
            asyncio.run(main(backend))
        ```
    """

    def __init__(
        self,
        api: Api,
        request: Callable[[], Awaitable[Json]],
        ended: Callable[[Answer], Awaitable[None]] | None = None,
        *,
        failed: Callable[[Exception], Awaitable[None]] | None = None,
        kind: StreamKind = CHAT,
    ) -> None:
        self._kind = kind
        self._when_ended = ended
        self._when_failed = failed
        self._chunks: list[Json] = []
        self._said: list[str] = []
        self._ended = False
        self._left = False
        self._sent: tuple[Json, ...] = ()
        # Nothing goes out yet: a generator begins when its first piece is asked for.
        self._pieces = self._run(api, request)

    async def _run(self, api: Api, request: Callable[[], Awaitable[Json]]) -> AsyncGenerator[str, None]:
        try:
            asked = await request()
            self._sent = tuple(self._kind.sent(asked))
            async with aclosing(self._kind.chunks(api, asked)) as chunks:
                async for chunk in chunks:
                    # Read on all the same: a connection that is cut here looks to the server like a reader who left.
                    if self._chunks and self._kind.is_last(self._chunks[-1]):
                        continue
                    self._chunks.append(chunk)
                    for piece in self._kind.pieces(chunk):
                        self._said.append(piece)
                        yield piece
        except Exception as error:
            # A refusal before the first chunk is no answer at all, and needs no second word.
            if self._chunks:
                self._ended = True
                error.add_note("the stream broke off before the answer had ended; what came is in stream.text")
            if self._when_failed is not None:
                await self._when_failed(error)
            raise
        except BaseException:
            self._left = True
            raise
        self._ended = True
        if not self._chunks:
            logger.warning("%s", self._nothing_came)
        elif self.answer.broken_off:
            why = words(object_of(self.answer.raw.get("error")).get("message"))
            logger.warning(
                "the stream broke off before the answer had ended%s; what came is not all of it",
                f" (the server says: {why})" if why else "",
            )
        elif self._when_ended is not None:
            await self._when_ended(self.answer)

    @property
    def text(self) -> str:
        """What has come so far, also after the stream was left early or broke off."""
        return "".join(self._said)

    @property
    def answer(self) -> Answer:
        """The whole answer; of a stream that broke off what came, with `broken_off`.

        Raises:
            EmptyAnswer: the stream was not read to its end, or not one piece came.
        """
        if not self._ended:
            state, way = ("was left before its end", "ask again") if self._left else _UNREAD
            message = (
                f"the stream {state}, so there is no whole answer: stream.text has what came so far; {way}, or use "
                f"{self._kind.whole}()"
            )
            raise EmptyAnswer(message)
        if not self._chunks:
            raise EmptyAnswer(self._nothing_came)
        return replace(self._kind.answer(self._chunks), sent=self._sent)

    @property
    def _nothing_came(self) -> str:
        call = self._kind.whole
        return f"the stream ended without a single piece of an answer; {call}(...) shows what the server says instead"

    async def close(self) -> None:
        """Close the connection; the server then stops answering."""
        # One that was never begun does not hear of it.
        self._left = not self._ended
        await self._pieces.aclose()

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        # A `break` in the reader's loop must not leave the connection open.
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                yield piece

    async def __aenter__(self) -> AsyncAnswerStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


@checked()
class AnswerStream:
    """An answer that arrives in pieces of text.

    The question goes out when the first piece is read. Leaving the loop early, `close`, or the end of a `with` block
    closes the connection; `text` is what came until then, `answer` the whole answer once everything was read.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        with LocalBackend("runs") as backend:
            model = rt.TunedModel(backend.client(), "tiny-random")
            with model.stream("Why do winds turn?", max_tokens=4) as stream:
                pieces = list(stream)
            print("".join(pieces) == stream.text == stream.answer.text, stream.answer.finish_reason)
            #> True length
        ```
    """

    def __init__(self, stream: AsyncAnswerStream) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        """What has come so far, also after the stream was left early or broke off."""
        return self._stream.text

    @property
    def answer(self) -> Answer:
        """The whole answer; of a stream that broke off what came, with `broken_off`.

        Raises:
            EmptyAnswer: the stream was not read to its end, or not one piece came.
        """
        return self._stream.answer

    def close(self) -> None:
        """Close the connection; the server then stops answering."""
        run(self._stream.close())

    def __iter__(self) -> Iterator[str]:
        # Not its `__aiter__`: `iterate` itself closes the generator when the loop is left.
        return iterate(self._stream._pieces)

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
