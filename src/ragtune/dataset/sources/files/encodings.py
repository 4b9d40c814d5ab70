"""Which encoding a file that is not UTF-8 has most likely."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ragtune._encodings import LikelyEncoding, likely_encoding
from ragtune.dataset.sources.files.paths import opened

if TYPE_CHECKING:
    from pathlib import Path

_SAMPLE = 1_000_000


def encoding_of(path: Path) -> LikelyEncoding:
    """Examine the first megabyte of a file, unpacked; what came out of a pipe is gone, and most often from Windows."""
    if not path.is_file():
        return LikelyEncoding(name="cp1252")
    state = path.stat()
    # With time and size in the key of the cache: a file that was saved anew is examined anew.
    return _examined(path, state.st_mtime_ns, state.st_size)


# All bad lines of a file are told, and each with the same word about it.
@lru_cache(maxsize=8)
def _examined(path: Path, mtime_ns: int, size: int) -> LikelyEncoding:
    with opened(path) as file:
        return likely_encoding(file.read(_SAMPLE))
