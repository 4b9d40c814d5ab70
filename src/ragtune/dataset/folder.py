"""A dataset's folder: written beside itself, read back, then moved into place; half a file never has the final name."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 18
_WORKSHOP, _LOCK = ".building-", ".lock"
MANIFEST = "manifest.json"
OWN_FILES = (
    MANIFEST,
    "report.json",
    *map(".".join, product(("train", "validation", "test"), ("jsonl", "rows.txt"))),
)


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """Size, rows and sha256 of one written file."""

    sha256: str
    bytes: int
    rows: int


class LineFile:
    """A file of lines that knows its own sha256 while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._again = path.open("rb")
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._rows = 0

    def write(self, lines: bytes, rows: int) -> None:
        """Append whole lines, read them back, and compare.

        Raises:
            DatasetError: what is in the file is not what was written.
        """
        self._file.write(lines)
        self._file.flush()
        for start in range(0, len(lines), _PIECE):
            piece = lines[start : start + _PIECE]
            # Comparing the bytes costs a third of a second sha256.
            if self._again.read(len(piece)) != piece:
                raise DatasetError(f"{self.path.name} reads back differently from what was written; check the disk")
        self._hash.update(lines)
        self._bytes += len(lines)
        self._rows += rows

    def close(self) -> FileFacts:
        """Close the file and say what is in it."""
        self._file.close()
        self._again.close()
        return FileFacts(sha256=self._hash.hexdigest(), bytes=self._bytes, rows=self._rows)

    def abandon(self) -> None:
        """Close without a word: the folder is thrown away."""
        for file in (self._file, self._again):
            with suppress(OSError):
                file.close()


@contextmanager
def new_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A workshop inside the target folder; its files move into place when the block ends without an error.

    Raises:
        DatasetError: the target is a file, holds something and `overwrite` is false, or cannot be written.
    """
    from filelock import FileLock

    refuse_occupied(folder, overwrite=overwrite)
    made = _missing_parents(folder)
    workshop: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        workshop = Path(tempfile.mkdtemp(prefix=_WORKSHOP, dir=folder))
        with FileLock(workshop / _LOCK):
            yield workshop
            _move_into_place(workshop, folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(f"{folder} cannot be written: {reason}; nothing was left under the final names") from error
    finally:
        if workshop is not None:
            shutil.rmtree(workshop, ignore_errors=True)
        for path in made:
            # Only what this call made and nobody filled.
            with suppress(OSError):
                path.rmdir()


def refuse_occupied(folder: Path, *, overwrite: bool) -> None:
    """Refuse a target that would lose something.

    Raises:
        DatasetError: the target is a file, or holds something and `overwrite` is false.
    """
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file; give the path of a folder")
    if folder.is_dir() and not overwrite:
        content = sorted(path.name for path in folder.iterdir() if not path.name.startswith(_WORKSHOP))
        if content:
            held = ", ".join(content[:4])
            raise DatasetError(f"{folder} is not empty (it holds {held}); choose another folder or pass overwrite=True")


def _sweep(folder: Path) -> None:
    """Remove the workshops of builds that were killed; one that is still at work holds its lock."""
    from filelock import FileLock, Timeout

    for lock in folder.glob(f"{_WORKSHOP}*/{_LOCK}"):
        with suppress(Timeout, OSError), FileLock(lock, blocking=False):
            shutil.rmtree(lock.parent)
    for workshop in folder.glob(f"{_WORKSHOP}*"):
        # Killed before it had a lock, or while it was removed.
        with suppress(OSError):
            workshop.rmdir()


def _missing_parents(folder: Path) -> list[Path]:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing


def _move_into_place(workshop: Path, folder: Path) -> None:
    # The manifest goes first and comes last: a folder with a manifest is whole.
    for name in OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    for path in sorted(workshop.iterdir(), key=lambda path: path.name == MANIFEST):
        if path.name != _LOCK:
            os.replace(path, folder / path.name)
