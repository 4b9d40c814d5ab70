"""From tokens to text as they come: whole characters only, and nothing of a stop text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["TextStream"]

_BROKEN = "\ufffd"  # what a decoder shows for bytes that are not a whole character yet


class TextStream:
    """Decodes a growing list of tokens piece by piece.

    The joined pieces equal the decoding of all tokens at once, cut before the first stop text.

    Args:
        decode: turns token ids into text.
        stop: texts at which the answer ends.

    Attributes:
        stopped: whether a stop text came.
        read: characters that were decoded so far, those that are held back too: where the next token begins.
        told: characters that were returned so far.

    Example:
        ```python
        from ragtune.local.engine.decoding.detokenizer import TextStream

        stream = TextStream(lambda ids: bytes(ids).decode("utf-8", "replace"), stop=("END",))
        pieces = [stream.push(byte) for byte in "né EN END more".encode()]
        print("".join(pieces) + stream.close(), stream.stopped)
        #> né EN  True
        ```
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], *, stop: tuple[str, ...] = ()) -> None:
        self._decode = decode
        self._stop = tuple(text for text in stop if text)
        self._ids: list[int] = []
        self._start = 0  # first token of the window that is decoded anew each time
        self._done = 0  # tokens whose text was taken
        self._held = ""  # text that may be the beginning of a stop text
        self.stopped = False
        self.read = 0
        self.told = 0

    def push(self, token: int) -> str:
        """Take one token; returns the text that is certain now, often empty, and always after a stop text."""
        if self.stopped:
            return ""
        self._ids.append(token)
        return self._release(self._fresh(last=False), last=False)

    def close(self) -> str:
        """Return what was held back."""
        return "" if self.stopped else self._release(self._fresh(last=True), last=True)

    def _fresh(self, *, last: bool) -> str:
        """Text of the tokens that were not taken yet; empty while they end inside a character.

        A window of tokens is decoded rather than one token: many tokenizers write a token differently when it
        stands alone (its leading space goes).
        """
        before = self._decode(self._ids[self._start : self._done])
        text = self._decode(self._ids[self._start :])
        if not last and (text.endswith(_BROKEN) or len(text) <= len(before)):
            return ""
        self._start, self._done = self._done, len(self._ids)
        fresh = text[len(before) :]
        self.read += len(fresh)
        return fresh

    def _release(self, fresh: str, *, last: bool) -> str:
        text = self._held + fresh
        hits = [place for place in map(text.find, self._stop) if place >= 0]
        if hits:
            self.stopped, self._held = True, ""
            keep = len(text) - min(hits)
        else:
            keep = 0 if last else self._possible_beginning(text)
            self._held = text[len(text) - keep :]
        certain = text[: len(text) - keep]
        self.told += len(certain)
        return certain

    def _possible_beginning(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop text begins."""
        longest = max((len(stop) for stop in self._stop), default=0) - 1
        lengths = range(min(longest, len(text)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stop)), 0)
