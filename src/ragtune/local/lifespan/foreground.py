"""A server in the foreground of a program: until Ctrl-C, or until the system asks it to end."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ragtune.local.lifespan.embedded_server import EmbeddedServer

__all__ = ["stay"]


def stay(server: EmbeddedServer, on_start: Callable[[], None]) -> None:
    """Run a server until Ctrl-C or SIGTERM, then stop it in order: running jobs write a checkpoint first.

    A second Ctrl-C does not wait for the checkpoints.

    Args:
        server: the server, not started yet.
        on_start: called once it answers, for example to show its address.

    Raises:
        BackendError: the server cannot start.
    """
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # Alone: a connection to another program's server would have nothing to serve.
        server.start(alone=True)
        for number in before:
            # Not before the start, which a Ctrl-C may break off as usual.
            signal.signal(number, lambda *_: stop.set())
        on_start()
        # A wait without a timeout would keep the main thread from running the signal handler on some platforms.
        while not stop.wait(0.5):
            pass
        # `stop` takes a second Ctrl-C as a wish to hurry, but only where no program's own handler stands.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    finally:
        try:
            server.stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
