"""How much is done at the same time: a number of slots, and a word to whoever finds none free."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from ragtune.local.http.errors import overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ragtune.local.http.errors import ApiError

__all__ = ["Slots"]

_LOOK_S = 0.01


class Slots:
    """A number of slots; who finds none is told to come back.

    Args:
        number: how many there are.
        what: what takes a slot, in the plural, for the message.
    """

    def __init__(self, number: int, what: str) -> None:
        self._number = number
        self._what = what
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot.

        Raises:
            ApiError: 503, none is free.
        """
        if not self._take():
            raise self._none_free()
        try:
            yield
        finally:
            self._leave()

    @asynccontextmanager
    async def soon(self, *, wait_s: float = 2.0) -> AsyncIterator[None]:
        """Hold a slot, and wait a moment for it.

        Raises:
            ApiError: 503, none became free.
        """
        last = time.monotonic() + wait_s
        while not self._take():
            if time.monotonic() > last:
                raise self._none_free()
            await asyncio.sleep(_LOOK_S)
        try:
            yield
        finally:
            self._leave()

    def _take(self) -> bool:
        with self._lock:
            free = self._taken < self._number
            self._taken += free
            return free

    def _leave(self) -> None:
        with self._lock:
            self._taken -= 1

    def _none_free(self) -> ApiError:
        return overloaded(f"The server takes {self._number} {self._what} at a time.")
