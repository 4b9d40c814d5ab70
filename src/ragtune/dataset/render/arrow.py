"""How rows and lines travel between processes: as Arrow tables in which every row has its number in the source."""

from __future__ import annotations

import pickle
from itertools import repeat
from typing import TYPE_CHECKING

from ragtune.dataset.render.rows import ArrowBatch, Made, RowBatch, Selection
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa

# Names that no source has.
_NUMBER = "__row__"
_PICKLED = "__pickled__"


def of_rows(rows: Selection) -> pa.Table:
    """The selected rows. Rows from Arrow stay columns; others are pickled, so that every value arrives as it was."""
    import pyarrow as pa

    numbers = pa.array(rows.numbers(), pa.int64())
    table = rows.arrow_table()
    if table is None:
        pickled = pa.array(map(pickle.dumps, map(dict, rows.rows())), pa.large_binary())
        table = pa.table({_PICKLED: pickled})
    return table.append_column(_NUMBER, numbers)


def read_rows(table: pa.Table) -> Selection:
    """The rows of a table from `of_rows`."""
    numbers = table.column(_NUMBER).to_pylist()
    rows = table.drop_columns([_NUMBER])
    if rows.schema.names == [_PICKLED]:
        return Selection(RowBatch([pickle.loads(row) for row in rows.column(_PICKLED).to_pylist()]), numbers)
    return Selection(ArrowBatch(rows), numbers)


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        {
            "row": pa.int64(),
            "line": pa.large_binary(),
            "dropped_by": pa.int16(),
            "error": pa.string(),
            "format": pa.string(),
            "system": pa.string(),
            "facts": pa.large_binary(),
            "wishes": pa.list_(pa.uint64()),
            "gaps": pa.list_(pa.string()),
        }
    )


def of_made(made: Made) -> pa.Table:
    """A row for each row of the source: its line, or which filter dropped it."""
    import pyarrow as pa

    gaps = made.gaps.get
    lines = zip(
        made.numbers,
        made.data.split(b"\n")[:-1],
        made.systems,
        map(pickle.dumps, made.facts.rows()) if made.facts else repeat(None),
        made.wishes or repeat(()),
        strict=False,
    )
    rows: list[dict[str, object]] = [{"row": row, "dropped_by": index} for row, index in made.dropped.items()]
    shared = {"format": made.format}
    rows += [
        {**shared, "row": row, "line": line, "system": system, "facts": facts, "wishes": wishes, "gaps": gaps(row)}
        for row, line, system, facts, wishes in lines
    ]
    return pa.Table.from_pylist(rows, schema=_schema()).sort_by("row")


def of_error(error: DatasetError, row: int) -> pa.Table:
    """A single row that tells why there is no line."""
    import pyarrow as pa

    return pa.Table.from_pylist([{"row": row, "error": str(error)}], schema=_schema())


def first_row(table: pa.Table) -> int:
    """By which number tables come in order."""
    row: int = table.column("row")[0].as_py()
    return row


def read_made(table: pa.Table) -> Made:
    """What a table from `of_made` holds.

    Raises:
        DatasetError: the one that it tells.
    """
    from ragtune.dataset.leakage.text_hashes import joined

    rows = table.to_pylist()
    if rows[0]["error"] is not None:
        raise DatasetError(rows[0]["error"])
    made = [row for row in rows if row["line"] is not None]
    return Made(
        format=made[0]["format"] if made else None,
        numbers=[row["row"] for row in made],
        data=b"".join([row["line"] + b"\n" for row in made]),
        systems=[row["system"] for row in made],
        dropped={row["row"]: row["dropped_by"] for row in rows if row["line"] is None},
        gaps={row["row"]: row["gaps"] for row in made if row["gaps"]},
        facts=joined([pickle.loads(row["facts"]) for row in made]) if made and made[0]["facts"] else None,
        wishes=[row["wishes"] for row in made],
    )
