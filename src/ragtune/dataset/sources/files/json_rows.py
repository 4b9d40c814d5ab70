"""Rows of JSON and JSONL files."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from ragtune.dataset.bad_rows import BadRows
from ragtune.dataset.sources.files.encodings import encoding_of
from ragtune.dataset.sources.files.json_stream import DoubledKeyError, JsonStream, refuse_doubled_keys
from ragtune.dataset.sources.files.paths import opened
from ragtune.errors import DatasetError
from ragtune.records.json_values import BEYOND_64_BITS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROWS_IN_JSON = "rows must be a list of objects, the only list in an object, or the objects in an object by their ids"
_TOO_DEEP = "a value nests more deeply than can be read; nobody trains on that, so look where it comes from"
# So many objects by name are no notes about a list that comes behind them.
_NOTES = 100
_TURN_KEYS = ({"from", "value"}, {"role", "content"})
_TEXTS = {str}
_TURN_LISTS = frozenset({"conversations", "conversation", "messages", "items"})


def jsonl_rows(path: Path, lines: list[int]) -> Iterator[object]:
    """The objects of a file, one per line; a byte order mark, CR LF and blank lines are passed over.

    Args:
        path: the file.
        lines: gets the line of each object.

    Raises:
        DatasetError: lines are no JSON or name a key twice; all of them are told.
    """
    loads = orjson.loads
    bad = BadRows()
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                row = loads(line)
                # Four quotes for each key: nothing but texts, none of them with a quote, and no key was lost. Nearly
                # free, and true for most tables.
                if type(row) is dict and (line.count(b'"') != 4 * len(row) or {*map(type, row.values())} != _TEXTS):
                    row = _looked_at_closely(row, line)
            except orjson.JSONDecodeError as error:
                # Tried only when the line is no JSON: hardly any line is blank.
                if line and not line.isspace():
                    bad.add(_bad_json(path, number, line, error))
                continue
            except DoubledKeyError as error:
                bad.add(f"{path} line {number}: {error}")
                continue
            except RecursionError:
                bad.add(f"{path} line {number}: {_TOO_DEEP}")
                continue
            if not bad:
                lines.append(number)
                yield row
    bad.refuse()


def _looked_at_closely(row: dict[str, Any], line: bytes) -> Any:
    # Every key of the text is followed by a colon, so an equal count proves that none was lost.
    if line.count(b'":') == _keys_if_exact(row) and b'" :' not in line:
        return row
    return json.loads(line, object_pairs_hook=refuse_doubled_keys)


def _keys_if_exact(row: dict[str, Any]) -> int:
    """How many keys all objects of a row have together; -1 where a float may have been a wide whole number."""
    number = 0
    # One walk for both questions; a stack of our own, because a hostile line nests deeper than functions can.
    waiting: list[Any] = [row]
    for item in waiting:
        if type(item) is dict:
            number += len(item)
            item = item.values()
        for inner in item:
            kind = type(inner)
            if kind is dict or kind is list:
                waiting.append(inner)
            elif kind is float and abs(inner) >= BEYOND_64_BITS:
                return -1
    return number


def _bad_json(path: Path, number: int, line: bytes, error: Exception) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        byte = line[wrong.start]
        return (
            f"{path} line {number}: byte {wrong.start} (0x{byte:02x}) is not UTF-8; "
            f"convert the file, most likely with {encoding_of(path):iconv}"
        )
    if "depth limit" in str(error) or "recursion" in str(error).lower():
        return f"{path} line {number}: {_TOO_DEEP}"
    return f"{path} line {number} is not JSON: {error}; every line must hold one object"


def json_rows(path: Path) -> Iterator[object]:
    """The rows of a JSON document, read piece by piece: a list, the one list in an object, or an object of rows by id.

    Raises:
        DatasetError: it is no JSON in UTF-8, names a key twice, or holds something else.
    """
    with opened(path) as packed:
        document = JsonStream(io.TextIOWrapper(packed, encoding="utf-8-sig"))
        try:
            if document.take("["):
                yield from document.items()
            elif document.take("{"):
                yield from _rows_in_object(path, document)
            elif document.next_sign():
                raise DatasetError(f"{path} holds {type(document.value()).__name__}; {_ROWS_IN_JSON}")
            _refuse_more(path, document)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{path} is not JSON: {error.msg} (near character {document.place:,})") from None
        except DoubledKeyError as error:
            raise DatasetError(f"{path}: {error} (near character {document.place:,})") from None
        except RecursionError:
            raise DatasetError(f"{path}: {_TOO_DEEP} (near character {document.place:,})") from None
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x}; convert the file, most likely with "
                f"{encoding_of(path):iconv}"
            ) from None


def _rows_in_object(path: Path, document: JsonStream) -> Iterator[object]:
    """The values of the one list in an object, or its values where all of them are objects."""
    lists: list[str] = []
    # What stands before the list, or the first rows by their ids.
    before: dict[str, object] = {}
    names = document.names()
    for key in names:
        if not document.take("["):
            before[key] = document.value()
            if len(before) == _NOTES and not lists and _are_objects(before):
                yield from before.values()
                yield from _more_by_id(path, document, names)
                return
            continue
        lists.append(key)
        values = document.items()
        # The first value alone tells a list of turns from a list of rows.
        for first in islice(values, 1):
            if len(lists) == 1 and key in _TURN_LISTS and _is_turn(first):
                # A file that holds one conversation is one row, and not a list of its turns.
                yield {**before, key: [first, *values], **{name: document.value() for name in names}}
                return
            if len(lists) == 1:
                yield first
        for value in values:
            if len(lists) == 1:
                yield value
    _refuse_more(path, document)
    if not lists and before and _are_objects(before):
        yield from before.values()
    elif len(lists) != 1:
        raise DatasetError(f"{path} holds an object with the lists {lists}; {_ROWS_IN_JSON}")


def _more_by_id(path: Path, document: JsonStream, names: Iterator[str]) -> Iterator[object]:
    for name in names:
        row = document.value()
        if not isinstance(row, Mapping):
            raise DatasetError(f"{path}: among rows by their ids {name!r} is no object; {_ROWS_IN_JSON}")
        yield row


def _are_objects(values: Mapping[str, object]) -> bool:
    return all(isinstance(value, Mapping) for value in values.values())


def _is_turn(value: object) -> bool:
    return isinstance(value, Mapping) and any(keys <= value.keys() for keys in _TURN_KEYS)


def _refuse_more(path: Path, document: JsonStream) -> None:
    if document.next_sign():
        raise DatasetError(f"{path} is not JSON: there is more behind its end; for one object per line use from_jsonl")
