"""From columns to records: a skeleton of constant bytes, and the columns whose text goes in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from operator import add
from typing import TYPE_CHECKING

import orjson

from ragtune.dataset.bad_rows import BadRowsError
from ragtune.dataset.leakage.texts import Texts
from ragtune.dataset.render.rendered import Lines
from ragtune.dataset.render.rows import MissingValuesError
from ragtune.dataset.render.templates import Text
from ragtune.records.base import escape_line_separators, holds_line_separator, line_bytes
from ragtune.tokens import RecordCounter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ragtune.dataset.render.batches import Column
    from ragtune.dataset.render.rows import Selection
    from ragtune.dataset.render.templates import Template

_MARK = "\x00"


class Renderer:
    """Writes the lines of a template; the skeleton was encoded once, only the texts are encoded per row."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._holes, self._constants = _skeleton(template)

    def render(self, rows: Selection) -> Lines:
        """The records of the selected rows.

        Raises:
            BadRowsError: in some rows a column is missing, a value is no text, or a text would be empty.
            DatasetError: a column is missing in all of them.
        """
        needed = self._needed(rows)
        filled = [_filled(item, needed) for item in self._holes]
        try:
            encoded = [_encoded(texts) for texts in filled]
        # Only half a surrogate pair cannot be written; who holds it is looked for now that something is wrong.
        except orjson.JSONEncodeError:
            faults = _Faults(rows)
            faults.surrogates(needed)
            faults.refuse()
            raise
        first, *others = self._constants
        count = len(rows)
        parts: list[Iterable[bytes]] = [repeat(first, count)]
        for texts, constant in zip(encoded, others, strict=True):
            parts += (texts, repeat(constant))
        return Lines(
            format=self._template.format,
            systems=frozenset({self._template.system}),
            data=b"".join(chain.from_iterable(zip(*parts, strict=False))),
            gaps=self._gaps(needed),
            texts=lambda: self._texts(needed, count),
            tokens=lambda counter: self._tokens(counter, len(rows), filled),
        )

    def _needed(self, rows: Selection) -> dict[str, Sequence[str]]:
        """The columns that the template names, all of them text."""
        faults = _Faults(rows)
        needed: dict[str, Sequence[str]] = {}
        for name in self._template.columns:
            try:
                needed[name] = rows.column(name)
            except MissingValuesError as error:
                faults.add(error.by_index)
            else:
                faults.other_types(name, needed[name])
        for item in self._template.texts:
            # Only where all its columns are there: the fault of one that is missing is told already.
            if not item.may_be_empty and not item.is_never_blank and needed.keys() >= set(item.columns):
                faults.blanks(item, [needed[name] for name in item.columns])
        if faults:
            faults.surrogates(needed)
            faults.refuse()
        return needed

    def _tokens(self, counter: RecordCounter, rows: int, filled: Sequence[Sequence[str]]) -> Sequence[int]:
        """What the record counts with its holes empty, and each text that fills a hole which counts."""
        empty = _record_with(self._template, lambda item: "")
        # Which texts of a record count, the counter alone knows: a mark in one that counts changes what it counts.
        marks = RecordCounter(_Marks())
        totals = counter.count([empty]) * rows
        for hole, texts in zip(self._holes, filled, strict=True):
            if marks.count([_record_with(self._template, partial(_mark_of, hole))]) != marks.count([empty]):
                totals = list(map(add, totals, counter.count_texts(texts)))
        return totals

    def _gaps(self, columns: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """In how many answers each column is blank; an answer that is blank altogether was refused."""
        # Hardly any column has a blank, and to say so takes half the time of counting.
        names = [name for name in self._template.answer_columns if not all(map(str.strip, columns[name]))]
        return {name: list(map(str.strip, columns[name])).count("") for name in names}

    def _texts(self, columns: Mapping[str, Sequence[str]], rows: int) -> Texts:
        """The columns that the template names; a question made of several columns is a text of its own."""
        asked = self._template.question_columns
        said: Mapping[str, Sequence[str]] = columns
        if len(asked) > 1:
            name = " + ".join(asked)
            whole = [" ".join(texts) for texts in zip(*map(columns.__getitem__, asked), strict=True)]
            said, asked = {name: whole, **columns}, (name,)
        return Texts(
            texts=list(chain.from_iterable(zip(*said.values(), strict=True))),
            fields=tuple(said) * rows,
            asked=[name in asked for name in said] * rows,
            learned=[name in self._template.answer_columns for name in said] * rows,
            per_row=[len(said)] * rows,
        )


class _Faults:
    """What is wrong with rows, each row told once."""

    def __init__(self, rows: Selection) -> None:
        self._rows = rows
        self._told: dict[int, str] = {}

    def __bool__(self) -> bool:
        return bool(self._told)

    def add(self, faults: Mapping[int, str]) -> None:
        """Faults by the place of the row among the selected ones."""
        # Each row with the fault that was found first: it often is the cause of the others.
        self._told = {**faults, **self._told}

    def other_types(self, name: str, values: Column) -> None:
        """Values that are no text."""
        if not set(map(type, values)) - {str}:
            return
        place = self._rows.place
        self.add(
            {
                index: f"{place(index)}, column {name!r}: {value!r:.80} is {type(value).__name__}, not text; "
                f"templates take text: convert it with .map(lambda row: {{**row, {name!r}: str(row[{name!r}])}}), or "
                f"drop such rows with .filter(..., reason=...)"
                for index, value in enumerate(values)
                if type(value) is not str
            }
        )

    def blanks(self, item: Text, columns: Sequence[Sequence[str]]) -> None:
        """Texts of a record that would be empty."""
        # One column with text is enough, and nearly always the first one has it.
        if not self._told and all(map(str.strip, columns[0])):
            return
        place = self._rows.place
        self.add(
            {
                index: f"{place(index)}: the {item.name} text {item.source!r} is empty; drop such rows with "
                f".filter(lambda row: row[{item.columns[0]!r}].strip(), reason=...)"
                for index, values in enumerate(zip(*columns, strict=True))
                if index not in self._told and not "".join(values).strip()
            }
        )

    def surrogates(self, columns: Mapping[str, Column]) -> None:
        """Texts that are none in Unicode."""
        place = self._rows.place
        for name, values in columns.items():
            for index, value in enumerate(values):
                try:
                    if isinstance(value, str):
                        value.encode("utf-8")
                except UnicodeEncodeError as error:
                    sign = f"half of a surrogate pair (U+{ord(value[error.start]):04X})"
                    self.add({index: f"{place(index)}, column {name!r}: {sign} is no text; repair the source"})

    def refuse(self) -> None:
        """Raise when there are any.

        Raises:
            BadRowsError: there are.
        """
        if self._told:
            raise BadRowsError(tuple(self._told[index] for index in sorted(self._told)), len(self._told))


def _filled(item: Text, columns: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """A text of every row."""
    if len(item.parts) == 1 and not item.parts[0][0]:
        return columns[item.columns[0]]
    # One pattern serves all rows; str.format would read the template again for each.
    pattern = "".join(constant.replace("%", "%%") + ("" if column is None else "%s") for constant, column in item.parts)
    return list(map(pattern.__mod__, zip(*(columns[name] for name in item.columns), strict=True)))


def _encoded(texts: Sequence[str]) -> list[bytes]:
    """Texts as JSON."""
    encoded = list(map(orjson.dumps, texts))
    for index, text in enumerate(texts):
        # Texts are told apart faster than their bytes, and hardly any holds a separator.
        if not text.isascii() and holds_line_separator(text):
            encoded[index] = escape_line_separators(encoded[index])
    return encoded


def _skeleton(template: Template) -> tuple[list[Text], list[bytes]]:
    """The texts that differ from row to row, and the constant bytes of a line around them."""
    marks: dict[bytes, Text] = {}

    def marked(item: Text) -> str:
        mark = f"\x00{len(marks)}\x00"
        marks[orjson.dumps(mark)] = item
        return mark

    # A mark as JSON has a quote at each end, so that no longer text can hold it.
    rest = line_bytes(_record_with(template, marked))
    constants = []
    for mark in marks:
        constant, _, rest = rest.partition(mark)
        constants.append(constant)
    return list(marks.values()), [*constants, rest]


def _record_with(template: Template, fill: Callable[[Text], str]) -> dict[str, object]:
    """A template's record with something in place of the texts that differ from row to row."""
    return {key: _replaced(value, fill) for key, value in template.record.items()}


def _replaced(value: object, fill: Callable[[Text], str]) -> object:
    if isinstance(value, Text):
        return fill(value) if value.columns else "".join(constant for constant, _ in value.parts)
    if isinstance(value, Mapping):
        return {key: _replaced(item, fill) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, fill) for item in value]
    return value


def _mark_of(hole: Text, item: Text) -> str:
    return _MARK if item is hole else ""


class _Marks:
    """Counts a mark as one token and anything else as none."""

    def count_batch(self, texts: Sequence[str], /) -> list[int]:
        """One for each mark."""
        return [int(text == _MARK) for text in texts]
