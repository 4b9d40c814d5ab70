"""Secrets and personal data in a file: where they stand, and a text without them. Values are told masked only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune.checks.texts import texts_with_paths
from ragtune.records import RecordFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ragtune.privacy import Scanner
    from ragtune.records.base import Path

_HINT = "mask it in a copy (mask=True, ragtune check --mask) or in the rows (DatasetBuilder.mask_private)"


def private_faults(value: object, scanner: Scanner) -> Iterator[RecordFault]:
    """One fault for each finding in the texts of a JSON value."""
    for path, text in texts_with_paths(value):
        for finding in scanner.scan(text):
            shown = f"{finding.kind.replace('_', ' ')} {finding.masked}, found by {finding.rule}"
            yield RecordFault(path, f"private-{finding.kind.replace('_', '-')}", shown, _HINT, "warning")


def masked(value: object, mask: Callable[[str], str]) -> object:
    """The same JSON value with every text masked; keys stay."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: masked(item, mask) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, mask) for item in value]
    return value


def masked_path(path: Path, mask: Callable[[str], str]) -> Path:
    """The same place with its keys masked: a key may hold what a text must not show."""
    return tuple(mask(step) if isinstance(step, str) else step for step in path)
