"""A training file as it is opened: a file, a pipe, or what is piped in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from io import BufferedReader

__all__ = ["beginning", "open_training_file", "refuse_pipe"]

STANDARD_INPUT = Path("/dev/stdin")
_SAMPLE = 1_000_000


def open_training_file(path: Path) -> BufferedReader:
    """Open a file, a pipe, or what is piped in (`-`), for reading bytes.

    Raises:
        DatasetError: it does not exist, is a folder, or cannot be read; the message says what to give instead.
    """
    if path.is_dir():
        inside = sorted(item.name for item in path.glob("*.jsonl"))
        instead = f"give one of its files: {', '.join(inside[:5])}" if inside else "give a .jsonl file"
        raise DatasetError(f"{path} is a folder; {instead}")
    try:
        return (STANDARD_INPUT if str(path) == "-" else path).open("rb")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}; check the path and its permissions") from error


def beginning(path: Path) -> bytes:
    """The first part of a file, as much as tells its encoding; nothing of a pipe, which cannot be read twice."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_SAMPLE)


def refuse_pipe(path: Path) -> None:
    """See that a repaired copy can be written beside what is checked.

    Raises:
        DatasetError: it is a pipe.
    """
    if str(path) == "-" or (path.exists() and not path.is_file() and not path.is_dir()):
        raise DatasetError(f"{path} is no file: a repaired copy is written beside one; save what comes out of it first")
