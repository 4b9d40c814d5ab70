"""A folder that another program serves: its address, its key, and whether its options are those that are wanted."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ragtune.errors import BackendError
from ragtune.local.auth.account import KEY_FILE
from ragtune.local.lifespan.folder_lock import FolderLock, FolderTakenError
from ragtune.local.lifespan.server_file import ServerFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Connection", "answers", "connect"]

# A server that was started at the same moment takes the folder first, and listens a little later.
_STARTS_WITHIN_S = 10.0
_LOOK_S = 0.05
_ANSWERS_WITHIN_S = 30.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A server of another program, or of this one, that has the folder.

    Attributes:
        origin: its address, without a path.
        account: whose it is.
        key: its API key.
    """

    origin: str
    account: str
    key: str = field(repr=False)


def connect(folder: Path, *, key: str | None, options: Mapping[str, object], wait: bool) -> Connection:
    """Find the server that runs on a folder, and see that it is the one that is wanted.

    Args:
        folder: the folder.
        key: the key that was given, None to take the one that the folder keeps.
        options: what was asked for, as `ServerFile.options` has it.
        wait: whether the server may just be starting.

    Raises:
        BackendError: none answers there, it is of another kind, asks for another key, or has other options.
    """
    until = time.monotonic() + (_STARTS_WITHIN_S if wait else 0.0)
    while (found := ServerFile.read(folder)) is None or not _listens(found):
        if time.monotonic() > until:
            message = f"{folder}: another backend has this folder and tells no address; stop it, or use another folder"
            raise BackendError(message)
        time.sleep(_LOOK_S)
    if found.kind != "embedded":
        message = f"{folder}: a {found.kind} backend runs on this folder; stop it first, or use another folder"
        raise BackendError(message)
    # Before the key: that it is another server is the more useful word where both are wrong.
    _refuse_other_options(folder, found, options)
    connection = Connection(origin=reachable(found.origin), account=found.account, key=_key(folder, key))
    status, account = _ask(connection)
    if status == 401:
        why = "was started with a key of its own" if key is None else "asks for another one"
        raise BackendError(f"key: the server on {folder} at {connection.origin} {why}; pass key=... of that server")
    # The file of a server that was killed stays behind, and its port may belong to another program by now.
    if account != found.account:
        raise BackendError(f"{folder}: what listens at {connection.origin} is not the server of this folder; stop it")
    return connection


def answers(connection: Connection) -> bool:
    """Whether the server of a connection is still there, and still that of the same account."""
    try:
        return _ask(connection) == (200, connection.account)
    except BackendError:
        return False


def refuse_unserved(folder: Path) -> None:
    """Raise unless a server has the folder.

    Raises:
        BackendError: none has.
    """
    try:
        # The lock would make the folder.
        if folder.is_dir():
            FolderLock(folder).release()
    except FolderTakenError:
        return
    message = (
        f"{folder}: no backend runs on this folder; start one with LocalBackend({str(folder)!r}) or `ragtune serve`"
    )
    raise BackendError(message)


def reachable(origin: str) -> str:
    """An address of a server that listens everywhere is one of this machine for its owner."""
    host = urlsplit(origin).hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return origin.replace(f"//{shown}", f"//{_EVERYWHERE.get(host, shown)}")


def _refuse_other_options(folder: Path, found: ServerFile, options: Mapping[str, object]) -> None:
    for name, value in options.items():
        served = found.options.get(name)
        if served != value:
            has = f"has {name}={served!r}" if served is not None else f"was started without {name}"
            raise BackendError(
                f"{name}={value!r}: the server that runs on {folder} at {found.origin} {has}; leave it out to use "
                "that server, or stop it first"
            )


def _key(folder: Path, key: str | None) -> str:
    if key is not None:
        return key
    try:
        return (folder / KEY_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        message = f"key: {folder} keeps no key for this machine; pass key=... of the server that runs on it"
        raise BackendError(message) from None


def _listens(found: ServerFile) -> bool:
    try:
        # A page that takes no key: which one is right is not known yet.
        _request(reachable(found.origin), "/login")
    except (OSError, http.client.HTTPException):
        return False
    return True


def _ask(connection: Connection) -> tuple[int, str | None]:
    try:
        # A question whose answer stays short, however much the account holds.
        answer = _request(connection.origin, "/v1/fine_tuning/jobs?limit=1", authorization=f"Bearer {connection.key}")
    except (OSError, http.client.HTTPException) as error:
        raise BackendError(f"{connection.origin}: the server of this folder does not answer ({error})") from error
    return answer.status, answer.getheader("openai-organization")


def _request(origin: str, path: str, **headers: str) -> http.client.HTTPResponse:
    # Plain HTTP on this machine: no proxy of the environment stands in between.
    connection = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=_ANSWERS_WITHIN_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()
