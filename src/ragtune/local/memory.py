"""How much memory models may take: what was asked for, or a share of what there is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ragtune.errors import BackendError

__all__ = ["memory_bytes", "usable_memory"]

_UNITS = {unit: 1000**power for power, unit in enumerate(("", "KB", "MB", "GB", "TB"))}
_UNITS |= {unit: 1024**power for power, unit in enumerate(("KIB", "MIB", "GIB", "TIB"), start=1)}
_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes(asked: int | str) -> int:
    """A number of bytes, also as a text with a unit: `4GB` is 4,000,000,000, `4GiB` is 4,294,967,296.

    Raises:
        BackendError: it is no number of bytes above 0.

    Example:
        ```python
        from ragtune.local.memory import memory_bytes

        print(memory_bytes("1.5 GB"), memory_bytes(512))
        #> 1500000000 512
        ```
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]I?B|)", str(asked).strip().upper())
    size = 0 if found is None else int(float(found[1]) * _UNITS[found[2]])
    if size <= 0:
        raise BackendError(f"memory {asked!r}: give a number of bytes above 0, for example 4GB or 4GiB")
    return size


def usable_memory(root: Path = Path("/")) -> int:
    """Memory of this machine, or what its container may use when that is less."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _LIMITS:
        try:
            least = min(least, int((root / name).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # no such limit, or the word `max`
    return least
