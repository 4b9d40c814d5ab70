"""Texts that are nearly the same: MinHash over runs of three words, compared in bands."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain, combinations
from typing import TYPE_CHECKING

from ragtune import _arguments as arguments
from ragtune._extras import require
from ragtune.dataset.leakage.grouping import MIN_KEY_WORDS, keyed
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from ragtune.dataset.leakage.texts import Texts

# Two texts that share four fifths of their runs are found with a chance of 95 %, nine tenths with 99.99 %.
BANDS = 16
BAND_ROWS = 8
RUN_WORDS = 3
# Never another one: the same rows would be split in another way.
_SEED = 1
_AT_ONCE = 4_096


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """Two texts that are nearly the same.

    Attributes:
        first: number of the earlier text, from 0.
        second: number of the later one.
        similarity: runs of three words that both have, as a share of those that either has: the Jaccard index, exact.

    Example:
        ```python
        from ragtune.dataset import near_duplicates

        text = "The mill by the river burned down in the winter of 1887, and nobody ever built it up again."
        print(near_duplicates([text, "Something else altogether stands here.", text + " Never."])[0].second)
        #> 2
        ```
    """

    first: int
    second: int
    similarity: float


def near_duplicates(texts: Sequence[str], *, threshold: float = 0.8) -> list[NearDuplicate]:
    """All pairs of texts that share most of their runs of three words, in the order of the texts.

    Candidates come from MinHash (128 permutations, 16 bands of 8), so that a pair is missed now and then, less often
    the more similar it is; the similarity of each candidate is then counted exactly. A text is paired with the first of
    several equal ones only.

    Args:
        texts: what to compare; texts of fewer than three words are like no other.
        threshold: the least similarity, in (0, 1].

    Raises:
        DatasetError: the threshold is out of its range, or `texts` is no list of texts.
        MissingExtraError: the extra `dedup` is not installed.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise DatasetError(f"threshold={threshold!r:.60} must be a share in (0, 1], for example 0.8")
    if isinstance(texts, str):
        raise DatasetError(f"texts={texts!r:.60} must be a list of texts, not one text")
    texts = arguments.texts("texts", texts)
    from ragtune.dataset.leakage.shingles import shingle

    found: list[NearDuplicate] = []
    firsts: dict[int, int] = {}
    runs: dict[int, frozenset[int]] = {}
    buckets: defaultdict[int, list[int]] = defaultdict(list)
    for start in range(0, len(texts), _AT_ONCE):
        numbers = shingle(texts[start : start + _AT_ONCE], RUN_WORDS)
        bands = _bands(numbers.hashes, numbers.offsets)
        for index, whole in enumerate(numbers.texts.tolist()):
            own = numbers.hashes[numbers.offsets[index] : numbers.offsets[index + 1]]
            if not len(own):
                continue
            place = start + index
            if (first := firsts.setdefault(whole, place)) != place:
                found.append(NearDuplicate(first=first, second=place, similarity=1.0))
                continue
            runs[place] = frozenset(own.tolist())
            for band in bands[index].tolist():
                buckets[band].append(place)
    # A pair may meet in all sixteen bands, and counts once.
    pairs = set(chain.from_iterable(combinations(places, 2) for places in buckets.values()))
    for first, second in pairs:
        # MinHash only proposes: what is told is counted.
        similarity = len(runs[first] & runs[second]) / len(runs[first] | runs[second])
        if similarity >= threshold:
            found.append(NearDuplicate(first=first, second=second, similarity=similarity))
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def near_keys(said: Texts) -> Iterator[list[int]]:
    """For each row the bands of its texts of five words or more; rows that share one are nearly the same."""
    from ragtune.dataset.leakage.shingles import shingle
    from ragtune.dataset.leakage.text_hashes import kinds_of

    numbers = shingle(said.texts, RUN_WORDS)
    bands = _bands(numbers.hashes, numbers.offsets)
    bands = keyed(bands, kinds_of(said, numbers.words)[:, None])
    index = 0
    for count in said.per_row:
        places = [place for place in range(index, index + count) if numbers.words[place] >= MIN_KEY_WORDS]
        yield bands[places].ravel().tolist()
        index += count


def _bands(hashes: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Sixteen numbers per text; those of a text without runs mean nothing."""
    require("dedup", "rensa", reason="finding near-duplicates")
    import numpy as np
    from rensa import RMinHash

    from ragtune.dataset.leakage.shingles import mixed

    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, BANDS * BAND_ROWS, _SEED)
    signs = np.array(matrix.to_rows(), dtype=np.uint64).reshape(-1, BANDS, BAND_ROWS)
    # The number of the band keeps equal signs of two bands apart.
    numbers = np.broadcast_to(np.arange(1, BANDS + 1, dtype=np.uint64), signs.shape[:2])
    for row in range(BAND_ROWS):
        numbers = mixed(numbers + signs[:, :, row])
    return numbers
