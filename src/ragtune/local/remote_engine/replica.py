"""One engine: whether it is there, which base it serves, which adapters it holds."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai

from ragtune.local.engine.request import ContextOverflowError, EngineFaultError, RequestError
from ragtune.local.remote_engine.names import name_of, names_of
from ragtune.local.remote_engine.wire import WIRES, body_of, lora_of

if TYPE_CHECKING:
    from ragtune.local.engine.base_text import BaseText
    from ragtune.local.engine.prompt import Prompt
    from ragtune.local.engine.request import GenerateRequest
    from ragtune.local.remote_engine.address import EngineAddress
    from ragtune.local.remote_engine.reader import AnswerReader

__all__ = ["Replica"]

logger = logging.getLogger("ragtune")

_CONNECT_S = 5.0
_LOOK_S = 10.0
# A prompt may stand in an engine's queue for minutes before its first token.
_SILENCE_S = 600.0
_LOAD_S = 120.0


@dataclass(frozen=True, kw_only=True)
class _Served:
    """One base that an engine serves.

    Attributes:
        name: the engine's own name of it.
        names: what else it is known by: a path, an id of the Hub.
        context_tokens: what the engine lets it look at, None where it does not say.
    """

    name: str
    names: frozenset[str]
    context_tokens: int | None


class Replica:
    """One engine at one address; used in one event loop.

    Args:
        address: where it answers.
    """

    def __init__(self, address: EngineAddress) -> None:
        self.address = address
        self.kind = address.kind
        self.is_there = False
        self.running = 0
        self._wire = WIRES[address.kind]
        self._served: tuple[_Served, ...] = ()
        # Names of the adapters that it holds, least recently asked first, with how many answers each is writing.
        self._loaded: OrderedDict[str, int] = OrderedDict()
        # One at a time: two that make room for themselves would put each other's adapter out.
        self._loading = asyncio.Lock()
        # No proxy, no organization and no retries of the environment's: this is a way between two servers.
        self._client = openai.AsyncOpenAI(
            base_url=f"{address.url}/v1",
            api_key=address.key or "none",
            max_retries=0,
            timeout=openai.Timeout(_SILENCE_S, connect=_CONNECT_S),
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
        )
        self._client.organization = self._client.project = None

    async def close(self) -> None:
        """Let go of its connections."""
        await self._client.close()

    async def look(self) -> None:
        """See whether it is there and what it serves.

        Raises:
            EngineFaultError: it is away, asks for another key, or is no such engine.
        """
        try:
            async with asyncio.timeout(_LOOK_S):
                served = await self._models()
        except Exception as error:
            self._lose()
            # Said once by who looks: it is looked for every few seconds.
            raise self._fault(error, level=logging.DEBUG) from error
        self._served, self.is_there = served, True

    def serves(self, base: Path) -> bool:
        """Whether it serves this base, by its folder or by a name that the folder has."""
        return self._find(base) is not None

    @property
    def bases(self) -> list[str]:
        """The engine's own names of what it serves."""
        return [one.name for one in self._served]

    async def answer(self, asked: GenerateRequest, prompt: Prompt, base: BaseText, reader: AnswerReader) -> None:
        """Have a request answered, piece by piece.

        Raises:
            EngineFaultError: the engine cannot answer, or ends in the middle.
            RequestError: the engine refuses the request.
        """
        served = self._find(asked.base_path)
        if served is None:
            raise self._other_base(asked.base_path)
        if served.context_tokens is not None and len(prompt.tokens) >= served.context_tokens:
            raise ContextOverflowError(len(prompt.tokens), served.context_tokens)
        self.running += 1
        try:
            for again in (True, False):
                try:
                    await self._stream(asked, prompt, base, reader, served)
                    return
                except openai.APIStatusError as error:
                    # An engine that was started anew knows nothing of the adapters that it held before.
                    if not (again and self._names_adapter(error, asked.adapter_path)):
                        raise
        except (EngineFaultError, RequestError):
            raise
        except Exception as error:
            raise self._fault(error, begun=reader.begun) from error
        finally:
            self.running -= 1

    async def offer(self, adapter: Path) -> None:
        """Load an adapter before anybody asks for it.

        Raises:
            EngineFaultError: the engine does not take it.
        """
        try:
            await self._load(adapter)
        except openai.OpenAIError as error:
            raise self._fault(error) from error

    async def forget(self, adapter: Path) -> None:
        """Have an adapter dropped, if it is there."""
        name = name_of(adapter)
        if self._wire.unload is not None and name in self._loaded:
            del self._loaded[name]
            await self._unload(name)

    async def _stream(
        self, asked: GenerateRequest, prompt: Prompt, base: BaseText, reader: AnswerReader, served: _Served
    ) -> None:
        model, lora = await self._who(asked.adapter_path, served)
        body = body_of(asked, prompt, base, kind=self.kind, model=model, lora=lora)
        if served.context_tokens is not None:
            body["max_tokens"] = min(prompt.room, served.context_tokens - len(prompt.tokens))
        name = None if asked.adapter_path is None else name_of(asked.adapter_path)
        with self._busy(name):
            stream = await self._client.completions.create(
                model=model, prompt=prompt.tokens, stream=True, extra_body=body
            )
            async with stream:
                async for chunk in stream:
                    reader.take(chunk)
        if not reader.begun:
            message = f"The {self.kind} engine sent back an empty answer"
            raise EngineFaultError(message, code="engine_empty", elsewhere=True)
        if not reader.is_whole:
            raise self._broke_off()

    async def _who(self, adapter: Path | None, served: _Served) -> tuple[str, dict[str, object]]:
        """The engine's name of what answers, and how it is told which adapter."""
        if self.kind == "llama.cpp":
            # It names its adapters by their files, which lie inside the adapter's folder: the converter puts them
            # there.
            known = [(one["id"], name_of(Path(one["path"]).resolve().parent)) for one in await self._started_with()]
            name = None if adapter is None else name_of(adapter)
            if name is not None and name not in [one for _, one in known]:
                message = f"The llama.cpp engine was started without the adapter of this model: {self._wire.start}"
                raise EngineFaultError(message, code="engine_without_adapter", elsewhere=True)
            return served.name, lora_of(self.kind, name, known=known)
        if adapter is None:
            return served.name, {}
        name = await self._load(adapter)
        return (name, {}) if self.kind == "vllm" else (served.name, lora_of(self.kind, name))

    async def _load(self, adapter: Path) -> str:
        """Load an adapter that is not there; one that was not used longest leaves where there is no room."""
        name = name_of(adapter)
        if self._wire.load is None:
            return name
        async with self._loading:
            while name not in self._loaded:
                try:
                    await self._post(self._wire.load, {"lora_name": name, "lora_path": str(adapter)}, timeout_s=_LOAD_S)
                except openai.APIStatusError as error:
                    if "already" not in _said(error):  # by a server that ran here before
                        await self._make_room(error)
                        continue
                self._loaded[name] = 0
                logger.info("engine %s holds the adapter %s", self.address, name)
        self._loaded.move_to_end(name)
        return name

    async def _make_room(self, error: openai.APIStatusError) -> None:
        said = _said(error)
        # In a web framework's own words: an engine that has the route says in other words what it misses.
        route_is_missing = error.status_code in (404, 405) and said.strip().lower() in (
            "not found",
            "method not allowed",
        )
        idle = next((name for name, busy in self._loaded.items() if not busy), None)
        # A rank that is too high stays so, however many others leave.
        if idle is not None and not route_is_missing and "rank" not in said.lower():
            del self._loaded[idle]
            await self._unload(idle)
            return
        logger.error("engine %s takes no adapter: %s", self.address, said)
        if error.status_code in (401, 403):
            raise self._fault(error)
        if route_is_missing:
            message = f"The {self.kind} engine takes no adapters while it runs: {self._wire.start}"
            raise EngineFaultError(message, code="engine_without_adapters", elsewhere=True)
        why = "its rank is above the engine's --max-lora-rank" if "rank" in said.lower() else "it has no room for it"
        message = f"The {self.kind} engine did not take this model's adapter, most likely since {why}"
        raise EngineFaultError(f"{message}; the server's log says more", code="engine_full", elsewhere=True)

    async def _unload(self, name: str) -> None:
        try:
            await self._post(str(self._wire.unload), {"lora_name": name}, timeout_s=_LOOK_S)
        except openai.OpenAIError as error:
            # It is gone with the engine, or stays until there is need for its place.
            logger.info("engine %s did not drop the adapter %s: %s", self.address, name, type(error).__name__)

    async def _models(self) -> tuple[_Served, ...]:
        """What it serves.

        Raises:
            EngineFaultError: what answers there is no such engine.
        """
        listed = await self._get("/v1/models")
        models = listed.get("data") if isinstance(listed, dict) else None
        entries = [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []
        # Any server of OpenAI's wire lists models; who owns them says which program it is.
        if not entries or not any(one.get("owned_by") == self._wire.owner for one in entries):
            raise self._no_such_engine()
        paths = await self._paths()
        # vLLM lists its adapters beside the base, with the base as their parent.
        return tuple(
            _Served(
                name=str(one.get("id")),
                names=frozenset(
                    {str(one.get("id")), *(name for name in (one.get("root"), *paths) if isinstance(name, str))}
                ),
                context_tokens=length if type(length := one.get("max_model_len")) is int and length > 0 else None,
            )
            for one in entries
            if not one.get("parent")
        )

    async def _paths(self) -> list[str]:
        """Where else its base is told."""
        route, key = {"sglang": ("/get_model_info", "model_path"), "llama.cpp": ("/props", "model_path")}.get(
            self.kind, (None, "")
        )
        if route is None:
            return []
        try:
            told = await self._get(route)
        except openai.APIStatusError:
            return []
        return [str(told[key])] if isinstance(told, dict) and told.get(key) else []

    async def _started_with(self) -> list[dict[str, Any]]:
        told = await self._get("/lora-adapters")
        return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []

    async def _get(self, route: str) -> Any:
        return await self._client.get(f"{self.address.url}{route}", cast_to=object, options={"timeout": _LOOK_S})

    async def _post(self, route: str, body: dict[str, object], *, timeout_s: float) -> None:
        await self._client.post(f"{self.address.url}{route}", cast_to=str, body=body, options={"timeout": timeout_s})

    def _find(self, base: Path) -> _Served | None:
        wanted = names_of(base)
        return next((one for one in self._served if any(wanted & names_of(Path(name)) for name in one.names)), None)

    def _names_adapter(self, error: openai.APIStatusError, adapter: Path | None) -> bool:
        """Whether an error is about an adapter that is to be loaded again; it is forgotten then."""
        if adapter is None or error.status_code not in (400, 404) or name_of(adapter) not in _said(error):
            return False
        return self._loaded.pop(name_of(adapter), None) is not None

    def _busy(self, name: str | None) -> _Busy:
        return _Busy(self._loaded, name)

    def _lose(self) -> None:
        # Whatever comes back at this address has forgotten what it held.
        self.is_there = False
        self._loaded.clear()

    def _fault(self, error: Exception, *, begun: bool = False, level: int = logging.WARNING) -> Exception:
        """What went wrong at the engine, in words that anyone may read; the log gets the engine's own."""
        if isinstance(error, EngineFaultError | RequestError):
            return error
        if isinstance(error, openai.APIStatusError):
            return self._refused(error, level)
        logger.log(level, "engine %s: %s: %s", self.address, type(error).__name__, error)
        if _is_lost(error):
            self._lose()
        if begun:
            return self._broke_off()
        if not self.is_there:
            message = f"The {self.kind} engine that answers for this server is away; try again"
            return EngineFaultError(message, status=503, code="engine_away", elsewhere=True)
        return self._failed()

    def _refused(self, error: openai.APIStatusError, level: int) -> Exception:
        said, status = _said(error), error.status_code
        logger.log(level, "engine %s answers %s: %s", self.address, status, said)
        if status in (401, 403):
            message = f"The {self.kind} engine refuses this server's key; its owner gives the right one to the server"
            return EngineFaultError(message, code="engine_key_refused", elsewhere=True)
        if status in (429, 503):
            message = f"The {self.kind} engine cannot take this now; try again"
            return EngineFaultError(message, status=503, code="engine_busy", elsewhere=True)
        if status in (404, 405):
            return self._no_such_engine()
        if status < 500:
            message = f"The {self.kind} engine refuses this request; the server's log says why"
            return RequestError(message, code="engine_refused")
        return self._failed()

    def _failed(self) -> EngineFaultError:
        message = f"The {self.kind} engine could not answer; the server's log says why"
        return EngineFaultError(message, code="engine_failed", elsewhere=True)

    def _broke_off(self) -> EngineFaultError:
        message = f"The {self.kind} engine ended in the middle of this answer; ask again"
        return EngineFaultError(message, code="engine_broke_off")

    def _no_such_engine(self) -> EngineFaultError:
        message = (
            f"What answers in place of the {self.kind} engine is no {self.kind} engine; the server's address of it"
        )
        return EngineFaultError(f"{message} is wrong", code="engine_unknown", elsewhere=True)

    def _other_base(self, base: Path) -> EngineFaultError:
        logger.warning("engine %s serves %s, not %s", self.address, ", ".join(self.bases), base)
        message = f"The {self.kind} engine that answers for this server serves another base than this model's"
        return EngineFaultError(message, code="engine_other_base", elsewhere=True)


class _Busy:
    """Holds an adapter while it answers, so that it is not the one that makes room."""

    def __init__(self, loaded: OrderedDict[str, int], name: str | None) -> None:
        self._loaded = loaded
        self._name = name

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(self, *_: object) -> None:
        self._count(-1)

    def _count(self, number: int) -> None:
        if self._name is not None and self._name in self._loaded:
            self._loaded[self._name] += number


def _is_lost(error: Exception) -> bool:
    """Whether an error says that nobody is at the other end any more."""
    # By name: openai's transport is httpx2 today and was httpx before, and neither is a dependency of ours.
    return isinstance(error, openai.APIConnectionError | TimeoutError) or type(error).__module__.startswith("httpx")


def _said(error: openai.APIStatusError) -> str:
    """An engine's own words, in whichever shape this kind puts them."""
    body: Any = error.body if error.body is not None else error.response.text
    for key in ("error_message", "message", "detail"):
        if isinstance(body, dict) and isinstance(body.get(key), str):
            return str(body[key])
    return str(body)
