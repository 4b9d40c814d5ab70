"""An HTTP server in a thread: its address is known before it answers, and it stops when told to."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from ragtune.errors import BackendError
from ragtune.local.protocol import KEEP_ALIVE_S, GuardedProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["ServerThread"]

logger = logging.getLogger("ragtune")

_START_S = 10.0
_STOP_S = 10.0


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
        self._socket = _listen(host, port)
        name, self.port = self._socket.getsockname()[:2]
        self.origin = f"http://[{name}]:{self.port}" if ":" in name else f"http://{name}:{self.port}"
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            loop="asyncio",
            http=GuardedProtocol,
            timeout_keep_alive=KEEP_ALIVE_S,
            ws="none",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ragtune-server", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_S) or not self._server.started:
            self._socket.close()
            message = f"the server at {self.origin} did not start; the log says more"
            raise BackendError(message)

    def stop(self) -> None:
        """Finish requests that are about to end, cut off the others, close the socket."""
        self._server.should_exit = True
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
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.001)
        self._ready.set()
        await serving


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol is named, since asyncio switches Nagle's delay (40 ms per answer) off on such sockets alone.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
