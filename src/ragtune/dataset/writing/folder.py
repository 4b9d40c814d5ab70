"""A dataset's folder: written beside itself, read back, then moved into place; half a file never has the final name."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.dataset.writing.replacement import (
    BUILDING,
    OWN_FILES,
    listed,
    only_one,
    refuse_losses,
    refuse_occupied,
    replace_files,
    settle_held,
)
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PIECE = 1 << 18


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
        # Taken on the way: a file of gigabytes would have to be read once more for it.
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
def new_folder(folder: Path, names: Sequence[str], *, overwrite: bool, sources: Sequence[Path] = ()) -> Iterator[Path]:
    """A workshop inside the target folder; its files take their places when the block ends without an error.

    Args:
        folder: the target.
        names: files that are sure to be written.
        overwrite: whether the dataset that stands there is replaced: the files that its manifest lists, as long as they
            have the content that it names. Everything else stays.
        sources: the files that the rows come from.

    Raises:
        DatasetError: the target is a file, holds something and `overwrite` is false, would lose what is not its own,
            cannot be written, or another build is at work there.
    """
    # Before anything is made: a target that is refused stays as it was. Again below, where nobody else can write.
    refuse_occupied(folder, overwrite=overwrite)
    made = _missing_parents(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(folder):
            # Another build may have ended since.
            settle_held(folder)
            refuse_occupied(folder, overwrite=overwrite)
            old = listed(folder)
            refuse_losses(folder, names, old=old, sources=sources)
            workshop = folder / BUILDING
            # What a build that died left there is gone: `settle_held` took it.
            workshop.mkdir()
            try:
                yield workshop
                written = [name for name in OWN_FILES if (workshop / name).exists()]
                # While rows were read, hours may have gone by.
                refuse_losses(folder, written, old=old, sources=sources)
                replace_files(workshop, folder, old)
            finally:
                shutil.rmtree(workshop, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(f"{folder} cannot be written: {reason}; what stood there stands there still") from error
    finally:
        for path in made:
            # Only what this call made and nobody filled.
            with suppress(OSError):
                path.rmdir()


def _missing_parents(folder: Path) -> list[Path]:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing
