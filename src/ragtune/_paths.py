"""How files and folders are called in what people read, and where those that are named once lie."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["from_here", "where_first_seen"]


def from_here(path: str | Path) -> str:
    """A file or folder as it is called where the program stands; one that lies elsewhere keeps its whole name."""
    here, place = Path.cwd(), Path(path)
    return str(place.relative_to(here) if place.is_relative_to(here) else place)


@cache
def where_first_seen(named: str) -> Path:
    """The place that an environment variable names, seen from where the program stood at its first look.

    A program that changes its directory goes on with one journal and one cache.
    """
    return Path(named).expanduser().absolute()
