"""`LocalBackend`: OpenAI's fine-tuning wire on this machine, in a thread of this process."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ragtune._checked import checked
from ragtune.errors import BackendError
from ragtune.local.http.errors import ApiError, model_not_found
from ragtune.local.lifespan.connection import Connection, answers, connect, reachable, refuse_unserved
from ragtune.local.lifespan.embedded_server import EmbeddedServer
from ragtune.local.lifespan.folder_lock import FolderTakenError
from ragtune.local.lifespan.server_file import ServerFile
from ragtune.local.models.registry import find_model
from ragtune.local.options import (
    MAX_BATCH,
    AnsweringOptions,
    EntranceOptions,
    HardwareOptions,
    TrainingOptions,
    base_models,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ragtune.local.inference import AnsweringEngine
    from ragtune.local.lifespan.running import Address, Stopped
    from ragtune.local.models.exported import Exported
    from ragtune.local.remote_engine import EngineAddress
    from ragtune.modelling.hardware.formats import Device, Dtype

__all__ = ["LocalBackend"]

logger = logging.getLogger("ragtune")


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
        max_batch: int = MAX_BATCH,
        max_running: int = 1,
        webhook: str | None = None,
        many_stops: bool = False,
        origin: str | None = None,
        launcher: str | Sequence[str] | None = None,
        checkpoints: str | os.PathLike[str] | None = None,
        trainer: Sequence[str] | None = None,
        engine: str | EngineAddress | Sequence[str | EngineAddress] | AnsweringEngine | None = None,
    ) -> None:
        # Absolute at once: the program may change its working directory before it starts the server, and another
        # program that connects compares places.
        place = Path(folder).expanduser().resolve()
        entrance = EntranceOptions(folder=place, host=host, port=port, key=key, origin=origin, webhook=webhook)
        hardware = HardwareOptions(threads=threads, device=device, dtype=dtype)
        training = TrainingOptions(
            hardware=hardware,
            folder=place,
            max_running=max_running,
            launcher=launcher,
            checkpoints=checkpoints,
            trainer=trainer,
        )
        answering = AnsweringOptions(
            hardware=hardware,
            bases=base_models(bases, aliases=aliases, cache_dir=cache_dir),
            memory=memory,
            max_batch=max_batch,
            many_stops=many_stops,
            engine=engine,
        )
        super().__init__(entrance.parts(training, answering))
        self._key = key
        self._warm = (warm,) if isinstance(warm, str) else tuple(warm)
        self._connection: Connection | None = None

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
        # Without any option, so that nothing but the folder and the key is held against the server.
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
            wanted = {name: value for name, value in self._parts.options.items() if value is not None}
            self._connection = connect(self.folder, key=self._key, options=wanted, wait=True)
        try:
            self.warm(*self._warm)
        # Ctrl-C as well: in a `with` statement nobody leaves a block that was not entered.
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
        from ragtune.local.models.export import check_export, export_model
        from ragtune.local.models.gguf_file import find_converter

        if converter is not None and not gguf:
            raise BackendError("converter: it is for gguf=True; set that too, or leave the converter out")
        target = Path(folder).resolve()
        check_export(model, target, folder=self.folder, bases=self._parts.bases)
        words = find_converter(converter) if gguf else []
        return export_model(
            model, target, folder=self.folder, bases=self._parts.bases, merged=merged or gguf, converter=words
        )
