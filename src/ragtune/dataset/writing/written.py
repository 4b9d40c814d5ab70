"""What was written, and what all ways of writing share: counts, row maps, a build without rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from ragtune.dataset.render.rendered import BuildCounts, two_kinds
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.dataset.render.rendered import Made
    from ragtune.dataset.writing.folder import FileFacts

__all__ = ["WrittenFiles", "counted", "number_lines", "refuse_nothing_left"]


@dataclass(frozen=True, kw_only=True)
class WrittenFiles:
    """What was written: counts of all rows, each file with its map of source rows, and what the files share."""

    counts: BuildCounts
    files: Mapping[str, FileFacts]
    row_maps: Mapping[str, FileFacts]
    overlap: Mapping[str, object] | None = None
    split: Mapping[str, object] = field(default_factory=dict)


def counted(counts: BuildCounts, made: Made) -> BuildCounts:
    """The counts with those of a further batch, whose records are of the same kind."""
    kind = made.counts.format
    if kind is not None and counts.format not in (None, kind):
        raise DatasetError(two_kinds(made.numbers[0], kind, counts.format))
    return counts.plus(made.counts)


def refuse_nothing_left(counts: BuildCounts) -> None:
    """Say why a build has no record at all.

    Raises:
        DatasetError: always.
    """
    reasons = ", ".join(f"{number:,} for {reason!r}" for reason, number in counts.reasons.items() if number)
    raise DatasetError(f"all {counts.read:,} rows were dropped ({reasons}); loosen the filters")


def number_lines(made: Made) -> bytes:
    """The source row of each line, a line each, with its fact, wording and recipe where they are known."""
    if not made.fact_ids:
        return b"".join([b"%d\n" % number for number in made.numbers])
    ids = map(orjson.dumps, made.fact_ids)
    if not made.origins:
        return b"".join([b"%d %s\n" % told for told in zip(made.numbers, ids, strict=True)])
    origins = map(orjson.dumps, made.origins)
    return b"".join([b"%d %s %s\n" % told for told in zip(made.numbers, ids, origins, strict=True)])
