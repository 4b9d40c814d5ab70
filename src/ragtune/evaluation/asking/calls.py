"""How foreign functions are called: from the synchronous face and from the asynchronous one."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["AsyncCalls", "Calls", "SyncCalls"]


class Calls(Protocol):
    """Calls a function of the user's, synchronous or not.

    Attributes:
        asynchronous: whether there is an event loop to await clients in.
    """

    asynchronous: ClassVar[bool]

    async def __call__(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Return what it returns, awaited where it has to be."""


class SyncCalls:
    """Calls from a thread of the evaluation's own. What has to be awaited runs in one event loop beside all threads."""

    asynchronous: ClassVar = False

    def __init__(self) -> None:
        self._turning: _TurningLoop | None = None
        self._lock = threading.Lock()

    async def __call__(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Return what it returns."""
        result = function(*arguments)
        return self._wait(result) if inspect.isawaitable(result) else result

    def _wait(self, awaitable: Awaitable[Any]) -> Any:
        # Two threads that come first at once must not make two loops: an asynchronous client belongs to the loop that
        # used it.
        with self._lock:
            if self._turning is None:
                self._turning = _TurningLoop()
        return asyncio.run_coroutine_threadsafe(_awaited(awaitable), self._turning.loop).result()

    def close(self) -> None:
        """End the event loop, if there is one; what hangs in it is cancelled."""
        if self._turning is not None:
            self._turning.stop()


class _TurningLoop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        started = threading.Event()

        async def turn() -> None:
            self.loop = asyncio.get_running_loop()
            self._end = asyncio.Event()
            started.set()
            await self._end.wait()

        self._thread = threading.Thread(target=lambda: asyncio.run(turn()), name="ragtune-loop", daemon=True)
        self._thread.start()
        started.wait()

    def stop(self) -> None:
        """Cancel what is under way and end the thread."""
        self.loop.call_soon_threadsafe(self._end.set)
        # Whoever blocks the loop itself cannot be cancelled; the thread dies with the program.
        self._thread.join(timeout=1.0)


class AsyncCalls:
    """Calls from the caller's event loop. What would block it runs in a thread that dies with the program."""

    asynchronous: ClassVar = True

    async def __call__(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Return what it returns."""
        # An object whose `__call__` is asynchronous is no coroutine function itself.
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
            return await function(*arguments)
        result = await _in_thread(lambda: function(*arguments))
        return await result if inspect.isawaitable(result) else result


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _in_thread(work: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def deliver(result: object, error: BaseException | None) -> None:
        # It was given up while the function ran on.
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        # Whatever it is: in this thread it would vanish, and who waits would wait for ever.
        except BaseException as raised:
            error = raised
        # The loop may be gone by the time a hanging function comes back.
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=run, name="ragtune-answerer", daemon=True).start()
    return _awaited(future)
