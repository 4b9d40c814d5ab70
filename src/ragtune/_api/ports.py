"""The one seam to the world: a port over the OpenAI client.

`SyncPort` calls an `openai.OpenAI` and never suspends, so `_sync.run` carries everything above it without an event
loop; `AsyncPort` awaits an `openai.AsyncOpenAI`. Clock and sleep belong to the port, so a test or a plan can own time.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from ragtune._api.errors import broken_off, explaining, reading_pages
from ragtune._api.identity import Heard, public_url
from ragtune._api.sending import Sending, as_json, made_for, method, raw_method, reply_of, streamed_method, with_limits
from ragtune._sync import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    import openai

    from ragtune._api.calls import Json

A = TypeVar("A")
B = TypeVar("B")

CHUNK_BYTES = 1 << 16


class Port(Protocol):
    """What the rooms need of the world; calls go by their name in the OpenAI client, for example `files.list`."""

    @property
    def base_url(self) -> str:
        """Where the calls go, without user, password and query: it stands in plans, logs and errors."""

    @property
    def owner(self) -> tuple[str | None, str | None]:
        """Organisation and project, as far as the client names them."""

    @property
    def heard(self) -> Heard:
        """What the server has said of itself so far."""

    def now(self) -> float:
        """Return seconds since 1970, for dates."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never jumps, for deadlines."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def work(self, function: Callable[..., B], *arguments: object) -> B:
        """Do blocking work (disk, hashing) where it stops nobody else."""

    async def call(
        self, name: str, /, *, retries: int | None = None, timeout_s: float | None = None, **arguments: object
    ) -> Json:
        """Make one call.

        Args:
            name: as in the OpenAI client.
            retries: how often the client may repeat it; None leaves that to the client.
            timeout_s: seconds that the server may be silent; the client's own limit holds where it is shorter.
            arguments: of the call.
        """

    def items(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate a list to the end of its pages, in the server's order."""

    def stream(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate the chunks of a streamed answer."""

    async def content(self, name: str, /, **arguments: object) -> bytes:
        """Fetch a file's bytes."""

    def chunks(self, name: str, /, **arguments: object) -> AsyncGenerator[bytes, None]:
        """Iterate a file's bytes as they come, so that no file is ever held whole."""

    def map(
        self, function: Callable[[A], Coroutine[object, None, B]], values: Sequence[A], *, concurrency: int
    ) -> AsyncGenerator[tuple[int, B], None]:
        """Apply `function` to all values, several at a time; yields (index, result) as they finish.

        An error inside `function` ends the whole iteration, so return errors as values where one must not.
        """


class SyncPort:
    """The port over an `openai.OpenAI`."""

    def __init__(
        self,
        client: openai.OpenAI,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        # Clock and sleep are given by tests, in which hours pass in no time.
        self._sleep = sleep
        self.now = now
        self.monotonic = monotonic
        self.heard = Heard(server=made_for(client))

    @property
    def base_url(self) -> str:
        """Where the calls go."""
        return public_url(str(self._client.base_url))

    @property
    def owner(self) -> tuple[str | None, str | None]:
        """Organisation and project, as far as the client names them."""
        return self._client.organization, self._client.project

    async def sleep(self, seconds: float) -> None:
        """Block this thread."""
        self._sleep(seconds)

    async def work(self, function: Callable[..., B], *arguments: object) -> B:
        """Do it here and now."""
        return function(*arguments)

    async def call(
        self, name: str, /, *, retries: int | None = None, timeout_s: float | None = None, **arguments: object
    ) -> Json:
        """Make one call."""
        client = with_limits(self._client, retries, timeout_s=timeout_s)
        with explaining(name, arguments, client=self._client, heard=self.heard), Sending(arguments) as sent:
            return reply_of(raw_method(client, name)(**sent), name, self.heard)

    async def items(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate a list to its end."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            # With its headers: they say which server this is.
            response = raw_method(self._client, name)(**arguments)
            self.heard.note(response.headers, well=True)
            with reading_pages(name):
                for item in response.parse():
                    yield as_json(item, name)

    async def stream(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate the chunks of a streamed answer; the connection closes with the iteration."""
        with (
            explaining(name, arguments, client=self._client, heard=self.heard),
            method(self._client, name)(stream=True, **arguments) as chunks,
        ):
            for chunk in chunks:
                yield as_json(chunk, name)

    async def content(self, name: str, /, **arguments: object) -> bytes:
        """Fetch a file's bytes."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            body: bytes = method(self._client, name)(**arguments).read()
            return body

    async def chunks(self, name: str, /, **arguments: object) -> AsyncGenerator[bytes, None]:
        """Iterate a file's bytes."""
        with (
            explaining(name, arguments, client=self._client, heard=self.heard),
            broken_off(),
            streamed_method(self._client, name)(**arguments) as response,
        ):
            for chunk in response.iter_bytes(CHUNK_BYTES):
                yield chunk

    async def map(
        self, function: Callable[[A], Coroutine[object, None, B]], values: Sequence[A], *, concurrency: int
    ) -> AsyncGenerator[tuple[int, B], None]:
        """Apply `function` in threads that die with the program, so that Ctrl-C is obeyed at once."""
        todo: queue.SimpleQueue[tuple[int, A]] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, B | None, BaseException | None]] = queue.SimpleQueue()
        for index, value in enumerate(values):
            todo.put((index, value))

        def worker() -> None:
            while True:
                try:
                    index, value = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put((index, run(function(value)), None))
                # A thread cannot raise across: whatever ends it must reach who waits, or that one waits for ever.
                except BaseException as error:
                    done.put((index, None, error))

        for _ in range(min(concurrency, len(values))):
            threading.Thread(target=worker, name="ragtune-map", daemon=True).start()
        try:
            for _ in values:
                index, result, error = done.get()
                if error is not None:
                    raise error
                yield index, result  # type: ignore[misc]  # without an error there is a result
        finally:
            # Nobody waits for the rest: each thread ends after what it is at.
            while not todo.empty():
                todo.get_nowait()


class AsyncPort:
    """The port over an `openai.AsyncOpenAI`."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[object, None, None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._sleep = sleep
        self.now = now
        self.monotonic = monotonic
        self.heard = Heard(server=made_for(client))

    @property
    def base_url(self) -> str:
        """Where the calls go."""
        return public_url(str(self._client.base_url))

    @property
    def owner(self) -> tuple[str | None, str | None]:
        """Organisation and project, as far as the client names them."""
        return self._client.organization, self._client.project

    async def sleep(self, seconds: float) -> None:
        """Let the event loop go on meanwhile."""
        await self._sleep(seconds)

    async def work(self, function: Callable[..., B], *arguments: object) -> B:
        """Do it in a thread."""
        return await asyncio.to_thread(function, *arguments)

    async def call(
        self, name: str, /, *, retries: int | None = None, timeout_s: float | None = None, **arguments: object
    ) -> Json:
        """Make one call."""
        client = with_limits(self._client, retries, timeout_s=timeout_s)
        with explaining(name, arguments, client=self._client, heard=self.heard), Sending(arguments) as sent:
            return reply_of(await raw_method(client, name)(**sent), name, self.heard)

    async def items(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate a list to its end."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            response = await raw_method(self._client, name)(**arguments)
            self.heard.note(response.headers, well=True)
            with reading_pages(name):
                async for item in response.parse():
                    yield as_json(item, name)

    async def stream(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate the chunks of a streamed answer; the connection closes with the iteration."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            async with await method(self._client, name)(stream=True, **arguments) as chunks:
                async for chunk in chunks:
                    yield as_json(chunk, name)

    async def content(self, name: str, /, **arguments: object) -> bytes:
        """Fetch a file's bytes."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            response = await method(self._client, name)(**arguments)
            body: bytes = await response.aread()
            return body

    async def chunks(self, name: str, /, **arguments: object) -> AsyncGenerator[bytes, None]:
        """Iterate a file's bytes."""
        with explaining(name, arguments, client=self._client, heard=self.heard), broken_off():
            async with streamed_method(self._client, name)(**arguments) as response:
                async for chunk in response.iter_bytes(CHUNK_BYTES):
                    yield chunk

    async def map(
        self, function: Callable[[A], Coroutine[object, None, B]], values: Sequence[A], *, concurrency: int
    ) -> AsyncGenerator[tuple[int, B], None]:
        """Apply `function` in tasks; what still runs is cancelled when the iteration ends early."""
        places = asyncio.Semaphore(concurrency)

        async def numbered(index: int, value: A) -> tuple[int, B]:
            async with places:
                return index, await function(value)

        tasks = [asyncio.create_task(numbered(index, value)) for index, value in enumerate(values)]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for pending in tasks:
                pending.cancel()
            # A generator that is closed must leave no task behind that nobody awaits.
            await asyncio.gather(*tasks, return_exceptions=True)
