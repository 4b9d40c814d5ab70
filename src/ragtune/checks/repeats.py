"""Records that come twice, and questions that are answered in two ways; eight bytes per record and figure, no texts."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import orjson

from ragtune.checks.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from ragtune.records import JsonObject, RecordFormat

_NO_QUESTION = 0
# Records whose hashes are compared at a time, so that memory stays flat.
_AT_ONCE = 65_536
_CONTRADICTIONS: dict[RecordFormat, tuple[str, str]] = {
    "chat": ("messages", "the question of line {line} has another answer here"),
    "completion": ("completion", "the prompt of line {line} has another completion here"),
    "preference": ("preferred_output", "line {line} prefers the other of these two outputs"),
    "unpaired": ("label", "line {line} labels the same answer the other way"),
    "reinforcement": ("", "the messages of line {line} have other reference fields here"),
}


class Repeats:
    """Remembers a hash of each record, of its question and of its answer."""

    def __init__(self) -> None:
        # 64-bit hashes of one process: two different texts of a million collide with a chance of 1 in 37 million.
        # Answers are compared only where the questions are equal, so that half as many bits do.
        self._records, self._questions, self._answers = array("q"), array("q"), array("I")
        self._lines, self._offsets = array("I"), array("Q")
        self._format: RecordFormat = "chat"

    def add(self, record: JsonObject, line: bytes, number: int, offset: int, format: RecordFormat) -> None:
        """Remember one record."""
        self._format = format
        try:
            question, answer = _question_and_answer(record, format)
        except orjson.JSONEncodeError:
            # It nests deeper than can be written.
            question, answer = _NO_QUESTION, 0
        self._records.append(hash(line.strip()))
        self._questions.append(question)
        self._answers.append(answer & 0xFFFFFFFF)
        self._lines.append(number)
        self._offsets.append(offset)

    def problems(self) -> Iterator[Problem]:
        """Doubled records and contradictions, in file order."""
        if len(self._records) < 2:
            return
        # Here, so that `import ragtune` does without NumPy.
        import numpy as np

        for later, first in _later(np.frombuffer(self._records, dtype=np.int64)):
            text = f"the same record stands in line {self._lines[first]}"
            hint = "remove it, or raise n_epochs if it matters more"
            yield self._problem(later, first, path="", code="duplicate-record", message=text, hint=hint)
        for later, first in _later(np.frombuffer(self._questions, dtype=np.int64)):
            if self._questions[later] != _NO_QUESTION and self._answers[later] != self._answers[first]:
                path, said = _CONTRADICTIONS[self._format]
                text = said.format(line=self._lines[first])
                hint = "keep the right one: the model cannot learn both"
                yield self._problem(later, first, path=path, code="contradiction", message=text, hint=hint)

    def _problem(self, index: int, first: int, *, path: str, code: str, message: str, hint: str) -> Problem:
        return Problem(
            line=self._lines[index],
            byte_offset=self._offsets[index],
            path=path,
            code=code,
            message=message,
            hint=hint,
            severity="warning",
            related_line=self._lines[first],
        )


def _later(values: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Each position whose value stood before, with the first such position, in order."""
    import numpy as np

    ordered = np.sort(values)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    # A million records take eight megabytes here.
    del ordered
    first: dict[int, int] = {}
    for start in range(0, len(values), _AT_ONCE):
        piece = values[start : start + _AT_ONCE]
        for index in np.flatnonzero(np.isin(piece, repeated)).tolist():
            position, value = start + index, int(piece[index])
            if (known := first.setdefault(value, position)) != position:
                yield position, known


def _question_and_answer(record: JsonObject, format: RecordFormat) -> tuple[int, int]:
    """Hashes of a single-turn record's question and answer; `_NO_QUESTION` where there is no such pair."""
    if format == "chat":
        messages = record["messages"]
        # Single turns only: the answer of a later turn hangs on what was said before.
        if 2 <= len(messages) <= 3 and messages[-2]["role"] == "user" and messages[-1]["role"] == "assistant":
            system = messages[0].get("content") if len(messages) == 3 else ""
            question, answer = messages[-2].get("content"), messages[-1].get("content")
            # Without a question, any answer is a text of its own.
            asks = type(question) is str and bool(question.strip())
            if asks and type(answer) is str and type(system) is str:
                return hash((system, question.strip().casefold())), hash(answer)
    elif format == "completion":
        if question := record["prompt"].strip():
            return hash(question.casefold()), hash(record["completion"])
    elif format == "preference":
        preferred, other = _bytes(record["preferred_output"]), _bytes(record["non_preferred_output"])
        return hash((_bytes(record["input"]), frozenset((preferred, other)))), hash(preferred)
    elif format == "unpaired":
        return hash((_bytes(record["prompt"]), _bytes(record["completion"]))), int(record["label"])
    else:
        return hash(_bytes(record["messages"])), hash(_bytes({**record, "messages": None}))
    return _NO_QUESTION, 0


def _bytes(value: object) -> bytes:
    """A JSON value, whatever the order of its keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
