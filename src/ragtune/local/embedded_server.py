"""A server in a thread of this process: opened on a folder, asked over loopback, closed in order.

What brings its jobs to an end and what answers its questions are given to it: `LocalBackend` trains and asks models,
`ragtune.testing.ScriptedBackend` plays both.
"""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from ragtune._version import __version__
from ragtune._warn import warn
from ragtune.errors import BackendError
from ragtune.local.app import make_app
from ragtune.local.auth.account import open_account, webhook_secret
from ragtune.local.auth.sessions import Sessions
from ragtune.local.folder_lock import FolderLock
from ragtune.local.http.server import ServerThread
from ragtune.local.server_file import ServerFile
from ragtune.local.services import Services
from ragtune.local.store import Store
from ragtune.local.webhook_sender import WebhookSender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from openai import AsyncOpenAI, OpenAI
    from starlette.types import ASGIApp

    from ragtune.local.inference import Inference
    from ragtune.local.models.registry import BaseModels
    from ragtune.local.runner.job_runner import JobRunner

__all__ = ["EmbeddedServer", "JobsPart"]

logger = logging.getLogger("ragtune")

_STOP_S = 120.0
_NAMED = 3


def _unchanged(app: ASGIApp) -> ASGIApp:
    return app


@dataclass(frozen=True, kw_only=True)
class JobsPart:
    """What lets the jobs of one store go on.

    Attributes:
        runner: brings them to an end.
        around: puts something around the application, for a runner that goes on when requests come.
    """

    runner: JobRunner
    around: Callable[[ASGIApp], ASGIApp] = _unchanged


@dataclass(frozen=True, kw_only=True)
class _Parts:
    folder: Path
    address: tuple[str, int]
    key: str | None
    exposed: bool
    webhook: str | None
    bases: BaseModels
    jobs: Callable[[Store], JobsPart]
    inference: Callable[[], Inference]
    temporary: bool
    kind: str
    options: Mapping[str, object]
    origin: str | None
    many_stops: bool


