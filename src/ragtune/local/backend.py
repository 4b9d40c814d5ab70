"""`LocalBackend`: OpenAI's fine-tuning wire on this machine, in a thread of this process."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ragtune._checked import checked
from ragtune.errors import BackendError
from ragtune.local.auth.account import keeps_hash
from ragtune.local.auth.sessions import checked_origin
from ragtune.local.connection import Connection, answers, connect, reachable, refuse_unserved
from ragtune.local.embedded_server import EmbeddedServer
from ragtune.local.engine import Engine
from ragtune.local.engine.memory import memory_bytes
from ragtune.local.folder_lock import FolderTakenError
from ragtune.local.http.errors import ApiError, model_not_found
from ragtune.local.http.limits import LOOPBACK
from ragtune.local.inference import AnsweringEngine, Inference
from ragtune.local.models.registry import BaseModels, find_model, located
from ragtune.local.remote_engine import EngineAddress, engines_of
from ragtune.local.remote_engine.starting import check_bases, start_engines
from ragtune.local.runner.launcher import launcher_words
from ragtune.local.runner.queue import Queue
from ragtune.local.running import Address, JobsPart, ServerParts, Stopped
from ragtune.local.server_file import ServerFile
from ragtune.local.webhook_sender import check_url
from ragtune.modelling.hardware.machine import usable_cores
from ragtune.modelling.hardware.placement import check_wish
from ragtune.train.checkpoints.copies import checked_address, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ragtune.local.models.exported import Exported
    from ragtune.modelling.hardware.formats import Device, Dtype

__all__ = ["LocalBackend"]

logger = logging.getLogger("ragtune")


_MAX_BATCH = 16


@checked("threads", "max_running", "max_batch", "memory", "device", "dtype", "checkpoints", "engine")
class LocalBackend(EmbeddedServer):
    """A server on this machine that speaks OpenAI's wire and really fine-tunes open models.

    Everything it knows lives in one folder: a later backend on the folder is the same account, with the same key,
    files, jobs and models. On a folder that another program serves it becomes a connection to that server: the same
    clients, address and key, and leaving it stops nothing.

    Leaving the block while a job trains stops the job at a checkpoint; the next start goes on with it. The log says
    so, and a note at the exception, if one leaves the block.

    Args:
        folder: where it keeps its state; made when it is not there.
        port: TCP port, 0 for any free one.
        host: address to listen on; one that other machines can reach needs `key` once.
        key: the API key to ask for. None makes one and keeps it in the folder's `api_key.txt`, readable by its owner
            alone. A key for a host that other machines can reach has at least 16 characters; the folder keeps its
            salted hash, so that later starts need not be given it again.
        bases: further base models: name to folder, or to an id of the Hugging Face Hub.
        aliases: further names for base models, for example `{"gpt-4o-mini-2024-07-18": "smollm2-135m-instruct"}`, so
            that unchanged programs run. A model tuned under an alias carries the alias in its name.
        cache_dir: folder of converted base models, None for the user's cache folder.
        threads: CPU threads for training and for answering each. None trains on half of the cores that this process
            may use, so that the machine stays usable meanwhile, and leaves the number for answering to torch.
        device: where to train and answer: `cuda` (also AMD's GPUs), `xpu`, `mps` or `cpu`. None is the best one here.
        dtype: number format of frozen bases: `float32`, `bfloat16` or `float16`. None is the right one on that device,
            which `ragtune doctor` explains. A job keeps the format that it was begun in. `nf4` trains on bases that are
            held in 4 bits (QLoRA; extra `qlora`) and answers in the right format of the device.
        memory: most bytes of weights that answering keeps in memory, as a number or as a text such as `4GB`; the model
            that was asked longest ago leaves first. One model alone may be larger. None means 80 % of the memory of
            the GPU, without one of this machine or container.
        warm: names of models that are loaded at the start, so that the first question to them is answered as quickly as
            the next; `start()` returns when they are.
        max_batch: most answers of one base that are written together. 1 writes one after the other, so that a greedy
            answer is the same whatever else is asked meanwhile.
        max_running: most jobs that train at the same time; others wait in the queue.
        webhook: URL that is told when a job succeeds, fails or is cancelled: the three events of OpenAI's webhooks,
            signed with `webhook_secret`. None tells nobody.
        many_stops: whether chat takes as many stop texts as completions do, 64, where OpenAI takes four.
        origin: the address at which a proxy in front shows the page, for example `https://tunes.example.com`: its forms
            and its name are then taken as the server's own. None is no proxy.
        launcher: what starts the training program in place of the Python interpreter, as a command line or as words,
            for example `accelerate launch --config_file gpus.yaml` or `torchrun --nproc_per_node 4`; `ray --workers 4`
            trains on a Ray cluster. None is this Python. `-m ragtune.train` and the path of a job's spec are added.
        checkpoints: where each whole checkpoint of a job is copied to, for example `s3://bucket/runs`: an address of
            fsspec or a folder. A job whose own are gone goes on from there. None copies nothing.
        trainer: argv of another training program that keeps the worker's contract; None is the launcher's
            `-m ragtune.train`.
        engine: what answers requests. None loads models with transformers on first use. `vllm=http://127.0.0.1:8001`,
            an `EngineAddress` (with the engine's key), or several of them ask engines of their own, which hold the
            adapters of this server's models; `vllm` or `vllm=BASE` starts one. An object is an `AnsweringEngine`.

    Raises:
        BackendError: `threads`, `max_batch` or `max_running` is no count above 0, `origin` or `webhook` is no URL, a
            name in `bases` or `aliases` has a colon or leads nowhere, this machine has no such `device` or `dtype`; or
            (on start) the port is taken, the folder cannot be used, or the server that runs on it has other options
            than those that are given here.
        MissingExtraError: (on import) the extra `local` is not installed; or `ray`, which `launcher=` asks for, is not.

    Example:
        ```python
        from tempfile import TemporaryDirectory

        from ragtune.local import LocalBackend

        with TemporaryDirectory() as folder, LocalBackend(folder) as backend:
            client = backend.client()
            print("tiny-random" in [model.id for model in client.models.list()])
            #> True
            client.close()
        ```
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        key: str | None = None,
        bases: Mapping[str, str | Path] | None = None,
        aliases: Mapping[str, str] | None = None,
        cache_dir: str | Path | None = None,
        threads: int | None = None,
        device: Device | None = None,
        dtype: Dtype | None = None,
        memory: int | str | None = None,
        warm: str | Sequence[str] = (),
        max_batch: int = _MAX_BATCH,
        max_running: int = 1,
        webhook: str | None = None,
        many_stops: bool = False,
        origin: str | None = None,
        launcher: str | Sequence[str] | None = None,
        checkpoints: str | os.PathLike[str] | None = None,
        trainer: Sequence[str] | None = None,
        engine: str | EngineAddress | Sequence[str | EngineAddress] | AnsweringEngine | None = None,
    ) -> None:
        place = Path(folder).expanduser().resolve()
        exposed = _is_exposed(place, host, key)
        if device is not None or dtype is not None:
            check_wish(device, dtype)
        copied_to = None if checkpoints is None else checked_address(checkpoints)
        if copied_to is not None and is_inside(copied_to, place / "jobs"):
            # They are removed with all that lies beside them when a job succeeds: its model, there.
            raise BackendError(
                f"checkpoints: {copied_to} lies among the jobs themselves; give a place beside the folder"
            )
        _require_counts(threads=1 if threads is None else threads, max_running=max_running, max_batch=max_batch)
        weights_bytes = None if memory is None else memory_bytes(memory)
        if memory is not None and engine is not None:
            raise BackendError("memory=: an engine of your own keeps its own account; give one of memory= and engine=")
        self._bases = BaseModels(
            extra={name: located(place) for name, place in (bases or {}).items()},
            aliases=dict(aliases or {}),
            cache_dir=None if cache_dir is None else Path(cache_dir).expanduser().absolute(),
        )
        asks, engines = answering(engine, bases=self._bases, folder=place)
        self._wanted = {
            "port": port or None,
            "host": None if host == "127.0.0.1" else host,
            "bases": {name: str(place) for name, place in self._bases.extra.items()} or None,
            "aliases": dict(self._bases.aliases) or None,
            "cache_dir": None if cache_dir is None else str(self._bases.cache_dir),
            "threads": threads,
            "device": device,
            "dtype": dtype,
            "memory": weights_bytes,
            # What is left at its default is what nobody asked for, and fits any server.
            "max_batch": None if max_batch == _MAX_BATCH else max_batch,
            "many_stops": many_stops or None,
            "max_running": None if max_running == 1 else max_running,
            "origin": origin,
            "webhook": None if webhook is None else _fingerprint(webhook),
            "launcher": None if launcher is None else list(launcher_words(launcher)),
            "trainer": None if trainer is None else list(trainer),
            "checkpoints": None if copied_to is None else _fingerprint(copied_to),
            "engine": engines,
        }
        self._connection: Connection | None = None
        queue = partial(
            Queue,
            bases=self._bases,
            trainer=tuple(trainer or (*launcher_words(launcher), "-m", "ragtune.train")),
            threads=threads or max(1, usable_cores() // 2),
            device=device,
            dtype=dtype,
            max_running=max_running,
            checkpoints=copied_to,
        )
        own_engine = partial(
            Engine,
            threads=threads,
            device=device,
            dtype=None if dtype == "nf4" else dtype,
            memory_bytes=weights_bytes,
            max_batch=max_batch,
        )
        super().__init__(
            ServerParts(
                folder=place,
                address=(host, port),
                key=key,
                exposed=exposed,
                webhook=None if webhook is None else check_url(webhook),
                bases=self._bases,
                jobs=lambda store, inference: JobsPart(runner=queue(store, made=inference.offer)),
                inference=lambda: Inference(self._bases, engine=(asks or own_engine)()),
                options=self._wanted,
                many_stops=many_stops,
                origin=None if origin is None else checked_origin(origin),
            )
        )
        self._key = key
        self._bases.check()
        self._warm = (warm,) if isinstance(warm, str) else tuple(warm)

    def warm(self, *models: str) -> None:
        """Load models into memory, one after the other; returns when all of them can answer.

        Args:
            models: names of base and tuned models, as a request would name them.

        Raises:
            BackendError: one is not there or cannot be loaded, or the backend is not started.
        """
        for name in models:
            begin = time.monotonic()
            self._load(name)
            logger.info("%s is loaded (%.1f s)", name, time.monotonic() - begin)

    def _load(self, name: str) -> None:
        if self._connection is not None:
            self._ask_once(name)
            return
        if self._running is None:
            raise BackendError(f"the backend on {self.folder} is not started; start it before it loads {name!r}")
        services = self._running.services
        model = find_model(name, bases=services.bases, store=services.store)
        try:
            if model is None:
                raise model_not_found(name)
            services.inference.warm(model)
        except ApiError as error:
            raise BackendError(f"{name!r} cannot be loaded: {error.message}") from error

    def _ask_once(self, name: str) -> None:
        """Have another program's server load a model."""
        import openai

        try:
            with self.client() as client:
                client.completions.create(model=name, prompt=" ", max_tokens=1)
        except openai.OpenAIError as error:
            raise BackendError(f"{name!r} cannot be loaded: {error}") from error

    @classmethod
    def connect(cls, folder: str | Path, *, key: str | None = None) -> Self:
        """Return a connection to the server that runs on a folder, in this program or another.

        Args:
            folder: the folder.
            key: the server's API key, where the folder does not keep it.

        Raises:
            BackendError: none runs there, or it asks for another key.
        """
        backend = cls(folder, key=key)
        refuse_unserved(backend.folder)
        backend._connection = connect(backend.folder, key=key, options={}, wait=True)
        return backend

    @property
    def is_connection(self) -> bool:
        """Whether another program's server answers, which goes on when this is left."""
        return self._connection is not None

    def start(self, *, alone: bool = False) -> Self:
        """Open the folder, listen, and take up jobs that wait; or connect to the server that runs on the folder.

        What is to be warm is loaded then.

        Args:
            alone: raise where a server runs there already, instead of connecting to it.

        Returns:
            The backend itself.

        Raises:
            BackendError: the port is taken, the folder cannot be used, the server that runs there has other options, or
                a model that is to be warm is not there.
        """
        if self._connection is not None:
            if answers(self._connection):
                return self
            self._connection = None  # its server ended; the folder is free, or another one has it
        try:
            super().start()
        except FolderTakenError as taken:
            if alone:
                there = ServerFile.read(self.folder)
                where = "" if there is None else f" at {reachable(there.origin)}/v1"
                raise BackendError(f"{taken}{where and f'; it answers{where}'}") from taken
            wanted = {name: value for name, value in self._wanted.items() if value is not None}
            self._connection = connect(self.folder, key=self._key, options=wanted, wait=True)
        try:
            self.warm(*self._warm)
        except BaseException:
            self.stop()
            raise
        return self

    def _stop(self) -> Stopped:
        self._connection = None  # its server goes on
        return super()._stop()

    def _address(self) -> Address | None:
        return self._connection or super()._address()

    def export(
        self,
        model: str,
        folder: str | Path,
        *,
        merged: bool = False,
        gguf: bool = False,
        converter: str | Path | None = None,
    ) -> Exported:
        """Write a tuned model to a folder of its own, for other servers; the backend need not be started.

        The folder gets the weights as safetensors, tokenizer, chat template, and a README.md that says what the
        model came from and with which commands vLLM, SGLang, llama.cpp and transformers serve it.

        Args:
            model: name of a tuned model or checkpoint.
            folder: the folder to make; must not be there yet.
            merged: one whole model, twice the bytes of its number of parameters; False is the adapter alone, a few
                megabytes that need the base beside them.
            gguf: a merged model, with one GGUF file and a Modelfile for Ollama beside it, made by llama.cpp's
                converter and read back.
            converter: its `convert_hf_to_gguf.py`, or the folder of its source; None looks for it on the `PATH`.

        Raises:
            BackendError: there is no such model, the folder is there already, the disk is full, or the converter
                is not there or fails.
            MissingExtraError: a package that the converter needs is not installed.
        """
        from ragtune.local.models.export import export_model
        from ragtune.local.models.gguf_file import find_converter

        if converter is not None and not gguf:
            raise BackendError("converter: it is for gguf=True; set that too, or leave the converter out")
        words = find_converter(converter) if gguf else []
        target = Path(folder).resolve()
        return export_model(
            model, target, folder=self.folder, bases=self._bases, merged=merged or gguf, converter=words
        )


def _is_exposed(folder: Path, host: str, key: str | None) -> bool:
    """Whether other machines can reach the address.

    Raises:
        BackendError: they can, and nothing says who may come in.
    """
    if host in LOOPBACK:
        return False
    if key is None and not keeps_hash(folder):
        message = f"host {host!r} can be reached from other machines; pass key=... to say who may come in"
        raise BackendError(message)
    return True


def answering(
    engine: str | EngineAddress | Sequence[str | EngineAddress] | AnsweringEngine | None,
    *,
    bases: BaseModels,
    folder: Path,
) -> tuple[Callable[[], AnsweringEngine] | None, object]:
    """What makes the engine at each start, None for this program's own; and how it is written down, without keys.

    Raises:
        BackendError: an address is none.
    """
    if engine is None:
        return None, None
    if isinstance(engine, str | EngineAddress | list | tuple):
        engines = engines_of(engine)
        check_bases(engines, bases)
        return partial(start_engines, engines, bases=bases, folder=folder), [str(one) for one in engines]
    if not isinstance(engine, AnsweringEngine):
        message = f"engine: an object of type {type(engine).__name__} answers nothing; give KIND=URL"
        raise BackendError(message)
    return lambda: engine, f"object {id(engine)} of process {os.getpid()}"


def _require_counts(**values: object) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BackendError(f"{name}: {value!r} must be a whole number, 1 or more")


def _fingerprint(url: str) -> str:
    # Itself it may hold a password, and what a server was started with is written down.
    return f"sha256:{hashlib.sha256(url.encode()).hexdigest()}"
