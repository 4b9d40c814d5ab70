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
            # By itself it can be told whether there is money for it at all: nobody else can give any back.
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
    crew: _Crew[T] = _Crew(do)
    running: dict[int, tuple[T, float]] = {}
    feed, number = _Feed(todo), 0
    try:
        while True:
            while len(running) < concurrency and (taken := feed.take(len(running))) is not None:
                number += 1
                running[number] = (taken[0], time.monotonic() + timeout_s)
                crew.begin(number, taken[0], needed=len(running))
            if not running:
                return
            # All may take equally long, so the first that began is the first that is late.
            first, (item, deadline) = next(iter(running.items()))
            left = deadline - time.monotonic()
            ended = crew.ended(min(_LOOK_S, max(0.0, left)))
            if ended is None:
                if left <= 0:
                    del running[first]
                    # Its thread hangs; the next question gets another one.
                    crew.usable -= 1
                    late(item)
                    yield item
                continue
            done, result = ended
            if done not in running:
                # One that was given up has come back after all; its thread can be used again.
                crew.usable += 1
                continue
            item, _ = running.pop(done)
            if isinstance(result, BaseException):
                raise result
            if result:
                yield item
            elif not feed.give_back(item):
                return
    finally:
        crew.dismiss()


class _Crew(Generic[T]):
    """Threads that do one thing after the other.

    Attributes:
        usable: threads that can be counted on: one that hangs is not, and another takes its place.
    """

    def __init__(self, do: Callable[[T], Coroutine[object, None, bool]]) -> None:
        self._do = do
        self._inbox: queue.SimpleQueue[tuple[int, T] | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[tuple[int, bool | BaseException]] = queue.SimpleQueue()
        self._made = 0
        self.usable = 0

    def begin(self, number: int, item: T, *, needed: int) -> None:
        """Have something done; `needed` is how many things are under way with it."""
        if self.usable < needed:
            self.usable, self._made = self.usable + 1, self._made + 1
            # Not of a pool: Python joins a pool's threads at its end, and one that hangs would keep the program alive.
            threading.Thread(target=self._work, name="ragtune-evaluate", daemon=True).start()
        self._inbox.put((number, item))

    def ended(self, wait_s: float) -> tuple[int, bool | BaseException] | None:
        """The number of something that is over and what came of it; None where nothing ends in time."""
        try:
            return self._outbox.get(timeout=wait_s)
        except queue.Empty:
            return None

    def dismiss(self) -> None:
        """Let each thread end when it is done."""
        for _ in range(self._made):
            self._inbox.put(None)

    def _work(self) -> None:
        while (given := self._inbox.get()) is not None:
            try:
                self._outbox.put((given[0], run(self._do(given[1]))))
            # SystemExit as well: the thread would end without a word, and be waited for until it counted as late.
            except BaseException as error:
                self._outbox.put((given[0], error))


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
