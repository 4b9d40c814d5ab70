"""Asking models: one engine, made on first use, shared by all requests; no more at a time than it can bear."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ragtune.errors import BackendError, MissingExtraError
from ragtune.local.http.errors import ApiError, invalid, model_not_found, overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ragtune.local.engine import GenerateRequest, Generation
    from ragtune.local.models.registry import BaseModels, ServedModel
    from ragtune.modelling.hardware import Device, Dtype

__all__ = ["AnsweringEngine", "Inference"]

logger = logging.getLogger("ragtune")

MAX_OPEN_CHOICES = 512
"""Most answers that are waited for at the same time; a request beyond them is told to come back."""


class AnsweringEngine(Protocol):
    """What the backend asks of an engine; `ragtune.local.engine.Engine` is one."""

    def submit(self, request: GenerateRequest) -> Generation:
        """Queue a request."""
        ...

    def close(self) -> None:
        """Stop answering."""
        ...


class Inference:
    """Stands between the handlers and the engine.

    Args:
        bases: where the weights of base models are.
        threads: CPU threads of the engine, None for its own choice.
        device: where models answer, None for the best device.
        dtype: number format of the bases, None for the right one.
        memory_bytes: most bytes of weights in memory, None for its own choice.
        max_batch: most answers of one base that are written together.
        engine: what answers; None makes one on first use.
    """

    def __init__(
        self,
        bases: BaseModels,
        *,
        threads: int | None = None,
        device: Device | None = None,
        dtype: Dtype | None = None,
        memory_bytes: int | None = None,
        max_batch: int = 16,
        engine: AnsweringEngine | None = None,
    ) -> None:
        self._bases = bases
        self._threads = threads
        self._device = device
        self._dtype = dtype
        self._memory_bytes = memory_bytes
        self._max_batch = max_batch
        self._engine = engine
        self._lock = threading.Lock()
        self._open = 0
        self._closed = False

    @contextmanager
    def place(self, choices: int) -> Iterator[None]:
        """Hold a place for some answers while they are waited for.

        Raises:
            ApiError: 429, too many are waited for already.
        """
        with self._lock:
            if self._open + choices > MAX_OPEN_CHOICES and self._open > 0:
                message = (
                    f"The server has {self._open} answers to write and takes at most {MAX_OPEN_CHOICES} at a time."
                )
                headers = {"x-should-retry": "true", "retry-after": "1"}
                raise ApiError(429, message, type="requests", code="rate_limit_exceeded", headers=headers)
            self._open += choices
        try:
            yield
        finally:
            with self._lock:
                self._open -= choices

    def base_folder(self, model: ServedModel) -> Path:
        """Where the weights of a model's base are; blocks while they are made ready on disk.

        Raises:
            ApiError: they are not on this machine.
        """
        try:
            folder = self._bases.folder(model.base)
            if model.base_sha256 not in (None, self._bases.weights_sha256(model.base)):
                raise model_not_found(model.name, hint=f" ({other_base(model.base)}.)")
            return folder
        except BackendError as error:
            if model.base not in self._bases.extra:
                raise model_not_found(model.name, hint=f" ({error})") from error
            # Where the owner's own folders are is not for those who ask.
            logger.warning("model %s: %s", model.name, error)
            hint = " (The weights of its base cannot be read; the server's log says why.)"
            raise model_not_found(model.name, hint=hint) from error

    def submit(self, request: GenerateRequest) -> Generation:
        """Ask a model; returns at once.

        Raises:
            ApiError: the server stops.
        """
        try:
            return self._ready_engine().submit(request)
        except BackendError as error:
            raise refusal(error) from error

    def warm(self, model: ServedModel) -> None:
        """Load a model and let it write one token; returns when it has.

        Raises:
            ApiError: its weights are not on this machine, or it cannot answer.
        """
        from ragtune.local.engine import GenerateRequest

        asked = GenerateRequest(
            base_path=self.base_folder(model), adapter_path=model.adapter, prompt="Hi", max_tokens=1, temperature=0
        )
        try:
            self.submit(asked).result()
        except BackendError as error:
            raise refusal(error) from error

    def forget(self, adapter: Path) -> None:
        """Let the engine drop an adapter whose model was deleted."""
        forget = getattr(self._engine, "forget", None)
        if forget is not None:
            forget(adapter)

    def close(self) -> None:
        """End what is being written."""
        with self._lock:
            self._closed = True
            engine = self._engine
        if engine is not None:
            engine.close()

    def _ready_engine(self) -> AnsweringEngine:
        with self._lock:
            if self._closed:
                raise overloaded("The server is stopping.")
            if self._engine is None:
                from ragtune.local.engine import Engine

                self._engine = Engine(
                    threads=self._threads,
                    max_batch=self._max_batch,
                    device=self._device,
                    dtype=self._dtype,
                    memory_bytes=self._memory_bytes,
                )
            return self._engine


def other_base(base: str) -> str:
    """What is wrong where other weights have the name of a base by now."""
    return (
        f"It was trained on other weights than those that this server has under {base!r}: start it with the folder "
        "that the model was trained on, or train again"
    )


def refusal(error: Exception, *, param: str = "messages") -> ApiError:
    """What an engine's error says on the wire."""
    from ragtune.local.engine import EngineClosedError, RequestError

    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestError):
        return invalid(f"{error}.", param=error.param or param, code=error.code)
    if isinstance(error, MissingExtraError):
        return invalid(f"{error}.", param=param, code="unsupported_parameter")
    if isinstance(error, EngineClosedError):
        return overloaded("The server is stopping.")
    if isinstance(error, BackendError):
        # It may hold paths of this machine, which are for its owner alone.
        logger.error("answering failed: %s", error)
        message = "The model could not answer; the server's log says why."
        return ApiError(500, message, type="server_error", code="server_error")
    # What is left comes from the chat template, which cannot render every conversation.
    return invalid(f"The model's chat template refuses these messages: {error}.", param=param, code="invalid_value")
