"""A tuned model in a web application: one client for the whole program, answers whole or word by word.

The model is OpenAI's, or one of a backend that runs beside it (`ragtune serve runs --warm MODEL` prints the two lines):

    OPENAI_BASE_URL=... OPENAI_API_KEY=... MODEL=ft:... uvicorn --factory examples.web_application:application

    curl -N localhost:8000/stream -d '{"question": "Why do winds turn?"}'

Needs `pip install starlette uvicorn`, which the extra `local` brings along.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import openai
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import ragtune as rt

# --8<-- [start:program]
# Nobody's question may keep the model busy for minutes.
MOST_TOKENS = 400


def application(connect: Callable[[], openai.AsyncOpenAI] = openai.AsyncOpenAI, model: str | None = None) -> Starlette:
    """Make the application."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # One client for all requests keeps its connections. It is made here because it belongs to one event loop, and
        # so to one worker.
        async with connect() as client:
            app.state.model = rt.AsyncTunedModel(client, model or os.environ["MODEL"])
            yield

    routes = [Route("/ask", ask, methods=["POST"]), Route("/stream", stream, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={openai.APIError: unavailable})


async def ask(request: Request) -> Response:
    """Answer as a whole."""
    model: rt.AsyncTunedModel = request.app.state.model
    answer = await model.chat(await conversation(request), temperature=0, max_tokens=MOST_TOKENS)
    return JSONResponse({"answer": answer.text, "hint": answer.hint})


async def stream(request: Request) -> Response:
    """Answer word by word, as server-sent events."""
    model: rt.AsyncTunedModel = request.app.state.model
    events = told(model.stream(await conversation(request), max_tokens=MOST_TOKENS))
    # The first event is waited for before the head is sent, so that a refusal becomes a status.
    first = await anext(events)

    async def all_events() -> AsyncIterator[bytes]:
        # When the reader leaves, this block ends, and with it the connection to the model, which then stops writing.
        async with aclosing(events):
            yield first
            async for event in events:
                yield event

    # nginx would collect the pieces otherwise.
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(all_events(), media_type="text/event-stream", headers=headers)


async def told(answer: rt.model.AsyncAnswerStream) -> AsyncGenerator[bytes, None]:
    """An answer as events: each piece, and how it ended."""
    async with answer:
        async for piece in answer:
            yield event({"text": piece})
        yield event({"end": answer.answer.finish_reason, "hint": answer.answer.hint})


def event(body: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(body)}\n\n".encode()


async def conversation(request: Request) -> list[dict[str, Any]]:
    """The conversation so far, which the browser keeps, or one question. The trained system prompt comes by itself."""
    body = json.loads(await request.body())
    messages: list[dict[str, Any]] = body.get("messages") or [{"role": "user", "content": body["question"]}]
    return messages


async def unavailable(request: Request, error: Exception) -> Response:
    """The model cannot be asked: what went wrong is for the log, and not for strangers."""
    busy = isinstance(error, openai.RateLimitError)
    headers = {"retry-after": "2"} if busy else {}
    return JSONResponse({"error": "please try again"}, status_code=503 if busy else 502, headers=headers)


# --8<-- [end:program]
