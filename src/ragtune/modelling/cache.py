"""Where what was fetched, converted or measured once is kept."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

__all__ = ["default_cache_dir"]


def default_cache_dir() -> Path:
    """The folder for base models and measurements: `RAGTUNE_CACHE`, else the user's cache folder of this platform."""
    import platformdirs

    override = os.environ.get("RAGTUNE_CACHE")
    return _placed(override) if override else Path(platformdirs.user_cache_dir("ragtune", appauthor=False))


@cache
def _placed(named: str) -> Path:
    # From where it was first looked up: a program that changes its directory goes on with one cache.
    return Path(named).expanduser().absolute()
