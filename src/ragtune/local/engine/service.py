"""The engine: a queue of rows and the one thread that owns the models."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from ragtune._extras import require
from ragtune.errors import BackendError
from ragtune.local.engine.generation import Generation
from ragtune.local.engine.request import EngineClosedError
from ragtune.local.engine.row import Row
from ragtune.train.base import share_the_processor

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.local.engine.models import Models
    from ragtune.local.engine.request import GenerateRequest

__all__ = ["Engine"]

_log = logging.getLogger("ragtune")

# How long a batch waits for company: requests that a client sends together arrive within a few milliseconds.
_GATHER_S = 0.01


class Engine:
    """Answers requests with base and tuned models; safe to use from many threads.

    Nothing is loaded before the first request. Leaving requests unanswered on `close()` raises `EngineClosedError` for
    their callers.

    Args:
        threads: CPU threads that PyTorch uses in this process; None leaves its own choice.
        max_batch: rows that run together.
        max_bases: base models kept in memory.
        max_adapters: adapters kept in memory per base.

    Raises:
        MissingExtraError: the extra `local` is not installed.

    Example:
        ```python
        from ragtune.local.bases import resolve_base
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
        self, *, threads: int | None = None, max_batch: int = 16, max_bases: int = 2, max_adapters: int = 8
    ) -> None:
        require("local", "torch", "transformers", "peft", reason="answering with models on this machine")
        self._threads = threads
        self._max_batch = max_batch
        self._limits = {"max_bases": max_bases, "max_adapters": max_adapters}
        self._rows: deque[Row] = deque()
        self._forgotten: deque[Path] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, request: GenerateRequest) -> Generation:
        """Queue a request; returns at once.

        Raises:
            EngineClosedError: the engine was closed.
        """
        generation = Generation(request.n)
        with self._changed:
            if self._closed:
                message = "the engine is closed"
                raise EngineClosedError(message)
            self._rows.extend(Row(request, generation, index) for index in range(request.n))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ragtune-engine", daemon=True)
                self._thread.start()
            self._changed.notify()
        return generation

    def forget(self, adapter_path: Path) -> None:
        """Let go of an adapter, for example because its model was deleted."""
        with self._changed:
            self._forgotten.append(adapter_path)

    def close(self, *, timeout_s: float = 10.0) -> None:
        """Stop at the next token; requests that are not answered end with an error."""
        with self._changed:
            self._closed = True
            waiting = list(self._rows)
            self._rows.clear()
            self._changed.notify()
        for row in waiting:
            row.fail(_closed_early())
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        share_the_processor()
        import torch

        from ragtune.local.engine.models import Models

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        models = Models(**self._limits)
        while True:
            rows = self._next_batch()
            if not rows:
                models.clear()
                return
            self._answer(models, rows)

    def _next_batch(self) -> list[Row]:
        """Rows that want the same model, oldest first; empty when the engine was closed."""
        with self._changed:
            while not self._rows and not self._closed:
                self._changed.wait()
        time.sleep(_GATHER_S)
        with self._changed:
            batch: list[Row] = []
            others: deque[Row] = deque()
            for row in self._rows:
                same = not batch or _model_of(row) == _model_of(batch[0])
                (batch if same and len(batch) < self._max_batch else others).append(row)
            self._rows = others
            return batch

    def _answer(self, models: Models, rows: list[Row]) -> None:
        from ragtune.local.engine.batch import run_batch

        while self._forgotten:
            models.forget(self._forgotten.popleft())
        try:
            run_batch(models.get(rows[0].request.base_path), rows, is_closed=lambda: self._closed)
        except Exception as error:
            _log.exception("answering failed")
            failure = error if isinstance(error, BackendError) else BackendError(f"answering failed: {error}")
            for row in rows:
                if not row.finished:
                    row.fail(failure)


def _model_of(row: Row) -> tuple[Path, Path | None]:
    return row.request.base_path, row.request.adapter_path


def _closed_early() -> EngineClosedError:
    return EngineClosedError("the engine was closed before this request was answered")
