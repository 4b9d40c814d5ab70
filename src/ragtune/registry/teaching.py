"""Which lines of datasets teach which facts: by the ids of the row maps, and without these by the facts' questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune._api.fields import object_of, objects, words
from ragtune.facts.taught import row_map
from ragtune.records.json_values import read_json
from ragtune.registry.lineage import TaughtRow
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from ragtune.dataset import Dataset
    from ragtune.facts import FactSet

__all__ = ["Taught", "taught_by"]


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What stands where.

    Attributes:
        rows: the lines that teach a fact, by its id.
        by_question: folders of datasets with lines that name none of the facts.
    """

    rows: Mapping[str, tuple[TaughtRow, ...]]
    by_question: tuple[str, ...]


def taught_by(datasets: Iterable[Dataset], facts: FactSet) -> Taught:
    """Look through all lines of all datasets for facts."""
    known, asked = {fact.id for fact in facts}, _asked(facts)
    found: dict[str, list[TaughtRow]] = {}
    unnamed: dict[str, None] = {}
    for dataset in datasets:
        folder = str(dataset.folder)
        for split in dataset.splits:
            numbers = row_map(dataset, split.name)
            for line, (_, content) in enumerate(split.lines(), 1):
                number, fact_id, _ = numbers[line - 1] if numbers else (None, None, None)
                taught: Collection[str] = (fact_id,) if fact_id in known else ()
                # A row's number stands where no id was given, and is one of other rows, maybe.
                if not taught or fact_id == f"row-{number}":
                    unnamed[folder] = None
                    taught = {one for text in _questions(content) for one in asked.get(normalise(text), ())} or taught
                row = TaughtRow(fingerprint=dataset.fingerprint, folder=folder, split=split.name, line=line, row=number)
                for one in taught:
                    found.setdefault(str(one), []).append(row)
    return Taught(rows={fact_id: tuple(rows) for fact_id, rows in found.items()}, by_question=tuple(unnamed))


def _asked(facts: FactSet) -> dict[str, list[str]]:
    """The facts that each question asks for, in normal form."""
    asked: dict[str, list[str]] = {}
    for fact in facts:
        for wording in fact.wordings:
            asked.setdefault(normalise(wording.question), []).append(fact.id)
    return asked


def _questions(content: bytes) -> Iterator[str]:
    """What users say in a record of any format; nothing where it is none."""
    try:
        record = object_of(read_json(content))
    except (ValueError, RecursionError):
        return
    prompt = record.get("prompt")
    if isinstance(prompt, str):
        yield prompt
    # Chats; prompts that are conversations; OpenAI's preference pairs, which have theirs one level down.
    for messages in (record.get("messages"), prompt, object_of(record.get("input")).get("messages")):
        for message in objects(messages):
            if message.get("role") == "user" and (text := words(message.get("content"))):
                yield text
