"""What must not be shown is covered while records are made, counted, and looked for again in the written files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import orjson

from ragtune.checks.private import masked_json
from ragtune.checks.texts import texts_with_paths
from ragtune.records import path_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ragtune.privacy import Scanner

_PLACES = 20
# System prompts, instructions and roles stand in every record.
_REMEMBERED = 4_096


class Masker:
    """Covers the texts of one batch, and counts what it covered by kind.

    Attributes:
        counts: how many values were covered, by kind.
    """

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.counts: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        """The text with placeholders; a text that came before costs nothing."""
        if text not in self._known:
            covered, kinds = self._covered(text)
            self._known[text] = covered, kinds
            # What was covered is not covered again where it stands in a record.
            self._known.setdefault(covered, (covered, ()))
        covered, kinds = self._known[text]
        self.counts.update(kinds)
        return covered

    def line(self, line: bytes) -> bytes:
        """A line of a record with every text covered."""
        return masked_json(line, self)

    def _covered(self, text: str) -> tuple[str, tuple[str, ...]]:
        from ragtune.privacy import mask

        findings = self._scanner.scan(text)
        covered, kinds = mask(text, findings), tuple(finding.kind for finding in findings)
        if not _is_json(text):
            return covered, kinds
        # The arguments of a tool: an escaped sign hides an address, and a placeholder for a number needs quotes.
        inner = Masker(self._scanner)
        inside = inner.line((covered if _is_json(covered) else text).encode()).decode()
        return inside, (*(kinds if _is_json(covered) else ()), *inner.counts.elements())


def _is_json(text: str) -> bool:
    """Whether a text is a JSON object or array."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What a scan of the written files found, for the manifest.

    Attributes:
        counts: how many values were found, by kind.
        places: where the first of them stand; no value is shown.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    places: tuple[str, ...] = ()


def left_in(files: Sequence[Path], scanner: Scanner) -> Leftovers:
    """Scan every text of finished files."""
    scan = lru_cache(_REMEMBERED)(scanner.scan)
    counts: Counter[str] = Counter()
    places: list[str] = []
    for file in files:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                for path, text in texts_with_paths(orjson.loads(line)):
                    for finding in scan(text):
                        counts[finding.kind] += 1
                        if len(places) < _PLACES:
                            places.append(f"{file.name} line {number}, {path_text(path)}: {finding.kind}")
    return Leftovers(counts=dict(counts), places=tuple(places))
