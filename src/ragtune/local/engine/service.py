"""The engine: a queue of rows and the one thread that owns the models."""

from __future__ import annotations

import atexit
import threading
import time
from typing import TYPE_CHECKING

from ragtune._extras import require
from ragtune.local.engine.batch_row import BatchRow
from ragtune.local.engine.generation import Generation
from ragtune.local.engine.request import EngineClosedError
from ragtune.modelling.base_model import share_the_processor

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.local.engine.request import GenerateRequest
    from ragtune.local.engine.scheduler import Scheduler
    from ragtune.modelling.hardware.formats import Device, Dtype

__all__ = ["Engine"]

# How long the first row of an idle engine waits for company: requests that a client sends together arrive within a few
# milliseconds, and prompts that are read together cost less.
_GATHER_S = 0.01


class Engine:
    """Answers requests with base and tuned models; safe to use from many threads.

    Requests that come while others are being answered join them at the next token, whichever tuned model of the same
    base they ask. Nothing is loaded before the first request. Leaving requests unanswered on `close()` raises
    `EngineClosedError` for their callers.

    Args:
        threads: CPU threads that PyTorch uses in this process; None leaves its own choice.
        max_batch: rows of one base model that run together.
        memory_bytes: most bytes of weights in memory; what was used longest ago leaves first. None means 80 % of the
            memory of the GPU, without one of this machine or container. One model alone may be larger.
        device: where models answer, None for the best device of this machine.
        dtype: number format of the bases, None for the right one on that device.

    Example:
        ```python
        from ragtune.modelling.bases import resolve_base
        from ragtune.local.engine import Engine, GenerateRequest

        engine = Engine()
        asked = GenerateRequest(base_path=resolve_base("tiny-random"), prompt="Once", max_tokens=5, temperature=0)
        first, again = engine.submit(asked).result(), engine.submit(asked).result()
        print(first.choices == again.choices, first.completion_tokens <= 5)
        #> True True
        engine.close()
        ```
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        max_batch: int = 16,
        memory_bytes: int | None = None,
        device: Device | None = None,
        dtype: Dtype | None = None,
    ) -> None:
        self._threads = threads
        self._max_batch = max_batch
        self._memory_bytes = memory_bytes
        self._device = device
        self._dtype = dtype
        self._waiting: list[BatchRow] = []
        self._forgotten: list[Path] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, request: GenerateRequest) -> Generation:
        """Queue a request; returns at once.

        Raises:
            EngineClosedError: the engine was closed.
            MissingExtraError: the extra `local` is not installed.
        """
        require("local", "torch", "transformers", "peft", reason="answering with models on this machine")
        generation = Generation(request.n)
        with self._changed:
            if self._closed:
                message = "the engine is closed"
                raise EngineClosedError(message)
            self._waiting += [BatchRow(request, generation, index) for index in range(request.n)]
            if self._thread is None:
                # A program that ends meanwhile would abort: torch does not bear its thread being frozen.
                atexit.register(self.close)
                self._thread = threading.Thread(target=self._work, name="ragtune-engine", daemon=True)
                self._thread.start()
            self._changed.notify()
        return generation

    def offer(self, base_path: Path, adapter_path: Path) -> None:
        """Do nothing: an adapter is loaded when it is first asked, since memory is for what is asked."""

    def forget(self, adapter_path: Path) -> None:
        """Let go of an adapter once nobody asks it, for example because its model was deleted."""
        with self._changed:
            if self._thread is not None:
                self._forgotten.append(adapter_path)
                self._changed.notify()

    def close(self, *, timeout_s: float = 10.0) -> None:
        """Stop at the next token; requests that are not answered end with an error."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        atexit.unregister(self.close)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        # Before torch, which reads these settings when it is loaded.
        share_the_processor()
        import torch

        from ragtune.local.engine.model_cache import ModelCache
        from ragtune.local.engine.scheduler import Scheduler

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        models = ModelCache(memory_bytes=self._memory_bytes, device=self._device, dtype=self._dtype)
        scheduler = Scheduler(models, max_rows=self._max_batch)
        try:
            while self._wait(scheduler):
                self._turn(scheduler)
        finally:
            # Also when something unforeseen ends this thread: nobody may wait for it any longer.
            with self._changed:
                self._closed = True
                waiting, self._waiting = self._waiting, []
            error = EngineClosedError("the engine was closed before this request was answered")
            scheduler.close(error)
            for row in waiting:
                row.fail(error)

    def _turn(self, scheduler: Scheduler) -> None:
        """Let rows join, and write one token of each."""
        with self._changed:
            waiting, self._waiting = self._waiting, []
            forgotten, self._forgotten = self._forgotten, []
        left = scheduler.admit(waiting)
        evicted = scheduler.step()
        # After the step, which may have ended the last row that needs it.
        still_used = [adapter for adapter in forgotten if not scheduler.forget(adapter)]
        with self._changed:
            # Those that were being answered, those that waited, those that came meanwhile: nobody is overtaken.
            self._waiting = evicted + left + self._waiting
            self._forgotten += still_used

    def _wait(self, scheduler: Scheduler) -> bool:
        """Sleep until there is something to do; False once the engine was closed."""
        with self._changed:
            while not (scheduler.is_busy or self._waiting or self._forgotten or self._closed):
                self._changed.wait()
        if not scheduler.is_busy:
            time.sleep(_GATHER_S)
        return not self._closed
