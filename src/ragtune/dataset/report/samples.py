"""Records to look at: the first, the longest, those in other scripts, and questions that are answered in two ways."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.dataset.report.preview import turns
from ragtune.errors import RecordError
from ragtune.records import parse_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.checks import CheckReport
    from ragtune.dataset.split import Split
    from ragtune.records import AnyRecord

_FIRST, _LONGEST, _BEYOND_ASCII, _CONTRADICTIONS = 5, 2, 3, 10
_ASKS = ("user", "prompt")


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """A question that is answered in two ways.

    Attributes:
        question: its text.
        answers: the first answer, and another one.
        lines: in which lines of the file they stand.

    Example:
        ```python
        import ragtune as rt

        rows = [{"q": "When is it open?", "a": f"At {n % 2 + 8}."} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("out")
        print(dataset.report.contradictions[0].question, dataset.report.contradictions[0].answers)
        #> When is it open? ('At 8.', 'At 9.')
        ```
    """

    question: str
    answers: tuple[str, str]
    lines: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Records of a file to look at, none of them twice.

    Attributes:
        first: those at the beginning.
        longest: those of most tokens.
        beyond_ascii: the first of the others that hold signs beyond ASCII: names, accents, other scripts.
    """

    first: tuple[AnyRecord, ...] = ()
    longest: tuple[AnyRecord, ...] = ()
    beyond_ascii: tuple[AnyRecord, ...] = ()


def samples_of(split: Split, lengths: Sequence[int]) -> Samples:
    """Pick them in one reading; lines that hold no record are passed over, since the problems name them.

    Args:
        split: the file.
        lengths: the tokens of each of its records.
    """
    long = sorted(range(len(lengths)), key=lambda place: -lengths[place])[:_LONGEST]
    first, longest, beyond = list[bytes](), list[bytes](), list[bytes]()
    for place, (_, line) in enumerate(split.lines()):
        if place < _FIRST:
            first.append(line)
        elif place in long:
            longest.append(line)
        elif len(beyond) < _BEYOND_ASCII and (not line.isascii() or _ESCAPED(line)):
            beyond.append(line)
    return Samples(first=_records(first), longest=_records(longest), beyond_ascii=_records(beyond))


# Files made elsewhere write their letters so.
_ESCAPED = re.compile(rb"\\u(?!00[0-7])").search


def _records(lines: Sequence[bytes]) -> tuple[AnyRecord, ...]:
    return tuple(record for line in lines if (record := _record(line)) is not None)


def _record(line: bytes) -> AnyRecord | None:
    try:
        return parse_record(line)
    except RecordError:
        return None


def contradictions_of(split: Split, check: CheckReport) -> tuple[Contradiction, ...]:
    """The first questions of a file that are answered in two ways, each once."""
    pairs: dict[int, int] = {}
    for problem in check.problems:
        if problem.code == "contradiction" and problem.related_line is not None and problem.line is not None:
            # Of several other answers to one question the first is shown.
            pairs.setdefault(problem.related_line, problem.line)
    chosen = dict(list(pairs.items())[:_CONTRADICTIONS])
    wanted = {*chosen, *chosen.values()}
    said = dict(_said(split, wanted)) if wanted else {}
    return tuple(
        Contradiction(question=said[first][0], answers=(said[first][1], said[other][1]), lines=(first, other))
        for first, other in chosen.items()
        if first in said and other in said
    )


def _said(split: Split, wanted: set[int]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Question and answer of some lines."""
    for number, line in split.lines():
        if number in wanted and (record := _record(line)) is not None:
            spoken = turns(record)
            asked = [text for who, text in spoken if who in _ASKS]
            # Of a pair the preferred answer is the one that another pair calls the worse.
            answers = [text for who, text in spoken if who in ("preferred", "completion", "assistant")]
            yield number, (asked[-1] if asked else "", answers[-1] if answers else spoken[-1][1])
