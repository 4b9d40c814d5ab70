"""A JSON document of any size, read value by value."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

# Longer than any literal or escape: an error further from the end of a piece does not come from where it was cut.
_LONGEST_LITERAL = 16
_IN_NUMBERS = ("", ".", "e", "E")
_sign = re.compile(r"[^ \t\r\n]").search


class DoubledKeyError(ValueError):
    """A key stands twice in one object, and readers would take the last one without a word."""


def refuse_doubled_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its keys and values.

    Raises:
        DoubledKeyError: a key stands twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        name = next(key for key in keys if keys.count(key) > 1)
        raise DoubledKeyError(f"the key {name!r} stands twice in one object; keep one of them")
    return found


_decode = json.JSONDecoder(object_pairs_hook=refuse_doubled_keys).raw_decode


# ijson takes about half the time, but refuses whole numbers beyond 64 bits, makes "?" of half a surrogate pair without
# a word, and does not say where a document is broken.
class JsonStream:
    """Holds one piece of the text, as long as the longest value that was asked for."""

    def __init__(self, file: TextIO, *, piece: int = 1 << 16) -> None:
        self._file = file
        self._piece = piece
        self._text = ""
        self._place = 0
        self._before = 0

    @property
    def place(self) -> int:
        """How many signs were read so far."""
        return self._before + self._place

    def next_sign(self) -> str:
        """The next sign that is no white space; empty at the end."""
        while (found := _sign(self._text, self._place)) is None:
            self._place = len(self._text)
            if not self._more():
                return ""
        self._place = found.start()
        return found[0]

    def take(self, sign: str) -> bool:
        """Pass over a sign, if it is the next one."""
        if self.next_sign() != sign:
            return False
        self._place += 1
        return True

    def expect(self, sign: str) -> None:
        """Pass over a sign.

        Raises:
            json.JSONDecodeError: another one is the next.
        """
        if not self.take(sign):
            raise json.JSONDecodeError(f"Expecting {sign!r}", self._text, self._place)

    def value(self) -> object:
        """The next value, whole.

        Raises:
            json.JSONDecodeError: there is none.
        """
        self.next_sign()
        while True:
            try:
                value, end = _decode(self._text, self._place)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos + _LONGEST_LITERAL >= len(self._text)
                if cut and self._more():
                    continue
                raise
            length = end - self._place
            # A number may go on in the next piece.
            cut = end + _LONGEST_LITERAL >= len(self._text) and self._text[end : end + 1] in _IN_NUMBERS
            if cut and self._more():
                continue
            self._place += length
            return value

    def items(self) -> Iterator[object]:
        """The values of a list whose bracket was taken, one by one, and its end.

        Raises:
            json.JSONDecodeError: it is no such list.
        """
        if self.take("]"):
            return
        while True:
            yield self.value()
            if self.take("]"):
                return
            self.expect(",")

    def names(self) -> Iterator[str]:
        """The keys of an object whose brace was taken; whoever asks reads each value before the next one.

        Raises:
            json.JSONDecodeError: it is no such object.
        """
        if self.take("}"):
            return
        while True:
            if self.next_sign() != '"':
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, self._place)
            key = self.value()
            assert isinstance(key, str)
            self.expect(":")
            yield key
            if self.take("}"):
                return
            self.expect(",")

    def _more(self) -> bool:
        """Read on; what was passed over is forgotten."""
        # A value that is longer than the piece is tried again a few times only.
        text = self._file.read(max(self._piece, len(self._text) - self._place))
        self._before += self._place
        self._text = self._text[self._place :] + text
        self._place = 0
        return bool(text)
