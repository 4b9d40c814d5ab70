"""Asking models: one engine, shared by all requests; no more at a time than it can bear."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ragtune.errors import BackendError, MissingExtraError
from ragtune.local.http.errors import ApiError, invalid, model_not_found, overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ragtune.local.engine import GenerateRequest, Generation
    from ragtune.local.models.registry import BaseModels, ServedModel

__all__ = ["AnsweringEngine", "Inference", "KeepsAdapters"]

logger = logging.getLogger("ragtune")

MAX_OPEN_CHOICES = 512
"""Most answers that are waited for at the same time; a request beyond them is told to come back."""


@runtime_checkable
class AnsweringEngine(Protocol):
    """What the backend asks of an engine: `ragtune.local.engine.Engine` is one, and so is `RemoteEngine`.

    One that `KeepsAdapters` too hears of models that were made and deleted.
    """

    def submit(self, request: GenerateRequest) -> Generation:
        """Queue a request."""
        ...

    def close(self) -> None:
        """Stop answering."""
        ...


@runtime_checkable
class KeepsAdapters(Protocol):
    """An engine that keeps adapters at hand."""

    def offer(self, base_path: Path, adapter_path: Path) -> None:
        """Hear of an adapter that will be asked."""
        ...

    def forget(self, adapter_path: Path) -> None:
        """Let go of an adapter whose model was deleted."""
        ...


class Inference:
    """Stands between the handlers and the engine.

    Args:
        bases: where the weights of base models are.
        engine: what answers.
    """

    def __init__(self, bases: BaseModels, *, engine: AnsweringEngine) -> None:
        self._bases = bases
        self._engine = engine
        self._lock = threading.Lock()
        self._open = 0

    @contextmanager
    def place(self, choices: int) -> Iterator[None]:
        """Hold a place for some answers while they are waited for.

        Raises:
            ApiError: 429, too many are waited for already.
        """
        with self._lock:
            # One that asks for more than all places is let in when it is alone; else it would never be.
            if self._open + choices > MAX_OPEN_CHOICES and self._open > 0:
                message = (
                    f"The server has {self._open} answers to write and takes at most {MAX_OPEN_CHOICES} at a time."
                )
                # OpenAI's clients go by this header before they look at the status.
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
            # None: a base itself, one that ragtune knows by name, or a model made before weights were remembered.
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
            return self._engine.submit(request)
        except (BackendError, MissingExtraError) as error:
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

    def offer(self, model: ServedModel) -> None:
        """Tell the engine of a model that was made."""
        if model.adapter is not None and isinstance(self._engine, KeepsAdapters):
            with suppress(ApiError):  # of a base that is not here, which whoever asks the model is told
                self._engine.offer(self.base_folder(model), model.adapter)

    def forget(self, adapter: Path) -> None:
        """Let the engine drop an adapter whose model was deleted."""
        if isinstance(self._engine, KeepsAdapters):
            self._engine.forget(adapter)

    def close(self) -> None:
        """End what is being written."""
        self._engine.close()


def other_base(base: str) -> str:
    """What is wrong where other weights have the name of a base by now."""
    return (
        f"It was trained on other weights than those that this server has under {base!r}: start it with the folder "
        "that the model was trained on, or train again"
    )


def refusal(error: Exception, *, param: str = "messages") -> ApiError:
    """What an engine's error says on the wire."""
    from ragtune.local.engine import EngineClosedError, EngineFaultError, RequestError

    if isinstance(error, ApiError):
        return error
    # The narrower kinds first: what an engine raises on purpose is a BackendError, too.
    if isinstance(error, RequestError):
        return invalid(f"{error}.", param=error.param or param, code=error.code)
    if isinstance(error, MissingExtraError):
        return invalid(f"{error}.", param=param, code="unsupported_parameter")
    if isinstance(error, EngineClosedError):
        return overloaded("The server is stopping.")
    if isinstance(error, EngineFaultError):
        # Else OpenAI's clients try every answer of 500 and more again, though it would fail alike.
        again = {"x-should-retry": "true", "retry-after": "1"} if error.status == 503 else {"x-should-retry": "false"}
        return ApiError(error.status, f"{error}.", type="server_error", code=error.code, headers=again)
    # A RuntimeError is torch's word for a memory that is full, and not the asker's fault; too deep a nesting is.
    if isinstance(error, BackendError | MemoryError | OSError) or (
        isinstance(error, RuntimeError) and not isinstance(error, RecursionError)
    ):
        # It may hold paths of this machine, which are for its owner alone.
        logger.error("answering failed: %s", error)
        message = "The model could not answer; the server's log says why."
        return ApiError(500, message, type="server_error", code="server_error")
    # What is left comes from the chat template, which cannot render every conversation.
    return invalid(f"The model's chat template refuses these messages: {error}.", param=param, code="invalid_value")
