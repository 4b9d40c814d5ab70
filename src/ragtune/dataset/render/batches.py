"""Rows in batches: columns on demand, rows as mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from ragtune.dataset.render.features import decoded, shown_otherwise, without_padding

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1024
# A row as the source gives it: what its values are, the user knows.
SourceRow = Mapping[str, Any]
Column = Sequence[Any]
Where = Callable[[int], str]


class Columns(dict[str, Column]):
    """Columns of one batch as Python lists; an Arrow column is converted when somebody asks for it."""

    def __init__(self, table: pa.Table | pa.RecordBatch) -> None:
        super().__init__()
        self._table = table
        self._decoding = shown_otherwise(table.schema)

    def __missing__(self, name: str) -> Column:
        if name not in self._table.schema.names:
            raise KeyError(name)
        values: Column = self._table.column(name).to_pylist()
        if (feature := self._decoding.get(name)) is not None:
            values = decoded(values, name, feature)
        self[name] = values
        return values


class _Renamed(dict[str, Column]):
    """Columns under other names, each fetched when somebody asks for it."""

    def __init__(self, columns: Mapping[str, Column], old: Mapping[str, str]) -> None:
        super().__init__()
        self._of_before = columns
        self._old = old

    def __missing__(self, name: str) -> Column:
        # Not kept here: the columns beneath keep what they have read.
        return self._of_before[self._old[name]]


class RowView(Mapping[str, Any]):
    """A row of a columnar batch; only the columns that somebody reads are converted."""

    # One is made for every row of the source.
    __slots__ = ("_batch", "_index")

    def __init__(self, batch: Batch, index: int) -> None:
        self._batch = batch
        self._index = index

    def __getitem__(self, name: str) -> Any:
        return self._batch.columns[name][self._index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._batch.names)

    def __len__(self) -> int:
        return len(self._batch.names)

    def __repr__(self) -> str:
        return repr(dict(self))


class Batch:
    """Some rows of a source: column by column where the source is columnar, else row by row.

    Attributes:
        columns: the values by column, where the source is columnar.
        schema: what the values were in Arrow, where they were there.
        where: says in which file and line a row stands, by its place in the batch; None where it came from no file.
    """

    def __init__(
        self, names: Sequence[str], length: int, columns: Mapping[str, Column], schema: pa.Schema | None = None
    ) -> None:
        self._names = tuple(names)
        self.columns = columns
        self.schema = schema
        self.where: Where | None = None
        self._length = length

    def __len__(self) -> int:
        return self._length

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return self._names

    def column(self, name: str) -> Column:
        """All values of a column.

        Raises:
            KeyError: there is no such column.
        """
        return self.columns[name]

    def rows(self) -> Iterator[SourceRow]:
        """The rows, as mappings."""
        names = self.names
        for values in zip(*(self.columns[name] for name in names), strict=True):
            yield dict(zip(names, values, strict=True))

    def views(self) -> Iterator[SourceRow]:
        """The rows, as mappings that read a column when it is asked for."""
        # A filter reads one or two of many columns; to convert all of them would take most of the time.
        return map(RowView, repeat(self), range(self._length))

    def sparse_rows(self) -> Iterator[SourceRow]:
        """The rows without the None entries with which Arrow fills structs that lack a key."""
        if self.schema is None:
            yield from self.rows()
            return
        kinds = dict(zip(self.schema.names, self.schema.types, strict=True))
        columns = [without_padding(self.columns[name], kinds[name]) for name in self.names]
        for values in zip(*columns, strict=True):
            yield dict(zip(self.names, values, strict=True))

    def renamed(self, names: Mapping[str, str]) -> Batch:
        """The same rows with other names of columns, the new ones by the old ones."""
        known = {names.get(name, name): name for name in self.names}
        schema = self.schema
        if schema is not None:
            import pyarrow as pa

            schema = pa.schema([field.with_name(names.get(field.name, field.name)) for field in schema])
        batch = Batch(tuple(known), len(self), _Renamed(self.columns, known), schema)
        batch.where = self.where
        return batch


class RowBatch(Batch):
    """Rows that come as mappings, each with its own keys."""

    def __init__(self, rows: Sequence[SourceRow]) -> None:
        super().__init__((), len(rows), {})
        self._rows = rows

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that a row has, in the order in which they come up."""
        # Of all rows: each may have keys of its own.
        return tuple(dict.fromkeys(chain.from_iterable(self._rows)))

    def column(self, name: str) -> Column:
        """All values of a column; KeyError when a row does not have it."""
        return [row[name] for row in self._rows]

    def rows(self) -> Iterator[SourceRow]:
        """The rows themselves."""
        return iter(self._rows)

    def views(self) -> Iterator[SourceRow]:
        """The rows themselves."""
        return iter(self._rows)

    def renamed(self, names: Mapping[str, str]) -> RowBatch:
        """The same rows with other names of columns, the new ones by the old ones."""
        batch = RowBatch([{names.get(name, name): value for name, value in row.items()} for row in self._rows])
        batch.where = self.where
        return batch


class ArrowBatch(Batch):
    """An Arrow table; a column becomes a Python list when it is asked for, as `datasets` shows it where it wrote it."""

    def __init__(self, table: pa.Table | pa.RecordBatch) -> None:
        super().__init__(table.schema.names, table.num_rows, Columns(table), table.schema)
        self.table = table
