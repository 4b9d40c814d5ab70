"""A repaired copy of a training file, beside the original, which is never changed."""

from __future__ import annotations

import codecs
import filecmp
import os
from typing import TYPE_CHECKING

import orjson

from ragtune._atomic import draft_of
from ragtune.checks.legacy import Profile, digest, texts_of
from ragtune.checks.private import masked
from ragtune.errors import DatasetError
from ragtune.records import line_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ragtune.records import JsonObject, RecordFormat


def write_fixed(path: Path, format: RecordFormat | None, mask: Callable[[str], str] | None = None) -> Path | None:
    """Write `NAME_prepared.jsonl` (or `NAME_prepared (1).jsonl`, ...) and return its path.

    Every file loses its byte order mark, CR LF and blank lines. A prompt/completion file also gets what the legacy
    rules suggest: keys in lower case, further keys and doubled or empty pairs removed, separator, stop
    sequence, leading space, no common start, no capitals throughout. Lines of other kinds stay as they are: only
    their author knows what they should say. Where nothing would change or be left, nothing is written and None
    returned.

    Args:
        path: the file.
        format: its record kind.
        mask: covers what texts must not show, for example `ragtune.privacy.Scanner().mask`.

    Raises:
        DatasetError: the folder cannot be written.
    """
    lines = _pairs(path) if format == "completion" else _clean_lines(path)
    if mask is not None:
        lines = (_masked(line, mask) for line in lines)
    target = _free_name(path)
    try:
        with draft_of(target, private=True) as draft:
            with draft.open("wb") as file:
                file.writelines(lines)
            if not draft.stat().st_size or filecmp.cmp(draft, path, shallow=False):
                return None
            os.replace(draft, target)
    except OSError as error:
        raise DatasetError(f"{target} cannot be written: {error.strerror}; the original is unchanged") from error
    return target


def _free_name(path: Path) -> Path:
    candidate = path.with_name(f"{path.stem}_prepared.jsonl")
    number = 0
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}_prepared ({number}).jsonl")
    return candidate


def _clean_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            clean = _bare(number, line)
            if clean:
                yield clean + b"\n"


def _masked(line: bytes, mask: Callable[[str], str]) -> bytes:
    """The line with masked texts; as it was, where there is nothing to mask."""
    try:
        value = orjson.loads(line)
        covered = masked(value, mask)
        return line if covered == value else line_bytes(covered)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
        # No JSON, or deeper than anybody writes it: the line as a text.
        return mask(line[:-1].decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape") + b"\n"


def _bare(number: int, line: bytes) -> bytes:
    if number == 1:
        line = line.removeprefix(codecs.BOM_UTF8)
    return line.rstrip(b"\r\n") if line.strip() else b""


def _readable_pairs(path: Path) -> Iterator[tuple[bytes, JsonObject, tuple[str, str]]]:
    """Each line that holds a pair: the bare line, its object, the pair."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            bare = _bare(number, line)
            try:
                value = orjson.loads(bare)
            except orjson.JSONDecodeError:
                continue
            pair = texts_of(value) if isinstance(value, dict) else None
            if pair is not None:
                yield bare, value, pair


def _pairs(path: Path) -> Iterator[bytes]:
    # What to repair depends on what all pairs share, so the file is read twice.
    profile = Profile()
    for _, _, (prompt, completion) in _readable_pairs(path):
        profile.add(prompt, completion)
    seen: set[bytes] = set()
    for bare, value, (prompt, completion) in _readable_pairs(path):
        known = digest(prompt, completion)
        if known not in seen:
            seen.add(known)
            repaired = profile.repaired(prompt, completion)
            # A line that says the same already stays as its author wrote it.
            yield bare + b"\n" if value == repaired else line_bytes(repaired)
