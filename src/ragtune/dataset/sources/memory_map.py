"""Files that are mapped into memory count as resident until the system wants their pages back; this gives them back."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    import pyarrow as pa

_MADV_DONTNEED = 4
_TABLES_AT_ONCE = 4


def read_mapped(tables: Iterable[pa.Table], files: Collection[str]) -> Iterator[pa.Table]:
    """The tables; every now and then the pages of the files behind them are given back.

    Args:
        tables: over mapped files, or in memory.
        files: paths of the mapped files, none for tables in memory.
    """
    for number, table in enumerate(tables, 1):
        yield table
        if files and number % _TABLES_AT_ONCE == 0:
            release(files)


def release(files: Collection[str]) -> None:
    """Give back the pages of mapped files; who reads them again gets them from the file. On Linux only."""
    if sys.platform == "linux":
        # Python's own `madvise` belongs to its `mmap` objects, and these files were mapped by Arrow.
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            # Address range, permissions, offset, device, inode, path.
            where, permissions, _, _, _, *path = line.split(None, 5)
            # A mapping that is written to would lose what was written.
            if path and path[0] in files and "w" not in permissions:
                start, end = (int(address, 16) for address in where.split("-"))
                madvise(start, end - start, _MADV_DONTNEED)
