"""Lines into the files of their splits: they wait on disk until the last row is seen."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain, compress
from typing import TYPE_CHECKING, BinaryIO

from ragtune.dataset.leakage.assignment import assign
from ragtune.dataset.leakage.grouping import SPLITS, Grouping, SplitPlan, groups, keyed
from ragtune.dataset.leakage.overlap import FieldNumbers, Overlap, find_overlap
from ragtune.dataset.render.rendered import BuildCounts
from ragtune.dataset.writing.folder import FileFacts, LineFile
from ragtune.dataset.writing.written import WrittenFiles, counted, number_lines, refuse_nothing_left
from ragtune.text import NORMAL_FORM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from ragtune.dataset.leakage.shingles import Numbers, Places
    from ragtune.dataset.render.rendered import Made

__all__ = ["write_splits"]

_COPY_LINES = 8_192
# What waits in a file of its own until lines are split.
_WAITING = ("lines", "row_map", "facts", "texts", "keys", "group_keys")


def write_splits(batches: Iterable[Made], workshop: Path, plan: SplitPlan) -> WrittenFiles:
    """Write each line into the file of its split, and prove that the splits share nothing that they may not.

    Raises:
        DatasetError: no row is left, or records are of two kinds.
    """
    from ragtune.dataset.leakage import text_hashes
    from ragtune.dataset.leakage.proof import METHOD

    paths = {what: workshop / f"all.{what}" for what in _WAITING}
    with ExitStack() as stack:
        waiting = _WaitingLines(**{what: stack.enter_context(path.open("w+b")) for what, path in paths.items()})
        for made in batches:
            waiting.add(made)
        counts = waiting.counts
        if not waiting.rows:
            refuse_nothing_left(counts)
        found = groups(waiting.rows, waiting.keys, waiting.group_keys)
        left_out = text_hashes.named(waiting.facts, waiting.texts, found.left_out)
        assigned = assign(found.first_rows, plan, classes=waiting.classes)
        splits = assigned.splits
        # Nobody pays for validation and test.
        tokens = list(compress(chain.from_iterable(counts.tokens), (splits == 0).tolist()))
        written = WrittenFiles(
            counts=replace(counts, tokens=(tokens,)),
            files=_distribute(waiting.lines, splits, workshop, "jsonl"),
            row_maps=_distribute(waiting.row_map, splits, workshop, "rows.txt"),
            overlap={
                "normal_form": NORMAL_FORM,
                "normalised_texts": found.keys[0],
                "in_more_than_one_split": waiting.shared_texts(splits, found.left_out),
                "proof": METHOD,
                **({} if plan.fact_id is None else _shared_facts(workshop)),
                **_shared(waiting.facts, splits).to_dict(),
            },
            split={
                "given": assigned.given,
                "largest_group": assigned.largest_group,
                "notes": list(assigned.notes),
                "classes": assigned.classes,
                "left_out": left_out,
            },
        )
    # Only where all went well: with an error the whole workshop goes.
    for path in paths.values():
        path.unlink()
    return written


class _WaitingLines:
    """Lines and keys that wait on disk: to which file a line belongs is known only when the last row was seen."""

    def __init__(
        self,
        *,
        lines: BinaryIO,
        row_map: BinaryIO,
        facts: BinaryIO,
        texts: BinaryIO,
        keys: BinaryIO,
        group_keys: BinaryIO,
    ) -> None:
        self.lines, self.row_map, self.facts, self.texts = lines, row_map, facts, texts
        self.keys, self.group_keys = Grouping(keys), Grouping(group_keys)
        self.counts, self.rows = BuildCounts(), 0
        self.classes: list[str] = []
        self._begins: list[npt.NDArray[np.uint32]] = []
        self._per_row: list[Places] = []
        self._numbered: list[Numbers] = []

    def add(self, made: Made) -> None:
        """Put a batch behind the others."""
        import numpy as np

        from ragtune.dataset.leakage import text_hashes

        self.counts = counted(self.counts, made)
        self.lines.write(made.data)
        self.row_map.write(number_lines(made))
        if made.facts is not None:
            text_hashes.write(made.facts, self.facts, self.texts)
            self._begins.append(made.facts.begins)
            self._per_row.append(made.facts.per_row)
            # Without their kind: a text that is left out is so whatever it is to a row.
            self._numbered.append(keyed(made.facts.texts, np.zeros(len(made.facts.texts), np.uint8)))
            numbers = keyed(made.facts.texts, made.facts.kinds)
            self.keys.add(numbers, self.rows + np.repeat(np.arange(len(made.numbers)), made.facts.per_row))
        self.group_keys.add(*_flat(made.group_keys, self.rows))
        self.classes += made.classes
        self.rows += len(made.numbers)

    def shared_texts(self, splits: npt.NDArray[np.uint8], left_out: Iterable[int]) -> int:
        """How many texts stand in more than one split, apart from those that were left out of the grouping."""
        import numpy as np

        from ragtune.dataset.leakage import text_hashes
        from ragtune.dataset.leakage.proof import shared_texts

        return shared_texts(
            text_hashes.read_texts(self.texts),
            np.repeat(splits, np.concatenate(self._per_row)),
            np.concatenate(self._begins),
            ~np.isin(np.concatenate(self._numbered), np.fromiter(left_out, np.uint64)),
        )


def _flat(keys: Sequence[Sequence[int]], first: int) -> tuple[Numbers, Places]:
    """The keys of all rows, and beside each key the number of its row, counted from `first`."""
    import numpy as np

    rows = np.arange(first, first + len(keys))
    flat = np.fromiter(chain.from_iterable(keys), np.uint64)
    return flat, np.repeat(rows, np.fromiter(map(len, keys), np.int64, len(keys)))


def _shared(file: BinaryIO, splits: npt.NDArray[np.uint8]) -> Overlap:
    """What the splits share, field by field."""
    from ragtune.dataset.leakage import text_hashes

    def fields(split: int) -> Iterator[dict[str, FieldNumbers]]:
        file.seek(0)
        row = 0
        for facts in text_hashes.read(file):
            inside = splits[row : row + len(facts.per_row)] == split
            # Equal texts have equal normal forms, and those are on one side: there is nothing left to tell apart.
            yield {
                name: FieldNumbers(exact=texts, normal=texts, runs=runs)
                for name, texts, runs in facts.of(inside).by_field()
            }
            row += len(facts.per_row)

    readers = {name: partial(fields, split) for split, name in enumerate(SPLITS) if (splits == split).any()}
    return find_overlap(readers, readers)


def _distribute(lines: BinaryIO, splits: npt.NDArray[np.uint8], workshop: Path, ending: str) -> dict[str, FileFacts]:
    """Copy each line to the file of its split."""
    import numpy as np

    used = np.flatnonzero(np.bincount(splits)).tolist()
    files = {split: LineFile(workshop / f"{SPLITS[split]}.{ending}") for split in used}
    lines.seek(0)
    try:
        for start in range(0, len(splits), _COPY_LINES):
            chosen = splits[start : start + _COPY_LINES].tolist()
            waiting: dict[int, list[bytes]] = {split: [] for split in used}
            # Not strict: the file goes on behind these lines.
            for split, line in zip(chosen, lines, strict=False):
                waiting[split].append(line)
            for split, some in waiting.items():
                files[split].write(b"".join(some), len(some))
        return {SPLITS[split]: files[split].close() for split in used}
    finally:
        for file in files.values():
            file.abandon()


def _shared_facts(workshop: Path) -> dict[str, int]:
    """How many facts the finished row maps name, and how many of them stand in more than one split."""
    stands = Counter[bytes]()
    # The finished maps and not what is in memory: they are what anybody can count after us.
    for path in workshop.glob("*.rows.txt"):
        with path.open("rb") as file:
            stands.update({_told_fact(line) for line in file})
    return {"facts": len(stands), "facts_in_more_than_one_split": sum(times > 1 for times in stands.values())}


def _told_fact(line: bytes) -> bytes:
    """The fact in a line of a row map, without the wording and recipe behind it."""
    _, _, told = line.rstrip(b"\n").partition(b" ")
    return told.rpartition(b" [")[0] if told.endswith(b"]") else told
