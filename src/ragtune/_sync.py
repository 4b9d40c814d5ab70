"""Drive coroutines that never wait for an event loop.

The rooms are written once, as `async def` over a port. Over the synchronous port nothing ever suspends, so one step
carries a coroutine to its end: no loop is made, none is needed, and it works inside a running one (a notebook).
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator

T = TypeVar("T")


class SuspendedError(RuntimeError):
    """A coroutine of the synchronous side waited for something that only an event loop can bring."""


def run(coroutine: Coroutine[object, None, T]) -> T:
    """Return what `coroutine` returns; it must not suspend.

    Raises:
        SuspendedError: it did suspend, which is a mistake in the port beneath it.
    """
    with _no_asyncgen_hooks():
        try:
            awaited = coroutine.send(None)
        except StopIteration as finished:
            result: T = finished.value
            return result
        # What it has to clean up is cleaned up now, and not whenever it is collected.
        coroutine.close()
    message = (
        f"{getattr(coroutine, '__qualname__', coroutine)} waited for {awaited!r}; the synchronous side must not suspend"
    )
    raise SuspendedError(message)


def iterate(source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Iterate an asynchronous generator that never suspends; leaving early closes it at once."""
    try:
        while True:
            try:
                item = run(_next(source))
            except StopAsyncIteration:
                return
            # Outside the inner `try`: what the caller raises into us belongs to the caller.
            yield item
    finally:
        run(_close(source))


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)


async def _close(source: AsyncGenerator[object, None]) -> None:
    await source.aclose()


@contextmanager
def _no_asyncgen_hooks() -> Iterator[None]:
    """Keep a loop that happens to run in this thread from adopting our generators: it would close them when it ends."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=None)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*hooks)
