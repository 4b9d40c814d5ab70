"""From rows to facts: which column says what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Literal, get_args

from ragtune.errors import DatasetError
from ragtune.facts.fact import Fact, Kind, Wording
from ragtune.facts.faults import refuse_unknown_kinds
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["FactColumns", "Names", "Repeats", "Row", "WordingColumn", "merged", "placed_facts"]

Names = str | Sequence[str]
# A column of questions, or one of questions and one of their own answers.
WordingColumn = str | tuple[str, str]
Row = Mapping[str, object]
Repeats = Literal["refuse", "merge"]


def _names(given: Names | None) -> tuple[str, ...]:
    if given is None:
        return ()
    # A text is a sequence as well, of its letters.
    return (given,) if isinstance(given, str) else tuple(given)


@dataclass(frozen=True, kw_only=True)
class FactColumns:
    """What the columns of a row say of its fact.

    Attributes:
        question: column of the question; None where it comes from elsewhere.
        answer: column or columns of the answer; a value may be a list of accepted spellings.
        context: column of the passage.
        distractors: columns of wrong answers; a value may be a list.
        fact_id: column of the fact's id; None numbers the rows.
        source: column of where the fact comes from.
        wordings: columns of further questions by kind.
        kind: kind of the question.
    """

    question: str | None
    answer: Names | None = None
    context: str | None = None
    distractors: Names = ()
    fact_id: str | None = None
    source: str | None = None
    wordings: Mapping[str, WordingColumn | Sequence[WordingColumn]] = field(default_factory=dict)
    kind: Kind = "verbatim"

    def fact(self, row: Row, place: str, fact_id: str) -> Fact:
        """The fact that a row tells.

        Raises:
            DatasetError: a column is missing, or holds something else than text.
        """
        answers = _texts(row, _names(self.answer), place)
        wrong = _texts(row, _names(self.distractors), place)
        known = set(map(normalise, answers))
        own = () if self.question is None else _texts(row, (self.question,), place)
        if self.question is not None and not own:
            raise DatasetError(f"{place}, column {self.question!r}: the question is blank; drop such rows")
        return Fact(
            id=fact_id if self.fact_id is None else _id(row, self.fact_id, place),
            answers=answers,
            wordings=(*(Wording(question=text, kind=self.kind) for text in own), *self._further(row, place)),
            # What is right as well is no distractor: SciQ has eleven such rows.
            distractors=tuple(text for text in wrong if normalise(text) not in known),
            support=_one(row, self.context, place),
            source=_one(row, self.source, place),
        )

    def _further(self, row: Row, place: str) -> Iterator[Wording]:
        refuse_unknown_kinds(self.wordings)
        for kind, given in self.wordings.items():
            columns = [given] if isinstance(given, str | tuple) else list(given)
            for column in columns:
                asked, answered = (column, None) if isinstance(column, str) else column
                answers = _texts(row, _names(answered), place)
                for question in _texts(row, (asked,), place):
                    yield Wording(question=question, kind=kind, answers=answers)  # type: ignore[arg-type]


def placed_facts(rows: Iterable[Row], columns: FactColumns, *, place: str = "row") -> Iterator[tuple[str, Fact]]:
    """Each row's fact with its place; rows are counted from 0, as everywhere else.

    Raises:
        DatasetError: a row is no mapping, or see `FactColumns.fact`.
    """
    for number, row in enumerate(rows):
        here = f"{place} {number}"
        if not isinstance(row, Mapping):
            raise DatasetError(f"{here}: {row!r:.60} is no mapping from columns to values; give rows as dicts")
        yield here, columns.fact(row, here, f"row-{number}")


def merged(placed: Iterable[tuple[str, Fact]], repeats: Repeats) -> tuple[list[Fact], list[str]]:
    """The facts with their places, those of one id together; with `repeats="merge"` those of one question, too.

    Raises:
        DatasetError: `repeats` is neither word, or see `placed_facts`.
    """
    if repeats not in get_args(Repeats):
        raise DatasetError(f"repeats={repeats!r:.60} is not one of 'refuse', 'merge'")
    facts: dict[str, Fact] = {}
    places: dict[str, str] = {}
    asked: dict[str, str] = {}
    for place, fact in placed:
        forms = [normalise(wording.question) for wording in fact.wordings] if repeats == "merge" else []
        name = next((asked[form] for form in forms if form in asked), fact.id)
        # Its other wordings as well: a third row that repeats one of those belongs to the same fact.
        asked.update(dict.fromkeys(forms, name))
        facts[name] = _both(facts[name], fact) if name in facts else fact
        # The first row's: a fault of the merged fact is looked for where the fact begins.
        places.setdefault(name, place)
    return list(facts.values()), list(places.values())


def _both(one: Fact, other: Fact) -> Fact:
    answers = _union(one.answers, other.answers)
    # Once more: what one row calls wrong may be right in the other.
    known = set(map(normalise, answers))
    asked = {normalise(wording.question) for wording in one.wordings}
    return replace(
        one,
        answers=answers,
        wordings=(*one.wordings, *(item for item in other.wordings if normalise(item.question) not in asked)),
        distractors=tuple(text for text in _union(one.distractors, other.distractors) if normalise(text) not in known),
        support=one.support or other.support,
        source=one.source or other.source,
    )


def _union(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _value(row: Row, name: str, place: str) -> object:
    try:
        return row[name]
    except KeyError:
        listed = ", ".join(map(repr, row)) or "none"
        raise DatasetError(f"{place} has no column {name!r}; its columns are {listed}") from None


def _texts(row: Row, names: Sequence[str], place: str) -> tuple[str, ...]:
    """The texts of some columns, blank ones left out."""
    # A dict instead of a set, which would shuffle them: the preferred spelling stands first.
    found: dict[str, None] = {}
    for name in names:
        value = _value(row, name, place)
        for text in value if isinstance(value, list | tuple) else (value,):
            if text is not None and not isinstance(text, str):
                kind = type(text).__name__
                raise DatasetError(
                    f"{place}, column {name!r}: {text!r:.60} is {kind}, not text; write it as it is to be answered"
                )
            if text and text.strip():
                found[text.strip()] = None
    return tuple(found)


def _one(row: Row, name: str | None, place: str) -> str | None:
    return None if name is None else next(iter(_texts(row, (name,), place)), None)


def _id(row: Row, name: str, place: str) -> str:
    value = _value(row, name, place)
    # No floats: a column of numbers with a gap holds 17.0, which is not how anything else names that fact.
    if isinstance(value, bool) or not isinstance(value, str | Integral) or not str(value).strip():
        raise DatasetError(f"{place}, column {name!r}: the id {value!r:.60} must be text or a whole number")
    return str(value)
