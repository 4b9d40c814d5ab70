"""One question to one model, answered whole or as it is written, whatever the body of the answer is."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from ragtune.local.http.errors import ApiError, model_not_found, overloaded
from ragtune.local.inference import refusal
from ragtune.local.models.registry import ServedModel, find_model
from ragtune.local.services import services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from ragtune.local.engine import Completed, GeneratedPiece, Generation
    from ragtune.local.services import Services
    from ragtune.local.store import Store
    from ragtune.local.wire.answers import AnswerBody
    from ragtune.local.wire.chat import ChatRequest
    from ragtune.local.wire.completions import CompletionRequest

__all__ = ["Keep", "generate"]

logger = logging.getLogger("ragtune")

Keep = Callable[[dict[str, object]], None]
"""Keeps the body of an answer in the folder."""


async def generate(
    request: Request,
    own: Services,
    asked: ChatRequest | CompletionRequest,
    answer: AnswerBody,
    *,
    param: str,
    keep: Keep | None = None,
) -> Response:
    """Ask the model once per prompt and send what it says, whole or as it comes.

    Args:
        request: whose client is watched.
        own: the server's services.
        asked: what is asked.
        answer: how the answer looks on the wire.
        param: the parameter that is named where the prompt itself is at fault.
        keep: keeps the answer before its client has all of it.

    Raises:
        ApiError: the model is unknown, cannot do what was asked, or too many wait.
    """
    model = _model(own, asked.model)
    waiting = _Waiting(request, model, n=asked.choices, param=param)
    with ExitStack() as cleanup:
        cleanup.enter_context(own.inference.place(asked.prompts * asked.choices))
        # Before the generations, so that it runs when they have been cancelled: an ExitStack goes backwards.
        cleanup.callback(_count, own.store, model.name, waiting.generations)
        # In a thread: a base may first be built, or its weights be read whole for their checksum.
        base = await run_in_threadpool(own.inference.base_folder, model)
        for one in asked.requests(base, model.adapter):
            generation = await run_in_threadpool(own.inference.submit, one)
            cleanup.callback(generation.cancel)
            waiting.generations.append(generation)
        if not asked.stream:
            async with waiting.watched():
                body = answer.whole(await waiting.results())
            await _keep(keep, body)
            return JSONResponse(body)
        # The first piece is waited for before the head is sent: what is wrong shows in the status.
        pieces = waiting.pieces()
        async with waiting.watched():
            first = await anext(pieces)
        # From here on the stream owns the place and the generations: it may be sent long after this has returned.
        handed_over = cleanup.pop_all()
    return _EventStream(_events(answer, waiting, first=first, others=pieces, keep=keep), handed_over)


def _model(own: Services, name: str) -> ServedModel:
    model = find_model(name, bases=own.bases, store=own.store)
    if model is not None:
        return model
    names = ", ".join(own.bases.names())
    hint = f" The base models here are {names}; others come with `ragtune serve --base`."
    # Who names a tuned model is not helped by a list of bases.
    raise model_not_found(name[:200], hint="" if name.startswith("ft:") else hint)


async def _keep(keep: Keep | None, body: dict[str, object]) -> None:
    if keep is None:
        return
    try:
        await run_in_threadpool(keep, body)
    except sqlite3.OperationalError as error:
        logger.error("an answer could not be kept: %s", error)
        message = "The server could not keep this answer; its log says why. Free some space, or send 'store': false."
        raise overloaded(message) from error


def _count(store: Store, model: str, generations: Sequence[Generation]) -> None:
    """Add what was read and written, to the end or not, to the model's usage."""
    # Nothing was read where the engine never came to it: such a request is not counted as one.
    read = sum(generation.prompt_tokens for generation in generations)
    if read:
        written = sum(generation.completion_tokens for generation in generations)
        try:
            store.usage.add(model, prompt_tokens=read, completion_tokens=written)
        except sqlite3.OperationalError as error:
            # A full disk: the answer is there, and would be thrown away for a number in the owner's books.
            logger.error("an answer of %s could not be counted: %s", model, error)


