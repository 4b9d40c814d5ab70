"""What a model is asked about, one call each: facts, or different passages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING

from ragtune.errors import DatasetError
from ragtune.facts import FactSet
from ragtune.facts.faults import CUT, is_cut
from ragtune.recipes.generation.prompts import Unit
from ragtune.recipes.passages import without_boilerplate
from ragtune.text import normalise

if TYPE_CHECKING:
    from ragtune.recipes.generation.prompts import What

__all__ = ["units_of"]


def units_of(what: What, source: object) -> list[Unit]:
    """The facts that have a question, or the different passages without boilerplate.

    Raises:
        DatasetError: the source is of another kind, or there is nothing in it to ask about.
    """
    if what in ("wordings", "distractors"):
        if not isinstance(source, FactSet):
            raise DatasetError(
                f"{what} are made of facts, not of {type(source).__name__} {source!r:.60}; rt.FactSet.from_rows(...) "
                f"makes them, and what='pairs' finds facts in passages"
            )
        units = [
            Unit(id=fact.id, passage=fact.support or "", question=fact.taught.question, answer=fact.answers[0])
            for fact in source
            if fact.taught is not None
        ]
    else:
        units = _passages(source)
    if not units:
        raise DatasetError(
            f"there is nothing to make {what} of: no fact that is taught, or no passage that is not blank"
        )
    return units


def _passages(source: object) -> list[Unit]:
    if isinstance(source, FactSet):
        found = [(fact.source or fact.id, fact.support or "") for fact in source]
    elif isinstance(source, str | bytes | Mapping) or not isinstance(source, Iterable):
        raise DatasetError(
            f"source={source!r:.60} must be facts, or passages: a list of texts, Passages or mappings with 'text'"
        )
    else:
        found = [_told(item, number) for number, item in enumerate(source)]
    for number, told in enumerate(found):
        for text in filter(is_cut, told):
            raise DatasetError(f"passage {number}: {text!r:.60}: {CUT}")
    # All at once: what belongs to the page and not to a passage shows only in how often it comes.
    texts = without_boilerplate([text for _, text in found])
    different: dict[str, Unit] = {}
    named = {name for name, _ in found}
    taken: set[str] = set()
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(2))
    for (name, _), text in zip(found, texts, strict=True):
        # A passage that comes twice would be paid for twice, and its second questions left out as asked already.
        if (form := normalise(text)) and form not in different:
            own = name
            # Several passages of one document share its name, and "guide#2" may be the name of another document.
            while own in taken or (own != name and own in named):
                own = f"{name}#{next(numbers[name])}"
            taken.add(own)
            different[form] = Unit(id=own, passage=text)
    return list(different.values())


def _told(item: object, number: int) -> tuple[str, str]:
    """Name and text of a passage; documents of other libraries and `ragtune.documents.Chunk`s have both as well."""
    if isinstance(item, str):
        return f"passage-{number}", item
    told = item if isinstance(item, Mapping) else {}
    text = told.get("text", getattr(item, "text", getattr(item, "page_content", None)))
    name = told.get("id", getattr(item, "id", None))
    if not isinstance(text, str):
        raise DatasetError(
            f"passage {number}: {item!r:.60} is neither a text nor a Passage nor a mapping or a document with 'text'"
        )
    return str(name or f"passage-{number}"), text
