"""Where a registry is kept: one SQLite file for a machine, or a folder of JSON for a repository."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ragtune.errors import RegistryError
from ragtune.registry.storage.json_folder import JsonFolder
from ragtune.registry.storage.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.registry.storage.records import Storage

__all__ = ["storage_at"]


def storage_at(path: Path, *, timeout_s: float) -> Storage:
    """What is there decides; where nothing is, a name with an ending becomes a file, one without a folder.

    Raises:
        RegistryError: the path names neither, or is a link to nothing.
    """
    if not path.name:
        raise RegistryError(f"{str(path)!r} names neither a file nor a folder for a registry")
    # A file of SQLite is made through a link, a folder is not.
    if path.is_symlink() and not path.exists() and not path.suffix:
        raise RegistryError(f"{path}: is a link to {os.readlink(path)}, which is not there; mend it, or name another")
    # Made absolute here: a program may change its directory before something is written.
    path = path.absolute()
    if path.is_dir() or (not path.exists() and not path.suffix):
        return JsonFolder(path, timeout_s=timeout_s)
    return SqliteFile(path, timeout_s=timeout_s)
