"""A server at work: its parts opened in order and closed in reverse."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ragtune._version import __version__
from ragtune.errors import BackendError
from ragtune.local.app import make_app
from ragtune.local.auth.account import open_account, webhook_secret
from ragtune.local.auth.sessions import Sessions
from ragtune.local.http.server import ServerThread
from ragtune.local.lifespan.folder_lock import FolderLock
from ragtune.local.lifespan.server_file import ServerFile
from ragtune.local.services import Services
from ragtune.local.store import Store
from ragtune.local.webhook_sender import WebhookSender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from starlette.types import ASGIApp

    from ragtune.local.inference import Inference
    from ragtune.local.models.registry import BaseModels
    from ragtune.local.runner.job_runner import JobRunner

__all__ = ["Address", "JobsPart", "RunningServer", "ServerParts", "Stopped", "named", "server_name"]

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
class ServerParts:
    """What a server is made of, before it is started.

    Attributes:
        folder: where it keeps its state.
        address: host and TCP port to listen on; port 0 for any free one.
        key: the API key to ask for, None for the folder's own.
        exposed: whether other machines can reach the address.
        webhook: URL that is told when a job ends, None for nobody.
        bases: the base models that are served.
        jobs: makes what lets the jobs of a store go on, given what asks models; called at each start.
        inference: makes what asks models; called at each start.
        temporary: whether the folder goes with the stop.
        kind: what it says that it is in the header `ragtune-server`.
        options: how it is started, as JSON holds it, for programs that want the same folder.
        many_stops: whether chat takes more than OpenAI's four stop texts.
        origin: the address under which browsers reach it through a proxy, None where there is none.
    """

    folder: Path
    address: tuple[str, int]
    key: str | None
    exposed: bool
    webhook: str | None
    bases: BaseModels
    jobs: Callable[[Store, Inference], JobsPart]
    inference: Callable[[], Inference]
    temporary: bool = False
    kind: str = "embedded"
    options: Mapping[str, object] = field(default_factory=dict)
    many_stops: bool = False
    origin: str | None = None


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


@contextmanager
def _told_of(folder: Path) -> Iterator[None]:
    """Say which folder it was that could not be written: the system's own words leave it out."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        why = getattr(error, "strerror", None) or error
        message = f"{folder}: cannot be used as a backend's folder ({why}); make room or choose another one"
        raise BackendError(message) from error


class RunningServer:
    """The parts of a started backend, opened in order and closed in reverse."""

    def __init__(
        self,
        *,
        lock: FolderLock,
        store: Store,
        services: Services,
        server: ServerThread,
        webhooks: WebhookSender | None,
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
    def open(cls, parts: ServerParts) -> RunningServer:
        """Take the folder and listen; what was opened is closed again where a later part cannot be.

        Raises:
            BackendError: another server has the folder, the port is taken, or the folder cannot be used.
        """
        with _told_of(parts.folder), ExitStack() as undo:
            lock = FolderLock(parts.folder)
            undo.callback(lock.release)
            # That of a server that was killed: another program may have its port by now, and whoever waits for this
            # server would show that one the key.
            ServerFile.remove(parts.folder)
            account = open_account(parts.folder, key=parts.key, exposed=parts.exposed)
            store = Store(parts.folder)
            undo.callback(store.close)
            inference = parts.inference()
            undo.callback(inference.close)
            jobs = parts.jobs(store, inference)
            services = Services(
                account=account,
                server=server_name(parts.kind),
                folder=parts.folder,
                store=store,
                bases=parts.bases,
                runner=jobs.runner,
                inference=inference,
                sessions=Sessions(origin=parts.origin),
                many_stops=parts.many_stops,
            )
            host, port = parts.address
            server = ServerThread(jobs.around(make_app(services)), host=host, port=port)
            # Else its port stays taken in this process, also for the next try.
            undo.callback(server.stop)
            options = {**parts.options, "host": host, "port": server.port}
            # Only now is a port known that was left to the system; and whoever reads the file may ask at once.
            ServerFile(kind=parts.kind, origin=server.origin, account=account.id, options=options).write(parts.folder)
            undo.callback(ServerFile.remove, parts.folder)
            webhooks = None
            if parts.webhook is not None:
                webhooks = WebhookSender(store.outbox, url=parts.webhook, secret=webhook_secret(parts.folder))
                webhooks.start()
                undo.callback(webhooks.stop)
            # Last: of a job that ends before there is a sender, the outbox would keep nothing.
            services.runner.start()
            undo.pop_all()
        return cls(lock=lock, store=store, services=services, server=server, webhooks=webhooks)

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
                "stopping; %s %s on at the next start; what trains writes a checkpoint first", named(waiting), goes
            )
        try:
            try:
                self._stop_answering()
            finally:
                # Even if answering could not be stopped: a worker that nobody ends would train on without a server.
                self.services.runner.stop(_STOP_S)
            if self._webhooks is not None:
                self._webhooks.stop()
            unfinished = self._store.jobs.unfinished()
            kept = any(has_checkpoint(self._store.job_folder(job)) for job in unfinished)
        finally:
            # After the runner and the sender, whose threads write into it to the last.
            self._store.close()
            # Before the lock: the next server writes a file of its own, which must stay.
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


def has_checkpoint(folder: Path) -> bool:
    """Whether a job's training can go on from a step."""
    return any((folder / "checkpoints").glob("*"))


def server_name(kind: str) -> str:
    """What a server calls itself."""
    return f"{kind}/{__version__}"


def named(jobs: Sequence[str]) -> str:
    """The first few of some jobs, and how many more there are."""
    named, more = ", ".join(jobs[:_NAMED]), len(jobs) - _NAMED
    if more <= 0:
        return named
    return f"{named} and {more} more job{'s' if more > 1 else ''}"
