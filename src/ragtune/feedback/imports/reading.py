"""Rows of a file with their places, one after the other: JSON lines, a JSON list, or CSV."""

from __future__ import annotations

import csv
import gzip
import json
import reprlib
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ragtune.errors import FeedbackError
from ragtune.feedback.formulas import plain

if TYPE_CHECKING:
    import os

__all__ = ["TOO_DEEP", "placed_rows"]

TOO_DEEP = "is nested too deeply to be read; leave it out"

_PIECE = 1 << 16
# The csv module keeps its limit in a C long, which has 32 bits on Windows.
_ANY_LENGTH = 2**31 - 1
_NO_ROWS = {".parquet", ".xlsx", ".xls", ".zip", ".db", ".sqlite", ".sqlite3"}


def placed_rows(path: str | os.PathLike[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Each row of a file, with its line for messages; the file is never held whole.

    Raises:
        FeedbackError: it cannot be read, is not UTF-8, or a line is no row.
    """
    place = Path(path).expanduser()
    if place.suffix.lower() in _NO_ROWS:
        raise FeedbackError(f"{place}: {place.suffix} is not read; export JSON lines, JSON or CSV instead")
    try:
        with _text(place) as file:
            rows = _csv_rows(place, file) if ".csv" in place.suffixes[-2:] else _json_rows(place, file)
            for where, row in rows:
                if not isinstance(row, Mapping):
                    told = reprlib.repr(row)
                    raise FeedbackError(f"{where}: {told} is no row; each is an object with names and values")
                yield where, row
    except UnicodeDecodeError as error:
        raise FeedbackError(f"{place}: is not UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8") from error
    # Before OSError, of which BadGzipFile is a kind.
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FeedbackError(f"{place}: the packed data is damaged: {error}; get the file again") from error
    except OSError as error:
        raise FeedbackError(f"{place}: cannot be read ({error.strerror or error})") from error


@contextmanager
def _text(path: Path) -> Iterator[IO[str]]:
    with path.open("rb") as raw:
        # By its first bytes: files are packed under names that do not say so.
        packed = raw.read(2) == b"\x1f\x8b"
    # Lines of CSV end as its reader likes.
    if packed:
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file


def _csv_rows(path: Path, file: IO[str]) -> Iterator[tuple[str, object]]:
    # Not strict, the reader takes a quote that nobody closed for a field as long as the rest of the file.
    reader = csv.DictReader(file, strict=True)
    while True:
        begins = reader.line_num + 1
        # The limit is one for the whole process, so it is raised for this row alone.
        before = csv.field_size_limit(_ANY_LENGTH)
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FeedbackError(f"{path} line {begins}: is not CSV: {error}") from None
        finally:
            csv.field_size_limit(before)
        # The header is read with the first row.
        line = reader.line_num if begins == 1 else begins
        _refuse_doubled(path, reader.fieldnames or ())
        # This is how DictReader tells of too many fields, and of too few.
        if None in row or None in row.values():
            raise FeedbackError(f"{path} line {line}: has another number of fields than the header")
        yield f"{path} line {line}", {name: plain(cell) for name, cell in row.items()}


def _refuse_doubled(path: Path, names: Sequence[str]) -> None:
    name, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        places = " and ".join(str(place) for place, other in enumerate(names, 1) if other == name)
        raise FeedbackError(f"{path}: the columns {places} are both called {name!r}; rename or remove all but one")


def _json_rows(path: Path, file: IO[str]) -> Iterator[tuple[str, object]]:
    number, first = 0, ""
    for first in file:
        number += 1
        if first.strip():
            break
    if first.lstrip().startswith("["):
        yield from _list_items(path, file, first, number)
        return
    if not first.strip():
        return
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        # One object over several lines, as a page of a list is often saved.
        yield from _page(path, _decoded(first + file.read(), f"{path} line {number}"), number)
        return
    yield from _page(path, row, number)
    for number, line in enumerate(file, number + 1):  # noqa: B020
        if line.strip():
            place = f"{path} line {number}"
            yield place, _decoded(line, place)


def _decoded(text: str, place: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise FeedbackError(f"{place}: is no JSON ({error})") from None
    except RecursionError:
        raise FeedbackError(f"{place}: {TOO_DEEP}") from None


def _page(path: Path, row: object, number: int) -> Iterator[tuple[str, object]]:
    # A page of a list as OpenAI's API sends it.
    if isinstance(row, Mapping) and row.get("object") == "list" and isinstance(items := row.get("data"), list):
        for place, item in enumerate(items):
            yield f"{path} data[{place}]", item
    else:
        yield f"{path} line {number}", row


def _list_items(path: Path, file: IO[str], first: str, number: int) -> Iterator[tuple[str, object]]:
    decoder = json.JSONDecoder()
    rest = first.lstrip()[1:]
    while True:
        rest, number = _skipped(rest, number)
        if rest.startswith("]"):
            return
        try:
            item, end = decoder.raw_decode(rest)
        except ValueError as error:
            # A longer and longer piece, so that a long item is not tried again for each few letters.
            more = file.read(max(_PIECE, len(rest)))
            if more:
                rest += more
                continue
            raise FeedbackError(f"{path} line {number}: the list is cut off or no JSON ({error})") from None
        except RecursionError:
            raise FeedbackError(f"{path} line {number}: {TOO_DEEP}") from None
        # What ends where the piece ends may go on in the next one, as a number does.
        if end == len(rest) and (more := file.read(_PIECE)):
            rest += more
            continue
        yield f"{path} line {number}", item
        number += rest.count("\n", 0, end)
        rest = rest[end:]


def _skipped(rest: str, number: int) -> tuple[str, int]:
    """What stands behind blanks and a comma, and the line it stands in."""
    bare = rest.lstrip(" \t\r\n,")
    return bare, number + rest.count("\n", 0, len(rest) - len(bare))
