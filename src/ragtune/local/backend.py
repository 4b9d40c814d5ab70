"""`LocalBackend`: OpenAI's fine-tuning wire on this machine, in a thread of this process."""

from __future__ import annotations

import logging
import shlex
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ragtune.errors import BackendError
from ragtune.local.app import make_app
from ragtune.local.auth.account import Account, keeps_hash, open_account, webhook_secret
from ragtune.local.auth.sessions import Sessions
from ragtune.local.engine.memory import memory_bytes
from ragtune.local.folder_lock import FolderLock
from ragtune.local.http.limits import LOOPBACK
from ragtune.local.http.server import ServerThread
from ragtune.local.inference import AnsweringEngine, Inference
from ragtune.local.models.registry import BaseModels
from ragtune.local.runner.queue import Queue
from ragtune.local.services import Services
from ragtune.local.store import Store
from ragtune.local.webhook_sender import WebhookSender, check_url
from ragtune.modelling.hardware import check_wish, usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from openai import AsyncOpenAI, OpenAI
    from starlette.types import ASGIApp

    from ragtune.local.models.exported import Exported
    from ragtune.modelling.hardware import Device, Dtype

__all__ = ["LocalBackend"]

logger = logging.getLogger("ragtune")

_STOP_S = 120.0
_NAMED = 3


