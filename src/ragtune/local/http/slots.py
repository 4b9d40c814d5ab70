"""How much is done at the same time: a number of slots, and a word to whoever finds none free."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ragtune.local.http.errors import overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Slots"]


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
        with self._lock:
            if self._taken >= self._number:
                raise overloaded(f"The server takes {self._number} {self._what} at a time.")
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1
