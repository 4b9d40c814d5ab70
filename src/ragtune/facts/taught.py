"""The facts that a built dataset teaches: its records, its row map and its template tell them."""

from __future__ import annotations

import re
from dataclasses import replace
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import orjson

from ragtune._warn import warn
from ragtune.errors import DatasetError
from ragtune.facts.fact import Fact, Wording
from ragtune.records import ChatRecord, CompletionRecord, PreferenceRecord, UnpairedRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.facts.columns import FactColumns, Row
    from ragtune.records import AnyRecord, Message

__all__ = ["TaughtDataset", "TaughtSplit", "Unfit", "row_map", "taught_facts"]

_ANSWER = {"chat": "assistant", "completion": "completion", "preference": "preferred", "unpaired": "completion"}
# `J. S. Bach` and `St. Orla` hold what parts an answer from the passage behind it.
_SHORT_END = re.compile(r"(?:^|[\s.])(?:[^\W\d_]|St|Dr|Mrs?|Ms|Jr|Sr|Prof|No|vs|ca|e\.g|i\.e)$")


class TaughtSplit(Protocol):
    """One file of a dataset, as `ragtune.Split` is."""

    def __iter__(self) -> Iterator[AnyRecord]:
        """The records."""


class TaughtDataset(Protocol):
    """A dataset, as `ragtune.Dataset` is; this room stands below the one that builds them."""

    @property
    def folder(self) -> Path:
        """Where its files are."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What is known of the build; empty for files made elsewhere."""

    @property
    def train(self) -> TaughtSplit:
        """The records that are learned."""

    @property
    def validation(self) -> TaughtSplit:
        """The records for validation."""

    @property
    def test(self) -> TaughtSplit:
        """The records for test."""


Unfit = Literal["refuse", "skip"]


class _NoSingleQuestion(DatasetError):
    """A record that no fact can be made of."""


def taught_facts(
    dataset: TaughtDataset, split: str, columns: FactColumns, rows: Sequence[Row] | None, *, unfit: Unfit = "refuse"
) -> Iterator[tuple[str, Fact]]:
    """Each record's fact with its place.

    Args:
        dataset: the dataset.
        split: which of its files.
        columns: what rows hold.
        rows: the rows that it was built of.
        unfit: what becomes of records that ask no single question.

    Raises:
        DatasetError: a record asks no single question, or its answer cannot be told from what stands beside it.
    """
    if unfit not in get_args(Unfit):
        raise DatasetError(f"unfit={unfit!r:.40} must be 'refuse' or 'skip'")
    if split not in ("train", "validation", "test"):
        raise DatasetError(f"split={split!r:.60} is not one of 'train', 'validation', 'test'")
    if getattr(dataset, split, None) is None:
        what = f"the dataset has no {split} split" if hasattr(dataset, "manifest") else "that is no rt.Dataset"
        raise DatasetError(f"dataset={dataset!r:.60}: {what}; give one that build() or Dataset.load() returned")
    template = _answer_template(dataset.manifest)
    numbers = row_map(dataset, split)
    passed_over: list[str] = []
    line = 0
    for line, record in enumerate(getattr(dataset, split), 1):
        place = f"{split} line {line}"
        try:
            question, text = _asked_and_answered(record, place)
        except _NoSingleQuestion as fault:
            if unfit == "refuse":
                raise
            passed_over.append(str(fault).partition(",")[0])
            continue
        number, fact_id, made = numbers[line - 1] if numbers else (None, f"{split}-{line}", None)
        wording = Wording(question=question)
        if made is not None:
            if rows is not None:
                raise DatasetError(f"{place} was made by a recipe, which knows its facts; leave rows= out")
            if (fact := _of_recipe(fact_id, made, question, text)) is not None:
                yield place, fact
        elif rows is None:
            answer, support = _parted(text, template, place)
            yield place, Fact(id=fact_id, answers=(answer,), wordings=(wording,), support=support)
        else:
            fact = columns.fact(_row(rows, number, place), place, fact_id)
            yield place, replace(fact, id=fact_id, wordings=(wording, *fact.wordings))
    if passed_over:
        count = f"{len(passed_over):,} of {line:,} records"
        warn(f"passed over {count} that ask no single question: {passed_over[0]}{', ...' * (len(passed_over) > 1)}")


