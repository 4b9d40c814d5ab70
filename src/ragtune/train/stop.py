"""What ends a run early without losing it: the parent's end, a termination signal; and the lock on a run's folder."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FolderHeldError", "StopRequest", "hold"]


class FolderHeldError(Exception):
    """Another worker holds the output folder."""


class StopRequest:
    """Whether somebody wants the run to save its state and end; looked at after every step.

    Example:
        ```python
        from ragtune.train.stop import StopRequest

        stop = StopRequest()
        stop.ask()
        print(stop.asked)
        #> True
        ```
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    def ask(self) -> None:
        """Ask for a stop."""
        self._event.set()

    def wait(self) -> None:
        """Wait until a stop is asked for."""
        self._event.wait()

    def on_signals(self) -> None:
        """Take SIGTERM and SIGINT (Ctrl-C) as requests; only the main thread may call this."""
        # Ctrl-C reaches the worker as well: a terminal sends it to all processes of its group.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.ask())

    def on_end_of_stdin(self) -> None:
        """Take the end of standard input as a request: the parent that held its other end is gone."""
        # A pipe, since signals on a parent's death (prctl) get lost behind a launcher, and come already when the thread
        # that started the worker ends.
        threading.Thread(target=self._wait_for_end_of_stdin, name="lifeline", daemon=True).start()

    def on_file(self, path: Path, *, every_s: float) -> None:
        """Take a file as a request, for workers on other machines that share no more than a disk."""
        threading.Thread(target=self._wait_for_file, args=(path, every_s), name="stop file", daemon=True).start()

    def _wait_for_file(self, path: Path, every_s: float) -> None:
        while not path.exists():
            time.sleep(every_s)
        self.ask()

    def _wait_for_end_of_stdin(self) -> None:
        try:
            # Past `sys.stdin`, whose lock the waiting thread would still hold when the interpreter ends.
            while os.read(0, 1):
                pass
        finally:
            self.ask()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process, however it ends.

    Raises:
        FolderHeldError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The system lets go of it however the process ends, so that no lock outlives its worker.
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        message = f"{folder}: another worker trains here; wait for it, or give this run a folder of its own"
        raise FolderHeldError(message) from error
    try:
        yield
    finally:
        lock.release()
