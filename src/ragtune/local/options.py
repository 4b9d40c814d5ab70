"""What a `LocalBackend` was asked for: who lets whom in, what trains, what answers.

Each part refuses what cannot be, makes its share of the server, and says how it was started, so that a second program
on the folder can tell whether the server that runs there is the one that it wants.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune.errors import BackendError
from ragtune.local.auth.account import keeps_hash
from ragtune.local.auth.sessions import checked_origin
from ragtune.local.engine import Engine
from ragtune.local.engine.memory import memory_bytes
from ragtune.local.http.limits import LOOPBACK
from ragtune.local.inference import AnsweringEngine, Inference
from ragtune.local.lifespan.running import JobsPart, ServerParts
from ragtune.local.models.registry import BaseModels, located
from ragtune.local.remote_engine import EngineAddress, engines_of
from ragtune.local.remote_engine.starting import check_bases, start_engines
from ragtune.local.runner.launcher import launcher_words
from ragtune.local.runner.queue import Queue
from ragtune.local.webhook_sender import check_url
from ragtune.modelling.hardware.machine import usable_cores
from ragtune.modelling.hardware.placement import check_wish
from ragtune.train.checkpoints.copies import checked_address, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ragtune.local.remote_engine.address import EngineCommand
    from ragtune.local.store import Store
    from ragtune.modelling.hardware.formats import Device, Dtype

__all__ = ["MAX_BATCH", "AnsweringOptions", "EntranceOptions", "HardwareOptions", "TrainingOptions", "base_models"]

MAX_BATCH = 16
"""Most answers of one base that are written together, unless another number is asked for."""

_DEFAULTS = {"host": "127.0.0.1", "port": 0, "max_running": 1, "max_batch": MAX_BATCH, "many_stops": False}


@dataclass(frozen=True, kw_only=True)
class EntranceOptions:
    """Where a backend listens, whom it lets in, and whom it tells of its jobs.

    Attributes:
        folder: as all others here, the option of `LocalBackend` that is called so.
    """

    folder: Path
    host: str
    port: int
    key: str | None
    origin: str | None
    webhook: str | None

    @property
    def asked(self) -> dict[str, object]:
        """What was asked for, as it is written down."""
        told = None if self.webhook is None else _fingerprint(self.webhook)
        return _asked(port=self.port, host=self.host, origin=self.origin, webhook=told)

    def parts(self, training: TrainingOptions, answering: AnsweringOptions) -> ServerParts:
        """What the server is made of.

        Raises:
            BackendError: other machines can reach it and nothing says who may come in; a URL is none.
        """
        return ServerParts(
            folder=self.folder,
            address=(self.host, self.port),
            key=self.key,
            exposed=self._is_exposed(),
            webhook=None if self.webhook is None else check_url(self.webhook),
            bases=answering.bases,
            jobs=training.jobs_part(answering.bases),
            inference=answering.inference_part(self.folder),
            options={**self.asked, **training.hardware.asked, **training.asked, **answering.asked},
            many_stops=answering.many_stops,
            origin=None if self.origin is None else checked_origin(self.origin),
        )

    def _is_exposed(self) -> bool:
        """Whether other machines can reach the address."""
        if self.host in LOOPBACK:
            return False
        if self.key is None and not keeps_hash(self.folder):
            message = f"host {self.host!r} can be reached from other machines; pass key=... to say who may come in"
            raise BackendError(message)
        return True


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """What models train and answer on.

    Attributes:
        threads: as all others here, the option of `LocalBackend` that is called so.

    Raises:
        BackendError: the threads are no count, or this machine has no such device or format.
    """

    threads: int | None
    device: Device | None
    dtype: Dtype | None

    def __post_init__(self) -> None:
        if self.device is not None or self.dtype is not None:
            check_wish(self.device, self.dtype)
        _require_counts(threads=1 if self.threads is None else self.threads)

    @property
    def asked(self) -> dict[str, object]:
        """What was asked for, as it is written down."""
        return _asked(threads=self.threads, device=self.device, dtype=self.dtype)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How jobs are trained.

    Attributes:
        hardware: what they are trained on.
        folder: as all below, the option of `LocalBackend` that is called so.

    Raises:
        BackendError: a count or an address is none, or copies would lie among the jobs.
    """

    hardware: HardwareOptions
    folder: Path
    max_running: int
    launcher: str | Sequence[str] | None
    checkpoints: str | os.PathLike[str] | None
    trainer: Sequence[str] | None

    def __post_init__(self) -> None:
        if self._copied_to is not None and is_inside(self._copied_to, self.folder / "jobs"):
            # They are removed with all that lies beside them when a job succeeds: its model, there.
            raise BackendError(
                f"checkpoints: {self._copied_to} lies among the jobs themselves; give a place beside the folder"
            )
        # Here and not in the worker: a wrong count would be found only when the first job starts.
        _require_counts(max_running=self.max_running)

    @property
    def _copied_to(self) -> str | None:
        return None if self.checkpoints is None else checked_address(self.checkpoints)

    @property
    def asked(self) -> dict[str, object]:
        """What was asked for, as it is written down."""
        return _asked(
            max_running=self.max_running,
            launcher=None if self.launcher is None else launcher_words(self.launcher),
            trainer=None if self.trainer is None else list(self.trainer),
            checkpoints=None if self._copied_to is None else _fingerprint(self._copied_to),
        )

    def jobs_part(self, bases: BaseModels) -> Callable[[Store, Inference], JobsPart]:
        """What makes the queue of a store's jobs at each start."""
        queue = partial(
            Queue,
            bases=bases,
            trainer=tuple(self.trainer or (*launcher_words(self.launcher), "-m", "ragtune.train")),
            threads=self.hardware.threads or max(1, usable_cores() // 2),
            device=self.hardware.device,
            dtype=self.hardware.dtype,
            max_running=self.max_running,
            checkpoints=self._copied_to,
        )
        return lambda store, inference: JobsPart(runner=queue(store, made=inference.offer))


@dataclass(frozen=True, kw_only=True)
class AnsweringOptions:
    """What answers requests.

    Attributes:
        hardware: what this program's own engine answers on.
        bases: base models that may be asked.
        memory: as all below, the option of `LocalBackend` that is called so.

    Raises:
        BackendError: a count or a size is none, or the engines are given what only this program's own takes.
    """

    hardware: HardwareOptions
    bases: BaseModels
    memory: int | str | None
    max_batch: int
    many_stops: bool
    engine: str | EngineAddress | Sequence[str | EngineAddress] | AnsweringEngine | None

    def __post_init__(self) -> None:
        _require_counts(max_batch=self.max_batch)
        if self.memory is not None and self.engine is not None:
            raise BackendError("memory=: an engine of your own keeps its own account; give one of memory= and engine=")
        check_bases(self._engines, self.bases)
        if not self._engines and not isinstance(self.engine, AnsweringEngine | None):
            message = f"engine: an object of type {type(self.engine).__name__} answers nothing; give KIND=URL"
            raise BackendError(message)

    @property
    def _memory_bytes(self) -> int | None:
        return None if self.memory is None else memory_bytes(self.memory)

    @property
    def asked(self) -> dict[str, object]:
        """What was asked for, as it is written down, without keys."""
        return _asked(
            bases={name: str(place) for name, place in self.bases.extra.items()} or None,
            aliases=dict(self.bases.aliases) or None,
            cache_dir=None if self.bases.cache_dir is None else str(self.bases.cache_dir),
            memory=self._memory_bytes,
            max_batch=self.max_batch,
            many_stops=self.many_stops,
            engine=[str(one) for one in self._engines] or self._object,
        )

    @property
    def _engines(self) -> tuple[EngineAddress | EngineCommand, ...]:
        """Engines that answer elsewhere."""
        if isinstance(self.engine, str | EngineAddress | list | tuple):
            return engines_of(self.engine)
        return ()

    @property
    def _object(self) -> str | None:
        """An engine that only this process has."""
        # With the process, so that no other program connects in the belief that this server answers with its object.
        return None if self.engine is None else f"object {id(self.engine)} of process {os.getpid()}"

    def inference_part(self, folder: Path) -> Callable[[], Inference]:
        """What asks models, made anew at each start; engines that it starts keep their logs in the folder."""
        engine = self._engine_in(folder)
        return lambda: Inference(self.bases, engine=engine())

    def _engine_in(self, folder: Path) -> Callable[[], AnsweringEngine]:
        if self._engines:
            return partial(start_engines, self._engines, bases=self.bases, folder=folder)
        if isinstance(self.engine, AnsweringEngine):
            return partial(_itself, self.engine)
        return partial(
            Engine,
            threads=self.hardware.threads,
            device=self.hardware.device,
            dtype=None if self.hardware.dtype == "nf4" else self.hardware.dtype,
            memory_bytes=self._memory_bytes,
            max_batch=self.max_batch,
        )


def base_models(
    bases: Mapping[str, str | Path] | None, *, aliases: Mapping[str, str] | None, cache_dir: str | Path | None
) -> BaseModels:
    """The base models that a backend serves, in folders that stay the same wherever the program goes.

    Raises:
        BackendError: a name has a colon or leads nowhere.
    """
    served = BaseModels(
        extra={name: located(place) for name, place in (bases or {}).items()},
        aliases=dict(aliases or {}),
        cache_dir=None if cache_dir is None else Path(cache_dir).expanduser().absolute(),
    )
    served.check()
    return served


def _itself(engine: AnsweringEngine) -> AnsweringEngine:
    return engine


def _asked(**options: object) -> dict[str, object]:
    # What is left at its default is what nobody asked for, and fits any server.
    return {name: None if value == _DEFAULTS.get(name) else value for name, value in options.items()}


def _require_counts(**values: object) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BackendError(f"{name}: {value!r} must be a whole number, 1 or more")


def _fingerprint(url: str) -> str:
    # Itself it may hold a password, and what a server was started with is written down.
    return f"sha256:{hashlib.sha256(url.encode()).hexdigest()}"
