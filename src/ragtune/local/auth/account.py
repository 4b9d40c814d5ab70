"""Whose server this is: an id and keys that live in the folder, so that a restart is the same account."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune._atomic import write_whole
from ragtune.errors import BackendError
from ragtune.local.ids import new_id
from ragtune.local.webhook_sender import new_secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["KEY_FILE", "WEBHOOK_SECRET_FILE", "Account", "keeps_hash", "new_key", "open_account", "webhook_secret"]

ORGANIZATION = "local"
"""What stands for the organization in the names of tuned models."""
KEY_FILE = "api_key.txt"
"""Name of the file with the key that a backend makes for this machine."""
WEBHOOK_SECRET_FILE = "webhook_secret.txt"
"""Name of the file with the secret that signs webhook messages."""

# So many random letters of base64 are 96 bits.
_SHORTEST_KEY = 16


@dataclass(frozen=True, kw_only=True)
class Account:
    """The one account of a backend folder.

    Attributes:
        id: organization id, for example `org-...`.
        created_at: when the folder was made, Unix seconds.
        key: the API key that requests must carry; None where only its hash is known.
        salt: what is hashed before the key, in hex.
        key_sha256: the hash of salt and key, in hex.
        exposed: whether other machines are meant to reach the server.
    """

    id: str
    created_at: int
    key: str | None = field(repr=False)
    salt: str = field(repr=False)
    key_sha256: str = field(repr=False)
    exposed: bool = False

    def admits(self, offered: str) -> bool:
        """Whether an offered key is the right one; takes equally long for every wrong one."""
        # Hashes have one length, so not even the key's length can be read from the time.
        return hmac.compare_digest(_hash(offered, self.salt), self.key_sha256)


def new_key() -> str:
    """Make a random key of 256 bits."""
    return f"rt-{secrets.token_urlsafe(32)}"


def webhook_secret(folder: Path) -> str:
    """The secret with which a folder's webhook messages are signed; made on first use, for the owner's eyes alone."""
    return _kept(folder / WEBHOOK_SECRET_FILE, new_secret)


def keeps_hash(folder: Path) -> bool:
    """Whether a folder holds the hash of a key that was given for other machines."""
    path = folder / "account.json"
    return path.exists() and "key_sha256" in _read(path)


def open_account(folder: Path, *, key: str | None, exposed: bool = False) -> Account:
    """Read the account of a folder, or make it.

    Args:
        folder: the backend's folder.
        key: the key to use now. None takes the one that the folder makes for this machine and keeps in `KEY_FILE`,
            readable by the owner alone; an exposed server takes the one that was given before.
        exposed: whether other machines can reach the server: its key is kept as a salted hash, and never made.

    Raises:
        BackendError: the account file is damaged, the key is unfit, or an exposed server was never given one.
    """
    path = folder / "account.json"
    kept: dict[str, Any] = _read(path) if path.exists() else {"id": new_id("org-"), "created_at": int(time.time())}
    before = dict(kept) if path.exists() else {}
    salt = secrets.token_hex(16)
    if key is None and exposed:
        salt, digest = kept.get("salt", salt), kept.get("key_sha256", "")
        if not digest:
            message = f"{folder}: holds no key for other machines; pass key=... to say who may come in"
            raise BackendError(message)
    else:
        key = _fit(_kept(folder / KEY_FILE, new_key) if key is None else key, exposed=exposed)
        digest = _hash(key, salt)
        # The key for this machine lies beside it in plain text, or is not kept at all: a hash of it would be for
        # nothing.
        if exposed:
            kept |= {"salt": salt, "key_sha256": digest}
    # On the disk before anybody is told the id: a power cut must not make another account of the folder.
    if kept != before:
        write_whole(path, json.dumps(kept), private=True, flush=True)
    return Account(
        id=str(kept["id"]),
        created_at=int(kept["created_at"]),
        key=key,
        salt=salt,
        key_sha256=digest,
        exposed=exposed,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{path}: is no JSON ({error}); restore it, or remove it to get a new id"
        raise BackendError(message) from error
    if not (isinstance(kept, dict) and {"id", "created_at"} <= kept.keys()):
        message = f"{path}: needs id and created_at; restore it, or remove it to get a new id"
        raise BackendError(message)
    return kept


def _kept(path: Path, make: Callable[[], str]) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        # The secret may be asked for before the first start has made the folder.
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, make() + "\n", private=True, flush=True)
        return path.read_text(encoding="utf-8").strip()


def _fit(key: str, *, exposed: bool) -> str:
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        message = "the key must be printable ASCII without blanks, since it travels in an HTTP header; choose another"
        raise BackendError(message)
    if exposed and len(key) < _SHORTEST_KEY:
        message = f"the key for other machines needs at least {_SHORTEST_KEY} characters; choose a longer, random one"
        raise BackendError(message)
    return key


def _hash(key: str, salt: str) -> str:
    # Keys for other machines are long and random, which a fast hash protects; a slow one would let strangers who
    # offer wrong keys keep the server busy.
    return hashlib.sha256(salt.encode() + key.encode("utf-8", "surrogateescape")).hexdigest()
