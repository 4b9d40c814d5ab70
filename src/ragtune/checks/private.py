"""Secrets and personal data in a file: where they stand, and a text without them. Values are told masked only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragtune.records import RecordFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ragtune.privacy import Scanner
    from ragtune.records.base import Path

_HINT = "mask it in a copy (mask=True, ragtune check --mask) or in the rows (DatasetBuilder.mask_private)"


def texts_with_paths(value: Any) -> Iterator[tuple[Path, str]]:
    """Every text in a JSON value with its place, in order; as deep as JSON goes."""
    waiting: list[tuple[Path, Any]] = [((), value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, str):
            yield path, item
        elif isinstance(item, dict):
            waiting += [((*path, key), inner) for key, inner in reversed(item.items())]
        elif isinstance(item, list):
            waiting += [((*path, index), inner) for index, inner in reversed(list(enumerate(item)))]


def private_faults(value: Any, scanner: Scanner) -> Iterator[RecordFault]:
    """One fault for each finding in the texts of a JSON value."""
    for path, text in texts_with_paths(value):
        for finding in scanner.scan(text):
            shown = f"{finding.kind.replace('_', ' ')} {finding.masked}, found by {finding.rule}"
            yield RecordFault(path, f"private-{finding.kind.replace('_', '-')}", shown, _HINT, "warning")


def masked(value: Any, mask: Callable[[str], str]) -> Any:
    """The same JSON value with every text masked; keys stay."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: masked(item, mask) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, mask) for item in value]
    return value
