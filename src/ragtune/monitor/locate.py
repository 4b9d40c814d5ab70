"""What a server's words about a failed job point at in the local file."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from ragtune._keys import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune._api.calls import LocalFile
    from ragtune.job.details import JobError

__all__ = ["Blame", "blame", "excerpt"]

_DATA_FAULTS = frozenset({"invalid_training_file", "invalid_validation_file", "invalid_n_examples"})
# "Example 100", "line #3", "row no. 7", "train.jsonl:12"; several only behind a plural: "Flagged lines: 4, 13".
_ONE = re.compile(r"\b(example|line|row|record)\s*(?:no\.|number|#|:)?\s*(\d+)\b|\.jsonl:(\d+)\b", re.IGNORECASE)
_MANY = re.compile(r"\b(example|line|row|record)s\s*(?:numbers|:)?\s*[\[(]?(\d+(?:[\s,;&]|and|\d)*)", re.IGNORECASE)
_MESSAGE = re.compile(r"\bmessage\s*#?\s*(\d+)\b|\bmessages\[(\d+)\]", re.IGNORECASE)
_LONGEST_EXCERPT = 80


@dataclass(frozen=True, kw_only=True)
class Blame:
    """Where a server sees the fault of a job.

    Attributes:
        file: the file that it blames, or None when it blames no data.
        unit: what its numbers count: `line` counts all lines, `example` those that are not blank.
        numbers: those that it names, from 1.
        message: which message of the example, from 0, or None.
    """

    file: Literal["training_file", "validation_file"] | None
    unit: Literal["line", "example"] = "line"
    numbers: tuple[int, ...] = ()
    message: int | None = None


def blame(error: JobError | None) -> Blame:
    """Read a job's error; servers name the place in words only, and in many."""
    if error is None:
        return Blame(file=None)
    said = error.message or ""
    unit, numbers = _numbers_in(said)
    # A number without any other sign counts, too: nothing of a job but its files has lines.
    in_data = error.code in _DATA_FAULTS or error.param in ("training_file", "validation_file") or bool(numbers)
    about_validation = "validation_file" in (error.param, (error.code or "").removeprefix("invalid_"))
    if error.param is None and "training" not in said.lower() and "validation file" in said.lower():
        about_validation = True
    if not in_data:
        return Blame(file=None, unit=unit, message=_message_in(said))
    file: Literal["training_file", "validation_file"] = "validation_file" if about_validation else "training_file"
    return Blame(file=file, unit=unit, numbers=numbers, message=_message_in(said))


def excerpt(file: LocalFile, place: Blame) -> tuple[int | None, str | None]:
    """Return the physical line that is blamed and the beginning of what stands there: one message, where one is named.

    Both are None where the file is not the one that was sent any more.
    """
    try:
        with open(file.path, "rb") as lines:
            # A file that was changed has another line there, and to show that one would lead astray.
            if os.fstat(lines.fileno()).st_size != file.bytes:
                return None, None
            numbered: Iterator[tuple[int, bytes]] = enumerate(lines, start=1)
            if place.unit == "example":
                numbered = ((number, line) for number, line in numbered if line.strip())
            found = next(islice(numbered, place.numbers[0] - 1, None), None)
    except OSError:
        return None, None
    return (None, None) if found is None else (found[0], _shown(found[1], place.message))


def _numbers_in(said: str) -> tuple[Literal["line", "example"], tuple[int, ...]]:
    many, one = _MANY.search(said), _ONE.search(said)
    found = many or one
    if found is None:
        return "line", ()
    text = found[2] or found[3]
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\d+", text) if int(number) > 0)
    return "example" if (found[1] or "").lower() in ("example", "record") else "line", tuple(numbers)


def _message_in(said: str) -> int | None:
    found = _MESSAGE.search(said)
    if found is None:
        return None
    # In words messages count from 1, in brackets from 0.
    return int(found[1]) - 1 if found[1] else int(found[2])


def _shown(line: bytes, message: int | None) -> str:
    text = line.decode("utf-8", errors="replace").strip()
    try:
        said = None if message is None or message < 0 else json.loads(text)["messages"][message]
    except (ValueError, LookupError, TypeError):
        said = None
    # It goes into an exception, and from there into logs.
    text = redact(text if said is None else json.dumps(said, ensure_ascii=False))
    return text if len(text) <= _LONGEST_EXCERPT else text[: _LONGEST_EXCERPT - 1] + "…"
