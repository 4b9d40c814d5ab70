"""Warnings that point at the caller's line, however deep in the package they arise."""

from __future__ import annotations

import os
import sys
import warnings

__all__ = ["deprecated", "warn"]

# With the separator: a package beside this one may have a name that begins as ours does.
_OURS = os.path.dirname(__file__) + os.sep  # compared with file names of frames, which are texts


def warn(message: str, kind: type[Warning] = UserWarning) -> None:
    """Warn at the first frame outside this package; `skip_file_prefixes` would do, from Python 3.12 on.

    Example:
        ```python
        import warnings

        from ragtune._warn import warn

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn("the milk is sour")
        print(caught[0].message)
        #> the milk is sour
        ```
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, kind, stacklevel=level)


def deprecated(old: str, new: str) -> None:
    """Warn of a spelling that goes with the next minor version."""
    warn(f"{old} will go with the next minor version; use {new}", DeprecationWarning)
