"""Files and folders that appear whole under their names or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The second is what `open` asks for itself; the system takes the umask off.
_OWNER, _UMASK = 0o600, 0o666


@contextmanager
def draft_of(target: Path, *, private: bool = False) -> Iterator[Path]:
    """A new, empty file beside the target, to be moved to its place by `os.replace`; one that stays behind is removed.

    Args:
        target: the file that it becomes; its folder exists.
        private: only its owner may read it; else everybody whom the process' umask lets.

    Raises:
        OSError: the folder cannot be written.
    """
    draft = _beside(target)
    # With its mode from the first moment on: nobody reads a private file in between.
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER if private else _UMASK))
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def draft_folder_of(target: Path) -> Iterator[Path]:
    """The same for a folder; the folder above it is made where it is missing.

    Raises:
        OSError: the folder above cannot be written.
    """
    draft = _beside(target)
    draft.mkdir(parents=True)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _beside(target: Path) -> Path:
    # The same folder is the same file system: elsewhere `os.replace` would have to copy, and would not be one step.
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def write_whole(target: Path, content: str | bytes, *, private: bool = False, flush: bool = False) -> None:
    """Write a file in one step: no reader meets half of it, and a failure leaves what was there before.

    Args:
        target: the file; its folder exists.
        content: a text is written as UTF-8.
        private: as in `draft_of`.
        flush: wait until the disk has it, so that not even a power cut loses it.

    Raises:
        OSError: the file cannot be written.
    """
    # A link stays one, and what it leads to is written; a private file follows nobody's link.
    if target.is_symlink() and not private:
        target = type(target)(os.path.realpath(target))
    with draft_of(target, private=private) as draft:
        with draft.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            # Without it a file system may give the new name its place on disk before the content.
            if flush:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, target)