class LocalBackend:
    """A server on this machine that speaks OpenAI's wire and really fine-tunes open models.

    Everything it knows lives in one folder: a later backend on the folder is the same account, with the same key,
    files, jobs and models. Leaving the block while a job trains stops the job at a checkpoint; the next start goes
    on with it. The log says so, and a note at the exception, if one leaves the block.

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
            which `ragtune doctor` explains. A job keeps the format that it was begun in.
        memory: most bytes of weights that answering keeps in memory, as a number or as a text such as `4GB`; the model
            that was asked longest ago leaves first. One model alone may be larger. None means 80 % of the memory of
            the GPU, without one of this machine or container.
        max_running: most jobs that train at the same time; others wait in the queue.
        webhook: URL that is told when a job succeeds, fails or is cancelled: the three events of OpenAI's webhooks,
            signed with `webhook_secret`. None tells nobody.
        launcher: what starts the training program in place of the Python interpreter, as a command line or as words,
            for example `accelerate launch --config_file gpus.yaml` or `torchrun --nproc_per_node 4`; None is this
            Python. `-m ragtune.train` and the path of a job's spec are added.
        trainer: argv of another training program that keeps the worker's contract; None is the launcher's
            `-m ragtune.train`.
        engine: what answers requests, see `AnsweringEngine`; None loads models with transformers on first use.

    Raises:
        BackendError: a name in `bases` or `aliases` has a colon or leads nowhere, this machine has no such `device` or
            `dtype`; or (on start) another backend has the
            folder, the port is taken, or the folder cannot be used.
        MissingExtraError: (on import) the extra `local` is not installed.

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
        max_running: int = 1,
        webhook: str | None = None,
        launcher: str | Sequence[str] | None = None,
        trainer: Sequence[str] | None = None,
        engine: AnsweringEngine | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        self._exposed = host not in LOOPBACK
        if self._exposed and key is None and not keeps_hash(self.folder):
            message = f"host {host!r} can be reached from other machines; pass key=... to say who may come in"
            raise BackendError(message)
        self._address = (host, port)
        self._key = key
        self._bases = BaseModels(
            extra=dict(bases or {}),
            aliases=dict(aliases or {}),
            cache_dir=None if cache_dir is None else Path(cache_dir),
        )
        self._threads = threads
        self._device, self._dtype = device, dtype
        if device is not None or dtype is not None:
            check_wish(device, dtype)
        self._memory = None if memory is None else memory_bytes(memory)
        if memory is not None and engine is not None:
            raise BackendError("memory=: an engine of your own keeps its own account; give one of memory= and engine=")
        self._max_running = max_running
        self._trainer = tuple(trainer or (*_words(launcher), "-m", "ragtune.train"))
        self._engine = engine
        self._webhook = None if webhook is None else check_url(webhook)
        self._running: _Running | None = None
        self._bases.check()

    def start(self) -> Self:
        """Open the folder, listen, and take up jobs that wait. Returns itself.

        Raises:
            BackendError: another backend has the folder, the port is taken, or the folder cannot be used.
        """
        if self._running is not None:
            message = f"the backend on {self.folder} runs already at {self.base_url}; stop it first"
            raise BackendError(message)
        self._running = _Running.open(self)
        return self

    def stop(self) -> None:
        """Stop answering, let running jobs write a checkpoint and end, close the folder. Stopping twice is fine."""
        self._stop()

    def _stop(self) -> tuple[str, ...]:
        """Stop, and return the jobs that have not ended."""
        running, self._running = self._running, None
        return () if running is None else running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unfinished = self._stop()
        if error is not None and unfinished:
            # What was raised may say that the job runs on, which holds for every server but this one.
            goes = "the job goes" if len(unfinished) == 1 else "they go"
            error.add_note(
                f"the embedded backend stopped with its block, and {_some(unfinished)} with it, at a checkpoint: "
                f"open LocalBackend({str(self.folder)!r}) again and {goes} on"
            )

    def __repr__(self) -> str:
        place = f"at {self.base_url}" if self._running is not None else "not started"
        return f"{type(self).__name__}({str(self.folder)!r}, {place})"

    @property
    def base_url(self) -> str:
        """The address for clients, for example `http://127.0.0.1:8000/v1`."""
        return f"{self._require_running().server.origin}/v1"

    @property
    def api_key(self) -> str:
        """The key that requests must carry.

        Raises:
            BackendError: the backend is not started, or was not given the key at this start and knows its hash alone.
        """
        key = self._require_running().account.key
        if key is None:
            message = f"{self.folder} keeps only a hash of the key; pass key=..., or api_key=... to the client"
            raise BackendError(message)
        return key

    @property
    def webhook_secret(self) -> str:
        """With which webhook messages are signed: what `client.webhooks.unwrap(secret=...)` of the receiver needs.

        It is made on first use, also before the start, and kept in the folder, readable by its owner alone.
        """
        return webhook_secret(self.folder)

    @property
    def account(self) -> str:
        """The account's id, kept in the folder."""
        return self._require_running().account.id

    def client(self, **options: Any) -> OpenAI:
        """Make an ordinary `openai.OpenAI` for this backend; `options` go to its constructor."""
        from openai import OpenAI

        return OpenAI(**self._client_options(options))

    def async_client(self, **options: Any) -> AsyncOpenAI:
        """Make a new `openai.AsyncOpenAI` for this backend; one belongs to one event loop."""
        from openai import AsyncOpenAI

        return AsyncOpenAI(**self._client_options(options))

    def _client_options(self, options: dict[str, Any]) -> dict[str, Any]:
        # The organization too: otherwise one of OpenAI's would be taken from the environment.
        own = {"base_url": self.base_url, "organization": self.account}
        return {**own, **({} if "api_key" in options else {"api_key": self.api_key}), **options}

    def _make_queue(self, store: Store) -> Queue:
        return Queue(
            store,
            bases=self._bases,
            trainer=self._trainer,
            threads=self._threads or max(1, usable_cores() // 2),
            device=self._device,
            dtype=self._dtype,
            max_running=self._max_running,
        )

    def _make_app(self, services: Services) -> ASGIApp:
        return make_app(services)

    def export(self, model: str, folder: str | Path, *, merged: bool = False) -> Exported:
        """Write a tuned model to a folder of its own, for other servers; the backend need not be started.

        The folder gets the weights as safetensors, tokenizer, chat template, and a README.md that says what the
        model came from and with which commands vLLM, SGLang, llama.cpp and transformers serve it.

        Args:
            model: name of a tuned model or checkpoint.
            folder: the folder to make; must not be there yet.
            merged: one whole model, twice the bytes of its number of parameters; False is the adapter alone, a few
                megabytes that need the base beside them.

        Raises:
            BackendError: there is no such model, the folder is there already, or the disk is full.
        """
        from ragtune.local.models.export import export_model

        return export_model(model, Path(folder).resolve(), folder=self.folder, bases=self._bases, merged=merged)

    def _require_running(self) -> _Running:
        if self._running is None:
            message = f"the backend on {self.folder} is not started; use it as a context manager or call start()"
            raise BackendError(message)
        return self._running


class _Running:
    """The parts of a started backend, opened in order and closed in reverse."""

    def __init__(
        self, lock: FolderLock, store: Store, services: Services, server: ServerThread, webhooks: WebhookSender | None
    ) -> None:
        self._webhooks = webhooks
        self._lock = lock
        self._store = store
        self._services = services
        self.server = server
        self.account: Account = services.account

    @classmethod
    def open(cls, backend: LocalBackend) -> _Running:
        lock = FolderLock(backend.folder)
        try:
            account = open_account(backend.folder, key=backend._key, exposed=backend._exposed)
            store = Store(backend.folder)
            try:
                bases = backend._bases
                services = Services(
                    account=account,
                    store=store,
                    bases=bases,
                    queue=backend._make_queue(store),
                    inference=Inference(
                        bases,
                        threads=backend._threads,
                        device=backend._device,
                        dtype=backend._dtype,
                        memory_bytes=backend._memory,
                        engine=backend._engine,
                    ),
                    sessions=Sessions(),
                )
                host, port = backend._address
                server = ServerThread(backend._make_app(services), host=host, port=port)
                webhooks = None
                if backend._webhook is not None:
                    webhooks = WebhookSender(store.outbox, url=backend._webhook, secret=webhook_secret(backend.folder))
                    webhooks.start()
                services.queue.start()
            except BaseException:
                store.close()
                raise
        except BaseException:
            lock.release()
            raise
        return cls(lock, store, services, server, webhooks)

    def close(self) -> tuple[str, ...]:
        """Close everything; returns the ids of the jobs that have not ended."""
        waiting = self._store.jobs.unfinished()
        if waiting:
            # Said at once: a checkpoint may take a while.
            goes = "goes" if len(waiting) == 1 else "go"
            logger.warning(
                "stopping; %s %s on at the next start; what trains writes a checkpoint first", _some(waiting), goes
            )
        try:
            # At the same time: open streams end with the engine's last token, or are cut off when that takes long.
            ending = threading.Thread(target=self._services.inference.close, daemon=True)
            ending.start()
            self.server.stop()
            ending.join()
        finally:
            try:
                self._services.queue.stop(_STOP_S)
                if self._webhooks is not None:
                    self._webhooks.stop()
                unfinished = self._store.jobs.unfinished()
            finally:
                self._store.close()
                self._lock.release()
        return unfinished


def _some(jobs: Sequence[str]) -> str:
    more = len(jobs) - _NAMED
    return ", ".join(jobs[:_NAMED]) + (f" and {more} more job{'s' if more > 1 else ''}" if more > 0 else "")


def _words(launcher: str | Sequence[str] | None) -> list[str]:
    words = shlex.split(launcher) if isinstance(launcher, str) else list(launcher or [sys.executable])
    if not words:
        raise BackendError("launcher: it is empty; give a command such as 'accelerate launch', or None")
    return words
