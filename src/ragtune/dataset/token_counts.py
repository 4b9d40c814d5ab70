"""Tokens of the records of a split, in file order; a line that is no record counts nothing, since `check` names it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from ragtune.tokens import RecordCounter, conversations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ragtune.dataset.split import Split

    _Counting = Callable[[RecordCounter, Sequence[Mapping[str, Any]]], list[int]]

__all__ = ["counted", "longer_conversations"]

_AT_ONCE = 1_024


def counted(split: Split, counter: RecordCounter) -> Iterator[int]:
    """Tokens of each record."""
    return _counts(split, counter, RecordCounter.count)


def longer_conversations(split: Split, counter: RecordCounter) -> Iterator[int]:
    """Tokens of the longer conversation of each record: training reads each answer of a pair with its prompt."""
    return _counts(split, counter, _longer_conversation)


def _counts(split: Split, counter: RecordCounter, of: _Counting) -> Iterator[int]:
    lines = (line for _, line in split.lines())
    while batch := list(islice(lines, _AT_ONCE)):
        try:
            yield from of(counter, [orjson.loads(line) for line in batch])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            # One of these lines is no record; line by line, so that the others count.
            yield from (_count_line(line, counter, of) for line in batch)


def _count_line(line: bytes, counter: RecordCounter, of: _Counting) -> int:
    try:
        return of(counter, [orjson.loads(line)])[0]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return 0


def _longer_conversation(counter: RecordCounter, records: Sequence[Mapping[str, Any]]) -> list[int]:
    return [max(counter.count(conversations(record))) for record in records]
