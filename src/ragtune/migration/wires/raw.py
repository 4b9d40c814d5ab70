"""Requests that OpenAI's client has no method for, over the same client: its key, its address, its errors."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

    import openai

    from ragtune._api.calls import Json

__all__ = ["AsyncRaw", "Raw", "SyncRaw", "put_file"]

CONNECT_S = 60.0


class Raw(Protocol):
    """Sends one request, and never twice."""

    async def send(
        self, method: str, path: str, *, body: Json | None = None, file: Path | None = None, name: str = ""
    ) -> Json:
        """Return the JSON object of the answer.

        Args:
            method: GET or POST.
            path: below the base URL.
            body: JSON, or the fields of a form where there is a file.
            file: sent as the form's `file`.
            name: what the server shall call it.
        """


def _options(file: Path | None) -> dict[str, Any]:
    # A redirect is an answer of its own here: it says where a file has to go.
    options: dict[str, Any] = {"max_retries": 0, "follow_redirects": False}
    # By this header OpenAI's client makes a form; without it the body goes as JSON.
    return options if file is None else options | {"headers": {"Content-Type": "multipart/form-data"}}


class SyncRaw:
    """Over an `openai.OpenAI`."""

    def __init__(self, client: openai.OpenAI) -> None:
        self._client = client

    async def send(
        self, method: str, path: str, *, body: Json | None = None, file: Path | None = None, name: str = ""
    ) -> Json:
        """Send it."""
        options: Any = _options(file)
        if method == "GET":
            return _object(self._client.get(path, cast_to=object, options=options))
        if file is None:
            return _object(self._client.post(path, cast_to=object, body=body, options=options))
        with file.open("rb") as content:
            files = [("file", (name, content, "application/jsonl"))]
            return _object(self._client.post(path, cast_to=object, body=body or {}, files=files, options=options))


class AsyncRaw:
    """Over an `openai.AsyncOpenAI`."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    async def send(
        self, method: str, path: str, *, body: Json | None = None, file: Path | None = None, name: str = ""
    ) -> Json:
        """Send it."""
        options: Any = _options(file)
        if method == "GET":
            return _object(await self._client.get(path, cast_to=object, options=options))
        if file is None:
            return _object(await self._client.post(path, cast_to=object, body=body, options=options))
        with file.open("rb") as content:
            files = [("file", (name, content, "application/jsonl"))]
            return _object(await self._client.post(path, cast_to=object, body=body or {}, files=files, options=options))


def _object(answer: object) -> Json:
    return answer if isinstance(answer, dict) else {}


def put_file(url: str, file: Path) -> None:
    """Send a file to an address that a server named; it is a stranger's, so no key goes along.

    Raises:
        BackendError: the address is none of HTTP's.
        OSError: it did not take the file.
    """
    # `urllib` opens files of this machine and FTP as well.
    if urlsplit(url).scheme not in ("http", "https"):
        raise BackendError(f"the server sent the file to {url[:80]!r}, which is no address of HTTP")
    # With its length: of a file alone `urllib` would send chunks, which many signed addresses refuse.
    headers = {"Content-Length": str(file.stat().st_size), "Content-Type": "application/octet-stream"}
    with file.open("rb") as content:
        request = urllib.request.Request(url, data=content, headers=headers, method="PUT")
        with urllib.request.urlopen(request, timeout=CONNECT_S) as answer:
            answer.read()