class EmbeddedServer:
    """What all embedded backends have in common: their folder, their address, their clients, their start and stop.

    Args:
        folder: where it keeps its state.
        address: host and TCP port to listen on; port 0 for any free one.
        key: the API key to ask for, None for the folder's own.
        exposed: whether other machines can reach the address.
        webhook: URL that is told when a job ends, None for nobody.
        bases: the base models that are served.
        jobs: makes what lets the jobs of a store go on; called at each start.
        inference: makes what asks models; called at each start.
        temporary: whether the folder goes with the stop.
        kind: what it says that it is in the header `ragtune-server`.
        options: how it is started, as JSON holds it, for programs that want the same folder.
        many_stops: whether chat takes more than OpenAI's four stop texts.
        origin: the address under which browsers reach it through a proxy, None where there is none.
    """

    def __init__(
        self,
        *,
        folder: Path,
        address: tuple[str, int],
        key: str | None,
        exposed: bool,
        webhook: str | None,
        bases: BaseModels,
        jobs: Callable[[Store], JobsPart],
        inference: Callable[[], Inference],
        temporary: bool = False,
        kind: str = "embedded",
        options: Mapping[str, object] | None = None,
        origin: str | None = None,
        many_stops: bool = False,
    ) -> None:
        self.folder = folder
        self._parts = _Parts(
            folder=folder,
            address=address,
            key=key,
            exposed=exposed,
            webhook=webhook,
            bases=bases,
            jobs=jobs,
            inference=inference,
            temporary=temporary,
            kind=kind,
            options=options or {},
            origin=origin,
            many_stops=many_stops,
        )
        self._running: _Running | None = None

    def start(self, *, alone: bool = False) -> Self:  # `LocalBackend` may connect instead
        """Open the folder, listen, and take up jobs that wait. Returns itself.

        Args:
            alone: raise where a server runs on the folder already, which this kind of server does in any case.

        Raises:
            BackendError: another backend has the folder, the port is taken, or the folder cannot be used.
        """
        if self._address() is not None:
            message = f"the backend on {self.folder} runs already at {self.base_url}; stop it first"
            raise BackendError(message)
        self._running = _Running.open(self._parts)
        return self

    def stop(self) -> None:
        """Stop answering, let running jobs write a checkpoint and end, close the folder. Stopping twice is fine.

        A Ctrl-C meanwhile does not wait for the checkpoints.
        """
        with _hurried_by_ctrl_c(self._running) as pressed:
            self._stop()
        if pressed.is_set():
            raise KeyboardInterrupt

    def _stop(self) -> Stopped:
        running, self._running = self._running, None
        stopped = Stopped() if running is None else running.close()
        if not self._parts.temporary:
            return stopped
        shutil.rmtree(self.folder, ignore_errors=True)
        # Nobody can open the folder again to let them go on.
        return replace(stopped, unfinished=())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _hurried_by_ctrl_c(self._running) as pressed:
            if isinstance(error, KeyboardInterrupt) and self._running is not None and self._running.is_at_work:
                with suppress(UserWarning):  # where warnings are errors, the stop still matters more
                    warn("stopping: what trains writes a checkpoint first; a second Ctrl-C does not wait for it")
            stopped = self._stop()
        if error is not None and stopped.unfinished:
            # What was raised may say that the job runs on, which holds for every server but this one.
            job = "the job" if len(stopped.unfinished) == 1 else "they"
            goes = f"{job} go{'es' if job == 'the job' else ''} on"
            how = "at a checkpoint" if stopped.kept else "before a first checkpoint"
            then = goes if stopped.kept else f"{job} begin{'s' if job == 'the job' else ''} anew"
            error.add_note(
                f"the embedded backend stopped with its block, and {_some(stopped.unfinished)} with it, {how}: "
                f"open {type(self).__name__}({str(self.folder)!r}) again and {then}"
            )
        # Beside an error, most likely the first Ctrl-C, that one says all.
        if error is None and pressed.is_set():
            raise KeyboardInterrupt

    def __repr__(self) -> str:
        place = f"at {self.base_url}" if self._address() is not None else "not started"
        return f"{type(self).__name__}({str(self.folder)!r}, {place})"

    @property
    def base_url(self) -> str:
        """The address for clients, for example `http://127.0.0.1:8000/v1`."""
        return f"{self._require_running().origin}/v1"

    @property
    def api_key(self) -> str:
        """The key that requests must carry.

        Raises:
            BackendError: the backend is not started, or was not given the key at this start and knows its hash alone.
        """
        key = self._require_running().key
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
        return self._require_running().account

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
        own: dict[str, Any] = {"base_url": self.base_url, "organization": self.account}
        # Whom this client is made for, so that not even a plan, which asks nobody, takes it for a stranger's.
        headers = {"ragtune-server": server_name(self._parts.kind), **(options.get("default_headers") or {})}
        key = {} if "api_key" in options else {"api_key": self.api_key}
        return {**own, **key, **options, "default_headers": headers}

    def _require_running(self) -> Address:
        address = self._address()
        if address is None:
            message = f"the backend on {self.folder} is not started; use it as a context manager or call start()"
            raise BackendError(message)
        return address

    def _address(self) -> Address | None:
        """Where it answers now."""
        return self._running


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """How a server came to its end.

    Attributes:
        unfinished: the jobs that have not ended.
        kept: whether one of them has a checkpoint to go on from.
    """

    unfinished: tuple[str, ...] = ()
    kept: bool = False


class Address(Protocol):
    """Where a server answers, and for whom."""

    @property
    def origin(self) -> str:
        """Its address, without a path."""

    @property
    def account(self) -> str:
        """The account's id."""

    @property
    def key(self) -> str | None:
        """The key that requests must carry, None where only its hash is known."""


