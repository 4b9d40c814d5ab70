"""How much memory this process may use."""

from __future__ import annotations

from pathlib import Path

__all__ = ["usable_memory"]

# Of control groups, version 2 and version 1.
_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes of memory of this machine, or what its container may use when that is less."""
    import psutil

    least = int(psutil.virtual_memory().total)
    for name in _LIMITS:
        try:
            least = min(least, int((root / name).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # no such limit, or the word `max`
    return least
