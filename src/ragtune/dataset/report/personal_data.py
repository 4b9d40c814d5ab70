"""Secrets and personal data in a dataset, by split, line and place; values are shown masked only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ragtune.checks.private import texts_with_paths
from ragtune.records import path_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.dataset.dataset import Dataset
    from ragtune.privacy import Finding


@dataclass(frozen=True, kw_only=True)
class PrivateText:
    """One finding in a dataset.

    Attributes:
        split: `train`, `validation` or `test`.
        line: number of the record in its file, from 1.
        path: place inside the record, for example `messages[1].content`.
        finding: what it is, masked.

    Example:
        ```python
        import ragtune as rt

        rows = [{"q": f"Who is number {n}?", "a": "Write to anna.schmidt@nordwind-fiktiv.de"} for n in range(10)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("out")
        found = dataset.private_data(limit=1)[0]
        print(found.line, found.path, found.finding.kind, found.finding.masked)
        #> 1 messages[1].content email ann… (31 characters)
        ```
    """

    split: str
    line: int
    path: str
    finding: Finding

    def __str__(self) -> str:
        return f"{self.split} line {self.line}, {self.path}: {self.finding.kind} {self.finding.masked}"


def private_texts(dataset: Dataset, limit: int) -> tuple[PrivateText, ...]:
    """The first findings in all splits."""
    return tuple(islice(_all(dataset), limit))


def _all(dataset: Dataset) -> Iterator[PrivateText]:
    from ragtune.privacy import scan

    for split in dataset.splits:
        for line, record in enumerate(split, 1):
            for path, text in texts_with_paths(record.to_dict()):
                for finding in scan(text):
                    yield PrivateText(split=split.name, line=line, path=path_text(path), finding=finding)
