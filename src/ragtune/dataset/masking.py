"""What must not be shown is covered while records are made, counted, and looked for again in the written files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, TypeVar

import orjson

from ragtune.checks.private import keys_in_json, masked_json, masked_path, texts_in_json
from ragtune.checks.texts import texts_with_paths
from ragtune.records import path_text
from ragtune.records.json_values import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.privacy import Scanner

RECORD = "record"
_PLACES = 20
# To scan a piece of many texts takes a quarter of the time of scanning each, and hardly any holds something.
_PIECE_SIGNS, _BETWEEN = 2_048, "\n\x00\n"
_Item = TypeVar("_Item")


def _in_pieces(items: Iterable[_Item], size: Callable[[_Item], int]) -> Iterator[list[_Item]]:
    piece: list[_Item] = []
    signs = 0
    for item in items:
        piece.append(item)
        signs += size(item)
        if signs > _PIECE_SIGNS:
            yield piece
            piece, signs = [], 0
    if piece:
        yield piece


class Masker:
    """Covers the texts of one batch, and counts what it covered by place and kind.

    Attributes:
        counts: how many values were covered, by their place and kind. A place is a column of the rows, or `RECORD` for
            what a template or a function brought in.
    """

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        # A system prompt or a label comes in every row, and to scan it once a batch is enough.
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._at: dict[str, Callable[[str], str]] = {}
        self.counts: Counter[tuple[str, str]] = Counter()

    def __call__(self, text: str) -> str:
        """The text of a record with placeholders; a text that came before costs nothing."""
        return self._counted(RECORD, text)

    def of(self, place: str) -> Callable[[str], str]:
        """What covers the texts of a column."""
        return self._at.setdefault(place, partial(self._counted, place))

    def uncounted(self, text: str) -> str:
        """The same for a text that stands elsewhere, too."""
        if text not in self._known:
            covered, kinds = self._covered(text)
            self._known[text] = covered, kinds
            # What was covered is not covered again where it stands in a record.
            self._known.setdefault(covered, (covered, ()))
        return self._known[text][0]

    def _counted(self, place: str, text: str) -> str:
        covered = self.uncounted(text)
        if kinds := self._known[text][1]:
            self.counts.update((place, kind) for kind in kinds)
        return covered

    def line(self, line: bytes) -> bytes:
        """Lines of records, or JSON, with every text covered."""
        self.look_at(texts_in_json(line))
        return masked_json(line, self)

    def look_at(self, texts: Iterable[str]) -> None:
        """Look at many texts at once; those that hold nothing cost nothing any more."""
        # JSON is left to `_covered`: what an escape hides in it no scan of the text alone would see.
        unknown = dict.fromkeys(text for text in texts if text not in self._known and not _opens(text))
        for piece in _in_pieces(unknown, len):
            # The zero byte keeps an end and a beginning from looking like one value.
            if not self._scanner.scan(_BETWEEN.join(piece)):
                self._known.update((text, (text, ())) for text in piece)

    def _covered(self, text: str) -> tuple[str, tuple[str, ...]]:
        from ragtune.privacy import mask

        findings = self._scanner.scan(text)
        covered, kinds = mask(text, findings), tuple(finding.kind for finding in findings)
        if not _is_json(text):
            return covered, kinds
        # The arguments of a tool: an escaped sign hides an address, and a placeholder for a number needs quotes.
        inner = Masker(self._scanner)
        inside = inner.line((covered if _is_json(covered) else text).encode()).decode()
        found = (*(kinds if _is_json(covered) else ()), *(kind for _, kind in inner.counts.elements()))
        return _without_doubled_keys(inside) if inside != text else text, found


def _without_doubled_keys(text: str) -> str:
    """JSON in which keys that were covered alike are told apart by a number: of two equal ones one would be lost."""
    doubled = False

    def numbered(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal doubled
        found: dict[str, object] = {}
        for key, value in pairs:
            free = next(name for name in _names(key) if name not in found)
            doubled = doubled or free != key
            found[free] = value
        return found

    value = json.loads(text, object_pairs_hook=numbered)
    return dumps(value).decode() if doubled else text


def _names(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key} {number}" for number in count(2))


def _opens(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))


def _is_json(text: str) -> bool:
    """Whether a text is a JSON object or array."""
    if not _opens(text):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What a scan of the written files found, for the manifest.

    Attributes:
        counts: how many values were found, by kind.
        places: where the first of them stand; no value is shown.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    places: tuple[str, ...] = ()


def left_in(files: Sequence[Path], scanner: Scanner) -> Leftovers:
    """Scan every text and every key of finished files."""
    counts: Counter[str] = Counter()
    places: list[str] = []
    for piece in _in_pieces(_texts_of(files, scanner), lambda item: len(item[-1])):
        if not scanner.scan(_BETWEEN.join(dict.fromkeys(text for _, text in piece))):
            continue
        for place, text in piece:
            # Once more text by text: in a piece a finding could not be given its place.
            for finding in scanner.scan(text):
                counts[finding.kind] += 1
                if len(places) < _PLACES:
                    places.append(f"{place()}: {finding.kind}")
    return Leftovers(counts=dict(counts), places=tuple(places))


def _texts_of(files: Sequence[Path], scanner: Scanner) -> Iterator[tuple[Callable[[], str], str]]:
    """Every text and every new key of finished files, with what names its place."""
    keys: set[str] = set()
    for file in files:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                for path, text in texts_with_paths(orjson.loads(line)):
                    yield partial(_place, file.name, number, path, scanner), text
                # Keys are the same in every line, so each is looked at once.
                for key in {*keys_in_json(line)} - keys:
                    keys.add(key)
                    yield partial("{} line {}, a key".format, file.name, number), key


def _place(file: str, number: int, path: tuple[str | int, ...], scanner: Scanner) -> str:
    return f"{file} line {number}, {path_text(masked_path(path, scanner.mask))}"
