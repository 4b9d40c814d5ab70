"""An engine that speaks the documented routes of vLLM, SGLang or llama.cpp over real HTTP, with faults on demand.

Its answers are those of `ragtune.local.engine.Engine` on the tiny base, or what a test gives it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ragtune.local.engine import Engine, GeneratedPiece, GenerateRequest, TokenLogprob
from ragtune.local.engine.batch_row import spelled
from ragtune.local.remote_engine import EngineKind
from ragtune.modelling.base_model import load_tokenizer
from ragtune.modelling.bases import resolve_base

OWNERS: dict[str, str] = {"vllm": "vllm", "sglang": "sglang", "llama.cpp": "llamacpp"}
Trouble = Literal["dies", "empty", "error event", "no end", "busy", "refuses", "stumbles", "hangs"]


@dataclass(eq=False, kw_only=True)
class StubEngine:
    """What the engine is and does.

    Attributes:
        kind: whose routes it speaks.
        base: folder of the base that it serves.
        key: the key that it asks for.
        owner: what it calls itself; None for what its kind does.
        room: most adapters that it holds; None for any number.
        takes_adapters: whether adapters may come while it runs.
        trouble: what goes wrong with the next answers.
        counts: what it tells in place of the counts of tokens; None for these.
        says: words of every answer, by adapter; None lets the tiny base answer.
        adapters: name and path of those that it holds; a llama.cpp engine was started with them.
        asked: bodies of completions, as they came.
        left: answers that their asker left before the end.
        port: where it listens; 0 until it is started.
    """

    kind: EngineKind = "vllm"
    base: Path = field(default_factory=lambda: resolve_base("tiny-random"))
    key: str | None = None
    owner: str | None = None
    room: int | None = None
    takes_adapters: bool = True
    max_model_len: Any = None
    trouble: Trouble | None = None
    counts: dict[str, Any] | None = None
    says: Callable[[str | None], list[str]] | None = None
    adapters: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    left: int = 0
    port: int = 0

    @property
    def address(self) -> str:
        """As `LocalBackend(engine=...)` takes it."""
        return f"{self.kind}=http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[StubEngine]:
        """Listen, at the same port as before if it has one."""
        config = uvicorn.Config(_application(self), port=self.port, log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            threading.Event().wait(0.01)
        self.port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join(10)


def _application(stub: StubEngine) -> Starlette:
    routes = [
        Route("/v1/models", partial(_guarded, stub, _models)),
        Route("/v1/completions", partial(_guarded, stub, _completions), methods=["POST"]),
    ]
    if stub.kind == "llama.cpp":
        routes += [
            Route("/lora-adapters", partial(_guarded, stub, _lora_adapters)),
            Route("/props", partial(_guarded, stub, _props)),
        ]
    elif stub.takes_adapters:
        head = "/v1" if stub.kind == "vllm" else ""
        routes += [
            Route(f"{head}/load_lora_adapter", partial(_guarded, stub, _load), methods=["POST"]),
            Route(f"{head}/unload_lora_adapter", partial(_guarded, stub, _unload), methods=["POST"]),
        ]
    if stub.kind == "sglang":
        routes.append(Route("/get_model_info", partial(_guarded, stub, _props)))
    app = Starlette(routes=routes)

    async def not_found(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "Not Found"}, status_code=404)

    app.add_exception_handler(404, not_found)
    return app


async def _guarded(stub: StubEngine, handler: Callable[..., Any], request: Request) -> Response:
    if stub.key is not None and request.headers.get("authorization") != f"Bearer {stub.key}":
        return JSONResponse({"error": "Unauthorized"}, status_code=401)
    answer: Response = await handler(stub, request)
    return answer


async def _models(stub: StubEngine, request: Request) -> Response:
    owned_by = stub.owner or OWNERS[stub.kind]
    name = "served" if stub.kind == "sglang" else str(stub.base)
    base = {"id": name, "object": "model", "owned_by": owned_by, "root": name, "parent": None}
    if stub.max_model_len is not None:
        base["max_model_len"] = stub.max_model_len
    tuned = [
        {"id": one, "object": "model", "owned_by": owned_by, "root": path, "parent": name}
        for one, path in stub.adapters.items()
        if stub.kind != "llama.cpp"
    ]
    return JSONResponse({"object": "list", "data": [base, *tuned]})


async def _props(stub: StubEngine, request: Request) -> Response:
    return JSONResponse({"model_path": str(stub.base)})


async def _lora_adapters(stub: StubEngine, request: Request) -> Response:
    paths = enumerate(stub.adapters.values())
    return JSONResponse([{"id": number, "path": path, "scale": 1.0} for number, path in paths])


async def _load(stub: StubEngine, request: Request) -> Response:
    body = await request.json()
    name, path = body["lora_name"], body["lora_path"]
    if name in stub.adapters:
        return _lora_error(stub, 400, f"The lora adapter '{name}' has already been loaded.")
    if stub.room is not None and len(stub.adapters) >= stub.room:
        return _lora_error(stub, 400, f"no room: {len(stub.adapters)} adapters of {path} are loaded, the most here")
    stub.adapters[name] = path
    if stub.kind == "vllm":
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")
    return JSONResponse({"success": True, "error_message": "", "loaded_adapters": stub.adapters})


async def _unload(stub: StubEngine, request: Request) -> Response:
    name = (await request.json())["lora_name"]
    if stub.adapters.pop(name, None) is None:
        return _lora_error(stub, 404, f"The lora adapter '{name}' cannot be found.")
    return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")


def _lora_error(stub: StubEngine, status: int, message: str) -> Response:
    if stub.kind == "sglang":
        return JSONResponse({"success": False, "error_message": message}, status_code=400)
    error = {"message": message, "type": "InvalidUserInput", "param": None, "code": status}
    return JSONResponse({"error": error}, status_code=status)


async def _completions(stub: StubEngine, request: Request) -> Response:
    body = await request.json()
    stub.asked.append(body)
    troubles = {"busy": (503, "loading"), "refuses": (400, "no such parameter"), "stumbles": (500, f"in {stub.base}")}
    if stub.trouble in troubles:
        status, message = troubles[stub.trouble]
        return JSONResponse({"error": {"message": message, "type": "e", "code": status}}, status_code=status)
    model = body["model"]
    name = body.get("lora_path") if stub.kind == "sglang" else None if model == str(stub.base) else model
    if stub.kind == "llama.cpp":
        on = [one["id"] for one in body["lora"] if one["scale"]]
        name = list(stub.adapters)[on[0]] if on else None
    if name is not None and name not in stub.adapters:
        error = {"message": f"The model `{name}` does not exist.", "type": "NotFoundError", "code": 404}
        return JSONResponse({"error": error}, status_code=404 if stub.kind == "vllm" else 400)
    return StreamingResponse(_stream(stub, body, name), media_type="text/event-stream")


async def _stream(stub: StubEngine, body: dict[str, Any], adapter: str | None) -> AsyncIterator[bytes]:
    whole = False
    try:
        sent, usage = 0, {"prompt_tokens": len(body["prompt"]), "completion_tokens": 0}
        if stub.trouble == "hangs":
            await asyncio.sleep(60)
        if stub.trouble != "empty":
            async for index, text, tokens, reason, count in _pieces(stub, body, adapter):
                usage["completion_tokens"] += count
                told = _logprobs(stub, tokens) if "logprobs" in body else None
                if stub.trouble == "dies" and sent:
                    raise OSError("the engine dies")
                if stub.trouble == "error event" and sent:
                    yield _event({"error": {"message": f"died in {stub.base}", "type": "E", "code": 500}})
                    return
                if stub.trouble == "no end":
                    reason = None
                choice = {"index": index, "text": text, "logprobs": told, "finish_reason": reason}
                yield _event({"id": "cmpl-1", "object": "text_completion", "choices": [choice]})
                sent += 1
            total = sum(usage.values())
            told_counts = {**usage, "total_tokens": total} if stub.counts is None else stub.counts
            yield _event({"id": "cmpl-1", "choices": [], "usage": told_counts})
        yield b"data: [DONE]\n\n"
        whole = True
    finally:
        stub.left += not whole


async def _pieces(
    stub: StubEngine, body: dict[str, Any], adapter: str | None
) -> AsyncIterator[tuple[int, str, tuple[TokenLogprob, ...], str | None, int]]:
    """Index, text, tokens, end and number of new tokens of each piece."""
    if stub.says is not None:
        words = stub.says(adapter)
        for place, word in enumerate(words[: body["max_tokens"]]):
            await asyncio.sleep(0.01)
            last = place + 1 == min(len(words), body["max_tokens"])
            yield 0, word, (), ("stop" if last and len(words) <= body["max_tokens"] else "length") if last else None, 1
        return
    generation = ENGINE.submit(_asked(stub, body))
    before = 0
    pieces: Iterator[GeneratedPiece] = iter(generation)
    async for piece in iterate_in_threadpool(pieces):
        count, before = generation.completion_tokens - before, generation.completion_tokens
        yield piece.index, piece.text, piece.logprobs, piece.finish_reason, count


ENGINE = Engine(threads=1)


def _asked(stub: StubEngine, body: dict[str, Any]) -> GenerateRequest:
    form = body.get("response_format", {}).get("json_schema", {}).get("schema") or body.get("json_schema")
    return GenerateRequest(
        base_path=stub.base,
        prompt=body["prompt"],
        max_tokens=body["max_tokens"],
        temperature=body["temperature"],
        top_p=body["top_p"],
        frequency_penalty=body["frequency_penalty"],
        presence_penalty=body["presence_penalty"],
        logit_bias={int(token): bias for token, bias in body.get("logit_bias", {}).items()},
        stop=tuple(body.get("stop", ())),
        seed=body.get("seed"),
        n=body["n"],
        json_schema=json.loads(form) if isinstance(form, str) else form,
        logprobs="logprobs" in body,
        top_logprobs=body.get("logprobs", 0),
    )


def _logprobs(stub: StubEngine, tokens: tuple[TokenLogprob, ...]) -> dict[str, Any]:
    """Told as each kind tells them: vLLM by id where it is asked to, llama.cpp by id and bytes, SGLang by text."""
    if stub.kind == "llama.cpp":
        return {
            "content": [
                {
                    "id": _id(stub, token.token, token.bytes),
                    "token": token.token,
                    "logprob": token.logprob,
                    "top_logprobs": [
                        {"id": _id(stub, text, known), "token": text, "logprob": value}
                        for text, value, known in token.top
                    ],
                }
                for token in tokens
            ]
        }

    def name(text: str, known: tuple[int, ...] | None) -> str:
        return f"token_id:{_id(stub, text, known)}" if stub.kind == "vllm" else text

    return {
        "tokens": [name(token.token, token.bytes) for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{name(text, known): value for text, value, known in token.top} for token in tokens],
        "text_offset": [token.offset for token in tokens],
    }


_IDS: dict[Path, dict[tuple[str, tuple[int, ...] | None], int]] = {}


def _id(stub: StubEngine, text: str, known: tuple[int, ...] | None) -> int:
    if stub.base not in _IDS:
        tokenizer = load_tokenizer(stub.base)
        _IDS[stub.base] = {spelled(tokenizer, token): token for token in range(len(tokenizer))}
    return _IDS[stub.base][text, known]


def _event(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


def main() -> None:
    """Play `vllm serve FOLDER --port N` as a program, with the key that its environment holds."""
    base, port = Path(sys.argv[2]), int(sys.argv[sys.argv.index("--port") + 1])
    stub = StubEngine(base=base, port=port, key=os.environ["VLLM_API_KEY"], says=lambda adapter: [adapter or "base"])
    print("the stub of an engine listens", flush=True)
    with stub.running():
        signal.pause()


if __name__ == "__main__":
    main()
