"""The one seam to the world: a port over the OpenAI client.

`SyncPort` calls an `openai.OpenAI` and never suspends, so `_sync.run` carries everything above it without an event
loop; `AsyncPort` awaits an `openai.AsyncOpenAI`. Clock and sleep belong to the port, so a test or a plan can own time.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ragtune._api.calls import FilePart, LocalFile, Reply
from ragtune._api.errors import UnreadableReplyError, broken_off, explaining, reading_pages
from ragtune._api.identity import SERVER_HEADER, Heard, public_url
from ragtune._api.times import poll_after_s
from ragtune._sync import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
    from typing import BinaryIO

    import openai

    from ragtune._api.calls import Json

A = TypeVar("A")
B = TypeVar("B")
Client = TypeVar("Client", "openai.OpenAI", "openai.AsyncOpenAI")

# As the OpenAI client has it.
CONNECT_S = 5.0
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
        self.heard = Heard(server=_made_for(client))

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
        client = _with(self._client, retries, timeout_s=timeout_s)
        with explaining(name, arguments, client=self._client, heard=self.heard), _Sending(arguments) as sent:
            return _reply(_raw_method(client, name)(**sent), name, self.heard)

    async def items(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate a list to its end."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            # With its headers: they say which server this is.
            response = _raw_method(self._client, name)(**arguments)
            self.heard.note(response.headers, well=True)
            with reading_pages(name):
                for item in response.parse():
                    yield as_json(item, name)

    async def stream(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate the chunks of a streamed answer; the connection closes with the iteration."""
        with (
            explaining(name, arguments, client=self._client, heard=self.heard),
            _method(self._client, name)(stream=True, **arguments) as chunks,
        ):
            for chunk in chunks:
                yield as_json(chunk, name)

    async def content(self, name: str, /, **arguments: object) -> bytes:
        """Fetch a file's bytes."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            body: bytes = _method(self._client, name)(**arguments).read()
            return body

    async def chunks(self, name: str, /, **arguments: object) -> AsyncGenerator[bytes, None]:
        """Iterate a file's bytes."""
        with (
            explaining(name, arguments, client=self._client, heard=self.heard),
            broken_off(),
            _streamed_method(self._client, name)(**arguments) as response,
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
        self.heard = Heard(server=_made_for(client))

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
        client = _with(self._client, retries, timeout_s=timeout_s)
        with explaining(name, arguments, client=self._client, heard=self.heard), _Sending(arguments) as sent:
            return _reply(await _raw_method(client, name)(**sent), name, self.heard)

    async def items(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate a list to its end."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            response = await _raw_method(self._client, name)(**arguments)
            self.heard.note(response.headers, well=True)
            with reading_pages(name):
                async for item in response.parse():
                    yield as_json(item, name)

    async def stream(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Iterate the chunks of a streamed answer; the connection closes with the iteration."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            async with await _method(self._client, name)(stream=True, **arguments) as chunks:
                async for chunk in chunks:
                    yield as_json(chunk, name)

    async def content(self, name: str, /, **arguments: object) -> bytes:
        """Fetch a file's bytes."""
        with explaining(name, arguments, client=self._client, heard=self.heard):
            response = await _method(self._client, name)(**arguments)
            body: bytes = await response.aread()
            return body

    async def chunks(self, name: str, /, **arguments: object) -> AsyncGenerator[bytes, None]:
        """Iterate a file's bytes."""
        with explaining(name, arguments, client=self._client, heard=self.heard), broken_off():
            async with _streamed_method(self._client, name)(**arguments) as response:
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


class _Sending:
    """Opens the local files among the arguments for the time of one call, and closes them after it."""

    def __init__(self, arguments: Mapping[str, object]) -> None:
        self._arguments = arguments
        self._open: list[BinaryIO] = []

    def __enter__(self) -> dict[str, object]:
        return {name: self._opened(value) for name, value in self._arguments.items()}

    def __exit__(self, *_: object) -> None:
        for handle in self._open:
            handle.close()

    def _opened(self, value: object) -> object:
        if isinstance(value, FilePart):
            with open(value.path, "rb") as whole:
                whole.seek(value.offset)
                return value.name, whole.read(value.bytes)
        if not isinstance(value, LocalFile):
            return value
        handle = open(value.path, "rb")  # noqa: SIM115  # closed in __exit__, after the call has read it
        self._open.append(handle)
        # A handle, never a path or bytes: the client then streams the file instead of loading it.
        return value.name, handle


def as_json(reply: object, call: str) -> Json:
    """Return a reply of the client as the JSON object that the server sent.

    Raises:
        UnreadableReplyError: it is no object, for example a proxy's HTML page.
    """
    to_dict = getattr(reply, "to_dict", None)
    if to_dict is None:
        message = f"{call} was answered with something that is not a JSON object: {str(reply)[:200]!r}"
        raise UnreadableReplyError(message)
    # `warnings=False`: servers send more states and fields than the client's types know; they pass through.
    body: Json = to_dict(warnings=False)
    return body


class _Response(Protocol):
    """What the client gives for a call when its headers are wanted, too."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    def parse(self) -> object: ...


def _reply(response: _Response, call: str, heard: Heard) -> Reply:
    heard.note(response.headers, well=True)
    reply = Reply(as_json(response.parse(), call))
    reply.poll_after_s = poll_after_s(response.headers)
    return reply


def _with(client: Client, retries: int | None, *, timeout_s: float | None) -> Client:
    import openai

    options: dict[str, Any] = {} if retries is None else {"max_retries": retries}
    if timeout_s is not None:
        own = client.timeout.read if isinstance(client.timeout, openai.Timeout) else client.timeout
        # A caller who gives up sooner still does.
        seconds = timeout_s if own is None else min(own, timeout_s)
        # One number would also be the time to connect: a server that is off is noticed within seconds and not minutes.
        options["timeout"] = openai.Timeout(seconds, connect=min(CONNECT_S, seconds))
    return client.with_options(**options) if options else client


def _method(client: openai.OpenAI | openai.AsyncOpenAI, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = attrgetter(name)(client)
    return found


def _raw_method(client: openai.OpenAI | openai.AsyncOpenAI, name: str) -> Callable[..., Any]:
    """The same method, giving the response with its headers."""
    room, _, verb = name.rpartition(".")
    return _method(client, f"{room}.with_raw_response.{verb}")


def _streamed_method(client: openai.OpenAI | openai.AsyncOpenAI, name: str) -> Callable[..., Any]:
    """The same method, giving the response before its body is read."""
    room, _, verb = name.rpartition(".")
    return _method(client, f"{room}.with_streaming_response.{verb}")


def _made_for(client: openai.OpenAI | openai.AsyncOpenAI) -> str | None:
    """Which server a client was made for, by whoever made it."""
    told = client.default_headers.get(SERVER_HEADER)
    return told if isinstance(told, str) else None
