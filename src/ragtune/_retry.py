"""Patience beyond what the OpenAI client has: long troubles of a server.

The client itself tries every request three times within seconds. Here a read goes on for minutes, and so does the part
of an upload, which may come twice without harm. Nothing that buys or deletes is ever repeated here.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, TypeVar

import tenacity

from ragtune._api.errors import retry_after_s, transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ragtune._api import Api

T = TypeVar("T")
logger = logging.getLogger("ragtune")


async def patiently(
    api: Api,
    read: Callable[[], Awaitable[T]],
    *,
    window_s: float,
    retry_on: Callable[[BaseException], bool] = transient,
    longest_wait_s: float = 30.0,
    until: float = math.inf,
) -> T:
    """Repeat `read` while its errors are worth it, for up to `window_s` seconds; the last error then comes through.

    A longer wait that the server itself asks for is kept once, whatever the window.

    Args:
        api: gives clock and sleep.
        read: makes one attempt.
        window_s: seconds after which no further attempt is begun.
        retry_on: which errors are worth another attempt.
        longest_wait_s: longest pause between two attempts, unless the server asks for a longer one.
        until: point on the port's monotonic clock after which no attempt is begun, whatever the server asks for.
    """
    started = api.port.monotonic()
    # Up to a quarter of a second by lot: programs that one outage stopped must not all come back at once.
    backoff = tenacity.wait_exponential(multiplier=0.5, max=longest_wait_s) + tenacity.wait_random(0, 0.25)

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return retry_after_s(error) or backoff(state)

    def too_late(state: tenacity.RetryCallState) -> bool:
        now, upcoming = api.port.monotonic(), state.upcoming_sleep
        error = state.outcome.exception() if state.outcome else None
        # Who is asked to come back in ten minutes has not waited ten minutes yet.
        spent = now - started + (0.0 if retry_after_s(error) >= upcoming else upcoming)
        return spent > window_s or now + upcoming > until

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        logger.info(
            "attempt %d: %s; next one in %.1f s", state.attempt_number, type(error).__name__, state.upcoming_sleep
        )

    # Built anew for each use: a shared one mixes up concurrent tasks. The port's sleep, because tenacity's own needs a
    # loop; `Exception` only, because Ctrl-C and a cancelled task must come through at once.
    attempts = tenacity.AsyncRetrying(
        sleep=api.port.sleep,
        wait=pause,
        stop=too_late,
        before_sleep=tell,
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Exception) and retry_on(error)),
        # The server's own error, and not tenacity's around it.
        reraise=True,
    )
    async for attempt in attempts:
        with attempt:
            return await read()
    raise AssertionError("unreachable: the last attempt raises")
