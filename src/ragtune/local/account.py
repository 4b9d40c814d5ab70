"""Whose server this is: an id and a key that live in the folder, so that a restart is the same account."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ragtune.errors import BackendError
from ragtune.local.wire import new_id

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Account", "open_account"]

ORGANIZATION = "local"
"""What stands for the organization in the names of tuned models."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The one account of a backend folder.

    Attributes:
        id: organization id, for example `org-...`.
        created_at: when the folder was made, Unix seconds.
        key: the API key that requests must carry.
    """

    id: str
    created_at: int
    key: str = field(repr=False)

    def admits(self, offered: str) -> bool:
        """Whether an offered key is the right one; takes equally long for every wrong one."""
        # Hashes have one length, so not even the key's length can be read from the time.
        return hmac.compare_digest(_digest(offered), _digest(self.key))


def open_account(folder: Path, *, key: str | None) -> Account:
    """Read the account of a folder, or make it.

    Args:
        folder: the backend's folder.
        key: the key to use now, never written to disk; None takes the one that is kept in the folder (readable by the
            owner alone) and makes one on first use.

    Raises:
        BackendError: the account file is damaged, or the key is unfit for an HTTP header.
    """
    path = folder / "account.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        kept = {"id": new_id("org-"), "created_at": int(time.time()), "key": f"rt-{secrets.token_urlsafe(32)}"}
        _write_private(path, json.dumps(kept))
    except ValueError as error:
        message = f"{path}: is no JSON ({error}); restore it, or remove it to get a new id and key"
        raise BackendError(message) from error
    if not (isinstance(kept, dict) and {"id", "created_at", "key"} <= kept.keys()):
        message = f"{path}: needs id, created_at and key; restore it, or remove it to get a new id and key"
        raise BackendError(message)
    chosen = str(kept["key"]) if key is None else key
    if not chosen or not chosen.isascii() or not chosen.isprintable() or " " in chosen:
        message = "the key must be printable ASCII without blanks, since it travels in an HTTP header; choose another"
        raise BackendError(message)
    return Account(id=str(kept["id"]), created_at=int(kept["created_at"]), key=chosen)


def _write_private(path: Path, text: str) -> None:
    half = path.with_suffix(".tmp")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    half.replace(path)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
