"""An engine that this program starts, watches, starts again, and stops with itself."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from ragtune.errors import BackendError
from ragtune.local.processes import OWN_GROUP, kill_with_children, last_line
from ragtune.local.remote_engine.address import EngineAddress

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.local.remote_engine.address import EngineCommand, EngineKind

__all__ = ["EngineProcess"]

logger = logging.getLogger("ragtune")

_STOP_S = 15.0
_LOOK_S = 0.5
_LONGEST_PAUSE_S = 60.0
# What every adapter of this program's training fits into.
_RANK = "64"


class EngineProcess:
    """One engine as a child of this process.

    Args:
        command: which kind of engine, for which base.
        base: the base's folder.
        log: file that gets all that it prints.

    Raises:
        BackendError: this machine has no such command, or this kind cannot be started from a base's folder.
    """

    def __init__(self, command: EngineCommand, *, base: Path, log: Path) -> None:
        # Somebody else may take it until the engine does; it ends then, and the log says why.
        port = _free_port()
        self._key = secrets.token_urlsafe(24)
        self._words = _words(command.kind, base, port)
        self._log = log
        self._stopped = threading.Event()
        key = self._key if command.kind == "vllm" else None  # others take theirs on the command line, for all to see
        self.address = EngineAddress(kind=command.kind, url=f"http://127.0.0.1:{port}", key=key)
        self._process = self._start()
        self._watcher = threading.Thread(target=self._watch, name="ragtune-engine-process", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """End it and all that it started."""
        self._stopped.set()
        self._watcher.join()
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            logger.warning("engine %s does not stop by itself; it is ended", self.address)
        # Its own children outlive one that was ended.
        kill_with_children(self._process.pid)
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            # vLLM opens its routes for adapters by a variable of the environment alone, and reads its key from one.
            return subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                creationflags=OWN_GROUP,
                env=_environment() | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_API_KEY": self._key},
            )

    def _watch(self) -> None:
        pause_s = 1.0
        while not self._stopped.wait(_LOOK_S):
            if (code := self._process.poll()) is None:
                continue
            logger.warning(
                "engine %s ended with exit code %s and is started again; its last words, more in %s: %s",
                self.address,
                code,
                self._log,
                last_line(self._log),
            )
            if self._stopped.wait(pause_s):
                return
            # What it started outlives it, and may still hold the port or the memory that the next one needs.
            kill_with_children(self._process.pid)
            try:
                self._process = self._start()
            except OSError as error:
                # Without memory for a process, or while its package is replaced: the next look tries again.
                logger.warning("engine %s cannot be started again yet: %s", self.address, error)
            # One that cannot start, for want of memory say, would be started every second for ever.
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _words(kind: EngineKind, base: Path, port: int) -> list[str]:
    """The command line of an engine.

    Raises:
        BackendError: there is no such command here.
    """
    lines = {
        "vllm": f"vllm serve {{}} --host 127.0.0.1 --port {port} --enable-lora --max-lora-rank {_RANK}",
        "sglang": f"sglang serve --model-path {{}} --host 127.0.0.1 --port {port} --enable-lora"
        f" --max-lora-rank {_RANK} --lora-target-modules all",
    }
    if kind not in lines:
        raise BackendError(f"engine: {kind} needs a file made for it; start it yourself and give {kind}=URL")
    # After the line was parted: a folder's name may hold blanks.
    words = [str(base) if word == "{}" else word for word in lines[kind].split()]
    found = shutil.which(words[0])
    if found is None:
        raise BackendError(f"engine: there is no command {words[0]!r} here; install {kind}, or give {kind}=URL")
    return [found, *words[1:]]


def _environment() -> dict[str, str]:
    # Keys and tokens are this program's own: a base comes from a folder.
    private = ("KEY", "TOKEN", "SECRET", "PASSWORD")
    return {name: value for name, value in os.environ.items() if not any(word in name.upper() for word in private)}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
