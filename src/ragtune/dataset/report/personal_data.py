"""Secrets and personal data in a dataset, by split, line and place; values are shown masked only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ragtune.checks.texts import texts_with_paths
from ragtune.records import path_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.dataset.split import Split
    from ragtune.privacy import Finding


@dataclass(frozen=True, kw_only=True)
class PrivateText:
    """One finding in a dataset.

    Attributes:
        split: `train`, `validation` or `test`.
        line: number of the record in its file, from 1.
        path: place inside the record, for example `messages[1].content`.
        finding: what it is, masked.
    """

    split: str
    line: int
    path: str
    finding: Finding

    def __str__(self) -> str:
        return f"{self.split} line {self.line}, {self.path}: {self.finding.kind} {self.finding.masked}"


def private_texts(splits: Sequence[Split], limit: int) -> tuple[PrivateText, ...]:
    """The first findings in all splits."""
    # No further than the limit: what follows would be scanned for nothing.
    return tuple(islice(_all(splits), limit))


def _all(splits: Sequence[Split]) -> Iterator[PrivateText]:
    from ragtune.privacy import scan

    for split in splits:
        for line, record in enumerate(split, 1):
            for path, text in texts_with_paths(record.to_dict()):
                for finding in scan(text):
                    yield PrivateText(split=split.name, line=line, path=path_text(path), finding=finding)
