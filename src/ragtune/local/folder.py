"""One backend per folder: a lock that a crash releases by itself."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import TYPE_CHECKING

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FolderLock"]

# A process that locks a file twice with lockf succeeds twice, so the folders held by this one are kept here.
_held: set[Path] = set()
_held_lock = threading.Lock()


class FolderLock:
    """Holds a folder until it is released or the process ends, however it ends.

    Args:
        folder: the folder; made, for its owner alone, when it is not there.

    Raises:
        BackendError: another backend holds it, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        with _held_lock:
            if folder in _held:
                raise BackendError(_taken(folder, "this process"))
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                # Not inheritable and not flock: a forked child must not keep the folder after its parent has died.
                self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._close()
                if isinstance(error, BlockingIOError | PermissionError) and (folder / "lock").exists():
                    raise BackendError(_taken(folder, "another process")) from error
                message = f"{folder}: cannot be used as a backend's folder ({error}); choose one that can be written"
                raise BackendError(message) from error
            _held.add(folder)

    def release(self) -> None:
        """Let go of the folder. Releasing twice is fine."""
        with _held_lock:
            if self._descriptor is not None:
                self._close()
                _held.discard(self._folder)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _taken(folder: Path, who: str) -> str:
    return f"{folder}: {who} already runs a backend on this folder; stop it first, or use another folder"
