"""From columns to records: a skeleton of constant bytes, and the columns whose text goes in between."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from operator import add
from typing import TYPE_CHECKING

import orjson

from ragtune import _arguments as arguments
from ragtune.dataset.bad_rows import BadRowsError
from ragtune.dataset.leakage.texts import Texts
from ragtune.dataset.render.rendered import Lines
from ragtune.dataset.render.rows import MissingValuesError
from ragtune.errors import DatasetError
from ragtune.records.base import escape_line_separators, holds_line_separator, line_bytes
from ragtune.tokens import RecordCounter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ragtune.dataset.render.batches import Column
    from ragtune.dataset.render.rows import Selection
    from ragtune.records import RecordFormat

_FORMATTER = string.Formatter()
_MARK = "\x00"


@dataclass(frozen=True, kw_only=True)
class Text:
    """One text of a record: constants and column names by turns.

    Attributes:
        name: how messages call it, for example `user`.
        source: the template as it was given.
        parts: (constant, column) pairs; the column of the last pair may be None.
        may_be_empty: whether a row may leave this text empty.
    """

    name: str
    source: str
    parts: tuple[tuple[str, str | None], ...]
    may_be_empty: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, in order."""
        return tuple(column for _, column in self.parts if column is not None)

    @property
    def is_never_blank(self) -> bool:
        """Whether its constants alone hold text."""
        return any(constant.strip() for constant, _ in self.parts)


def text(name: str, template: str, *, may_be_empty: bool = False) -> Text:
    """Parse a template such as `{answer} Explanation: {support}`; `{{` and `}}` stand for braces.

    Raises:
        DatasetError: it is no text, is empty, or holds more than plain column names in braces.
    """
    if not isinstance(template, str):
        raise DatasetError(f"the {name} template must be text with {{column}} names, got {template!r:.60}")
    try:
        pieces = list(_FORMATTER.parse(template))
    except ValueError as error:
        raise DatasetError(
            f"the {name} template {template!r} has unmatched braces: {error}; double literal braces"
        ) from None
    parts = []
    for constant, column, spec, conversion in pieces:
        if column is not None and (not column or spec or conversion or any(sign in column for sign in ".[]")):
            raise DatasetError(
                f"the {name} template {template!r} holds {{{column}}} with more than a plain column name; double "
                f"literal braces ({{{{ and }}}}), as in JSON; else prepare the value as a column of its own, or use "
                f".records() with a Python function"
            )
        parts.append((constant, column))
    parsed = Text(name=name, source=template, parts=tuple(parts), may_be_empty=may_be_empty)
    if not may_be_empty and not parsed.columns and not parsed.is_never_blank:
        raise DatasetError(f"the {name} template is empty; give it text or a {{column}}")
    return parsed


@dataclass(frozen=True, kw_only=True)
class Template:
    """A record kind filled from columns.

    Attributes:
        format: the record kind it makes.
        texts: the texts in the order in which they stand in the record.
        record: the record as plain values, each text standing at its place.
        question: the texts that make up the question; rows with the same question belong together.
        answer: the texts that the model learns.
    """

    format: RecordFormat
    texts: tuple[Text, ...]
    record: Mapping[str, object]
    question: tuple[str, ...]
    answer: tuple[str, ...] = ()
    system: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a text names, once, in order."""
        return self._columns_of([item.name for item in self.texts])

    @property
    def question_columns(self) -> tuple[str, ...]:
        """The columns that the question is made of."""
        return self._columns_of(self.question)

    @property
    def answer_columns(self) -> tuple[str, ...]:
        """The columns that the answer is made of."""
        return self._columns_of(self.answer)

    def _columns_of(self, names: Sequence[str]) -> tuple[str, ...]:
        chosen = [item.columns for item in self.texts if item.name in names]
        return tuple(dict.fromkeys(chain.from_iterable(chosen)))

    def described(self) -> dict[str, object]:
        """What the manifest keeps."""
        return {"format": self.format, **{item.name: item.source for item in self.texts}}


def constant_system(system: Text | None) -> str | None:
    """The system prompt when it is the same for all rows."""
    if system is None or system.columns:
        return None
    return "".join(constant for constant, _ in system.parts)


def chat_template(*, system: str | None, user: str, assistant: str) -> Template:
    """One turn: an optional system prompt, the user's text, the assistant's answer."""
    texts = [text("user", user), text("assistant", assistant)]
    instructions = None if system is None else text("system", system)
    if instructions is not None:
        texts.insert(0, instructions)
    messages = [{"role": item.name, "content": item} for item in texts]
    return Template(
        format="chat",
        texts=tuple(texts),
        record={"messages": messages},
        question=("user",),
        answer=("assistant",),
        system=constant_system(instructions),
    )


def completion_template(*, prompt: str, completion: str) -> Template:
    """A legacy pair; the prompt may be empty."""
    texts = (text("prompt", prompt, may_be_empty=True), text("completion", completion))
    return Template(
        format="completion",
        texts=texts,
        record={"prompt": texts[0], "completion": texts[1]},
        question=("prompt",),
        answer=("completion",),
    )


def preference_template(*, prompt: str, preferred: str, rejected: str, system: str | None) -> Template:
    """One input and two answers to it."""
    texts = [text("prompt", prompt), text("preferred", preferred), text("rejected", rejected)]
    messages: list[dict[str, object]] = [{"role": "user", "content": texts[0]}]
    instructions = None if system is None else text("system", system)
    if instructions is not None:
        messages.insert(0, {"role": "system", "content": instructions})
    record = {
        "input": {"messages": messages},
        "preferred_output": [{"role": "assistant", "content": texts[1]}],
        "non_preferred_output": [{"role": "assistant", "content": texts[2]}],
    }
    everything = tuple(texts) if instructions is None else (instructions, *texts)
    return Template(
        format="preference",
        texts=everything,
        record=record,
        question=("prompt",),
        answer=("preferred", "rejected"),
        system=constant_system(instructions),
    )


def reinforcement_template(*, user: str, reference: Mapping[str, str], developer: str | None) -> Template:
    """A question for the model to answer, and reference fields for the grader."""
    arguments.mapping("reference", reference)
    if taken := {"messages", "tools"} & reference.keys():
        raise DatasetError(f"reference field {min(taken)!r} is taken by the record itself; choose another name")
    question = text("user", user)
    fields = {key: text(key, value) for key, value in reference.items()}
    messages: list[dict[str, object]] = [{"role": "user", "content": question}]
    texts = [question, *fields.values()]
    instructions = None if developer is None else text("developer", developer)
    if instructions is not None:
        messages.insert(0, {"role": "developer", "content": instructions})
        texts.insert(0, instructions)
    return Template(
        format="reinforcement",
        texts=tuple(texts),
        record={"messages": messages, **fields},
        question=("user",),
        system=constant_system(instructions),
    )


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
        return {name: sum(not text.strip() for text in columns[name]) for name in names}

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
