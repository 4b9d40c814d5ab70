"""Chat completions and completions, plain and streamed."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import orjson
from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from ragtune.local.answering import refusal
from ragtune.local.names import ServedModel, find_model
from ragtune.local.requests import ChatRequest, CompletionRequest, parse, query
from ragtune.local.services import services
from ragtune.local.shapes import Answer, ChatAnswer, TextAnswer
from ragtune.local.wire import ApiError, model_not_found, new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from ragtune.local.engine import Completed, GeneratedPiece, Generation
    from ragtune.local.store import Store

DEFAULT_CHAT_TOKENS = 1024
"""Most tokens of a chat answer when the request does not say; as at OpenAI every model has such a limit."""
DEFAULT_COMPLETION_TOKENS = 16
"""The same for completions; OpenAI's number."""

# Waiting for answers has threads of its own, so that it never keeps files and jobs waiting.
_WAITING_THREADS = 64


async def chat(request: Request) -> Response:
    """Answer a conversation."""
    query(request)
    asked = await parse(request, ChatRequest)
    model = _model(request, asked.model)
    answer = ChatAnswer(
        id=new_id("chatcmpl-", 29),
        created=int(time.time()),
        model=asked.model,
        with_logprobs=bool(asked.logprobs),
        with_usage=asked.stream_options is not None and bool(asked.stream_options.include_usage),
    )
    options = {
        "messages": [turn.for_template() for turn in asked.messages],
        "max_tokens": asked.max_completion_tokens or asked.max_tokens or DEFAULT_CHAT_TOKENS,
        "logprobs": bool(asked.logprobs),
        "top_logprobs": asked.top_logprobs or 0,
    }
    return await _answer(request, model, asked, answer, [options], param="messages")


async def completion(request: Request) -> Response:
    """Go on with one text or several."""
    query(request)
    asked = await parse(request, CompletionRequest)
    model = _model(request, asked.model)
    answer = TextAnswer(
        id=new_id("cmpl-", 29),
        created=int(time.time()),
        model=asked.model,
        with_logprobs=asked.logprobs is not None,
        with_usage=asked.stream_options is not None and bool(asked.stream_options.include_usage),
    )
    shared = {
        "max_tokens": asked.max_tokens or DEFAULT_COMPLETION_TOKENS,
        "logprobs": asked.logprobs is not None,
        "top_logprobs": asked.logprobs or 0,
    }
    each = [{"prompt": prompt, **shared} for prompt in asked.prompts]
    return await _answer(request, model, asked, answer, each, param="prompt")


def _model(request: Request, name: str) -> ServedModel:
    own = services(request)
    model = find_model(name, bases=own.bases, store=own.store)
    if model is None:
        raise model_not_found(name[:200])
    return model


async def _answer(
    request: Request,
    model: ServedModel,
    asked: ChatRequest | CompletionRequest,
    answer: Answer,
    each: Sequence[dict[str, Any]],
    *,
    param: str,
) -> Response:
    """Ask the model once per entry of `each` and send what it says, whole or as it comes."""
    answering = services(request).answering
    sampling = asked.sampling()
    waiting = _Waiting(request, param=param)
    with ExitStack() as cleanup:
        cleanup.enter_context(answering.place(len(each) * sampling["n"]))
        cleanup.callback(_count, services(request).store, model.name, waiting.generations)
        for options in each:
            generation = await run_in_threadpool(answering.submit, model, **sampling, **options)
            cleanup.callback(generation.cancel)
            waiting.generations.append(generation)
        if not asked.stream:
            return JSONResponse(answer.whole(await waiting.results()))
        # The first piece is waited for before the head is sent: what is wrong shows in the status.
        first = await waiting.next_piece()
        handed_over = cleanup.pop_all()
    return _EventStream(_events(answer, waiting, first, n=sampling["n"]), handed_over)


def _count(store: Store, model: str, generations: Sequence[Generation]) -> None:
    """Add what was read and written, to the end or not, to the model's usage."""
    read = sum(generation.prompt_tokens for generation in generations)
    if read:
        written = sum(generation.completion_tokens for generation in generations)
        store.usage.add(model, prompt_tokens=read, completion_tokens=written)


class _Waiting:
    """Waits in threads for what some generations write, and gives them up when the client is gone."""

    def __init__(self, request: Request, *, param: str) -> None:
        self.generations: list[Generation] = []
        self._request = request
        self._param = param
        self._limiter = _limiter(request)
        self._position = 0
        self._pieces: Iterator[GeneratedPiece] | None = None

    async def results(self) -> list[Completed]:
        """All answers, whole."""
        watch = asyncio.ensure_future(self._give_up_when_gone())
        try:
            return [await self._in_thread(generation.result) for generation in self.generations]
        finally:
            watch.cancel()

    async def next_piece(self) -> tuple[int, GeneratedPiece] | None:
        """The next piece with the position of its generation; the generations come one after the other."""
        while self._position < len(self.generations):
            if self._pieces is None:
                self._pieces = iter(self.generations[self._position])
            piece = await self._in_thread(next, self._pieces, None)
            if piece is not None:
                return self._position, piece
            self._position, self._pieces = self._position + 1, None
        return None

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        try:
            return await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True, limiter=self._limiter)
        except Exception as error:
            raise refusal(error, param=self._param) from error

    async def _give_up_when_gone(self) -> None:
        # The body has been read, so the only message that can still come says that the client is gone.
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        for generation in self.generations:
            generation.cancel()


def _limiter(request: Request) -> CapacityLimiter:
    state: Any = request.app.state
    if not hasattr(state, "waiting_threads"):
        state.waiting_threads = CapacityLimiter(_WAITING_THREADS)
    limiter: CapacityLimiter = state.waiting_threads
    return limiter


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
    answer: Answer, waiting: _Waiting, first: tuple[int, GeneratedPiece] | None, *, n: int
) -> AsyncIterator[bytes]:
    """Server-sent events: a chunk per piece, then the usage if it was asked for, then the end."""
    found = first
    try:
        for chunk in answer.opening(n):
            yield _event(chunk)
        while found is not None:
            position, piece = found
            for chunk in answer.chunks(position * n, piece):
                yield _event(chunk)
            found = await waiting.next_piece()
        if answer.with_usage:
            yield _event(answer.usage_chunk(waiting.generations))
    except ApiError as error:
        yield _event(error.body())
    yield b"data: [DONE]\n\n"


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
