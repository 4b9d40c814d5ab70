"""Responses: made, read, deleted, and what they were made from."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from ragtune.local.handlers.generate import generate
from ragtune.local.http.body import limit_of, newest_first, parse, query
from ragtune.local.http.errors import ApiError, invalid, not_found
from ragtune.local.ids import new_id
from ragtune.local.services import services
from ragtune.local.store.conversations.responses import BrokenChainError
from ragtune.local.wire.objects import list_body
from ragtune.local.wire.response_answer import ResponseAnswer
from ragtune.local.wire.response_items import ReferenceItem, read_items
from ragtune.local.wire.responses import ResponseRequest, in_own_words

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ragtune.local.store import Store
    from ragtune.local.wire.response_items import InputItem


async def create(request: Request) -> Response:
    """Answer an input, and what was said before it when it goes on from a kept response."""
    query(request)
    own = services(request)
    asked = await parse(request, ResponseRequest, slots=own.reading)
    said = await run_in_threadpool(_said_before, asked.previous_response_id, own.store)
    given = await run_in_threadpool(_without_references, asked, own.store)
    answer = ResponseAnswer(
        id=new_id("resp_", length=32),
        created=int(time.time()),
        repeated=asked.repeated(),
        with_logprobs=asked.with_logprobs,
    )
    keep = partial(own.store.responses.add, items=[item.kept() for item in given])
    try:
        chat = asked.chat([*said, *given])
        return await generate(request, own, chat, answer, param="input", keep=keep if asked.stored else None)
    except ApiError as error:
        # It speaks of the parameters of the chat that was made of the request, which the client did not write.
        raise in_own_words(error) from error


async def retrieve(request: Request) -> Response:
    """One kept response."""
    query(request)
    body = services(request).store.responses.find(request.path_params["id"])
    if body is None:
        raise _not_found(request)
    return JSONResponse(body)


async def delete(request: Request) -> Response:
    """Forget a kept response with its input."""
    query(request)
    name = request.path_params["id"]
    if not await run_in_threadpool(services(request).store.responses.delete, name):
        raise _not_found(request)
    return JSONResponse({"id": name, "object": "response", "deleted": True})


async def input_items(request: Request) -> Response:
    """One page of what a response was made from, newest first."""
    parameters = query(request, "after", "limit", "order")
    kept, name = services(request).store.responses, request.path_params["id"]
    if kept.find(name) is None:
        raise _not_found(request)
    items, more = await run_in_threadpool(
        kept.input_page,
        name,
        after=parameters.get("after"),
        limit=limit_of(parameters, default=20, most=100),
        newest_first=newest_first(parameters, default=True),
    )
    return JSONResponse(list_body(items, has_more=more))


def _said_before(response_id: str | None, store: Store) -> list[InputItem]:
    if response_id is None:
        return []
    if store.responses.find(response_id) is None:
        message = (
            f"Previous response with id '{response_id[:80]}' not found: it was never kept here ('store': false), was "
            "deleted, or is older than 30 days; send the whole conversation as 'input'."
        )
        raise invalid(message, param="previous_response_id", code="previous_response_not_found")
    try:
        return read_items(store.responses.conversation(response_id))
    except BrokenChainError as error:
        message = (
            f"The response '{response_id[:80]}' goes on from '{error}', which was deleted or is older than 30 days; "
            "send the whole conversation as 'input'."
        )
        raise invalid(message, param="previous_response_id", code="previous_response_not_found") from error


def _without_references(asked: ResponseRequest, store: Store) -> list[InputItem]:
    """The items of the input, with those that it only names."""
    items: list[InputItem] = []
    for item in asked.items:
        if not isinstance(item, ReferenceItem):
            items.append(item)
            continue
        kept = store.responses.item(item.id)
        if kept is None:
            message = (
                f"Item with id '{item.id[:80]}' not found. Items are not kept when 'store' is false, and go with their "
                "response; put the item itself in its place."
            )
            raise not_found(message, param="input")
        items += read_items([kept])
    return items


def _not_found(request: Request) -> ApiError:
    name = request.path_params["id"]
    message = f"Response with id '{name[:80]}' not found; those with 'store': false are not kept, others for 30 days."
    return not_found(message, param="response_id")
