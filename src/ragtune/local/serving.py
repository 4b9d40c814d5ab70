"""`serve`: a backend in the foreground, for the command line."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

from ragtune.local.backend import LocalBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["serve"]


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = None,
    on_start: Callable[[LocalBackend], None] | None = None,
    **options: Any,
) -> None:
    """Run a backend until Ctrl-C or SIGTERM, then stop it in order: running jobs write a checkpoint first.

    A second Ctrl-C does not wait for the checkpoints.

    Args:
        folder: where the backend keeps its state.
        host: address to listen on; one that other machines can reach needs `key`.
        port: TCP port, 0 for any free one.
        key: the API key to ask for, None for the one that is kept in the folder.
        on_start: called once with the started backend, for example to show its address.
        options: further arguments of `LocalBackend`.

    Raises:
        BackendError: the backend cannot start.
    """
    stop = threading.Event()
    backend = LocalBackend(folder, host=host, port=port, key=key, **options)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with backend:
            for number in before:
                signal.signal(number, lambda *_: stop.set())
            if on_start is not None:
                on_start(backend)
            # A wait without a timeout would keep the main thread from running the signal handler on some platforms.
            while not stop.wait(0.5):
                pass
            signal.signal(signal.SIGINT, signal.default_int_handler)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
