"""A TCP proxy that breaks connections on purpose: it stands between the real client and a real server."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Fault = Literal[
    "none", "refused", "reset mid-request", "reset before reply", "reset mid-reply", "cut reply", "slow reply"
]
FAULTS: tuple[Fault, ...] = (
    "refused",
    "reset mid-request",
    "reset before reply",
    "reset mid-reply",
    "cut reply",
    "slow reply",
)
"""Everything that can be done to one request.

`refused`: the connection is reset before a byte is passed on. `reset mid-request`: half of what the client sent is
passed on. `reset before reply`: the server answered, the client hears nothing of it. `reset mid-reply`, `cut reply`:
half of the answer comes, then a reset, or an end as if that were all (truncated JSON). `slow reply`: the answer comes
in small pieces.
"""


class FaultyProxy:
    """Listens on loopback and passes everything on to another port, but for what `choose` wants done to a request.

    Args:
        port: where the server listens.
        choose: called for each request, gives what is done to it.
    """

    def __init__(self, port: int, choose: Callable[[], Fault]) -> None:
        self._target = port
        self._choose = choose
        self._closed = False
        self.done: Counter[Fault] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        # Accepting ends when somebody comes to a closed door.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass
        self._thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            # A connection carries one request: the answer says `connection: close`, so each meets its own fault.
            fault = self._choose()
            head = client.recv(65_536)
            if not head:
                return
            self.done[fault] += 1
            if fault == "refused":
                _reset(client)
                return
            with socket.create_connection(("127.0.0.1", self._target), timeout=10) as server:
                request = _whole(client, head)
                if fault == "reset mid-request":
                    server.sendall(request[: len(request) // 2])
                    _reset(server)
                    _reset(client)
                    return
                server.sendall(_closing(request))
                reply = _rest(server)
            _answer(client, reply, fault)


def _answer(client: socket.socket, reply: bytes, fault: Fault) -> None:
    end = reply.find(b"\r\n\r\n") + 4
    half = end + max(1, (len(reply) - end) // 2)
    if fault == "reset before reply":
        _reset(client)
    elif fault == "reset mid-reply":
        client.sendall(reply[:half])
        time.sleep(0.01)
        _reset(client)
    elif fault == "cut reply":
        client.sendall(reply[:half])
    elif fault == "slow reply":
        step = max(1, len(reply) // 20)
        for start in range(0, len(reply), step):
            client.sendall(reply[start : start + step])
            time.sleep(0.002)
    else:
        client.sendall(reply)


def _whole(client: socket.socket, head: bytes) -> bytes:
    """A request to its last byte, by its length or its chunks."""
    request = head
    while b"\r\n\r\n" not in request:
        request += client.recv(65_536)
    headers, _, body = request.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in headers.split(b"\r\n")[1:])
    if fields.get(b"transfer-encoding") == b"chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += client.recv(65_536)
    else:
        while len(body) < int(fields.get(b"content-length", 0)):
            body += client.recv(65_536)
    return headers + b"\r\n\r\n" + body


def _closing(request: bytes) -> bytes:
    headers, _, body = request.partition(b"\r\n\r\n")
    kept = [line for line in headers.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"connection: close"]) + b"\r\n\r\n" + body


def _rest(server: socket.socket) -> bytes:
    reply = b""
    while piece := server.recv(65_536):
        reply += piece
    return reply


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
