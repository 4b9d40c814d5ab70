"""`serve`: a backend in the foreground, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragtune.local.backend import LocalBackend
from ragtune.local.lifespan.foreground import stay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["serve"]


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = None,
    on_start: Callable[[LocalBackend], None] | None = None,
    warm: Sequence[str] = (),
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
        warm: names of models to load then, so that the first question to them is answered quickly.
        options: further arguments of `LocalBackend`.

    Raises:
        BackendError: the backend cannot start, or a model that is to be warm is not there.
    """
    backend = LocalBackend(folder, host=host, port=port, key=key, **options)

    def begin() -> None:
        if on_start is not None:
            on_start(backend)
        backend.warm(*warm)

    stay(backend, begin)
