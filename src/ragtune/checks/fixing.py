"""A repaired copy of a training file, beside the original, which is never changed.

Without being asked by name, a repair changes no word: it takes away a byte order mark, CR LF, blank lines, and of
prompt/completion files the capitals of keys, further keys, and empty and doubled pairs. What touches words has a name
in `REPAIRS`. The copy is checked before it is handed out: a step that would make a new problem, or another copy when it
is taken again, is left out.
"""

from __future__ import annotations

import codecs
import filecmp
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from ragtune import _arguments as arguments
from ragtune._atomic import draft_of
from ragtune.checks.legacy import REPAIRS, Profile, digest
from ragtune.checks.private import masked_json
from ragtune.errors import DatasetError
from ragtune.records import line_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.checks.problems import Severity
    from ragtune.records import RecordFormat

    Counts = Mapping[tuple[Severity, str], int]

_EMPTY, _DOUBLED = "empty-pairs", "doubled-pairs"
_PAIR = {"prompt", "completion"}


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What became of a repair.

    Attributes:
        path: the copy; None where nothing would change or be left.
        left_out: the steps that would have made a new problem.
    """

    path: Path | None
    left_out: tuple[str, ...] = ()


def repairs_of(fix: bool | str | Sequence[str]) -> tuple[str, ...]:
    """The names in what was given as `fix`, in the order in which they are applied.

    Raises:
        DatasetError: there is no such repair.
    """
    if isinstance(fix, bool):
        return ()
    given = {*arguments.texts("fix", fix)}
    if unknown := given - {*REPAIRS}:
        raise DatasetError(f"fix names {min(unknown)!r}, which is not one of {', '.join(REPAIRS)}")
    return tuple(name for name in REPAIRS if name in given)


def write_fixed(
    path: Path,
    format: RecordFormat | None,
    check: Callable[[Path, Path], Counts],
    *,
    counts: Counts,
    repairs: Sequence[str] = (),
    mask: Callable[[str], str] | None = None,
) -> Fixed:
    """Write `NAME_prepared.jsonl` (or `NAME_prepared (1).jsonl`, ...) where it is better than the file.

    Args:
        path: the file.
        format: its record kind.
        check: counts the problems of a file that will have another name.
        counts: the problems of the file itself.
        repairs: names of `REPAIRS`, for what touches words.
        mask: covers what texts must not show, for example `ragtune.privacy.Scanner().mask`.

    Raises:
        DatasetError: the folder cannot be written.
    """
    if format is None and mask is None:
        # No line is a record: a table, a picture, something packed.
        return Fixed(path=None)
    target = _free_name(path)
    try:
        # The file may hold what only its owner is to read.
        with draft_of(target, private=True) as draft, draft_of(target, private=True) as again:
            _write(draft, path, format=format, steps=(), mask=mask)
            # First the form alone: what it makes of the file is what each further step is held against.
            form = check(draft, target)
            # Masked answers may all be the same; who asks for them wants them even so.
            if mask is None and _errors(form) > _errors(counts):
                return Fixed(path=None, left_out=("form",))
            # Last the two that drop pairs: a repair may have emptied one, or made two of them equal.
            steps = (*repairs, _EMPTY, _DOUBLED) if format == "completion" else ()

            def is_good(chosen: Sequence[str]) -> bool:
                _write(draft, path, format=format, steps=chosen, mask=mask)
                # A copy of a copy is the copy.
                _write(again, draft, format=format, steps=chosen, mask=mask)
                # Byte by byte: two drafts of one second and one length look alike to a shallow look.
                return filecmp.cmp(draft, again, shallow=False) and not _worse(check(draft, target), form)

            chosen = steps
            # All at once is the usual case; one after the other, a step that harms costs only itself.
            if not is_good(chosen):
                chosen = ()
                for step in steps:
                    chosen = (*chosen, step) if is_good((*chosen, step)) else chosen
                _write(draft, path, format=format, steps=chosen, mask=mask)
            left_out = tuple(step for step in steps if step not in chosen)
            if not draft.stat().st_size or filecmp.cmp(draft, path, shallow=False):
                return Fixed(path=None, left_out=left_out)
            target = _hand_out(draft, path)
    except OSError as error:
        raise DatasetError(f"{target} cannot be written: {error.strerror}; the original is unchanged") from error
    return Fixed(path=target, left_out=left_out)


def _errors(counts: Counts) -> int:
    return sum(number for (severity, _), number in counts.items() if severity == "error")


def _worse(now: Counts, before: Counts) -> bool:
    return any(number > before.get(kind, 0) for kind, number in now.items())


def _hand_out(draft: Path, path: Path) -> Path:
    """Give the copy a name that nobody has, not even another repair of the same file."""
    while True:
        target = _free_name(path)
        try:
            # Not a rename, which would take the place of a file that somebody has made since the name was free.
            os.link(draft, target)
        except FileExistsError:
            continue
        except OSError:
            # A file system without hard links.
            os.replace(draft, target)
        return target


def _free_name(path: Path) -> Path:
    candidate = path.with_name(f"{path.stem}_prepared.jsonl")
    number = 0
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}_prepared ({number}).jsonl")
    return candidate


def _write(
    draft: Path, path: Path, *, format: RecordFormat | None, steps: Sequence[str], mask: Callable[[str], str] | None
) -> None:
    lines = _pairs(path, steps) if format == "completion" else _clean_lines(path)
    with draft.open("wb") as file:
        file.writelines(lines if mask is None else (_masked(line, mask) for line in lines))


def _clean_lines(path: Path) -> Iterator[bytes]:
    """The lines without what belongs to no record."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                yield line.rstrip(b"\r\n") + b"\n"


