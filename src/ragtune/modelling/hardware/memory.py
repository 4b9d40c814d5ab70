"""How much memory and processor time this process may use: what its container allows, where that is less."""

from __future__ import annotations

from pathlib import Path

__all__ = ["usable_memory", "usable_processors"]

# Of control groups, version 2 and version 1.
_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
_TIMES = (("sys/fs/cgroup/cpu.max",), ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "sys/fs/cgroup/cpu/cpu.cfs_period_us"))


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


def usable_processors(root: Path = Path("/")) -> float | None:
    """As many processors as the container's share of time amounts to, 1.5 say; None where nothing limits it."""
    for names in _TIMES:
        try:
            share, period = map(int, " ".join((root / name).read_text(encoding="ascii") for name in names).split())
        except (OSError, ValueError):
            continue  # no such limit, or the word `max`
        # Version 1 writes -1 for none.
        if share > 0 and period > 0:
            return share / period
    return None
