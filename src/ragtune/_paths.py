"""How files and folders are called in what people read."""

from __future__ import annotations

from pathlib import Path

__all__ = ["from_here"]


def from_here(path: str | Path) -> str:
    """A file or folder as it is called where the program stands; one that lies elsewhere keeps its whole name."""
    here, place = Path.cwd(), Path(path)
    return str(place.relative_to(here) if place.is_relative_to(here) else place)