def _masked(line: bytes, mask: Callable[[str], str]) -> bytes:
    """The line with masked texts; as it was, where there is nothing to mask."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        # No JSON, or deeper than anybody writes it: the line as a text.
        return mask(line[:-1].decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape") + b"\n"
    return masked_json(line, mask)


def _pairs(path: Path, steps: Sequence[str]) -> Iterator[bytes]:
    """The lines of a prompt/completion file; one that is no pair stays: only its author knows what it means."""
    # What to repair depends on what all pairs share, so the file is read twice.
    profile = Profile()
    for line in _clean_lines(path):
        pair = _pair_of(line)
        if pair is not None and pair["completion"].strip():
            profile.add(pair["prompt"], pair["completion"])
    seen: set[bytes] = set()
    for line in _clean_lines(path):
        pair = _pair_of(line)
        if pair is None:
            yield line
        elif not pair["completion"].strip():
            if _EMPTY not in steps:
                yield line if pair == orjson.loads(line) else line_bytes(pair)
        else:
            repaired = profile.repaired(pair["prompt"], pair["completion"], steps)
            known = digest(*repaired.values())
            if _DOUBLED not in steps or known not in seen:
                seen.add(known)
                # A line that says the same already stays as its author wrote it.
                yield line if repaired == orjson.loads(line) else line_bytes(repaired)


def _pair_of(line: bytes) -> dict[str, str] | None:
    """Prompt and completion, whatever the case of their keys; None where something of the line would get lost."""
    # Each sees what the other passes over: orjson refuses NaN, json shows keys that stand there twice.
    try:
        orjson.loads(line)
        items = json.loads(line, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list) or not all(isinstance(item, tuple) for item in items):
        return None
    keys = [str(key).strip().lower() for key, _ in items]
    # Of two keys that become one, nobody knows which was meant; beside a missing prompt another key may hold it.
    if len({*keys}) < len(keys) or not ({*keys} == {"completion"} or {*keys} >= _PAIR):
        return None
    pair = {"prompt": "", **{key: value for key, (_, value) in zip(keys, items, strict=True) if key in _PAIR}}
    if not all(isinstance(text, str) for text in pair.values()):
        return None
    return {"prompt": pair["prompt"], "completion": pair["completion"]}
