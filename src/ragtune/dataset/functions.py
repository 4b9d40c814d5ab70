"""Records from a user's Python function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragtune.dataset.splits import keys_of
from ragtune.errors import DatasetError, RecordError
from ragtune.layouts import get_layout
from ragtune.records import CompletionRecord, Message, PreferenceRecord, Record, RecordFormat, parse_record
from ragtune.records.parsing import RECORD_OF

if TYPE_CHECKING:
    from ragtune.dataset.batches import Selection
    from ragtune.records import AnyRecord

_FORMAT_OF = {kind: name for name, kind in RECORD_OF.items()}


@dataclass(frozen=True, kw_only=True)
class LaidOut:
    """Makes the record of a row that has a known layout; for `DatasetBuilder.records`."""

    layout: str
    ignore: tuple[str, ...] = ()

    def __call__(self, row: Mapping[str, Any]) -> object:
        """The one record of the row.

        Raises:
            DatasetError: the row does not have this layout.
        """
        (record,) = get_layout(self.layout).convert(row, ignore=self.ignore)
        return record


class FunctionRenderer:
    """Calls the function for every row and writes the records it gives."""

    def __init__(self, make: Callable[[Mapping[str, Any]], object], hidden: tuple[str, ...]) -> None:
        self._make = make
        self._hidden = frozenset(hidden)
        self._format: RecordFormat | None = None
        self._records: list[AnyRecord] = []
        # Two are enough to know that it varies.
        self._systems: set[str | None] = set()

    @property
    def system(self) -> str | None:
        """The system prompt that all records share; None when there is none or it varies."""
        return next(iter(self._systems)) if len(self._systems) == 1 else None

    @property
    def format(self) -> RecordFormat:
        """The kind of the first record."""
        assert self._format is not None, "known once a record was made"
        return self._format

    def lines(self, rows: Selection) -> bytes:
        """The lines of the selected rows, one after the other.

        Raises:
            DatasetError: the function gives something that is no record, or records of two kinds.
        """
        self._records = [self._record(row, rows, index) for index, row in enumerate(rows.rows())]
        if len(self._systems) < 2:
            self._systems.update(map(system_of, self._records))
        return b"".join([record.to_json_line() for record in self._records])

    def texts(self, rows: Selection) -> Iterator[Sequence[str]]:
        """For each selected row all that is said in it; `lines` was called for these rows before."""
        return (_question_and_texts(record)[1] for record in self._records)

    def keys(self, rows: Selection) -> list[list[int]]:
        """For each selected row the keys of its facts; `lines` was called for these rows before."""
        return [keys_of(*_question_and_texts(record)) for record in self._records]

    def _record(self, row: Mapping[str, Any], rows: Selection, index: int) -> AnyRecord:
        if self._hidden:
            row = {name: value for name, value in row.items() if name not in self._hidden}
        try:
            made = self._make(row)
            record = made if isinstance(made, Record) else self._parsed(made)
        except (RecordError, DatasetError) as error:
            raise DatasetError(f"row {rows.number(index)}: {error}") from error
        except Exception as error:
            error.add_note(f"in the function given to records() at row {rows.number(index)}")
            raise
        kind: RecordFormat = _FORMAT_OF[type(record)]  # type: ignore[assignment,index]
        if self._format is None:
            self._format = kind
        if kind != self._format:
            raise DatasetError(
                f"row {rows.number(index)} became a {kind} record, earlier rows {self._format}; "
                f"build one dataset per record kind"
            )
        return record  # type: ignore[return-value]

    def _parsed(self, made: object) -> AnyRecord:
        if not isinstance(made, Mapping):
            raise RecordError(
                f"the function given to records() must return a record or a dict, got {made!r:.60}; "
                f"drop rows with .filter(..., reason=...)"
            )
        return parse_record(made, self._format)


def system_of(record: AnyRecord) -> str | None:
    """The system prompt that a record begins with, or None."""
    if isinstance(record, CompletionRecord):
        return None
    first = (record.input if isinstance(record, PreferenceRecord) else record).messages[0]
    return first.text if first.role in ("system", "developer") else None


def _question_and_texts(record: AnyRecord) -> tuple[str, list[str]]:
    if isinstance(record, CompletionRecord):
        return record.prompt, [record.prompt, record.completion]
    if isinstance(record, PreferenceRecord):
        messages = [*record.input.messages, *record.preferred_output, *record.non_preferred_output]
    else:
        messages = list(record.messages)
    spoken = list(_spoken(messages))
    return next((text for role, text in spoken if role == "user"), ""), [text for _, text in spoken]


def _spoken(messages: list[Message]) -> Iterator[tuple[str, str]]:
    return ((message.role, message.text) for message in messages if message.role not in ("system", "developer"))
