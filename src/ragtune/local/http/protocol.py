"""HTTP from strangers: uvicorn's protocol with deadlines, a cap on connections, and refusals in OpenAI's envelope.

uvicorn by itself waits for ever for the rest of a request's head, for a client that reads no answer, and for one that
was answered but goes on sending.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
import orjson
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from ragtune.local.http.errors import ApiError, overloaded
from ragtune.local.http.limits import timed
from ragtune.local.ids import new_request_id

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Receive, Scope, Send

if sys.platform != "win32":
    import resource

__all__ = ["MAX_CONNECTIONS", "GuardedProtocol", "make_room"]

logger = logging.getLogger("ragtune")

MAX_CONNECTIONS = 1_024
"""Most connections that are served; further ones are told to come back, and beyond twice as many they are cut off."""
HEAD_S = 20.0
"""How long the head of a request may take to arrive, and what comes after an answer to a half-read request."""
STALL_S = 60.0
"""How long a client may read nothing of what it is sent."""
# httpx gives connections up after 5 s.
KEEP_ALIVE_S = 15
"""How long an idle connection is kept; longer than the clients' pools, which would else use it as it closes."""
_READ_AWAY_BYTES = 1024 * 1024
_OWN_FILES = 256  # for the database, uploads, models, workers, and for the program around


def make_room() -> None:
    """Ask the system for as many open files as the connections and the server's own take."""
    if sys.platform != "win32":
        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * MAX_CONNECTIONS + _OWN_FILES
        if most != resource.RLIM_INFINITY:
            wanted = min(wanted, most)
        if now != resource.RLIM_INFINITY and now < wanted:
            with suppress(ValueError, OSError):  # macOS knows a further limit
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def most_connections() -> int:
    """How many connections are served: no more than leave half of the open files, or what is needed, to the server."""
    files = _most_files()
    return MAX_CONNECTIONS if files is None else min(MAX_CONNECTIONS, max(files - _OWN_FILES, files // 2) // 2)


def _most_files() -> int | None:
    """How many files this process may hold open; None where nothing limits them."""
    if sys.platform != "win32":
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY:
            return files
    return None


class GuardedProtocol(H11Protocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._abort_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Serve a new connection, or say that there are too many."""
        super().connection_made(transport)
        most = most_connections()
        if len(self.connections) > 2 * most:
            transport.abort()
            return
        if len(self.connections) > most:
            self.app = _busy
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._cancel_timers()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the clock runs unless they complete the head of a request."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_awaiting_head()
        else:
            self._await_head()

    def on_response_complete(self) -> None:
        """Go on to the next request; a client that still sends the last one gets a moment to end it."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; named and called by uvicorn."""
        begun = self.conn.trailing_data[0]
        endless = len(begun) > self.conn._max_incomplete_event_size and b"\r\n\r\n" not in begun
        message = "The request's head is too large." if endless else "This is no valid HTTP request."
        self._refuse(ApiError(431 if endless else 400, message, code="invalid_http"))

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        # `abort`, since `close` would first send what the client does not read.
        self._stall_timer = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        super().timeout_keep_alive_handler()
        self._close()

    def _await_head(self) -> None:
        # Set once, never put off: a client that sends a byte now and then gains no time.
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_S, self._too_slow)

    def _stop_awaiting_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0] and self.conn.our_state is h11.IDLE:
            self._refuse(ApiError(408, f"The request's head did not arrive in {HEAD_S:.0f} s.", code="timeout"))
        else:
            self._close()

    def _refuse(self, error: ApiError) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # What works on the request is told that its client is gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        state = self.conn.our_state
        if state in (h11.IDLE, h11.SEND_RESPONSE):
            body = orjson.dumps(error.body())
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"x-request-id", new_request_id().encode()),
                (b"connection", b"close"),
            ]
            self.transport.write(self.conn.send(h11.Response(status_code=error.status, headers=headers)) or b"")
            if not (state is h11.SEND_RESPONSE and self.scope["method"] == "HEAD"):
                self.transport.write(self.conn.send(h11.Data(data=body)) or b"")
        self._close()

    def _close(self) -> None:
        self._cancel_timers()
        self.transport.close()
        # A client that reads nothing keeps a closed connection for as long as it likes, unless it is cut off.
        if self._abort_timer is None:
            self._abort_timer = self.loop.call_later(STALL_S, self.transport.abort)

    def _cancel_timers(self) -> None:
        self._stop_awaiting_head()
        if self._stall_timer is not None:
            self._stall_timer.cancel()


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    # A connection that is closed on bytes that nobody read is reset, and the client never sees the answer.
    receive, came = timed(receive), 0
    with suppress(ApiError):
        while came < _READ_AWAY_BYTES:
            message = await receive()
            came += len(message.get("body", b""))
            if not message.get("more_body", False):
                break
    error = overloaded(f"The server holds {most_connections()} connections, as many as it serves.")
    headers = {**error.headers, "x-request-id": new_request_id(), "connection": "close"}
    await JSONResponse(error.body(), status_code=error.status, headers=headers)(scope, receive, send)
