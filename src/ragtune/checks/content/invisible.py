"""Characters that nobody sees: those that spell a word, a flag or a direction are right, all others are told."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from ragtune.checks.texts import texts_with_paths
from ragtune.records import JsonObject, RecordFault

if TYPE_CHECKING:
    from collections.abc import Iterator

# Zero widths, signs that turn the direction of writing, separators, tags, controls other than tab and line ends.
# Not the joiner U+200D, of which emoji of families and letters of Indic scripts are made.
_INVISIBLE = re.compile(
    "[\u200b\u200c\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\u00ad\u0085\u0000-\u0007\u000e-\u001f"
    "\U000e0000-\U000e007f]"
)
_ESCAPED_INVISIBLE = re.compile(
    rb"\\u(?:200[bcef]|202[89a-e]|206[06-9]|feff|00ad|0085|000[0-7ef]|001|db40)", re.IGNORECASE
)
# Where Unicode has no name, or one that nobody knows.
_NAMES = {"\ufeff": "byte order mark", "\u0085": "next line", "\u0000": "null"}

# Hebrew, Arabic, Syriac, Thaana, N'Ko and their neighbours, with the forms for presentation.
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
# Scripts that join letters; there a zero width non-joiner is part of the spelling: Arabic, Indic, Mongolian and others.
_JOINING = "\u0600-\u08ff\u0900-\u0dff\u0f00-\u0fff\u1000-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc"
# Scripts without spaces; there a zero width space parts words: Thai, Lao, Tibetan, Burmese, Khmer.
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\uaa60-\uaa7f"
_SPELLED = re.compile(
    f"(?<=[{_JOINING}])\u200c(?=[{_JOINING}])"
    f"|(?<=[{_UNSPACED}])\u200b(?=[{_UNSPACED}])"
    # A black flag and the tags that say whose it is, as Unicode's emoji have them: England, Scotland, Wales.
    "|\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f"
)
# Marks, embeddings and isolates; to override the direction of letters is no writing but a trick.
_DIRECTION = re.compile("[\u200e\u200f\u202a-\u202c\u2066-\u2069]")


def may_hide_characters(line: bytes) -> bool:
    """Whether a line holds an invisible character; fast, because hardly any does."""
    if not line.isascii() and _may_end_one(line) and _INVISIBLE.search(line.decode()):
        return True
    # A single byte is looked for by far the fastest.
    return b"\\" in line and b"\\u" in line and _ESCAPED_INVISIBLE.search(line) is not None


def _may_end_one(line: bytes) -> bool:
    """Whether a byte with which an invisible character ends in UTF-8 is there; far faster than to look for them."""
    return (
        b"\x8b" in line
        or b"\x8c" in line
        or b"\x8e" in line
        or b"\x8f" in line
        or b"\xbf" in line
        or b"\xa8" in line
        or b"\xa9" in line
        or b"\xaa" in line
        or b"\xab" in line
        or b"\xac" in line
        or b"\xad" in line
        or b"\xae" in line
        or b"\x85" in line
        or (b"\x81" in line and b"\xe2\x81" in line)
        or b"\xf3" in line
    )


def invisible_faults(record: JsonObject) -> Iterator[RecordFault]:
    """Each invisible character of each text that is no part of its spelling."""
    for path, text in texts_with_paths(record):
        found = _out_of_place(text)
        for sign, number in Counter(text[place] for place in found).items():
            name = _NAMES.get(sign) or unicodedata.name(sign, "control character").lower()
            often = "" if number == 1 else f", {number} times"
            first = next(place for place in found if text[place] == sign)
            message = f"invisible character U+{ord(sign):04X} ({name}) at position {first}{often}"
            yield RecordFault(path, "invisible-character", message, "remove it, the model would learn it", "warning")


def _out_of_place(text: str) -> list[int]:
    found = [match.start() for match in _INVISIBLE.finditer(text)]
    if not found:
        return found
    right = set(chain.from_iterable(range(*match.span()) for match in _SPELLED.finditer(text)))
    if _RIGHT_TO_LEFT.search(text):
        # Beside Hebrew or Arabic they say where a number or a Latin word belongs.
        right.update(match.start() for match in _DIRECTION.finditer(text))
    return [place for place in found if place not in right]
