"""An HTTP server in a thread: its address is known before it answers, and it stops when told to."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from ragtune.errors import BackendError
from ragtune.local.http.protocol import KEEP_ALIVE_S, GuardedProtocol, make_room

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["ServerThread"]

logger = logging.getLogger("ragtune")

_START_S = 10.0
_STOP_S = 10.0
_GRACE_S = 1.0
# On POSIX a port is free again at once after a stop. On Windows the same option would let two servers have one port.
if sys.platform == "win32":
    _ON_ITS_PORT = socket.SO_EXCLUSIVEADDRUSE
else:
    _ON_ITS_PORT = socket.SO_REUSEADDR


class ServerThread:
    """Serves an application until it is stopped.

    Args:
        app: the application.
        host: address to listen on.
        port: TCP port, 0 for any free one.

    Raises:
        BackendError: the address cannot be used.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int) -> None:
        make_room()
        self._socket = _listen(host, port)
        name, self.port = self._socket.getsockname()[:2]
        self.origin = f"http://[{name}]:{self.port}" if ":" in name else f"http://{name}:{self.port}"
        config = uvicorn.Config(
            app,
            log_config=None,  # uvicorn's would replace the program's own
            access_log=False,
            loop="asyncio",
            http=GuardedProtocol,
            timeout_keep_alive=KEEP_ALIVE_S,
            ws="none",
            lifespan="off",  # an error in one comes out as a bare SystemExit
            server_header=False,
        )
        self._server = _Server(config)
        self._ready = threading.Event()
        # A daemon, so that a program may end without stopping it. Outside the main thread uvicorn leaves signals alone.
        self._thread = threading.Thread(target=self._run, name="ragtune-server", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_S) or not self._server.started:
            self._socket.close()
            message = f"the server at {self.origin} did not start; the log says more"
            raise BackendError(message)

    def stop(self) -> None:
        """Finish requests that are about to end, cut off the others, close the socket."""
        self._server.end()
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            logger.warning(
                "the server at %s has not stopped after %.0f s; it ends with this process", self.origin, _STOP_S
            )
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        # uvicorn tells of its start by this flag alone.
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.001)
        self._ready.set()
        await serving


class _Server(uvicorn.Server):
    """Ends within milliseconds where nothing is under way; uvicorn's own takes two tenths of a second."""

    def end(self) -> None:
        """Begin to end; may be called from any thread."""
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        """Serve until told to end."""
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        serving, told = asyncio.ensure_future(super().main_loop()), asyncio.ensure_future(self._told.wait())
        await asyncio.wait((serving, told), return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        told.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is idle, give requests a second, and cut off the others."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        last = time.monotonic() + _GRACE_S
        while (self.server_state.connections or self.server_state.tasks) and time.monotonic() < last:
            await asyncio.sleep(0.002)
        for task in self.server_state.tasks:
            task.cancel()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol is named, since asyncio switches Nagle's delay (40 ms per answer) off on such sockets alone.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, _ON_ITS_PORT, 1)
            listener.bind((host, port))
            # Listening begins here, so that a client that comes before the first loop turn waits and is not refused.
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        message = f"cannot listen on {host}:{port} ({error}); choose another port, or 0 for any free one"
        raise BackendError(message) from error
    return listener
