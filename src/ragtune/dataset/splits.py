"""Leak-free splits: rows that share a fact stay on one side.

Two rows belong together when they share a *key*: the same normalised question, or the same normalised text of at least
`MIN_KEY_WORDS` words in any column that the record uses. Groups of rows are the connected components over shared keys.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, BinaryIO

from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

SPLITS = ("train", "validation", "test")
MIN_KEY_WORDS = 5

_words = re.compile(r"\w+").findall


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How rows are to be split: shares in [0, 1), the seed, what keeps rows together, and what is counted after it."""

    validation: float = 0.0
    test: float = 0.0
    seed: int = 0
    group_by: tuple[str, ...] = ()
    near_duplicates: bool = False
    shared_runs: bool = True


def normalise(text: str) -> str:
    """The form in which texts are compared: casefolded, words only, one space between them.

    Example:
        ```python
        from ragtune.dataset import normalise

        print(normalise("  What  is a *Quillhaven*? "))
        #> what is a quillhaven
        ```
    """
    return " ".join(_words(text.casefold()))


# What `normalise` does to ASCII, as a table: measured eight times as fast as the regular expression.
_ASCII_WORDS = bytes(ord(sign.lower()) if (sign := chr(code)).isalnum() or sign == "_" else 32 for code in range(128))
_ASCII_WORDS += bytes(range(128, 256))
_FEW_SIGNS = 8

_not_ascii = re.compile(r"[^\x00-\x7f]").findall


def normal_bytes(text: str) -> bytes:
    """The same as `normalise`, encoded, and several times as fast on text that is mostly ASCII."""
    if not text.isascii():
        signs = set(_not_ascii(text))
        if len(signs) > _FEW_SIGNS:
            return normalise(text).encode("utf-8", "surrogatepass")
        for sign in signs:
            text = text.replace(sign, _folded(sign))
    data = text.encode("utf-8", "surrogatepass").translate(_ASCII_WORDS)
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data.strip(b" ")


@lru_cache(4_096)
def _folded(sign: str) -> str:
    return "".join(part if part.isalnum() else " " for part in sign.casefold())


def key_of(normalised: bytes) -> int:
    """64 bits that stand for a normalised text."""
    return int.from_bytes(blake2b(normalised, digest_size=8).digest(), "little")


def keys_of(question: str, texts: Sequence[str]) -> list[int]:
    """The keys of one row: its question, and each of its longer texts."""
    keys = [key_of(normal_bytes(question))] if question else []
    for text in texts:
        # Five words have at least nine characters.
        if len(text) < 2 * MIN_KEY_WORDS - 1 or text is question:
            continue
        normal = normal_bytes(text)
        if len(normal.split(b" ", MIN_KEY_WORDS - 1)) == MIN_KEY_WORDS:
            keys.append(key_of(normal))
    return keys


class Grouping:
    """Collects the keys of rows in order, on disk, and says at the end which rows belong together."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.rows = 0

    def add(self, keys_per_row: Sequence[Sequence[int]]) -> None:
        """Add the keys of the next rows."""
        rows = enumerate(keys_per_row, self.rows)
        array("Q", [value for row, keys in rows for key in keys for value in (key, row)]).tofile(self._file)
        self.rows += len(keys_per_row)

    def _pairs(self) -> npt.NDArray[np.uint64]:
        import numpy as np

        self._file.flush()
        return np.fromfile(self._file.name, dtype=np.uint64).reshape(-1, 2)

    def groups(self, wishes: Grouping) -> npt.NDArray[np.int64]:
        """For each row the number of the first row of its group, by the keys of both."""
        import numpy as np

        pairs = np.concatenate([self._pairs(), wishes._pairs()])
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        keys, rows = pairs[order, 0], pairs[order, 1].astype(np.int64)
        shared = np.flatnonzero(keys[1:] == keys[:-1])
        parent = np.arange(self.rows, dtype=np.int64)
        for left, right in zip(rows[shared].tolist(), rows[shared + 1].tolist(), strict=True):
            a, b = _root(parent, left), _root(parent, right)
            parent[max(a, b)] = min(a, b)
        # Every parent is smaller than its child, so a few rounds flatten the forest.
        while not np.array_equal(flat := parent[parent], parent):
            parent = flat
        return parent

    def overlap(self, splits: npt.NDArray[np.uint8]) -> dict[str, int]:
        """How many keys stand in more than one split; counted from the keys, not from the groups."""
        import numpy as np

        pairs = self._pairs()
        side = splits[pairs[:, 1].astype(np.int64)]
        placed = [distinct(pairs[side == split, 0]) for split in range(len(SPLITS))]
        _, places = np.unique(np.concatenate(placed), return_counts=True)
        return {"normalised_texts": len(places), "in_more_than_one_split": int((places > 1).sum())}


def distinct(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The different numbers in order; measured ten times as fast as `np.unique` on 64-bit numbers."""
    import numpy as np

    ordered = np.sort(numbers)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


def _root(parent: Any, row: int) -> int:
    root = row
    while (above := int(parent[root])) != root:
        root = above
    while (above := int(parent[row])) != root:
        parent[row] = root
        row = above
    return root


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
    first, sizes = np.unique(groups, return_counts=True)
    order = np.argsort(_mixed(first.astype(np.uint64), plan.seed), kind="stable")
    shares = ((1, plan.validation), (2, plan.test))
    wanted = [(split, max(1, round(share * count))) for split, share in shares if share > 0]
    if len(first) <= len(wanted):
        raise DatasetError(
            f"{count} rows form {len(first)} group(s) that share no question or context: too few to split without a "
            f"leak; give more rows, or build without validation and test"
        )
    split_of_group = np.zeros(len(first), dtype=np.uint8)
    free, size_of = order.tolist(), sizes.tolist()
    for later, (split, rows) in zip(range(len(wanted) - 1, -1, -1), wanted, strict=True):
        # Later splits and the training file need a group each.
        chosen = _choose(free, size_of, rows, at_most=len(free) - later - 1)
        split_of_group[chosen] = split
        taken = set(chosen)
        free = [group for group in free if group not in taken]
    return split_of_group[np.searchsorted(first, groups)]


def _choose(groups: list[int], sizes: list[int], rows: int, at_most: int) -> list[int]:
    """The first groups that fit into `rows` rows; the smallest one where none fits."""
    chosen: list[int] = []
    left = rows
    for group in groups:
        if not left or len(chosen) == at_most:
            break
        if sizes[group] <= left:
            chosen.append(group)
            left -= sizes[group]
    return chosen or [min(groups, key=lambda group: sizes[group])]


def _mixed(values: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """A fixed scrambling of numbers by a seed (splitmix64): the same on every machine and version."""
    import numpy as np

    with np.errstate(over="ignore"):
        z = values + np.uint64(key_of(b"seed %d" % seed))
        z = (z + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
