"""When to look again, and for how long to bear with a server in trouble."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from ragtune._api.errors import transient
from ragtune._retry import patiently
from ragtune.errors import SpecError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ragtune._api import Api

__all__ = ["Poller", "check_rhythm"]

T = TypeVar("T")

SHORTEST_PAUSE_S = 0.5
# A read takes a second. A connection that a sleeping laptop lost says nothing at all, for as long as it is listened to.
SILENCE_S = 30.0


def check_rhythm(*, poll_s: float, patience_s: float, timeout_s: float | None = None) -> None:
    """See that a watch has pauses and an end.

    Raises:
        SpecError: a number of seconds is none.
    """
    # Zero would be a loop without a pause. Asked this way round, since nan is neither above nor below anything.
    if not poll_s > 0:
        raise SpecError(f"poll_s={poll_s!r} must be more than 0 seconds")
    if not patience_s >= 0:
        raise SpecError(f"patience_s={patience_s!r} must be a number of seconds, 0 or more")
    # Below zero is past, which a caller's own sum may well be: one look is taken all the same.
    if timeout_s is not None and math.isnan(timeout_s):
        raise SpecError("timeout_s=nan must be a number of seconds, or None to wait for as long as it takes")


class Poller:
    """The rhythm of one watch: pauses that grow while nothing happens, reads that outlast trouble, one deadline.

    All of it is counted on a clock that stands still while the machine sleeps, so the first look after that comes
    within one pause.

    Args:
        api: gives clock and sleep.
        poll_s: longest pause between two looks, in seconds, unless the server asks for a longer one.
        patience_s: seconds to go on while the server is in trouble or out of reach.
        timeout_s: seconds until the watch ends; None is never.
        late: says what to tell when it ended so.
    """

    def __init__(
        self, api: Api, *, poll_s: float, patience_s: float, timeout_s: float | None, late: Callable[[], str]
    ) -> None:
        check_rhythm(poll_s=poll_s, patience_s=patience_s, timeout_s=timeout_s)
        self._api = api
        self._poll_s = poll_s
        self._patience_s = patience_s
        self._deadline = math.inf if timeout_s is None else api.port.monotonic() + timeout_s
        self._late = late
        self._pause_s = SHORTEST_PAUSE_S

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; infinite without one."""
        return self._deadline - self._api.port.monotonic()

    async def look(self, read: Callable[[float], Awaitable[T]]) -> T:
        """Return what `read` reads; it is given the seconds that it may listen to a silent server.

        Raises:
            WaitTimeout: the deadline came first.
        """
        try:
            return await patiently(
                self._api,
                # A last look at the deadline itself is worth a moment.
                lambda: read(min(SILENCE_S, max(self.left_s, 1.0))),
                window_s=self._patience_s,
                until=self._deadline,
            )
        except Exception as error:
            # Patience that the deadline cut short is no failure of the server's.
            if transient(error) and self.left_s < self._patience_s:
                raise WaitTimeout(self._late()) from error
            raise

    async def pause(self, *, news: bool = False, asked_s: float | None = None) -> None:
        """Wait before the next look: shortly after news, longer from time to time, or as the server asked.

        Raises:
            WaitTimeout: the deadline is reached.
        """
        self._pause_s = SHORTEST_PAUSE_S if news else 1.5 * self._pause_s
        self._pause_s = min(self._pause_s, self._poll_s)
        wanted = self._pause_s if asked_s is None else asked_s
        if self.left_s <= 0:
            raise WaitTimeout(self._late())
        await self._api.port.sleep(min(wanted, self.left_s))
