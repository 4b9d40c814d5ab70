"""The web application of the docs, served by uvicorn, on a backend whose answers can be watched."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from examples.web_application import application
from ragtune.local import LocalBackend
from ragtune.local.engine import GenerateRequest
from ragtune.local.engine.generation import GeneratedPiece, Generation
from tests.local.kit import until

WORDS = 200


class SlowEngine:
    """Says a word every 20 ms, until nobody listens any more; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[GenerateRequest] = []
        self.left: list[int] = []

    def submit(self, request: GenerateRequest) -> Generation:
        self.asked.append(request)
        generation = Generation(1)
        generation.prompt_tokens = 1
        threading.Thread(target=self._write, args=(generation,), daemon=True).start()
        return generation

    def _write(self, generation: Generation) -> None:
        for number in range(WORDS):
            if generation.is_cancelled:
                self.left.append(number)
                return
            reason = "stop" if number == WORDS - 1 else None
            generation.put(GeneratedPiece(index=0, text=f"w{number} ", finish_reason=reason))  # type: ignore[arg-type]
            time.sleep(0.02)

    def close(self) -> None:
        """Nothing is kept."""


@contextmanager
def served(app: Any) -> Iterator[str]:
    """An application under uvicorn, as it would run."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def engine() -> SlowEngine:
    return SlowEngine()


@pytest.fixture
def web(tmp_path: Path, engine: SlowEngine) -> Iterator[httpx2.Client]:
    with (
        LocalBackend(tmp_path / "backend", engine=engine) as backend,
        served(application(lambda: backend.async_client(max_retries=0), "tiny-random")) as address,
        httpx2.Client(base_url=address, timeout=30) as browser,
    ):
        yield browser


@pytest.mark.slow
def test_a_stream_comes_word_by_word_and_says_how_it_ended(web: httpx2.Client) -> None:
    begin = time.monotonic()
    with web.stream("POST", "/stream", json={"question": "Why?"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = []
        for line in response.iter_lines():
            if line:
                events.append(json.loads(line.removeprefix("data: ")))
                if len(events) == 1:
                    first = time.monotonic() - begin
    assert "".join(event.get("text", "") for event in events) == "".join(f"w{n} " for n in range(WORDS))
    assert events[-1] == {"end": "stop", "hint": None}
    assert first < (time.monotonic() - begin) / 2


def test_the_model_stops_writing_when_the_reader_leaves(web: httpx2.Client, engine: SlowEngine) -> None:
    with web.stream("POST", "/stream", json={"messages": [{"role": "user", "content": "Why?"}]}) as response:
        next(response.iter_lines())
    until(lambda: engine.left)
    assert engine.left[0] < WORDS // 2
    assert len(engine.asked) == 1


def test_one_client_serves_all_requests(web: httpx2.Client, engine: SlowEngine) -> None:
    """The client is opened once; its connections are used again."""
    for _ in range(3):
        with web.stream("POST", "/stream", json={"question": "Why?"}) as response:
            next(response.iter_lines())
    until(lambda: len(engine.left) == 3)


def test_what_the_model_refuses_is_a_status_without_details(tmp_path: Path, engine: SlowEngine) -> None:
    with (
        LocalBackend(tmp_path / "backend", engine=engine) as backend,
        served(application(lambda: backend.async_client(api_key="wrong"), "tiny-random")) as address,
    ):
        for path in ("/ask", "/stream"):
            refused = httpx2.post(f"{address}{path}", json={"question": "Why?"})
            assert (refused.status_code, refused.json()) == (502, {"error": "please try again"})
