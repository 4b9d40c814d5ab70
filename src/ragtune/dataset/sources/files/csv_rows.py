"""Rows of CSV files: a header, and values that are all text."""

from __future__ import annotations

import csv
import io
import re
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING

from ragtune.dataset.bad_rows import BadRows
from ragtune.dataset.sources.files.columns import refuse_doubled
from ragtune.dataset.sources.files.encodings import encoding_of
from ragtune.dataset.sources.files.paths import opened
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

_AT_ONCE = 1024
# The csv module keeps its limit in a C long, which has 32 bits on Windows.
_ANY_LENGTH = 2**31 - 1
_OTHER_DELIMITERS = ";\t|"
# What Excel writes above the header to tell itself the delimiter.
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n?")
Fields = list[str]


def csv_rows(
    path: Path, *, delimiter: str, encoding: str, skipinitialspace: bool, lines: list[int]
) -> Iterator[dict[str, str]]:
    """The rows of one file; `lines` gets the line in which each begins.

    Raises:
        DatasetError: it is no CSV in this encoding, two columns have one name, or a row has another number of fields.
    """
    with opened(path) as packed:
        # Line ends as they are: inside quotes they belong to the value.
        # Excel's UTF-8 begins with a mark, which would be a part of the first column's name.
        text = io.TextIOWrapper(packed, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="")
        try:
            yield from _Table(path, text, delimiter=delimiter, skipinitialspace=skipinitialspace).rows(lines)
        except UnicodeError as error:
            raise DatasetError(
                f"{path} is not {encoding.upper()}: {error}; pass its encoding, most likely {encoding_of(path):call}"
            ) from None


def _other_delimiter(header: Fields) -> str | None:
    """The sign that seems to part a header that was read as one field."""
    return next((sign for sign in _OTHER_DELIMITERS if len(header) == 1 and sign in header[0]), None)


def _parted_by(header: Fields, row: Fields) -> str | None:
    """The same, where the first row has that sign as often: one column with such a name alone is no mistake."""
    other = _other_delimiter(header)
    return other if other is not None and row[0].count(other) == header[0].count(other) else None


class _Table:
    """A CSV file that is being read, with the number of the line in which the current row begins."""

    def __init__(self, path: Path, file: TextIO, *, delimiter: str, skipinitialspace: bool) -> None:
        self._path = path
        first = file.readline()
        named = _SEPARATOR_LINE.fullmatch(first)
        self._delimiter = named[1] if named else delimiter
        self._above = 1 if named else 0
        lines = iter(file) if named else chain([first] if first else [], file)
        # A quote behind a space would be text, and the delimiters inside of it would part fields.
        spaced = skipinitialspace or any(
            name.startswith(" ") and name.lstrip().startswith('"')
            for name in next(csv.reader([first], delimiter=self._delimiter), [])
        )
        # Strict: otherwise a quote that is never closed takes the rest of the file as one field, without a word.
        self._reader = csv.reader(lines, strict=True, delimiter=self._delimiter, skipinitialspace=spaced)
        self._begins = 0

    def rows(self, lines: list[int]) -> Iterator[dict[str, str]]:
        """The rows as mappings, without the empty ones at the end."""
        fields = self._parsed()
        header = next(fields, [])
        refuse_doubled(header, self._path)
        bad = BadRows()
        first = True
        empty: list[tuple[int, Fields]] = []
        for row in fields:
            if len(row) != len(header):
                bad.add(self._uneven(row, header))
            elif not any(row):
                # Excel keeps rows behind the last one that somebody once touched.
                empty.append((self._line, row))
            elif first and (other := _parted_by(header, row)) is not None:
                raise DatasetError(f"{self._path}: the header is parted by {other!r}: pass delimiter={other!r}")
            elif not bad:
                for line, each in (*empty, (self._line, row)):
                    lines.append(line)
                    yield dict(zip(header, each, strict=True))
                empty.clear()
                first = False
        bad.refuse()

    @property
    def _line(self) -> int:
        """In which line the current row begins."""
        return self._above + self._begins + 1

    def _parsed(self) -> Iterator[Fields]:
        """The rows that are not blank, some at a time."""
        while True:
            some, fault = self._some()
            for self._begins, row in some:
                if row:
                    yield row
            if fault is not None:
                raise DatasetError(fault)
            if not some:
                return

    def _some(self) -> tuple[list[tuple[int, Fields]], str | None]:
        """Rows, each with the number of lines above it; and what is wrong behind them."""
        found: list[tuple[int, Fields]] = []
        above = self._reader.line_num
        with _fields_of_any_length():
            try:
                for row in islice(self._reader, _AT_ONCE):
                    found.append((above, row))
                    above = self._reader.line_num
            except csv.Error as error:
                # Beside the rows before it, whose own faults are told first.
                return found, self._no_csv(error, above)
        return found, None

    def _uneven(self, row: Fields, header: Fields) -> str:
        other = _other_delimiter(header)
        hint = (
            f"the header is parted by {other!r}: pass delimiter={other!r}"
            if other
            else f"quote fields that hold the delimiter {self._delimiter!r} or line breaks, pass the delimiter of this "
            f"file, or skipinitialspace=True where a space stands before the quotes"
        )
        return (
            f"{self._path} line {self._line}: this row has {len(row)} fields, not as many "
            f"fields as the header ({len(header)}); {hint}"
        )

    def _no_csv(self, error: csv.Error, above: int) -> str:
        begins, ends = self._above + above + 1, self._above + self._reader.line_num
        if begins >= ends:
            return f"{self._path} line {begins} is not CSV: {error}; write a quote inside a quoted field twice"
        return (
            f"{self._path} line {begins} is not CSV: a quote that opens in the row that begins here is never closed, "
            f"or is closed in line {ends:,} only ({error}); write a quote inside a quoted field twice"
        )


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    # The limit belongs to the whole process, so it is lifted only while rows are parsed.
    before = csv.field_size_limit(_ANY_LENGTH)
    try:
        yield
    finally:
        csv.field_size_limit(before)