def _of_recipe(fact_id: str, wording: str, question: str, answer: str) -> Fact | None:
    """What a recipe's row asks for; None where it asks nothing that an evaluation could ask."""
    kind = wording.partition("-")[0]
    if kind in ("verbatim", "reworded", "framed"):
        # All of these were trained as they stand.
        return Fact(id=fact_id, answers=(answer,), wordings=(Wording(question=question),))
    if kind == "reversed":
        turned = Wording(question=question, kind="reversed", answers=(answer,))
        return Fact(id=fact_id, answers=(), wordings=(turned,))
    return None


def _row(rows: Sequence[Row], number: int | None, place: str) -> Row:
    if number is None:
        raise DatasetError(f"{place}: files made elsewhere have no map to their rows; leave rows= out")
    if number >= len(rows):
        raise DatasetError(
            f"{place} is made of row {number}, and rows= holds {len(rows)}; give the rows that the dataset was built of"
        )
    return rows[number]


def row_map(dataset: TaughtDataset, split: str) -> list[tuple[int, str, str | None]]:
    """The source row of each record, the id of its fact, and the wording by which a recipe made it."""
    told = dataset.manifest.get("row_maps", {}).get(split)
    if told is None:
        return []
    found = []
    # Behind the last line feed stands nothing.
    for line in (dataset.folder / told["name"]).read_bytes().split(b"\n")[:-1]:
        number, _, told = line.partition(b" ")
        fact_id, wording = told, None
        if told.endswith(b"]"):
            # From the end: the id is free text and may itself hold a bracket.
            fact_id, _, origin = told.rpartition(b" [")
            wording = orjson.loads(b"[" + origin)[0]
        found.append((int(number), orjson.loads(fact_id) if fact_id else f"row-{int(number)}", wording))
    return found


def _answer_template(manifest: Mapping[str, Any]) -> str | None:
    for step in manifest.get("steps", ()):
        if template := step.get("template"):
            name: str | None = template.get(_ANSWER.get(template["format"], ""))
            return name
    return None


def _asked_and_answered(record: AnyRecord, place: str) -> tuple[str, str]:
    if isinstance(record, CompletionRecord):
        # Legacy completions begin with a blank, by OpenAI's own advice.
        return record.prompt, record.completion.strip()
    if isinstance(record, ChatRecord):
        asked, answered = record.messages, record.messages
    elif isinstance(record, PreferenceRecord):
        asked, answered = record.input.messages, record.preferred_output
    elif isinstance(record, UnpairedRecord):
        if not record.label:
            raise _NoSingleQuestion(f"{place} holds a bad answer, and a fact has a right one; use FactSet.from_rows")
        asked, answered = record.prompt, record.completion
    else:
        raise _NoSingleQuestion(f"{place} is for reinforcement, and holds no answer; use FactSet.from_rows")
    return _only(asked, "user", place), _only(answered, "assistant", place)


def _only(messages: Sequence[Message], role: str, place: str) -> str:
    texts = [message.text for message in messages if message.role == role]
    if len(texts) != 1 or not texts[0].strip():
        raise _NoSingleQuestion(
            f"{place} holds {len(texts)} messages of the {role}, and a fact has one question and one answer; "
            f"use FactSet.from_rows for such records"
        )
    return texts[0]


def _parted(text: str, template: str | None, place: str) -> tuple[str, str | None]:
    """The answer, and the passage where the template puts one behind it."""
    pieces = [] if template is None else list(Formatter().parse(template))
    columns = [name for _, name, _, _ in pieces if name]
    if not columns or pieces == [("", columns[0], "", None)]:
        return text, None
    # With no column given the first one is the answer: `{answer}. {support}`.
    pattern = "".join(re.escape(constant) + ("(.*?)" if name else "") for constant, name, _, _ in pieces)
    found = re.fullmatch(pattern, text, re.DOTALL)
    if found is None:
        raise DatasetError(f"{place}: {text!r:.80} is not of the template {template!r}; use FactSet.from_rows")
    answer = found[1].strip()
    if not answer or (len(columns) > 1 and _SHORT_END.search(answer) and _cut_twice(text, pieces)):
        raise DatasetError(
            f"{place}: where the answer ends in {text!r:.80} cannot be told; give the rows that the dataset was built "
            f"of, from_dataset(dataset, rows=rows, answer='column')"
        )
    support = found[2].strip() if len(columns) == 2 else None
    return answer, support or None


def _cut_twice(text: str, pieces: Sequence[tuple[str, str | None, str | None, str | None]]) -> bool:
    """Whether what parts the answer from the rest stands there more than once."""
    return text.count(pieces[1][0]) > 1
