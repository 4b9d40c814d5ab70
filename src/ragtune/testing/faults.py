"""What stands between the wire and the scripted server: requests are written down, answers go wrong as was said."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool

from ragtune._api.calls import CALLS
from ragtune.local.ids import new_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ragtune.testing.lifecycle import ScriptedRunner

__all__ = ["Change", "Fault", "Script", "SeenRequest", "Stage"]

Change = Callable[[Any], Any]


def _pattern(path: str) -> re.Pattern[str]:
    # The name of a model may hold a slash; every other id is one segment.
    groups = re.sub(r"\{(\w+)\}", lambda name: f"(?P<{name[1]}>{'.+' if name[1] == 'model' else '[^/]+'})", path)
    return re.compile(f"/v1{groups}")


_PATTERNS = [(name, call.method, _pattern(call.path)) for name, call in CALLS.items()]


@dataclass(frozen=True, kw_only=True)
class SeenRequest:
    """One request as it arrived.

    Attributes:
        call: its name in the OpenAI client, for example `files.create`; None where ragtune makes no such call.
        method: HTTP method.
        path: path with `/v1`.
        query: query parameters.
        body: the JSON body; None where there is none, as for files.

    Example:
        ```python
        from ragtune.testing import ScriptedBackend

        with ScriptedBackend() as backend, backend.client() as client:
            client.models.list()
            print([request.call for request in backend.requests])
            #> ['models.list']
        ```
    """

    call: str | None
    method: str
    path: str
    query: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """How one answer goes wrong; see `ScriptedBackend.fail_next` for the fields."""

    status: int | None
    body: bytes
    headers: Mapping[str, str]
    after_commit: bool
    drop: bool
    delay_s: float


@dataclass(kw_only=True)
class _Act:
    what: Fault | Change
    left: int | None


@dataclass
class Script:
    """What was said about coming requests, and which ones came."""

    requests: list[SeenRequest] = field(default_factory=list)
    _acts: dict[str, list[_Act]] = field(default_factory=dict)
    # The test speaks from its own thread, and requests come in the server's.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, call: str, what: Fault | Change, times: int | None) -> None:
        """Say what becomes of the next requests of a call, or of any call (`*`)."""
        if call != "*" and call not in CALLS:
            message = f"{call!r} is no call of the fine-tuning wire; there are *, {', '.join(sorted(CALLS))}"
            raise ValueError(message)
        if times is not None and times < 1:
            message = f"times={times}: say how many requests are meant, at least 1, or None for all"
            raise ValueError(message)
        with self._lock:
            self._acts.setdefault(call, []).append(_Act(what=what, left=times))

    def take(self, call: str | None) -> Fault | Change | None:
        """What becomes of a request that is here now."""
        with self._lock:
            # What was said of one call goes before what was said of all.
            for name in (call, "*"):
                acts = self._acts.get(name or "", [])
                if acts:
                    act = acts[0]
                    if act.left is not None:
                        act.left -= 1
                        if act.left == 0:
                            acts.pop(0)
                    return act.what
        return None

    def watch(self, seen: SeenRequest, scope: Scope, receive: Receive) -> Receive:
        """Write a request down, and its JSON body when the server has read it."""
        self.requests.append(seen)
        # Of files nothing is written down: they may be larger than the memory.
        if not dict(scope["headers"]).get(b"content-type", b"").startswith(b"application/json"):
            return receive
        parts: list[bytes] = []

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    self._complete(seen, b"".join(parts))
            return message

        return watched

    def _complete(self, seen: SeenRequest, content: bytes) -> None:
        # What is no JSON the server refuses itself; here it is noted without a body.
        with suppress(ValueError, RecursionError):
            whole = replace(seen, body=json.loads(content))
            for place, request in enumerate(self.requests):
                # By identity, since two requests may be equal.
                if request is seen:
                    self.requests[place] = whole

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._acts.clear()
            self.requests.clear()


class Stage:
    """The application around the server's own.

    Args:
        app: the server.
        script: what was said.
        runner: the jobs, which live on before each request is looked at.
    """

    def __init__(self, app: ASGIApp, script: Script, runner: ScriptedRunner) -> None:
        self._app = app
        self._script = script
        self._runner = runner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Play a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call, ids = _call(scope["method"], scope["path"])
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        seen = SeenRequest(call=call, method=scope["method"], path=scope["path"], query=query)
        # First: a request that is dropped came all the same.
        receive = self._script.watch(seen, scope, receive)
        await run_in_threadpool(self._runner.before, call, ids.get("fine_tuning_job_id"))
        act = self._script.take(call)
        if act is None:
            await self._play(scope, receive, send)
        elif isinstance(act, Fault):
            await self._go_wrong(act, scope, receive, send)
        else:
            await self._change(act, scope, receive, send)

    async def _play(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the server answer; its answer tells a polling client when a job can have gone on."""
        # Waits of ragtune's, and some of OpenAI's client, sleep for as long as this header says.
        wait_ms = str(round(self._runner.stage_s * 1000)).encode()

        async def send_with_hint(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"openai-poll-after-ms", wait_ms)]
            await send(message)

        await self._app(scope, receive, send_with_hint)

    async def _go_wrong(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(fault.delay_s)
        if fault.status is None and not fault.drop:
            await self._play(scope, receive, send)
            return
        if fault.after_commit:
            await self._app(scope, receive, _nowhere)
        else:
            # A client is told in peace: an answer in the middle of its upload would look like a broken connection.
            while (await receive()).get("more_body"):
                pass
        if fault.drop:
            await _hang_up(send)
        else:
            await _send(send, fault.status or 500, fault.headers, fault.body)

    async def _change(self, change: Change, scope: Scope, receive: Receive, send: Send) -> None:
        parts: list[Message] = []

        async def keep(message: Message) -> None:
            parts.append(message)

        await self._play(scope, receive, keep)
        start, content = parts[0], b"".join(part.get("body", b"") for part in parts[1:])
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        # What was changed is a true answer; an error keeps its own words. A stream and a file's content are no JSON.
        if start["status"] < 300 and headers.get("content-type", "").startswith("application/json"):
            content = json.dumps(change(json.loads(content))).encode()
        await _send(send, start["status"], headers, content)


def _call(method: str, path: str) -> tuple[str | None, Mapping[str, str]]:
    for name, its_method, pattern in _PATTERNS:
        if its_method == method and (found := pattern.fullmatch(path)):
            return name, found.groupdict()
    return None, {}


async def _nowhere(message: Message) -> None:
    pass


async def _send(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    all_headers = {"x-request-id": new_id("req_", length=32), **headers, "content-length": str(len(body))}
    raw = [(name.encode(), value.encode()) for name, value in all_headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _hang_up(send: Send) -> None:
    """Close the connection without an answer."""
    # ASGI has no word for it; uvicorn's `send` is a method of the object that holds the connection.
    cycle: Any = send.__self__  # type: ignore[attr-defined]
    cycle.transport.abort()
    # Until uvicorn knows it: else it would answer 500 in place of the answer that it misses.
    while not cycle.disconnected:
        await asyncio.sleep(0)


def faulty_answer(
    status: int | None, *, code: str | None, message: str | None, type: str | None, param: str | None
) -> Mapping[str, object]:
    """OpenAI's envelope for a scripted error."""
    kind = type or ("server_error" if (status or 0) >= 500 else "invalid_request_error")
    return {"error": {"message": message or "Scripted failure", "type": kind, "param": param, "code": code}}


def encoded(body: Mapping[str, object] | Sequence[object] | str | bytes) -> tuple[bytes, str]:
    """A body as bytes with its content type: text that begins with `<` is a page, other text stands as it is."""
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/html" if body.lstrip().startswith("<") else "text/plain"
    return json.dumps(body).encode(), "application/json"
