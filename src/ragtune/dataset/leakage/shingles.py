"""Runs of words as 64-bit numbers, for many texts at once: what splits, overlap and near-duplicates are counted with.

Words are those of `ragtune.dataset.normalise`. The numbers are the same on every machine: they are sums of powers of a
fixed odd base modulo 2**64, so that the number of any run of words is a difference of two prefix sums.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ragtune.text import count_words, fold, normalise, unspaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Numbers = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.int64]

_BASE = 0x9E3779B97F4A7C15
# An odd number has an inverse modulo 2**64: it moves the number of a run to where texts begin.
_INVERSE = pow(_BASE, -1, 1 << 64)
# Words in small letters; signs that are words of their own and signs whose neighbours decide as codes below the space;
# other ASCII a space; 0 parts the texts; bytes above ASCII belong to words, see `_folded`.
_OPERATORS, _DECIDED = b"$+<=>^|~%&@/\\*!", b"#,:.-"
_CODES = {sign: code for code, sign in enumerate(_OPERATORS + _DECIDED, 1)}
_WORD_BYTES = bytes(ord(sign.lower()) if (sign := chr(code)).isalnum() or sign == "_" else 32 for code in range(128))
_WORD_BYTES = b"\0" + bytes(_CODES.get(code, _WORD_BYTES[code]) for code in range(1, 128)) + bytes(range(128, 256))
_SIGNS = np.frombuffer(b"\0" + _OPERATORS + _DECIDED, dtype=np.uint8)
_DIGITS, _LETTERS = np.zeros((2, 256), dtype=np.bool_)
_DIGITS[48:58] = True
_LETTERS[97:123] = _LETTERS[128:] = _LETTERS[ord("_")] = True
_WORDS = _DIGITS | _LETTERS
_ASCII = bytes(range(128))
# Each sign is replaced in a pass of its own over the text; one with many of them takes the plain definition.
_FEW_SIGNS = 16
_FIRST_BYTES = np.array([(1 << 8 * length) - 1 for length in range(9)], dtype=np.uint64)


@dataclass(frozen=True, kw_only=True)
class Shingles:
    """Numbers of some texts.

    Attributes:
        hashes: of every run of `size` words, text after text; a text with fewer words has none.
        offsets: text i has `hashes[offsets[i]:offsets[i + 1]]`.
        texts: one number per text, equal for texts with equal normal forms.
        words: how many words each text has; two characters of a script that parts no words count as one.
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
        texts: some thousand at once: ten bytes of memory per character are in use for a moment.
        size: words per run, at least 1.
    """
    if not texts:
        none = np.empty(0, dtype=np.uint64)
        return Shingles(hashes=none, offsets=np.zeros(1, np.int64), texts=none, words=np.empty(0, np.int64))
    joined, too_many = _joined(texts)
    data = np.frombuffer(joined, dtype=np.uint8)
    starts, words = _word_numbers(data, _operators(data))
    bounds = np.searchsorted(starts, np.flatnonzero(data == 0)[: len(texts) + 1])
    counts = np.diff(bounds)
    sums = _prefix_sums(words)
    return Shingles(
        hashes=mixed((sums[size:] - sums[:-size]) * _known.down[: max(len(sums) - size, 0)])[_whole(bounds, size)],
        offsets=np.concatenate(([0], np.cumsum(np.maximum(counts - size + 1, 0)))),
        texts=mixed((sums[bounds[1:]] - sums[bounds[:-1]]) * _known.down[bounds[:-1]]),
        words=counts - too_many,
    )


def _whole(bounds: Places, size: int) -> npt.NDArray[np.bool_]:
    """Which runs lie within one text, by the word they begin with."""
    # A run may begin in one text and end in the next, for the words of all texts are one list.
    whole = np.ones(max(int(bounds[-1]) - size + 1, 0), dtype=np.bool_)
    for reach in range(1, size):
        crossing = bounds[1:-1] - reach
        whole[crossing[(crossing >= 0) & (crossing < len(whole))]] = False
    return whole


def _joined(texts: Sequence[str]) -> tuple[bytearray, Places]:
    """The words of all texts in small letters, spaces between; a zero byte before each text, and some at the end.

    Beside it, by how many each text has fewer words than it seems.
    """
    too_many = np.zeros(len(texts), dtype=np.int64)
    folded = [text.encode() if text.isascii() else _folded(text) for text in texts]
    parts = [part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass") for part in folded]
    for index in [index for index, part in enumerate(folded) if isinstance(part, str)]:
        form = str(folded[index])
        too_many[index] = form.count(" ") + bool(form) - count_words(form)
    joined = b"\0".join(parts)
    if joined.count(0) >= len(parts):
        joined = b"\0".join([part.replace(b"\0", b" ") for part in parts])
    # A word may be read eight bytes beyond its end, and whole numbers of eight bytes are read.
    padded = b"\0".join((b"", joined, bytes(16 + (-len(joined) - 2) % 8)))
    return bytearray(padded.translate(_WORD_BYTES)), too_many


def _folded(text: str) -> bytes | str:
    """A text in UTF-8 with its signs beyond ASCII folded; its normal form where that does not go sign by sign."""
    data = text.encode("utf-8", "surrogatepass")
    beyond = data.translate(None, _ASCII).decode("utf-8", "surrogatepass")
    signs = set(beyond)
    if len(signs) > _FEW_SIGNS or not unicodedata.is_normalized("NFC", beyond):
        return normalise(text)
    for sign in signs:
        folded = _folded_sign(sign)
        if folded is None:
            return normalise(text)
        data = data.replace(sign.encode("utf-8", "surrogatepass"), folded)
    return data


@lru_cache(4_096)
def _folded_sign(sign: str) -> bytes | None:
    """What a sign becomes wherever it stands; None where its neighbours matter."""
    folded = fold(sign)
    if any(unicodedata.category(part)[0] == "M" for part in folded) or unspaced().search(folded):
        return None
    return folded.encode("utf-8", "surrogatepass")


def _operators(data: npt.NDArray[np.uint8]) -> Places:
    """Where signs stand that are words of their own; decides on the spot which other signs stay. See `normalise`."""
    places = np.flatnonzero(data - np.uint8(1) < len(_CODES))
    signs, before, after, next_but_one = _SIGNS[data[places]], data[places - 1], data[places + 1], data[places + 2]
    equals = _CODES[ord("=")]
    digit_follows, word_before = _DIGITS[after], _WORDS[before]
    rules = {
        "!": (after == equals) | ((after == 32) & (next_but_one == equals)),
        "#": word_before | digit_follows,
        ",": _DIGITS[before] & digit_follows,
        ".": digit_follows & ~_LETTERS[before],
        "*": (word_before == _WORDS[after]) | _DIGITS[before] | digit_follows,
        "-": (~_LETTERS[before] & (digit_follows | ((after == _CODES[ord(".")]) & _DIGITS[next_but_one])))
        | (word_before & ~_WORDS[after] & (after != _CODES[ord("-")]))
        | ((before == 32) & _DIGITS[data[places - 2]] & (after == 32) & _DIGITS[next_but_one]),
    }
    rules[":"] = rules[","]
    stays = np.ones(len(places), dtype=np.bool_)
    for sign, rule in rules.items():
        stays &= rule | (signs != ord(sign))
    alone = data[places] <= len(_OPERATORS)
    data[places] = np.where(stays, signs, 32)
    operators = places[stays & alone]
    # A code again, so that it ends the words beside it.
    data[operators] = 1 + (signs[stays & alone] & 31)
    return operators


def _word_numbers(data: npt.NDArray[np.uint8], operators: Places) -> tuple[Places, Numbers]:
    """Where each word starts, and its number."""
    inside = data > ord(" ")
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    if len(operators):
        among = np.searchsorted(starts, operators)
        starts, ends = np.insert(starts, among, operators), np.insert(ends, among, operators + 1)
    lengths = ends - starts
    eights = data.view("<u8")
    numbers = mixed(_eight_bytes(eights, starts) & _FIRST_BYTES[np.minimum(lengths, 8)])
    # One word in ten is longer than eight bytes; what is behind them is added, by its place.
    long = np.flatnonzero(lengths > 8)
    if len(long):
        more = (lengths[long] - 1) >> 3
        begins = np.cumsum(more) - more
        nth = np.arange(1, more.sum() + 1) - np.repeat(begins, more)
        places = np.repeat(starts[long], more) + 8 * nth
        rest = np.minimum(np.repeat(ends[long], more) - places, 8)
        _known.reach(int(more.max()) + 1)
        pieces = mixed(_eight_bytes(eights, places) & _FIRST_BYTES[rest]) * _known.up[nth]
        numbers[long] += np.add.reduceat(pieces, begins)
    return starts, numbers


def _eight_bytes(eights: Numbers, places: Places) -> Numbers:
    """The eight bytes from each place on, as one number."""
    index, shift = places >> 3, ((places & 7) << 3).astype(np.uint64)
    read: Numbers = (eights[index] >> shift) | (eights[index + 1] << (np.uint64(64) - shift))
    return read


def _prefix_sums(values: Numbers) -> Numbers:
    _known.reach(len(values) + 2)
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * _known.up[: len(values)], out=sums[1:])
    return sums


def mixed(values: Numbers) -> Numbers:
    """Spread every bit over all bits."""
    # Each step can be undone, so different numbers stay different; a product alone would never reach the low bits.
    values = (values ^ (values >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return values ^ (values >> np.uint64(32))
