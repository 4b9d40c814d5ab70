"""Runs of words as 64-bit numbers, for many texts at once: what overlap and near-duplicates are counted with.

Words are those of `ragtune.dataset.normalise`. The numbers are the same on every machine: they are sums of powers of a
fixed odd base modulo 2**64, so that the number of any run of words is a difference of two prefix sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ragtune.dataset.splits import normal_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Numbers = npt.NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
# Casefolded word bytes as they are, everything else 0; bytes above ASCII belong to words, see `_joined`.
_WORD_BYTES = np.array(
    [ord(sign.lower()) if (sign := chr(code)).isalnum() or sign == "_" else 0 for code in range(128)]
    + list(range(128, 256)),
    dtype=np.uint64,
)


@dataclass(frozen=True, kw_only=True)
class Shingles:
    """Numbers of some texts.

    Attributes:
        hashes: of every run of `size` words, text after text; a text with fewer words has none.
        offsets: text i has `hashes[offsets[i]:offsets[i + 1]]`.
        texts: one number per text, equal for texts with equal normal forms.
        words: how many words each text has.
    """

    hashes: Numbers
    offsets: npt.NDArray[np.int64]
    texts: Numbers
    words: npt.NDArray[np.int64]


class _Powers:
    """Powers of the base and of its inverse, grown on demand."""

    def __init__(self) -> None:
        self.up = self.down = np.ones(1, dtype=np.uint64)

    def reach(self, length: int) -> None:
        if len(self.up) < length:
            self.up, self.down = (_powers(number, 2 * length) for number in (_BASE, _INVERSE))


def _powers(number: int, length: int) -> Numbers:
    factors = np.full(length, number, dtype=np.uint64)
    factors[0] = 1
    product: Numbers = np.cumprod(factors, dtype=np.uint64)
    return product


_known = _Powers()


def shingle(texts: Sequence[str], size: int) -> Shingles:
    """Number all runs of `size` words in each text.

    Args:
        texts: some thousand at once: a hundred bytes of memory per character are in use for a moment.
        size: words per run, at least 1.

    Example:
        ```python
        from ragtune.dataset.shingles import shingle

        numbers = shingle(["The old mill burned down.", "the OLD mill"], 3)
        print(numbers.words.tolist(), numbers.offsets.tolist(), numbers.hashes[0] == numbers.hashes[3])
        #> [5, 3] [0, 3, 4] True
        ```
    """
    if not texts:
        none = np.empty(0, dtype=np.uint64)
        return Shingles(hashes=none, offsets=np.zeros(1, np.int64), texts=none, words=np.empty(0, np.int64))
    data = np.frombuffer(_joined(texts), dtype=np.uint8)
    starts, words = _word_numbers(data)
    firsts = np.searchsorted(starts, np.flatnonzero(data == 0))
    bounds = np.concatenate(([0], firsts, [len(words)])).astype(np.int64)
    counts = np.diff(bounds)
    sums = _prefix_sums(words)
    runs = np.maximum(counts - size + 1, 0)
    offsets = np.concatenate(([0], np.cumsum(runs)))
    # Where each run begins: its text's first word, and its place among the runs of that text.
    begins = np.repeat(bounds[:-1] - offsets[:-1], runs) + np.arange(offsets[-1])
    return Shingles(
        hashes=mixed((sums[begins + size] - sums[begins]) * _known.down[begins]),
        offsets=offsets,
        texts=mixed((sums[bounds[1:]] - sums[bounds[:-1]]) * _known.down[bounds[:-1]]),
        words=counts,
    )


def _joined(texts: Sequence[str]) -> bytes:
    """All texts with a zero byte between two; beyond ASCII in normal form, whose every byte is of a word."""
    parts = [text.encode() if text.isascii() else normal_bytes(text) for text in texts]
    joined = b"\0".join(parts)
    if joined.count(0) >= len(parts):
        joined = b"\0".join([part.replace(b"\0", b" ") for part in parts])
    return joined


def _word_numbers(data: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], Numbers]:
    """Where each word starts, and its number."""
    _known.reach(len(data) + 2)
    letters = _WORD_BYTES[data]
    inside = np.zeros(len(data) + 2, dtype=np.int8)
    inside[1:-1] = letters != 0
    edges = np.flatnonzero(np.diff(inside))
    starts, ends = edges[::2], edges[1::2]
    sums = _prefix_sums(letters)
    return starts, mixed((sums[ends] - sums[starts]) * _known.down[starts])


def _prefix_sums(values: Numbers) -> Numbers:
    _known.reach(len(values) + 2)
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * _known.up[: len(values)], out=sums[1:])
    return sums


def mixed(values: Numbers) -> Numbers:
    """Spread every bit over all bits."""
    values = (values ^ (values >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return values ^ (values >> np.uint64(32))
