"""Leak-free splits: rows that share a fact stay on one side.

Two rows belong together when they share a *key*: the same normalised question, or the same normalised text of at least
`MIN_KEY_WORDS` words in any column that the record uses. Groups of rows are the connected components over shared keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, BinaryIO

from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from ragtune.dataset.leakage.shingles import Numbers, Places

SPLITS = ("train", "validation", "test")
MIN_KEY_WORDS = 5
# A range holds a 64th of all keys: no more than that is in memory at once, however many there are.
_RANGE_BITS = 6
_RANGES = 1 << _RANGE_BITS
_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How rows are to be split: shares in [0, 1), the seed, and what keeps rows together."""

    validation: float = 0.0
    test: float = 0.0
    seed: int = 0
    group_by: tuple[str, ...] = ()
    near_duplicates: bool = False


def key_of(normalised: bytes) -> int:
    """64 bits that stand for a normalised text."""
    # Two texts that share these bits by chance are kept on one side: that costs a little freedom and leaks nothing.
    return int.from_bytes(blake2b(normalised, digest_size=8).digest(), "little")


class Grouping:
    """Collects the keys of rows and says which rows belong together; the keys go to disk when they grow.

    They are written sorted, a piece at a time, so that all pieces of one range of keys can be read at once.
    """

    def __init__(self, file: BinaryIO, piece: int = 1 << 19) -> None:
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
    order = np.argsort(keys)
    return keys[order], np.concatenate([rows for _, rows in parts])[order]


def groups(count: int, *groupings: Grouping) -> Places:
    """For each of `count` rows the number of the first row of its group: rows that share keys, directly or not."""
    import numpy as np

    parent = np.arange(count, dtype=np.int64)
    for grouping in groupings:
        for keys, rows in grouping.ranges():
            # Equal keys stand side by side, so a link from each to the next one unites them all.
            shared = np.flatnonzero(keys[1:] == keys[:-1])
            _link(parent, rows[shared], rows[shared + 1])
    # Every parent is smaller than its child, so a few rounds flatten the forest.
    while not np.array_equal(flat := parent[parent], parent):
        parent = flat
    return parent


def _link(parent: Places, left: Places, right: Places) -> None:
    """Unite the trees of each pair of rows; the smaller root becomes the parent of the other."""
    import numpy as np

    while len(left):
        left, right = _roots(parent, left), _roots(parent, right)
        apart = left != right
        left, right = left[apart], right[apart]
        # Where a root has several smaller ones, the next round unites those.
        np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))


def _roots(parent: Places, rows: Places) -> Places:
    import numpy as np

    while not np.array_equal(above := parent[rows], rows):
        rows = above
    return rows


def shared_keys(grouping: Grouping, splits: npt.NDArray[np.uint8]) -> dict[str, int]:
    """How many keys there are and how many stand in more than one split; counted from the keys, not from the groups."""

    different = shared = 0
    for keys, rows in grouping.ranges():
        # Among equal keys on two sides there is always a pair of neighbours on two sides.
        sides = splits[rows]
        different += len(distinct(keys))
        shared += len(distinct(keys[1:][(keys[1:] == keys[:-1]) & (sides[1:] != sides[:-1])]))
    return {"normalised_texts": different, "in_more_than_one_split": shared}


def distinct(numbers: Numbers) -> Numbers:
    """The different numbers in order; measured ten times as fast as `np.unique` on 64-bit numbers."""
    import numpy as np

    ordered = np.sort(numbers)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


def check_shares(validation: float, test: float) -> None:
    """Refuse shares that leave nothing to train on.

    Raises:
        DatasetError: a share is not in [0, 1), or both together reach 1.
    """
    for name, share in (("validation", validation), ("test", test)):
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise DatasetError(f"{name}={share!r} must be a share of the rows in [0, 1), for example 0.05")
    if validation + test >= 1:
        raise DatasetError(
            f"validation={validation} and test={test} leave nothing to train on; their sum must be below 1"
        )


def assign(groups: npt.NDArray[np.int64], plan: SplitPlan) -> npt.NDArray[np.uint8]:
    """Give every row its split (0 train, 1 validation, 2 test), whole groups at a time.

    Groups are taken in an order that the seed decides, until a split has its share of rows; a share above zero gets at
    least one group. A group that would overfill a split is passed over.

    Raises:
        DatasetError: there are fewer groups than splits.
    """
    import numpy as np

    count = len(groups)
    # A group has the number of its first row, so most of these sizes are zero.
    sizes = np.bincount(groups, minlength=count)
    first = np.flatnonzero(sizes)
    # The first row of a group decides its place in the order: rows added at the end leave the others in theirs.
    order = first[np.argsort(_mixed(first.astype(np.uint64), plan.seed), kind="stable")]
    shares = ((1, plan.validation), (2, plan.test))
    wanted = [(split, max(1, round(share * count))) for split, share in shares if share > 0]
    if len(first) <= len(wanted):
        raise DatasetError(
            f"{count} rows form {len(first)} group(s) that share no question or context: too few to split without a "
            f"leak; give more rows, or build without validation and test"
        )
    split_of_group = np.zeros(count, dtype=np.uint8)
    for later, (split, rows) in zip(range(len(wanted) - 1, -1, -1), wanted, strict=True):
        # Later splits and the training file need a group each.
        chosen = _choose(order, sizes, rows, at_most=len(order) - later - 1)
        split_of_group[chosen] = split
        order = order[split_of_group[order] == 0]
    return split_of_group[groups]


def _choose(groups: Places, sizes: Places, rows: int, at_most: int) -> list[int]:
    """The first groups that fit into `rows` rows; the smallest one where none fits."""
    chosen: list[int] = []
    left = rows
    for start in range(0, len(groups), _AT_ONCE):
        some = groups[start : start + _AT_ONCE]
        for group, size in zip(some.tolist(), sizes[some].tolist(), strict=True):
            if not left or len(chosen) == at_most:
                return chosen
            if size <= left:
                chosen.append(group)
                left -= size
    return chosen or [int(groups[sizes[groups].argmin()])]


def _mixed(values: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """A fixed scrambling of numbers by a seed (splitmix64): the same on every machine and version."""
    import numpy as np

    with np.errstate(over="ignore"):
        z = values + np.uint64(key_of(b"seed %d" % seed))
        z = (z + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
