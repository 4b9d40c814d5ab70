"""Wrong keys, told to the server's owner."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = ["Refusals"]

logger = logging.getLogger("ragtune")

_SILENT_S = 60.0
_MOST_ADDRESSES = 1_000


class Refusals:
    """Tells of wrong keys: a line for the first of an address, then at most one a minute with how many came meanwhile.

    Who guesses keys must not be able to fill the owner's disk with lines.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def note(self, scope: Scope, *, door: str) -> None:
        """Write a wrong key down.

        Args:
            scope: the request that brought it.
            door: where it was shown: `API` or `page`.
        """
        address, now = (scope.get("client") or ("an unknown address",))[0], time.monotonic()
        with self._lock:
            last, more = self._seen.pop(address, (now - _SILENT_S, 0))
            silent = now - last < _SILENT_S
            # Who has many addresses must not fill memory either; a dict gives the oldest first.
            while len(self._seen) >= _MOST_ADDRESSES:
                self._seen.pop(next(iter(self._seen)))
            self._seen[address] = (last, more + 1) if silent else (now, 0)
        if not silent:
            since = f", and {more} times before since the last line" if more else ""
            facts = {"event": "refused", "address": address, "door": door, "before": more}
            logger.warning("a wrong key from %s was refused (%s)%s", address, door, since, extra={"facts": facts})
