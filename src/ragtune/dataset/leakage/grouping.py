"""Leak-free splits: rows that share a fact stay on one side.

Two rows belong together when they share a *key*: the same normalised question, or the same normalised text of at least
`MIN_KEY_WORDS` words in any column that the record uses. Groups of rows are the connected components over shared keys.
A text that a large share of the rows has, a label, a refusal, a system prompt, a greeting, is no key: see `left_out`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ragtune.dataset.leakage.shingles import Numbers, Places

SPLITS = ("train", "validation", "test")
MIN_KEY_WORDS = 5
# A range holds a 64th of all keys: no more than that is in memory at once, however many there are.
_RANGE_BITS = 6
_RANGES = 1 << _RANGE_BITS
# What a text is to its row stands in the lowest bits of its key. Equal keys are a question when one of them is, and a
# wish of the user is never left out.
GIVEN, PHRASE, LEARNED, QUESTION, WISH = range(5)
_KINDS = 7
# From how many rows on, and beyond which share of all rows, a text ties nothing. An answer of a few words is a label or
# a refusal; a passage that a fifth of the rows quote is still one passage.
_COMMON = {PHRASE: (5, 0.005), LEARNED: (20, 0.05), QUESTION: (20, 0.05), GIVEN: (20, 0.25)}
_HALF = (5, 0.5)


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How rows are to be split: shares in [0, 1), the seed, and what keeps rows together.

    Attributes:
        validation: share of the rows for validation.
        test: share of the rows for test.
        seed: decides which rows go where.
        group_by: combinations of columns; rows that are equal in all columns of one of them stay together.
        near_duplicates: whether rows with nearly the same text stay together.
        stratify_by: column whose values have the same shares in every split.
        fact_id: column of the fact's id, whose rows stay together and are told by it.
    """

    validation: float = 0.0
    test: float = 0.0
    seed: int = 0
    group_by: tuple[tuple[str, ...], ...] = ()
    near_duplicates: bool = False
    stratify_by: str | None = None
    fact_id: str | None = None

    @property
    def together(self) -> tuple[tuple[str, ...], ...]:
        """All combinations of columns by which rows stay together."""
        return self.group_by if self.fact_id is None else (*self.group_by, (self.fact_id,))


def key_of(normalised: bytes) -> int:
    """64 bits that stand for a normalised text."""
    # Two texts that share these bits by chance are kept on one side: that costs a little freedom and leaks nothing.
    return int.from_bytes(blake2b(normalised, digest_size=8).digest(), "little")


def keyed(numbers: Numbers, kinds: npt.NDArray[np.uint8]) -> Numbers:
    """Keys that tell what each text is to its row."""
    import numpy as np

    return (numbers & ~np.uint64(_KINDS)) | kinds


class Grouping:
    """Collects the keys of rows and says which rows belong together; the keys go to disk when they grow.

    They are written sorted, a piece at a time, so that all pieces of one range of keys can be read at once.
    """

    def __init__(self, file: BinaryIO, *, piece: int = 1 << 19) -> None:
        self._file = file
        self._piece = piece
        self._waiting: list[tuple[Numbers, Places]] = []
        self._count = 0
        # Of each piece on disk: where it begins, and where each range begins in it.
        self._pieces: list[tuple[int, Places]] = []

    def add(self, keys: Numbers, rows: Places) -> None:
        """Add keys, each with the number of its row."""
        self._waiting.append((keys, rows))
        self._count += len(keys)
        if self._count >= self._piece:
            self._to_disk()

    def _to_disk(self) -> None:
        import numpy as np

        ((keys, rows),) = self._in_memory()
        bounds = np.searchsorted(keys, np.arange(1, _RANGES, dtype=np.uint64) << np.uint64(64 - _RANGE_BITS))
        self._pieces.append((self._file.tell(), np.concatenate(([0], bounds, [len(keys)]))))
        keys.tofile(self._file)
        rows.tofile(self._file)
        self._waiting, self._count = [], 0

    def _in_memory(self) -> Iterator[tuple[Numbers, Places]]:
        if self._waiting:
            yield _sorted(self._waiting)

    def ranges(self) -> Iterator[tuple[Numbers, Places]]:
        """All keys, sorted, each with its row; a range of keys at a time."""
        if not self._pieces:
            yield from self._in_memory()
            return
        if self._waiting:
            self._to_disk()
        self._file.flush()
        for index in range(_RANGES):
            yield _sorted([self._read(start, bounds, index) for start, bounds in self._pieces])

    def _read(self, start: int, bounds: Places, index: int) -> tuple[Numbers, Places]:
        import numpy as np

        first, end, length = int(bounds[index]), int(bounds[index + 1]), int(bounds[-1])
        place = start + 8 * first
        keys = np.fromfile(self._file.name, dtype=np.uint64, count=end - first, offset=place)
        return keys, np.fromfile(self._file.name, dtype=np.int64, count=end - first, offset=place + 8 * length)


