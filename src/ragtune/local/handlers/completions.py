"""Chat completions and completions: answered, and those that are kept listed, read, noted and deleted."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from ragtune.local.handlers.generate import generate
from ragtune.local.http.body import limit_of, metadata_of, newest_first, parse, query
from ragtune.local.http.errors import ApiError, invalid, not_found
from ragtune.local.ids import new_id
from ragtune.local.services import services
from ragtune.local.wire.answers import ChatAnswer, TextAnswer
from ragtune.local.wire.chat import ChatRequest, ManyStopsChatRequest, MetadataRequest
from ragtune.local.wire.completions import CompletionRequest
from ragtune.local.wire.objects import completion_body, list_body, message_bodies

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ragtune.local.store import Store
    from ragtune.local.store.schema import CompletionRow


async def chat(request: Request) -> Response:
    """Answer a conversation."""
    query(request)
    own = services(request)
    kind = ManyStopsChatRequest if own.many_stops else ChatRequest
    asked = await parse(request, kind, slots=own.reading)
    answer = ChatAnswer(
        id=new_id("chatcmpl-", length=29),
        created=int(time.time()),
        model=asked.model,
        with_logprobs=bool(asked.logprobs),
        with_usage=asked.with_usage,
        called_by_name=asked.calls_one_by_name,
    )
    # As they were sent: a kept message must not say null where the client said nothing.
    messages = [turn.model_dump(exclude_unset=True) for turn in asked.messages]
    keep = partial(own.store.completions.add, messages=messages, metadata=asked.metadata or {})
    return await generate(request, own, asked, answer, param="messages", keep=keep if asked.store else None)


async def completion(request: Request) -> Response:
    """Go on with one text or several."""
    query(request)
    own = services(request)
    asked = await parse(request, CompletionRequest, slots=own.reading)
    answer = TextAnswer(
        id=new_id("cmpl-", length=29),
        created=int(time.time()),
        model=asked.model,
        with_logprobs=asked.logprobs is not None,
        with_usage=asked.with_usage,
        best=asked.n or 1,
    )
    return await generate(request, own, asked, answer, param="prompt")


async def list_(request: Request) -> Response:
    """One page of the kept chat completions, oldest first; `metadata[key]=value` and `model` narrow it."""
    parameters, metadata = metadata_of(request, "after", "limit", "order", "model")
    rows, more = await run_in_threadpool(
        services(request).store.completions.page,
        after=parameters.get("after"),
        limit=limit_of(parameters, default=20, most=100),
        newest_first=newest_first(parameters, default=False),
        model=parameters.get("model"),
        metadata=metadata,
    )
    return JSONResponse(list_body([completion_body(row) for row in rows], has_more=more))


async def retrieve(request: Request) -> Response:
    """One kept chat completion."""
    query(request)
    return JSONResponse(completion_body(_find(request, services(request).store)))


async def update(request: Request) -> Response:
    """Put other metadata in place of a kept chat completion's."""
    query(request)
    own = services(request)
    noted = await parse(request, MetadataRequest, slots=own.reading)
    row = await run_in_threadpool(own.store.completions.note, request.path_params["id"], noted.metadata or {})
    if row is None:
        raise _not_found(request)
    return JSONResponse(completion_body(row))


async def delete(request: Request) -> Response:
    """Forget a kept chat completion."""
    query(request)
    name = request.path_params["id"]
    if not await run_in_threadpool(services(request).store.completions.delete, name):
        raise _not_found(request)
    return JSONResponse({"object": "chat.completion.deleted", "id": name, "deleted": True})


async def messages(request: Request) -> Response:
    """One page of the messages that a kept chat completion answered, first message first."""
    parameters = query(request, "after", "limit", "order")
    # Cut here and not in the database: the messages of a conversation are one column of JSON.
    bodies = message_bodies(_find(request, services(request).store))
    if newest_first(parameters, default=False):
        bodies.reverse()
    if (after := parameters.get("after")) is not None:
        places = [place for place, body in enumerate(bodies, start=1) if body["id"] == after]
        if not places:
            raise invalid(f"Invalid 'after': there is no message {after[:80]}.", param="after", code="not_found")
        bodies = bodies[places[0] :]
    limit = limit_of(parameters, default=20, most=100)
    return JSONResponse(list_body(bodies[:limit], has_more=len(bodies) > limit))


def _find(request: Request, store: Store) -> CompletionRow:
    row = store.completions.find(request.path_params["id"])
    if row is None:
        raise _not_found(request)
    return row


def _not_found(request: Request) -> ApiError:
    name = request.path_params["id"]
    message = f"Chat completion {name[:80]} not found; only those that were asked for with 'store': true are kept."
    return not_found(message, param="completion_id")
