"""How much memory models may take, as people write it."""

from __future__ import annotations

import re

from ragtune.errors import BackendError

__all__ = ["memory_bytes"]

_UNITS = {unit: 1000**power for power, unit in enumerate(("", "KB", "MB", "GB", "TB"))}
_UNITS |= {unit: 1024**power for power, unit in enumerate(("KIB", "MIB", "GIB", "TIB"), start=1)}


def memory_bytes(asked: int | str) -> int:
    """A number of bytes, also as a text with a unit: `4GB` is 4,000,000,000, `4GiB` is 4,294,967,296.

    Raises:
        BackendError: it is no number of bytes above 0.

    Example:
        ```python
        from ragtune.local.engine.memory import memory_bytes

        print(memory_bytes("1.5 GB"), memory_bytes(512))
        #> 1500000000 512
        ```
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]I?B|)", str(asked).strip().upper())
    size = 0 if found is None else int(float(found[1]) * _UNITS[found[2]])
    if size <= 0:
        raise BackendError(f"memory {asked!r}: give a number of bytes above 0, for example 4GB or 4GiB")
    return size
