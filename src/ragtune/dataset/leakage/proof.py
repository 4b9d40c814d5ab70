"""The proof of a split: a second reading of all texts, with another method than the one that grouped them.

Rows are grouped by numbers of words, sorted and united. Here the texts themselves are read again: those that begin
alike in two splits are normalised by the plain definition and compared whole.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING
from unicodedata import normalize
from zlib import crc32

import numpy as np

from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

METHOD = "texts of the splits read again, normalised one by one and compared whole"
_BEGIN, _READ = 32, 96
# Three tables of 16 MB.
_MOST_BITS = 24
_other_digit = re.compile(r"(?![0-9])\d").search
# All of ASCII but small letters and digits: what may differ between texts of one normal form.
_OTHERS = bytes(code for code in range(128) if not (chr(code).islower() or chr(code).isdigit()))


def begins_of(texts: Sequence[str]) -> npt.NDArray[np.uint32]:
    """A number for how each text begins, equal for equal normal forms."""
    starts = [text[:_READ] for text in texts]
    # All at once, which takes a third of the time; a zero parts the texts.
    joined = "\0".join(starts).encode("utf-8", "surrogatepass")
    begins = [part[:_BEGIN] for part in joined.lower().translate(None, _OTHERS[1:]).split(b"\0")]
    if len(begins) != len(texts):
        begins = list(map(_begin, texts))
    for place, (start, begin) in enumerate(zip(starts, begins, strict=True)):
        if not begin or not start.isascii() or (len(begin) < _BEGIN and len(start) == _READ):
            begins[place] = _begin(texts[place])
    return np.fromiter(map(crc32, begins), np.uint32, len(texts))


def _begin(text: str) -> bytes:
    letters = _letters(start := text[:_READ])
    if len(letters) < _BEGIN and len(start) < len(text):
        letters = _letters(text)
    # Most scripts have no letter of ASCII: their normal form begins as it begins.
    return letters[:_BEGIN] or normalise(text).encode("utf-8", "surrogatepass")[:_BEGIN]


def _letters(text: str) -> bytes:
    """The letters and digits of ASCII that are left of a text; a digit of another script becomes one."""
    if not text.isascii():
        form = normalise(text) if _other_digit(text) else text
        text = normalize("NFKD", form.casefold().replace("\u0131", "i"))
    return text.lower().encode("ascii", "ignore").translate(None, _OTHERS)


def shared_texts(
    batches: Iterable[Sequence[str]],
    sides: npt.NDArray[np.uint8],
    begins: npt.NDArray[np.uint32],
    tied: npt.NDArray[np.bool_],
) -> int:
    """How many normal forms stand in more than one split.

    Args:
        batches: all texts, some at a time.
        sides: the split of each text.
        begins: how each text begins.
        tied: which texts must be on one side; the others are left out.
    """
    # First which beginnings stand on several sides, which few do; then those texts alone.
    # A large table: two beginnings that meet in it by chance cost two normal forms.
    size = 1 << min((64 * len(begins)).bit_length(), _MOST_BITS)
    places = begins & np.uint32(size - 1)
    stands = np.zeros((3, size), dtype=np.bool_)
    for side in range(3):
        stands[side, places[sides == side]] = True
    likely = np.flatnonzero((stands[:, places].sum(axis=0) > 1) & tied)
    seen: dict[bytes, int] = {}
    start = 0
    for texts in batches:
        first, end = np.searchsorted(likely, (start, start + len(texts))).tolist()
        for place in likely[first:end].tolist():
            form = normalise(texts[place - start]).encode("utf-8", "surrogatepass")
            digest = blake2b(form, digest_size=16).digest()
            seen[digest] = seen.get(digest, 0) | 1 << int(sides[place])
        start += len(texts)
    return sum(found.bit_count() > 1 for found in seen.values())
