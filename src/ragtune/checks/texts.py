"""Every text in a JSON value with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.records.base import Path


def texts_with_paths(value: object) -> Iterator[tuple[Path, str]]:
    """Every text in a JSON value with its place, in order; as deep as JSON goes."""
    # A stack of our own: a hostile line nests deeper than Python lets functions call themselves.
    waiting: list[tuple[Path, object]] = [((), value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, str):
            yield path, item
        elif isinstance(item, dict):
            waiting += [((*path, key), inner) for key, inner in reversed(item.items())]
        elif isinstance(item, list | tuple):
            waiting += [((*path, index), inner) for index, inner in reversed(list(enumerate(item)))]