class _Waiting:
    """Waits for what some generations write, and gives them up when the client is gone."""

    def __init__(self, request: Request, model: ServedModel, *, n: int, param: str) -> None:
        self.n = n
        self.generations: list[Generation] = []
        self._request = request
        self._model = model
        self._param = param

    async def pieces(self) -> AsyncIterator[tuple[int, GeneratedPiece]]:
        """All pieces as they come, each with the position of its generation."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has closed: nobody waits any longer
                loop.call_soon_threadsafe(changed.set)

        for generation in self.generations:
            generation.notify(wake)
        open_answers = self.n * len(self.generations)
        while open_answers:
            await changed.wait()
            changed.clear()
            for position, generation in enumerate(self.generations):
                for piece in self._ready(generation):
                    open_answers -= piece.finish_reason is not None
                    yield position, piece

    async def results(self) -> list[Completed]:
        """All answers, whole."""
        came: list[list[GeneratedPiece]] = [[] for _ in self.generations]
        async for position, piece in self.pieces():
            came[position].append(piece)
        return self.completed(came)

    def completed(self, came: Sequence[Sequence[GeneratedPiece]]) -> list[Completed]:
        """All answers, from the pieces of each generation."""
        return [generation.completed(own) for generation, own in zip(self.generations, came, strict=True)]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Cancel the generations as soon as the client goes away."""
        watch = asyncio.ensure_future(self._give_up_when_gone())
        try:
            yield
        finally:
            watch.cancel()

    def _ready(self, generation: Generation) -> Iterator[GeneratedPiece]:
        # One by one: what came before an error is told before it.
        try:
            yield from generation.ready()
        except Exception as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> ApiError:
        own, name = services(self._request), self._model.name
        said = refusal(error, param=self._param)
        # A model that was deleted before its turn came fails in the engine, and is as unknown as a moment later.
        if said.status >= 500 and find_model(name, bases=own.bases, store=own.store) is None:
            return model_not_found(name, deleted_at=own.store.models.deleted_at(name))
        return said

    async def _give_up_when_gone(self) -> None:
        # The body has been read, so the only message that can still come says that the client is gone.
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        for generation in self.generations:
            generation.cancel()


class _EventStream(StreamingResponse):
    """A stream that lets go of its generations however it ends, also when it was never begun."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], cleanup: ExitStack) -> None:
        super().__init__(events, headers={"cache-control": "no-cache"})
        self._cleanup = cleanup

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._cleanup:
            await super().__call__(scope, receive, send)


async def _events(
    answer: AnswerBody,
    waiting: _Waiting,
    *,
    first: tuple[int, GeneratedPiece],
    others: AsyncIterator[tuple[int, GeneratedPiece]],
    keep: Keep | None,
) -> AsyncIterator[bytes]:
    """Server-sent events: those of each piece between the opening and the closing ones."""
    came: list[list[GeneratedPiece]] = [[] for _ in waiting.generations]

    def told(bodies: Iterator[dict[str, object]]) -> Iterator[bytes]:
        return (_event(body, named=answer.named_events) for body in bodies)

    def chunks(position: int, piece: GeneratedPiece) -> Iterator[bytes]:
        came[position].append(piece)
        return told(answer.chunks(position * waiting.n, piece))

    for event in (*told(answer.opening(waiting.n)), *chunks(*first)):
        yield event
    try:
        async for found in others:
            for event in chunks(*found):
                yield event
        completed = waiting.completed(came)
        if keep is not None:
            # Before the last events: who has read them may ask for what was kept.
            await _keep(keep, answer.whole(completed))
        for event in told(answer.closing(completed)):
            yield event
    # The status has long been sent, so an event is the only place left for it.
    except ApiError as error:
        yield _event(answer.failed(error), named=answer.named_events)
    if not answer.named_events:
        # OpenAI's clients read a stream up to this line; named events have a last one of their own.
        yield b"data: [DONE]\n\n"


def _event(body: dict[str, object], *, named: bool) -> bytes:
    name = f"event: {body['type']}\n".encode() if named else b""
    return name + b"data: " + orjson.dumps(body) + b"\n\n"