class _Running:
    """The parts of a started backend, opened in order and closed in reverse."""

    def __init__(
        self, lock: FolderLock, store: Store, services: Services, server: ServerThread, webhooks: WebhookSender | None
    ) -> None:
        self._webhooks = webhooks
        self._lock = lock
        self._store = store
        self.services = services
        self.server = server
        self.origin = server.origin
        self.account = services.account.id
        self.key = services.account.key

    @classmethod
    def open(cls, parts: _Parts) -> _Running:
        lock = FolderLock(parts.folder)
        try:
            account = open_account(parts.folder, key=parts.key, exposed=parts.exposed)
            store = Store(parts.folder)
            try:
                jobs = parts.jobs(store)
                services = Services(
                    account=account,
                    server=server_name(parts.kind),
                    folder=parts.folder,
                    store=store,
                    bases=parts.bases,
                    runner=jobs.runner,
                    inference=parts.inference(),
                    sessions=Sessions(origin=parts.origin),
                    many_stops=parts.many_stops,
                )
                host, port = parts.address
                server = ServerThread(jobs.around(make_app(services)), host=host, port=port)
                options = {**parts.options, "host": host, "port": server.port}
                ServerFile(kind=parts.kind, origin=server.origin, account=account.id, options=options).write(
                    parts.folder
                )
                webhooks = None
                if parts.webhook is not None:
                    webhooks = WebhookSender(store.outbox, url=parts.webhook, secret=webhook_secret(parts.folder))
                    webhooks.start()
                services.runner.start()
            except BaseException:
                store.close()
                raise
        except BaseException:
            lock.release()
            raise
        return cls(lock, store, services, server, webhooks)

    @property
    def is_at_work(self) -> bool:
        """Whether jobs have not ended."""
        return bool(self._store.jobs.unfinished())

    def close(self) -> Stopped:
        """Close everything."""
        waiting = self._store.jobs.unfinished()
        if waiting:
            # Said at once: a checkpoint may take a while.
            goes = "goes" if len(waiting) == 1 else "go"
            logger.warning(
                "stopping; %s %s on at the next start; what trains writes a checkpoint first", _some(waiting), goes
            )
        try:
            try:
                self._stop_answering()
            finally:
                self.services.runner.stop(_STOP_S)
            if self._webhooks is not None:
                self._webhooks.stop()
            unfinished = self._store.jobs.unfinished()
            kept = any(has_checkpoint(self._store.job_folder(job)) for job in unfinished)
        finally:
            self._store.close()
            ServerFile.remove(self.services.folder)
            self._lock.release()
        return Stopped(unfinished=unfinished, kept=kept)

    def hurry(self) -> None:
        """End what trains without waiting for its checkpoint."""
        self.services.runner.stop(0.0)

    def _stop_answering(self) -> None:
        # At the same time: open streams end with the engine's last token, or are cut off when that takes long.
        ending = threading.Thread(target=self.services.inference.close, daemon=True)
        ending.start()
        self.server.stop()
        ending.join()


@contextmanager
def _hurried_by_ctrl_c(running: _Running | None) -> Iterator[threading.Event]:
    """Let a Ctrl-C hurry a stop instead of breaking into it, wherever it is; gives whether one came.

    A program's own handler of the signal stays.
    """
    pressed = threading.Event()
    here = threading.current_thread() is threading.main_thread()
    if running is None or not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed
        return

    def hurry(*_: object) -> None:
        pressed.set()
        running.hurry()

    before = signal.signal(signal.SIGINT, hurry)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def has_checkpoint(folder: Path) -> bool:
    """Whether a job's training can go on from a step."""
    return any((folder / "checkpoints").glob("*"))


def server_name(kind: str) -> str:
    """What a server calls itself."""
    return f"{kind}/{__version__}"


def _some(jobs: Sequence[str]) -> str:
    named, more = ", ".join(jobs[:_NAMED]), len(jobs) - _NAMED
    if more <= 0:
        return named
    return f"{named} and {more} more job{'s' if more > 1 else ''}"
