"""Engines that answer in place of this program: chosen, asked, watched, handed adapters."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ragtune.errors import BackendError
from ragtune.local.engine.base_text import BaseText
from ragtune.local.engine.generation import GeneratedPiece, Generation
from ragtune.local.engine.prompt import prompt_of
from ragtune.local.engine.request import EngineClosedError, EngineFaultError
from ragtune.local.remote_engine.reader import AnswerReader
from ragtune.local.remote_engine.replica import Replica
from ragtune.local.remote_engine.wire import refuse_unserved

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from ragtune.local.engine.prompt import Prompt
    from ragtune.local.engine.request import GenerateRequest
    from ragtune.local.remote_engine.address import EngineAddress
    from ragtune.local.remote_engine.process import EngineProcess

__all__ = ["RemoteEngine"]

logger = logging.getLogger("ragtune")

_WATCH_S = 5.0
_STOP_S = 10.0
# Of these the owner hears at the start; an engine that is away may still be starting.
_MENDED_BY_OWNER = ("engine_key_refused", "engine_unknown")


class RemoteEngine:
    """Has requests answered by engines of their own; safe to use from many threads.

    One thread asks them all. A request goes to the engine that writes the fewest answers among those that are there
    and serve its base; where one cannot begin, the next is asked.

    Args:
        addresses: of the engines.
        processes: those of them that were started for this, and stop with it.

    Raises:
        BackendError: at one address answers no such engine, or one that asks for another key.
    """

    def __init__(self, addresses: Sequence[EngineAddress], *, processes: Sequence[EngineProcess] = ()) -> None:
        self._processes = processes
        self._loop = asyncio.new_event_loop()
        self._replicas = [Replica(address) for address in addresses]
        self._bases: dict[Path, BaseText] = {}
        self._answers: set[asyncio.Task[None]] = set()
        # One at a time: loading a tokenizer twice would take twice the memory.
        self._writers = ThreadPoolExecutor(1, thread_name_prefix="ragtune-prompts")
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="ragtune-remote-engine", daemon=True)
        self._thread.start()
        try:
            self._wait(self._first_look())
        except BackendError:
            self.close()
            raise
        asyncio.run_coroutine_threadsafe(self._keep_looking(), self._loop)

    def submit(self, request: GenerateRequest) -> Generation:
        """Have a request answered; returns at once.

        Raises:
            EngineClosedError: it was closed.
        """
        if self._closed:
            raise EngineClosedError("the engine is closed")
        generation = Generation(request.n)
        self._loop.call_soon_threadsafe(self._begin, request, generation)
        return generation

    def offer(self, base_path: Path, adapter_path: Path) -> None:
        """Have the engines that serve a base load an adapter of it; returns at once."""
        self._later(self._offer(base_path, adapter_path))

    def forget(self, adapter_path: Path) -> None:
        """Have the engines drop an adapter whose model was deleted; returns at once."""
        self._later(self._forget(adapter_path))

    def close(self) -> None:
        """Stop asking; requests that are not answered end with an error."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError):
            self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)
        if not self._thread.is_alive():
            self._loop.close()
        self._writers.shutdown(wait=False, cancel_futures=True)
        # Last: what they were still answering was ended in order before.
        for process in self._processes:
            process.stop()

    def _begin(self, request: GenerateRequest, generation: Generation) -> None:
        task = self._loop.create_task(self._answer(request, generation))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

        def stop() -> None:
            with suppress(RuntimeError):  # the loop was closed, and the answer with it
                self._loop.call_soon_threadsafe(task.cancel)

        generation.on_cancel(stop)

    async def _answer(self, asked: GenerateRequest, generation: Generation) -> None:
        try:
            base, prompt = await self._loop.run_in_executor(self._writers, self._prompt, asked)
            reader = AnswerReader(asked, prompt, base, generation)
            if prompt.room > 0:
                await self._ask(asked, prompt, base, reader)
            reader.finish(reason="length" if prompt.room == 0 else None)
        except asyncio.CancelledError:
            if self._closed:
                generation.put(EngineClosedError("the engine was closed before this request was answered"))
                return
            # Whoever cancelled may still read on until every answer has its end.
            for index in range(asked.n):
                generation.put(GeneratedPiece(index=index, text="", finish_reason="stop"))
        except Exception as error:
            generation.put(error)

    def _prompt(self, asked: GenerateRequest) -> tuple[BaseText, Prompt]:
        base = self._bases.get(asked.base_path)
        if base is None:
            base = self._bases[asked.base_path] = BaseText.read(asked.base_path)
        return base, prompt_of(asked, base)

    async def _ask(self, asked: GenerateRequest, prompt: Prompt, base: BaseText, reader: AnswerReader) -> None:
        tried: list[Replica] = []
        while True:
            replica = await self._choose(asked.base_path, but_not=tried)
            try:
                # Only now: engines of several kinds may stand side by side, and what they lack differs.
                refuse_unserved(asked, replica.kind)
                await replica.answer(asked, prompt, base, reader)
                return
            except EngineFaultError as fault:
                tried.append(replica)
                # What has begun to come is not asked for elsewhere: another engine would go on in other words.
                if reader.begun or not fault.elsewhere or len(tried) == len(self._replicas):
                    raise

    async def _choose(self, base: Path, *, but_not: Sequence[Replica]) -> Replica:
        """The engine that has the least to do, of those that are there and serve a base.

        Where none is, those that are left are looked at anew: one may have come a moment ago. The last word is that of
        the engine itself, so that what is wrong is told in its words.
        """
        left = [replica for replica in self._replicas if replica not in but_not]
        fit = [replica for replica in left if replica.is_there and replica.serves(base)]
        if not fit:
            # The last look may be seconds old, and one that was away may be back.
            faults = await asyncio.gather(*(replica.look() for replica in left), return_exceptions=True)
            fit = [replica for replica in left if replica.is_there and replica.serves(base)]
            there = [replica for replica in left if replica.is_there]
            if not fit and not there:
                raise next(fault for fault in faults if isinstance(fault, BaseException))
            # One that serves another base is asked all the same: it is the one that says so, by name.
            fit = fit or there
        return min(fit, key=lambda replica: replica.running)

    async def _first_look(self) -> None:
        faults = await asyncio.gather(*(replica.look() for replica in self._replicas), return_exceptions=True)
        for replica, fault in zip(self._replicas, faults, strict=True):
            if isinstance(fault, EngineFaultError) and fault.code in _MENDED_BY_OWNER:
                raise BackendError(f"engine {replica.address}: {fault}")
            if fault is not None:
                logger.warning("engine %s is not there yet; it is looked for until it is: %s", replica.address, fault)
            else:
                logger.info("engine %s serves %s", replica.address, ", ".join(replica.bases))

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            before = [replica.is_there for replica in self._replicas]
            await asyncio.gather(*(replica.look() for replica in self._replicas), return_exceptions=True)
            for replica, was_there in zip(self._replicas, before, strict=True):
                if replica.is_there != was_there:
                    logger.warning("engine %s is %s", replica.address, "there again" if replica.is_there else "away")

    async def _offer(self, base: Path, adapter: Path) -> None:
        for replica in self._replicas:
            if replica.is_there and replica.serves(base):
                with suppress(BackendError):  # in the log by now, and told to who asks the model
                    await replica.offer(adapter)

    async def _forget(self, adapter: Path) -> None:
        for replica in self._replicas:
            await replica.forget(adapter)

    async def _end(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for replica in self._replicas:
            await replica.close()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
            return
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        # Longer than a look at all engines, which are looked at side by side.
        asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * _STOP_S)
