"""Where what was fetched, converted or measured once is kept."""

from __future__ import annotations

import os
from pathlib import Path

from ragtune._paths import where_first_seen

__all__ = ["default_cache_dir"]


def default_cache_dir() -> Path:
    """The folder for base models and measurements: `RAGTUNE_CACHE`, else the user's cache folder of this platform."""
    import platformdirs

    override = os.environ.get("RAGTUNE_CACHE")
    return where_first_seen(override) if override else Path(platformdirs.user_cache_dir("ragtune", appauthor=False))
