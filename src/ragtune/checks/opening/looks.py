"""What a file of text is that holds no records, by how it begins: a table, one JSON document, a page."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from ragtune._encodings import likely_encoding
from ragtune.checks.schema import way_in

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.records import JsonObject

_DELIMITERS = ",;\t|"
_SHOWN = 6
_SMALL = 4_000


def other_kind(start: bytes, path: Path) -> tuple[str, str] | None:
    """What a file is that begins so, and the call that reads it; None where it may hold records, line by line.

    Args:
        start: some kilobytes, or all of it.
        path: the file, for the call.
    """
    encoding = _encoding_of(start)
    text = start.decode(encoding or "utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text[:1] in ("[", "{"):
        return _document(text, path) if _is_one_document(text) else None
    if text[:1] == "<":
        return "an HTML or XML page, not JSONL", "get the data itself: a server may have answered with an error page"
    return _table(text, path, encoding=encoding)


def _is_one_document(text: str) -> bool:
    """Whether this is the beginning of one document, or all of it, and not of a line for each record."""
    try:
        # Not orjson, which reads a text to its end or not at all.
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        first = text.partition("\n")[0].strip()
        # Cut off, or broken: whole objects on lines of their own are what is wanted, however broken some of them are.
        return first.startswith("[") if first[1:] else len(text) > _SMALL
    return not text[end:].strip() and (isinstance(value, list) or "\n" in text[:end])


def _document(text: str, path: Path) -> tuple[str, str]:
    call = f"ragtune.DatasetBuilder.from_json({str(path)!r})"
    first = _first_object(text) if text.startswith("[") else None
    what = "one JSON list" if text.startswith("[") else "one JSON document"
    if first is None:
        return f"{what}, not JSONL", f"read it with {call}, then .chat(...) or .layout(...), and .build(...)"
    way = way_in(first)
    if way is None and "messages" in first:
        return f"{what} of chat records, not JSONL", f"read it with {call}.layout('messages').build(...)"
    if way is None:
        columns = ", ".join(map(repr, list(first)[:_SHOWN]))
        return f"{what} of rows with {columns}, not JSONL", f"read it with {call}.chat(...).build(...)"
    return f"{what}, not JSONL", way.replace("ragtune.DatasetBuilder.from_jsonl(...)", call)


def _first_object(text: str) -> JsonObject | None:
    try:
        value, _ = json.JSONDecoder().raw_decode(text[1:].lstrip())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _table(text: str, path: Path, *, encoding: str | None) -> tuple[str, str] | None:
    lines = text.splitlines()[:3]
    # One line alone may be any sentence with a comma.
    if len(lines) < 2:
        return None
    for delimiter in _DELIMITERS:
        head = next(csv.reader(lines[:1], delimiter=delimiter), [])
        row = next(csv.reader(lines[1:], delimiter=delimiter), [])
        named = len(head) > 1 and all(name.strip() and not name.strip().startswith(("{", "[")) for name in head)
        # A quoted field may go on in the next line, so that fewer are seen.
        if named and len(head) == len(set(head)) and 1 < len(row) <= len(head):
            options = "" if delimiter == "," else f", delimiter={delimiter!r}"
            options += "" if encoding is None else f", encoding={encoding!r}"
            columns = ", ".join(map(repr, head[:_SHOWN]))
            call = f"ragtune.DatasetBuilder.from_csv({str(path)!r}{options})"
            template = f".chat(user='{{{head[0]}}}', assistant='{{{head[1]}}}')"
            way = f"read it with {call}{template}.build(...), with the columns that you mean"
            return f"a CSV file with the columns {columns}, not JSONL", way
    return None


def _encoding_of(start: bytes) -> str | None:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may be cut in two.
        if error.start < len(start) - 4:
            return likely_encoding(start).name
    return None
