"""How much is done at the same time: a number of slots, a queue before them, and a word to whoever waits too long."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ragtune.local.http.errors import overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Slots"]


class Slots:
    """A number of slots, given in the order in which they are asked for; belongs to one event loop.

    Args:
        number: how many there are.
        what: what takes a slot, in the plural, for the message.
        wait_s: how long somebody may wait for one, in seconds, before being told to come back.
    """

    def __init__(self, number: int, what: str, *, wait_s: float) -> None:
        self._number = number
        self._what = what
        self._wait_s = wait_s
        # Made in another thread than the loop's: asyncio ties it to the loop in which it is first waited for.
        self._free = asyncio.Semaphore(number)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a slot.

        Raises:
            ApiError: 503, none became free in time.
        """
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise overloaded(f"The server takes {self._number} {self._what} at a time.") from None
        try:
            yield
        finally:
            self._free.release()
