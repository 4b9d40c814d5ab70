"""One backend per folder: a lock that a crash releases by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FolderLock", "FolderTakenError"]


class FolderTakenError(BackendError):
    """Another backend holds the folder."""


class FolderLock:
    """Holds a folder until it is released or the process ends, however it ends.

    A child that the process forks does not keep the folder when the process has died.

    Args:
        folder: the folder; made, for its owner alone, when it is not there.

    Raises:
        FolderTakenError: another backend holds it.
        BackendError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        # Taken in one thread and released in another when a server is stopped from elsewhere.
        self._lock = FileLock(folder / "lock", timeout=0, mode=0o600, thread_local=False)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            message = f"{folder}: another backend already runs on this folder; stop it first, or use another folder"
            raise FolderTakenError(message) from error
        except OSError as error:
            why = error.strerror or error
            message = f"{folder}: cannot be used as a backend's folder ({why}); choose one that can be written"
            raise BackendError(message) from error

    def release(self) -> None:
        """Let go of the folder. Releasing twice is fine."""
        self._lock.release()
