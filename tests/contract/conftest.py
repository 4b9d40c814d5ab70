"""Real servers for the client side: a scripted one, the embedded backend, and the judge of requests."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import openai
import pytest

import ragtune as rt
from ragtune._api import Api
from ragtune._api.ports import AsyncPort, SyncPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HangupError(Exception):
    """Close the connection without an answer."""


@dataclass
class Stub:
    """A server over loopback that answers by script and writes down what it was asked.

    `answers[("GET", "/files")]` is a list of answers, the last of which repeats. An answer is a JSON value (200), a
    pair (status, value), bytes, or a function of the request that returns one of these. For the method `STREAM`, which
    is a POST that asks for a stream, it is the list of the chunks' bodies.
    """

    base_url: str = ""
    answers: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, method: str, path: str, *answers: Any) -> Stub:
        self.answers[method, path] = list(answers)
        return self

    def sent(self, method: str, path: str) -> list[Request]:
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def answer(self, request: Request) -> Any:
        with self.lock:
            self.requests.append(request)
            streamed = self.answers.get(("STREAM", request.path)) if b'"stream":true' in request.body else None
            if streamed is not None:
                request.method = "STREAM"
                chunks = streamed[0] if isinstance(streamed[0], list) else streamed
                return (
                    b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
                )
            script = self.answers.get((request.method, request.path))
            if script is None:
                return 404, error("nothing here", code=None)
            found = script.pop(0) if len(script) > 1 else script[0]
        return found(request) if callable(found) else found


def error(message: str, *, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def page(*items: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "has_more": False}


def job(id: str = "ftjob-1", status: str = "succeeded", **more: Any) -> dict[str, Any]:
    body = {"id": id, "object": "fine_tuning.job", "status": status, "model": "base", "created_at": 1_800_000_000}
    return body | {"fine_tuned_model": None, "training_file": "file-1", "result_files": []} | more


def event(number: int, **more: Any) -> dict[str, Any]:
    body = {"id": f"ftevent-{number}", "object": "fine_tuning.job.event", "created_at": 1_800_000_000 + number}
    return body | {"level": "info", "message": f"event {number}", "type": "message", "data": None} | more


class Handler(BaseHTTPRequestHandler):
    stub: Stub
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece: sent apart, the second waits 40 ms for the first to be acknowledged
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = url.path.removeprefix("/v1")
        request = Request(self.command, path, parse_qs(url.query), body, dict(self.headers))
        try:
            answer = self.stub.answer(request)
        except HangupError:
            self.close_connection = True
            return
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        payload = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        binary = "text/event-stream" if payload.startswith(b"data: ") else "application/octet-stream"
        kind = binary if isinstance(value, bytes) else "application/json"
        for name, text in ({"content-type": kind} | self.stub.headers).items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  # names that http.server looks for

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A scripted server; see `Stub`."""
    script = Stub()
    handler = type("ScriptedHandler", (Handler,), {"stub": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    script.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    yield script
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Clock:
    """Time that only passes when somebody sleeps."""

    seconds: float = 1_763_000_000.0
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] | None = None

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        if self.on_sleep is not None:
            self.on_sleep()

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(stub: Stub) -> Iterator[openai.OpenAI]:
    """An ordinary client of the scripted server that does not try again by itself."""
    with openai.OpenAI(base_url=stub.base_url, api_key="sk-test-secret-key", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def api(client: openai.OpenAI, clock: Clock) -> Api:
    """The calls over that client, with a clock that passes at once."""
    return Api(SyncPort(client, now=clock.now, monotonic=clock.now, sleep=clock.sleep))


@pytest.fixture
def make_async_api(stub: Stub, clock: Clock) -> Callable[[], tuple[openai.AsyncOpenAI, Api]]:
    """Makes the asynchronous twin of `api`; inside the loop that will use it."""

    def make() -> tuple[openai.AsyncOpenAI, Api]:
        client = openai.AsyncOpenAI(base_url=stub.base_url, api_key="sk-test-secret-key", max_retries=0, timeout=10)
        return client, Api(AsyncPort(client, now=clock.now, monotonic=clock.now, sleep=clock.sleep_async))

    return make


@pytest.fixture
def wire() -> Any:
    """Builders of server bodies."""
    return type(
        "Wire", (), {n: staticmethod(f) for n, f in globals().items() if n in ("job", "event", "page", "error")}
    )


@pytest.fixture
def hangup() -> type[Exception]:
    """Raised by a scripted answer to close the connection without one."""
    return HangupError


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> rt.Dataset:
    """Twelve sums with one system prompt, and a validation split."""
    rows = [{"q": f"What is {n} + {n}?", "a": f"It is {n + n}."} for n in range(15)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(system="Add up.", user="{q}", assistant="{a}")
    return builder.build(tmp_path_factory.mktemp("sums") / "dataset", validation=0.2, seed=7)


@pytest.fixture(scope="session")
def prism_command(shared: Path) -> tuple[Path, Path]:
    """The mock that judges requests, and OpenAI's schema; skipped by name where either is absent."""
    schema = shared / "wire/openapi-finetune.prism.json"
    prism = Path(os.environ.get("RAGTUNE_PRISM") or Path(__file__).parents[2] / ".ci/node/node_modules/.bin/prism")
    if not prism.exists():
        pytest.skip(f"needs prism, the mock that judges requests: {prism} is absent")
    if not schema.exists():
        pytest.skip("needs ../shared/wire/openapi-finetune.prism.json")
    return prism, schema
