"""One process at a time for one job or one content; the system frees the lock of a process that died."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ragtune.errors import JournalError
from ragtune.journal.file import unusable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from filelock import BaseFileLock

    from ragtune._api.ports import Port

# Longer than uploading and creating take: a file of 512 MB over a slow line.
LONGEST_WAIT_S = 1800.0


@asynccontextmanager
async def held(
    port: Port, folder: Path, kind: str, *what: str, waits: Callable[[], object]
) -> AsyncGenerator[None, None]:
    """Hold the lock for `what`; another process that has it is waited for.

    Args:
        port: gives sleep and blocking work.
        folder: where lock files lie; made when it is not there.
        kind: `job` or `upload`; locks of one kind never wait for those of the other.
        what: names the thing.
        waits: called once when the lock is taken by another.

    Raises:
        JournalError: it was not free within half an hour, or no lock file can be made.
    """
    # Names are few and files stay, because a lock file that is removed no longer excludes anybody.
    # Two orders that share a name wait for each other, and no more: 256 names are enough that they seldom do.
    number = hashlib.sha256("\n".join(what).encode()).hexdigest()[:2]
    lock = await port.work(_lock_at, folder, f"{kind}-{number}.lock")
    waited, pause = 0.0, 0.05
    # Tried and slept in turns: a wait inside the worker thread could not be cancelled, and would hold it for half an
    # hour.
    while not await port.work(_taken, lock):
        if not waited:
            waits()
        if waited > LONGEST_WAIT_S:
            message = f"{lock.lock_file}: another process has held this for {waited:.0f} s; end it and try again"
            raise JournalError(message)
        await port.sleep(pause)
        waited, pause = waited + pause, min(2 * pause, 1.0)
    try:
        yield
    finally:
        lock.release()


def _lock_at(folder: Path, name: str) -> BaseFileLock:
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(f"{folder}: cannot be written ({error.strerror})") from error
    # A worker thread may take the lock and another one free it.
    return FileLock(folder / name, thread_local=False)


def _taken(lock: BaseFileLock) -> bool:
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    # Before OSError, of which it is a kind.
    except Timeout:
        return False
    except OSError as error:
        raise unusable(f"{lock.lock_file}: cannot be locked ({error.strerror})") from error
    return True
