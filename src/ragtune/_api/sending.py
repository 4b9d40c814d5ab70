"""One call of the OpenAI client: its method found by name, its files opened for it, its reply read."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ragtune._api.calls import FilePart, LocalFile, Reply
from ragtune._api.errors import UnreadableReplyError
from ragtune._api.identity import SERVER_HEADER, Heard
from ragtune._api.times import poll_after_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    import openai

    from ragtune._api.calls import Json

__all__ = ["Sending", "as_json", "made_for", "method", "raw_method", "reply_of", "streamed_method", "with_limits"]

Client = TypeVar("Client", "openai.OpenAI", "openai.AsyncOpenAI")

# As the OpenAI client has it.
CONNECT_S = 5.0


class Sending:
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


def reply_of(response: _Response, call: str, heard: Heard) -> Reply:
    """Return a reply as JSON, with what its headers say; who answered is noted."""
    heard.note(response.headers, well=True)
    reply = Reply(as_json(response.parse(), call))
    reply.poll_after_s = poll_after_s(response.headers)
    return reply


def with_limits(client: Client, retries: int | None, *, timeout_s: float | None) -> Client:
    """Return a client that tries and waits so much; None leaves either to the client as it is."""
    import openai

    options: dict[str, Any] = {} if retries is None else {"max_retries": retries}
    if timeout_s is not None:
        own = client.timeout.read if isinstance(client.timeout, openai.Timeout) else client.timeout
        # A caller who gives up sooner still does.
        seconds = timeout_s if own is None else min(own, timeout_s)
        # One number would also be the time to connect: a server that is off is noticed within seconds and not minutes.
        options["timeout"] = openai.Timeout(seconds, connect=min(CONNECT_S, seconds))
    return client.with_options(**options) if options else client


def method(client: openai.OpenAI | openai.AsyncOpenAI, name: str) -> Callable[..., Any]:
    """The method of a client that has a name such as `files.list`."""
    found: Callable[..., Any] = attrgetter(name)(client)
    return found


def raw_method(client: openai.OpenAI | openai.AsyncOpenAI, name: str) -> Callable[..., Any]:
    """The same method, giving the response with its headers."""
    room, _, verb = name.rpartition(".")
    return method(client, f"{room}.with_raw_response.{verb}")


def streamed_method(client: openai.OpenAI | openai.AsyncOpenAI, name: str) -> Callable[..., Any]:
    """The same method, giving the response before its body is read."""
    room, _, verb = name.rpartition(".")
    return method(client, f"{room}.with_streaming_response.{verb}")


def made_for(client: openai.OpenAI | openai.AsyncOpenAI) -> str | None:
    """Which server a client was made for, by whoever made it."""
    told = client.default_headers.get(SERVER_HEADER)
    return told if isinstance(told, str) else None
