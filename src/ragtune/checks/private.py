"""Secrets and personal data in a file: where they stand, and a text without them. Values are told masked only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import orjson

from ragtune.checks.texts import texts_with_paths
from ragtune.records import RecordFault
from ragtune.records.base import escape_line_separators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ragtune.privacy import Scanner
    from ragtune.records.base import Path

# A string, with the colon behind it where it is a key, or a number that is long enough to be somebody's.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|-?\d[\d.eE+-]{6,}')
_HINT = "mask it in a copy (mask=True, ragtune check --mask) or in the rows (DatasetBuilder.mask_private)"


def private_faults(value: object, scanner: Scanner) -> Iterator[RecordFault]:
    """One fault for each finding in the texts of a JSON value."""
    for path, text in texts_with_paths(value):
        for finding in scanner.scan(text):
            shown = f"{finding.kind.replace('_', ' ')} {finding.masked}, found by {finding.rule}"
            yield RecordFault(path, f"private-{finding.kind.replace('_', '-')}", shown, _HINT, "warning")


def masked(value: object, mask: Callable[[str], str]) -> object:
    """The same value with every text in it masked, however deep; keys stay."""
    if isinstance(value, str):
        return mask(value)
    # Keys stay, since programs ask for them; `keys_in_json` tells of those that somebody made of data.
    if isinstance(value, Mapping):
        return {key: masked(item, mask) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, mask) for item in value]
    return value


def masked_json(data: bytes, mask: Callable[[str], str]) -> bytes:
    """JSON with every text and long number masked; the other bytes, keys and spaces among them, stay.

    Args:
        data: valid JSON.
        mask: gives a text without what must not be shown.
    """
    return _TOKEN.sub(partial(_covered, mask), data)


def texts_in_json(data: bytes) -> Iterator[str]:
    """Each text in valid JSON, and each long number, as `masked_json` sees them."""
    for match in _TOKEN.finditer(data):
        if match[1] is None:
            yield _text_of(match[0])


def keys_in_json(data: bytes) -> Iterator[str]:
    """Each key in valid JSON; they stay, but somebody may have made them of data."""
    for match in _TOKEN.finditer(data):
        if match[1] is not None:
            yield _text_of(match[0].removesuffix(match[1]))


def _text_of(token: bytes) -> str:
    text: str = orjson.loads(token) if token.startswith(b'"') else token.decode()
    return text


def _covered(mask: Callable[[str], str], match: re.Match[bytes]) -> bytes:
    token = match[0]
    if match[1] is not None:
        return token
    text = _text_of(token)
    covered = mask(text)
    # What takes the place of a number is a text.
    return token if covered == text else escape_line_separators(orjson.dumps(covered))


def masked_path(path: Path, mask: Callable[[str], str]) -> Path:
    """The same place with its keys masked: a key may hold what a text must not show."""
    return tuple(mask(step) if isinstance(step, str) else step for step in path)
