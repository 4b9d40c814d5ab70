"""A server in a thread of this process: opened on a folder, asked over loopback, closed in order.

What brings its jobs to an end and what answers its questions are given to it: `LocalBackend` trains and asks models,
`ragtune.testing.ScriptedBackend` plays both.
"""

from __future__ import annotations

import shutil
import signal
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from ragtune._warn import warn
from ragtune.errors import BackendError
from ragtune.local.auth.account import webhook_secret
from ragtune.local.lifespan.running import RunningServer, Stopped, named, server_name
from ragtune.local.services import feedback_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from openai import AsyncOpenAI, OpenAI

    from ragtune.feedback import FeedbackStore
    from ragtune.local.lifespan.running import Address, ServerParts

__all__ = ["EmbeddedServer"]


class EmbeddedServer:
    """What all embedded backends have in common: their folder, their address, their clients, their start and stop.

    Args:
        parts: what it is made of.
    """

    def __init__(self, parts: ServerParts) -> None:
        self.folder = parts.folder
        self._parts = parts
        self._running: RunningServer | None = None

    @property
    def feedback(self) -> FeedbackStore:
        """What people said about answers on the server's page, in its folder; the backend need not be started."""
        return feedback_in(self.folder)

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
        self._running = RunningServer.open(self._parts)
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
                f"the embedded backend stopped with its block, and {named(stopped.unfinished)} with it, {how}: "
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


@contextmanager
def _hurried_by_ctrl_c(running: RunningServer | None) -> Iterator[threading.Event]:
    """Let a Ctrl-C hurry a stop instead of breaking into it, wherever it is; gives whether one came.

    A program's own handler of the signal stays.
    """
    pressed = threading.Event()
    # Python lets the main thread alone set handlers.
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