def _sorted(parts: Sequence[tuple[Numbers, Places]]) -> tuple[Numbers, Places]:
    import numpy as np

    keys = np.concatenate([keys for keys, _ in parts])
    # Among equal keys any order will do: their rows are united whichever comes first.
    order = np.argsort(keys)
    return keys[order], np.concatenate([rows for _, rows in parts])[order]


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Which rows belong together.

    Attributes:
        first_rows: for each row the number of the first row of its group.
        left_out: how many rows each key has that ties nothing since a large share of the rows has it.
        keys: how many different keys each grouping has.
    """

    first_rows: Places
    left_out: Mapping[int, int] = field(default_factory=dict)
    keys: tuple[int, ...] = ()


def groups(count: int, *groupings: Grouping) -> Groups:
    """Group `count` rows by shared keys, directly or not."""
    import numpy as np

    parent = np.arange(count, dtype=np.int64)
    left_out: dict[int, int] = {}
    different = [0] * len(groupings)
    for index, grouping in enumerate(groupings):
        for keys, rows in grouping.ranges():
            # Equal keys stand side by side, so a link from each to the next one unites them all.
            equal = (keys[1:] ^ keys[:-1]) <= _KINDS
            starts = np.concatenate(([0], np.flatnonzero(~equal) + 1)) if len(keys) else np.empty(0, np.int64)
            different[index] += len(starts)
            ends = np.append(starts[1:], len(keys))
            for group in np.flatnonzero(_is_common(keys, starts, ends, count=count)).tolist():
                own = slice(int(starts[group]), int(ends[group]))
                number = len(np.unique(rows[own]))
                # One row may say it twice.
                if _is_common(keys[own], np.zeros(1, np.int64), np.array([number]), count=count)[0]:
                    equal[own.start : own.stop - 1] = False
                    left_out[int(keys[own.start]) & ~_KINDS] = number
            shared = np.flatnonzero(equal)
            _link(parent, rows[shared], rows[shared + 1])
    # Every parent is smaller than its child, so a few rounds flatten the forest.
    while not np.array_equal(flat := parent[parent], parent):
        parent = flat
    return Groups(first_rows=parent, left_out=left_out, keys=tuple(different))


def _is_common(keys: Numbers, starts: Places, ends: Places, *, count: int) -> npt.NDArray[np.bool_]:
    """Which groups of equal keys stand in so many of `count` rows that they tie nothing."""
    import numpy as np

    sizes = ends - starts
    common = np.zeros(len(starts), dtype=np.bool_)
    # Hardly any group of keys is so large: what follows then looks at a few instead of at all.
    large = np.flatnonzero(sizes >= min(least for least, _ in _COMMON.values()))
    if len(large):
        sizes, mask = sizes[large], np.uint64(_KINDS)
        low, high = keys[starts[large]] & mask, keys[ends[large] - 1] & mask
        kinds = np.where((high >= QUESTION) | (low == high), high, np.where(low >= PHRASE, LEARNED, GIVEN))
        for kind, (least, share) in _COMMON.items():
            common[large] |= (kinds == kind) & (sizes >= least) & (sizes > share * count)
        common[large] |= (kinds < QUESTION) & (sizes >= _HALF[0]) & (sizes >= _HALF[1] * count)
    return common


def _link(parent: Places, left: Places, right: Places) -> None:
    """Unite the trees of each pair of rows; the smaller root becomes the parent of the other."""
    import numpy as np

    while len(left):
        # By the smaller root each group bears the number of its first row, on which the assignment to splits relies.
        left, right = _roots(parent, left), _roots(parent, right)
        apart = left != right
        left, right = left[apart], right[apart]
        # Where a root has several smaller ones, the next round unites those.
        np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))


def _roots(parent: Places, rows: Places) -> Places:
    import numpy as np

    above = parent[rows]
    while not np.array_equal(top := parent[above], above):
        # Each round halves the way of every row: a chain of a million rows takes twenty.
        parent[rows] = above = top
    return above


def distinct(numbers: Numbers) -> Numbers:
    """The different numbers in order; measured ten times as fast as `np.unique` on 64-bit numbers."""
    import numpy as np

    ordered = np.sort(numbers)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered
