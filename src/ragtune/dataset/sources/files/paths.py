"""Files with rows: one, several, a pattern; plain or packed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import zlib
from contextlib import contextmanager
from glob import glob, has_magic
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from ragtune._arguments import refuse_content
from ragtune._encodings import name_as_text
from ragtune.checks.opening.binary import binary_kind, packed_with
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator, Mapping, Sequence

Paths = str | Path | list[str] | list[Path] | tuple[str | Path, ...]


def existing_files(given: Paths, *, ending: str) -> tuple[Path, ...]:
    """The files that are meant, in order: one path, several, or a pattern such as `part-*.jsonl`.

    Raises:
        DatasetError: one does not exist or is a folder, a pattern fits nothing, or there is none at all.
    """
    if isinstance(given, list | tuple):
        paths = tuple(chain.from_iterable(existing_files(one, ending=ending) for one in given))
        if not paths:
            raise DatasetError("the list of files is empty; give the paths of files with the rows")
        doubled = [path for path in paths if paths.count(path) > 1] if len(set(paths)) < len(paths) else []
        if doubled:
            raise DatasetError(f"{doubled[0]} is given twice; its rows would count twice")
        return paths
    if not isinstance(given, str | Path):
        raise DatasetError(
            f"a source is a path, a list of paths or a pattern, got {type(given).__name__} {given!r:.60}"
        )
    path = Path(given)
    refuse_content(path, "path")
    if path.is_dir():
        raise DatasetError(f"{path} is a folder; give the file with the rows, or a pattern: {path / ('*' + ending)}")
    # Asked before the pattern: names with brackets exist.
    if path.exists():
        return (path,)
    if has_magic(str(given)):
        # Sorted: the order of a folder differs from disk to disk, and rows are numbered through all files.
        found = tuple(sorted(Path(name) for name in glob(str(given), recursive=True) if not Path(name).is_dir()))
        if found:
            return found
        raise DatasetError(f"no file fits the pattern {str(given)!r}")
    raise DatasetError(f"{path} does not exist; give the path of a file with the rows")


def described_files(paths: Sequence[Path]) -> dict[str, object]:
    """Names, sizes and sha256 of files, for the manifest."""
    try:
        facts = [
            {"file": name_as_text(path.name), "sha256": _sha256(path), "bytes": path.stat().st_size} for path in paths
        ]
    except OSError as error:
        raise _unreadable(Path(error.filename), error) from error
    return dict(facts[0]) if len(facts) == 1 else {"files": facts}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file of text as bytes, unpacked where it is packed.

    Raises:
        DatasetError: it cannot be read, holds no text, or its packed data is damaged.
    """
    try:
        with path.open("rb") as file:
            # A pipe cannot go back to its start.
            start = file.peek(16)[:16]
            unpacked = _unpacked(path, file, start)
            yield unpacked
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path}: the packed data is damaged: {error}; get the file again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"the source {path} cannot be read: {error.strerror or error}; it was there when the builder was made"
    )


def _unpacked(path: Path, file: io.BufferedReader, start: bytes) -> IO[bytes]:
    # By its first bytes: what a name ends in is often wrong, and pipes have none.
    name = packed_with(start)
    if name is not None:
        return cast("IO[bytes]", _UNPACKERS[name](file))
    if (kind := binary_kind(start)) is not None:
        raise DatasetError(f"{path} is {kind[0]}; {kind[1]}")
    return file


_UNPACKERS: Mapping[str, Callable[[Any], object]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}
