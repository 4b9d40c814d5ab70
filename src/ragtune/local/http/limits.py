"""What every request meets before the key is looked at: its size, the name it asks for, and how fast it comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ragtune.local.http.errors import ApiError

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

__all__ = ["LOOPBACK", "refuse", "timed"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_HEAD_BYTES = 64 * 1024
BODY_GRACE_S = 20.0
"""How long a body may keep the server waiting in all, in addition to what its size allows."""
BODY_BYTES_PER_S = 500
"""The slowest that a body may come."""


def refuse(scope: Scope, *, exposed: bool, origin: str | None = None) -> ApiError | None:
    """What is wrong with the head of a request, if anything.

    Args:
        scope: the request.
        exposed: whether other machines are meant to reach the server.
        origin: under which a proxy shows it, None for none.
    """
    # h11 limits only heads that are still incomplete when it looks at them, not those that come at one go.
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
        return ApiError(431, f"The headers are larger than {MAX_HEAD_BYTES} bytes.", code="headers_too_large")
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    # A page in a browser reaches this machine under a name of its own that it lets point here ("DNS rebinding"); the
    # browser then sends that name.
    names = (*LOOPBACK, _name(origin.partition("://")[2])) if origin else LOOPBACK
    if not exposed and host and _name(host) not in names:
        message = (
            f"This server answers to {', '.join(names)} alone, not to {host[:100]!r}; to serve other machines, start "
            "it with a host of theirs and a key, or behind a proxy with --origin and the address that browsers see."
        )
        return ApiError(403, message, code="host_not_allowed")
    return None


def timed(receive: Receive) -> Receive:
    """A `receive` that gives up on a body that comes too slowly.

    Only the time spent waiting for the client counts. What comes after the body, such as the client's leaving, may be
    waited for as long as one likes.

    Raises:
        ApiError: (by the returned function) 408.
    """
    waited_s, came, whole = 0.0, 0, False

    async def receive_in_time() -> Message:
        nonlocal waited_s, came, whole
        if whole:
            return await receive()
        loop = asyncio.get_running_loop()
        begin = loop.time()
        try:
            async with asyncio.timeout(BODY_GRACE_S + came / BODY_BYTES_PER_S - waited_s):
                message = await receive()
        except TimeoutError:
            message_ = f"The request's body comes too slowly: {came} bytes so far; send it faster, or in parts."
            raise ApiError(408, message_, code="timeout", headers={"connection": "close"}) from None
        waited_s += loop.time() - begin
        came += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        return message

    return receive_in_time


def _name(host: str) -> str:
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    # To resolvers `localhost.` is the same name.
    return name.lower().removesuffix(".")
