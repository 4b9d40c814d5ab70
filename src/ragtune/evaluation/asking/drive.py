"""Several questions at a time, in threads or in tasks; who hangs is given up after a while."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ragtune._sync import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator

__all__ = ["Drive", "in_tasks", "in_threads"]

T = TypeVar("T")


class Drive(Protocol):
    """`in_threads` and `in_tasks`."""

    def __call__(
        self,
        todo: Iterator[T],
        do: Callable[[T], Coroutine[object, None, bool]],
        *,
        concurrency: int,
        timeout_s: float,
        late: Callable[[T], object],
    ) -> AsyncGenerator[T, None]:
        """Do all, several at a time."""


# A thread that has to wait looks up this often, so that Ctrl-C is obeyed on every platform.
_LOOK_S = 0.5


class _Feed(Generic[T]):
    """What is still to do. What could not begin (others have reserved its money) comes again when those are done."""

    def __init__(self, todo: Iterator[T]) -> None:
        self._todo = todo
        self._held: deque[T] = deque()
        self._alone = False

    def take(self, running: int) -> tuple[T] | None:
        """The next one, None where nothing may begin now."""
        if self._held:
            if running:
                return None
            self._alone = True
            return (self._held.popleft(),)
        if self._alone and running:
            return None
        self._alone = False
        for item in self._todo:
            return (item,)
        return None

    def give_back(self, item: T) -> bool:
        """Keep one that could not begin; whether there is hope for it."""
        self._held.append(item)
        return not self._alone


async def in_threads(
    todo: Iterator[T],
    do: Callable[[T], Coroutine[object, None, bool]],
    *,
    concurrency: int,
    timeout_s: float,
    late: Callable[[T], object],
) -> AsyncGenerator[T, None]:
    """Do all, in threads that die with the program; yields each as it is done, and never suspends.

    Args:
        todo: what is to be done, read as it is begun.
        do: does one. False says that it could not begin: it comes again when the others are done, and if it cannot
            begin then either, the iteration ends.
        concurrency: how many at once.
        timeout_s: seconds after which one is given up; its thread is left alone.
        late: called with one that was given up, which counts as done.
    """
    inbox: queue.SimpleQueue[tuple[int, T] | None] = queue.SimpleQueue()
    outbox: queue.SimpleQueue[tuple[int, bool | BaseException]] = queue.SimpleQueue()
    running: dict[int, tuple[T, float]] = {}
    feed, number, threads, made = _Feed(todo), 0, 0, 0

    def worker() -> None:
        while (given := inbox.get()) is not None:
            try:
                outbox.put((given[0], run(do(given[1]))))
            except BaseException as error:
                outbox.put((given[0], error))

    try:
        while True:
            while len(running) < concurrency and (taken := feed.take(len(running))) is not None:
                number += 1
                running[number] = (taken[0], time.monotonic() + timeout_s)
                if threads < len(running):
                    threads, made = threads + 1, made + 1
                    # Not of a pool: Python joins a pool's threads at its end, and one that hangs would keep the
                    # program alive.
                    threading.Thread(target=worker, name="ragtune-evaluate", daemon=True).start()
                inbox.put((number, taken[0]))
            if not running:
                return
            # All may take equally long, so the first that began is the first that is late.
            first, (item, deadline) = next(iter(running.items()))
            left = deadline - time.monotonic()
            try:
                done, result = outbox.get(timeout=min(_LOOK_S, max(0.0, left)))
            except queue.Empty:
                if left <= 0:
                    del running[first]
                    # Its thread hangs, so another takes its place.
                    threads -= 1
                    late(item)
                    yield item
                continue
            # One that was given up has come back after all; its thread can be used again.
            if done not in running:
                threads += 1
                continue
            item, _ = running.pop(done)
            if isinstance(result, BaseException):
                raise result
            if result:
                yield item
            elif not feed.give_back(item):
                return
    finally:
        for _ in range(made):
            inbox.put(None)


async def in_tasks(
    todo: Iterator[T],
    do: Callable[[T], Coroutine[object, None, bool]],
    *,
    concurrency: int,
    timeout_s: float,
    late: Callable[[T], object],
) -> AsyncGenerator[T, None]:
    """Do all in tasks of this event loop; as `in_threads`, but what is late is cancelled."""

    async def one(item: T) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                return await do(item)
        except TimeoutError:
            late(item)
            return True

    running: dict[asyncio.Task[bool], T] = {}
    feed = _Feed(todo)
    try:
        while True:
            while len(running) < concurrency and (taken := feed.take(len(running))) is not None:
                running[asyncio.create_task(one(taken[0]))] = taken[0]
            if not running:
                return
            finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                item = running.pop(task)
                if task.result():
                    yield item
                elif not feed.give_back(item):
                    return
    finally:
        for task in running:
            task.cancel()
        # Until they are really over: their answers go to a log that is closed next.
        await asyncio.gather(*running, return_exceptions=True)
