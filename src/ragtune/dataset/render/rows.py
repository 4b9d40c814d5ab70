"""The rows of a batch that are wanted."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, compress
from typing import TYPE_CHECKING, Any, Protocol

from ragtune.checks.private import masked
from ragtune.dataset.bad_rows import BadRowsError
from ragtune.dataset.render.batches import ArrowBatch, RowBatch
from ragtune.dataset.render.rendered import BuildCounts
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from ragtune.dataset.render.batches import Batch, Column, SourceRow, Where


class ChangeTexts(Protocol):
    """Changes the texts of rows."""

    def look_at(self, texts: Iterable[str], /) -> None:
        """Many texts that are to be changed soon."""

    def of(self, place: str, /) -> Callable[[str], str]:
        """What changes a text of a column."""


class ChangedBatch(RowBatch):
    """Rows that a function made of the rows of another batch.

    Attributes:
        before: those rows, one for each.
    """

    def __init__(self, rows: Sequence[SourceRow], before: Selection) -> None:
        super().__init__(rows)
        self.where = before.where
        self._before = before

    def sparse_rows(self) -> Iterator[SourceRow]:
        """The rows; of a value that the function left as it was, without what Arrow added."""
        for row, old, sparse in zip(self._rows, self._before.rows(), self._before.rows(sparse=True), strict=True):
            # By identity: an equal value that the function wrote itself is as its author wants it.
            yield {name: sparse[name] if name in old and old[name] is value else value for name, value in row.items()}


class MissingValuesError(BadRowsError):
    """Selected rows that do not have a column.

    Attributes:
        by_index: what to say of each, by its place among the selected rows.
    """

    def __init__(self, by_index: Mapping[int, str]) -> None:
        super().__init__(tuple(by_index.values()), len(by_index))
        self.by_index = by_index

    def __reduce__(self) -> Any:
        # An exception is pickled with its arguments, and this one's are not its base's: Ray could not
        # bring it back.
        return type(self), (self.by_index,)


class Selection:
    """The rows of a batch that are wanted, each with its number in the source.

    Attributes:
        counts: what became of the rows of the batch so far.
    """

    def __init__(self, batch: Batch, numbers: Sequence[int], *, counts: BuildCounts | None = None) -> None:
        self.counts = BuildCounts(read=len(batch)) if counts is None else counts
        self._batch = batch
        self._numbers = numbers
        self._keep: list[bool] | None = None
        self._change: ChangeTexts | None = None
        self._columns: dict[str, Column] = {}
        self._places: list[int] | None = None

    def __len__(self) -> int:
        return len(self._batch) if self._keep is None else sum(self._keep)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the batch."""
        return self._batch.names

    @property
    def are_columns(self) -> bool:
        """Whether all rows of the source have the same columns."""
        return not isinstance(self._batch, RowBatch)

    def of_part(self, start: int) -> Selection:
        """The same rows as a part of a longer source, in which the first of this source has the number `start`."""
        dropped: dict[tuple[int, str], int] = {}
        for (_, reason), number in self.counts.dropped.items():
            # Places of steps are those of the part's own builder and would be taken for steps of the sum.
            dropped[-1, reason] = dropped.get((-1, reason), 0) + number
        numbers = [start + number for number in self._numbers]
        part = Selection(self._batch, numbers, counts=replace(self.counts, dropped=dropped))
        part._keep = self._keep
        return part

    def drop(self, unwanted: Sequence[bool]) -> int:
        """Drop rows, one flag for each row that is still selected; returns how many were dropped."""
        if True not in unwanted:
            return 0
        if self._keep is None:
            self._keep = [not flag for flag in unwanted]
        else:
            flags = iter(unwanted)
            # The flags are of the rows that were left, so one is taken for each of those alone.
            self._keep = [kept and not next(flags) for kept in self._keep]
        self._columns.clear()
        self._places = None
        return sum(unwanted)

    def replace(self, rows: Sequence[SourceRow]) -> None:
        """Put other rows in place of the selected ones, one for one."""
        # A selection of its own, since this one is about to hold the new rows.
        before = Selection(self._batch, self._numbers, counts=self.counts)
        before._keep, before._change = self._keep, self._change
        self._numbers, self._batch, self._keep = self.numbers(), ChangedBatch(rows, before), None
        self._columns.clear()
        self._places = None

    def rename(self, names: Mapping[str, str]) -> None:
        """Give columns other names, the new ones by the old ones."""
        self._batch = self._batch.renamed(names)
        self._columns.clear()

    def change_texts(self, change: ChangeTexts) -> None:
        """Change every text that is read from now on."""
        self._change = change
        self._columns.clear()

    def cut(self, count: int) -> None:
        """Keep the first `count` selected rows."""
        self.drop([index >= count for index in range(len(self))])

    def rows(self, *, sparse: bool = False) -> Iterator[SourceRow]:
        """The selected rows; `sparse` leaves out what Arrow adds to make nested values alike."""
        every = self._batch.sparse_rows() if sparse else self._batch.rows()
        rows = every if self._keep is None else compress(every, self._keep)
        if self._change is None:
            return rows
        changed = list(rows)
        values = chain.from_iterable(row.values() for row in changed)
        self._change.look_at(value for value in values if isinstance(value, str))
        return map(self._changed_row, changed)

    def views(self) -> Iterator[SourceRow]:
        """The selected rows as the source gives them, for somebody who reads few of their columns."""
        return self._batch.views() if self._keep is None else compress(self._batch.views(), self._keep)

    def arrow_table(self) -> pa.Table | None:
        """The selected rows as the source gives them, where it gives Arrow."""
        if not isinstance(self._batch, ArrowBatch):
            return None
        import pyarrow as pa

        table = self._batch.table
        whole = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
        return whole if self._keep is None else whole.filter(pa.array(self._keep))

    def _changed_row(self, row: SourceRow) -> SourceRow:
        assert self._change is not None
        return {name: masked(value, self._change.of(name)) for name, value in row.items()}

    def numbers(self) -> list[int]:
        """The number of each selected row in the source, counted from 0."""
        return list(self._numbers if self._keep is None else compress(self._numbers, self._keep))

    def number(self, index: int) -> int:
        """The number in the source of the `index`-th selected row."""
        return self._numbers[self._in_batch(index)]

    def _in_batch(self, index: int) -> int:
        """The place in the batch of the `index`-th selected row."""
        if self._keep is None:
            return index
        if self._places is None:
            self._places = list(compress(range(len(self._batch)), self._keep))
        return self._places[index]

    @property
    def where(self) -> Where | None:
        """Says in which file and line a selected row stands; None where it came from no file."""
        where = self._batch.where
        return None if where is None else lambda index: where(self._in_batch(index))

    def place(self, index: int) -> str:
        """The `index`-th selected row for people: its number in the source, its file and line."""
        where = self.where
        return f"row {self.number(index)}" + ("" if where is None else f" ({where(index)})")

    def column(self, name: str, *, who: str = "the template") -> Column:
        """The selected values of a column.

        Args:
            name: which column.
            who: asks for it, for the message where it is not there.

        Raises:
            MissingValuesError: some of the rows do not have it.
            DatasetError: there is no such column.
        """
        if name not in self._columns:
            try:
                values = self._batch.column(name)
            except KeyError:
                values = self._column_of_rows(name, who)
            else:
                if self._keep is not None:
                    values = list(compress(values, self._keep))
            if self._change is not None:
                self._change.look_at(value for value in values if isinstance(value, str))
                change = self._change.of(name)
                values = [masked(value, change) for value in values]
            self._columns[name] = values
        return self._columns[name]

    def _column_of_rows(self, name: str, who: str) -> Column:
        """The values of a column that not every row of the batch has, though perhaps each that is still selected."""
        if name not in self._batch.names:
            raise DatasetError(missing_column(name, self._batch.names, who))
        rows = list(self.views())
        lacking = {index: row for index, row in enumerate(rows) if name not in row}
        if lacking:
            raise MissingValuesError(
                {
                    index: f"{self.place(index)} has no column {name!r}; it has {_listed(tuple(row))}; "
                    f"give it to every row, for example with .map(lambda row: {{{name!r}: '', **row}}), or drop such "
                    f"rows with .filter(lambda row: {name!r} in row, reason=...)"
                    for index, row in lacking.items()
                }
            )
        return [row[name] for row in rows]


def missing_column(name: str, names: Sequence[str], who: str) -> str:
    """The message about a column that is not there."""
    near = next((other for other in names if _plain(other) == _plain(name)), None)
    hint = "" if near is None else f"; {near!r} differs in spaces or capitals only"
    return f"{who} names column {name!r}, which is not there; the columns are {_listed(names)}{hint}"


def _plain(name: str) -> str:
    return str(name).strip().casefold()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
