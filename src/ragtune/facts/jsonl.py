"""Facts in a file, one a line."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import orjson

from ragtune.errors import DatasetError
from ragtune.facts.fact import Fact, Wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["line_of", "read_facts"]


def line_of(fact: Fact) -> bytes:
    """A fact as a line; what it leaves empty is not written."""
    wordings = [
        {"question": item.question, "kind": item.kind, **({"answers": item.answers} if item.answers else {})}
        for item in fact.wordings
    ]
    told: dict[str, object] = {"id": fact.id, "answers": fact.answers, "wordings": wordings}
    further = {"distractors": fact.distractors, "support": fact.support, "source": fact.source}
    told |= {name: value for name, value in further.items() if value}
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


def read_facts(path: Path) -> Iterator[tuple[str, Fact]]:
    """Each fact of a file with its place.

    Raises:
        DatasetError: the file cannot be read, or a line is no fact.
    """
    try:
        # As bytes, which orjson reads without a text in between.
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                place = f"{path} line {number}"
                if line.strip():
                    # In each line: files that were written on Windows and then joined hold one in their middle.
                    yield place, _read(line.removeprefix(b"\xef\xbb\xbf"), place)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}; check the path and its permissions") from error


def _read(line: bytes, place: str) -> Fact:
    try:
        return _fact(orjson.loads(line), place)
    # What orjson reads may be too deep to be shown.
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{place} is no JSON: {error}; write one fact a line, see FactSet.to_jsonl") from None


def _fact(found: object, place: str) -> Fact:
    told = _known(found, Fact, place)
    wordings = told.get("wordings")
    if not isinstance(wordings, list):
        raise DatasetError(f"{place}, wordings: {wordings!r:.60} is no list of questions; rows are read by from_rows")
    return Fact(
        id=_text(told.get("id"), f"{place}, id"),
        answers=_texts(told, "answers", place),
        wordings=tuple(_wording(item, f"{place}, wordings[{index}]") for index, item in enumerate(wordings)),
        distractors=_texts(told, "distractors", place),
        support=_optional(told, "support", place),
        source=_optional(told, "source", place),
    )


def _wording(found: object, place: str) -> Wording:
    if isinstance(found, str):
        return Wording(question=found)
    told = _known(found, Wording, place)
    question = _text(told.get("question"), f"{place}.question")
    kind = _text(told.get("kind", "verbatim"), f"{place}.kind")
    # What kinds there are is told once for all facts, by the set.
    return Wording(question=question, kind=kind, answers=_texts(told, "answers", place))  # type: ignore[arg-type]


def _known(found: object, kind: type[Fact | Wording], place: str) -> Mapping[str, object]:
    names = [field.name for field in fields(kind)]
    if not isinstance(found, dict):
        raise DatasetError(f"{place}: {found!r:.60} is no object with {', '.join(names)}")
    # A misspelt key would be an answer or a passage that is never used, and nobody would hear of it.
    if unknown := [name for name in found if name not in names]:
        raise DatasetError(
            f"{place}: the key {unknown[0]!r} is unknown; the keys are {', '.join(names)}; "
            f"rows with other columns are read by FactSet.from_rows"
        )
    return found


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise DatasetError(f"{place}: {value!r:.60} is no text; give text in quotation marks")
    return value


def _texts(told: Mapping[str, object], name: str, place: str) -> tuple[str, ...]:
    value = told.get(name, [])
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise DatasetError(f"{place}, {name}: {value!r:.60} is neither text nor a list of texts")
    return tuple(_text(item, f"{place}, {name}[{index}]") for index, item in enumerate(value))


def _optional(told: Mapping[str, object], name: str, place: str) -> str | None:
    value = told.get(name)
    return None if value is None else _text(value, f"{place}, {name}")
