"""How rows and lines travel between processes: as Arrow tables in which every row has its number in the source."""

from __future__ import annotations

import pickle
from functools import reduce
from itertools import repeat
from typing import TYPE_CHECKING

from ragtune.dataset.render.batches import ArrowBatch, RowBatch
from ragtune.dataset.render.rendered import BuildCounts, Made
from ragtune.dataset.render.rows import Selection

if TYPE_CHECKING:
    import pyarrow as pa

    from ragtune.errors import DatasetError

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
    """The rows of a table from `of_rows`; their counts begin anew, since whoever sent them has counted so far."""
    numbers = table.column(_NUMBER).to_pylist()
    rows = table.drop_columns([_NUMBER])
    if rows.schema.names == [_PICKLED]:
        batch = RowBatch([pickle.loads(row) for row in rows.column(_PICKLED).to_pylist()])
        return Selection(batch, numbers, counts=BuildCounts())
    return Selection(ArrowBatch(rows), numbers, counts=BuildCounts())


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        {
            "row": pa.int64(),
            "error": pa.large_binary(),
            "counts": pa.large_binary(),
            "line": pa.large_binary(),
            "facts": pa.large_binary(),
            "group_keys": pa.list_(pa.uint64()),
            "class": pa.string(),
            "fact_id": pa.string(),
            "origin": pa.list_(pa.string()),
        }
    )


def of_made(made: Made, first: int) -> pa.Table:
    """A row with the counts, and one for each line.

    Args:
        made: what became of the rows.
        first: the number of the first of them, dropped or not.
    """
    import pyarrow as pa

    lines = zip(
        made.numbers,
        made.data.split(b"\n")[:-1],
        map(pickle.dumps, made.facts.rows()) if made.facts else repeat(None),
        made.group_keys or repeat(()),
        made.classes or repeat(None),
        made.fact_ids or repeat(None),
        made.origins or repeat(None),
        # What is repeated has no end.
        strict=False,
    )
    rows: list[dict[str, object]] = [{"row": first, "counts": pickle.dumps(made.counts)}]
    names = ("row", "line", "facts", "group_keys", "class", "fact_id", "origin")
    rows += [dict(zip(names, values, strict=True)) for values in lines]
    return pa.Table.from_pylist(rows, schema=_schema())


def of_error(error: DatasetError, first: int) -> pa.Table:
    """A single row that tells why there is no line."""
    import pyarrow as pa

    # An error that a worker raised would reach the caller wrapped in Ray's own, and end the other batches.
    return pa.Table.from_pylist([{"row": first, "error": pickle.dumps(error)}], schema=_schema())


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
        error: DatasetError = pickle.loads(rows[0]["error"])
        raise error
    made = [row for row in rows if row["line"] is not None]
    # Whoever runs the batches may join their tables.
    counts = [pickle.loads(row["counts"]) for row in rows if row["counts"] is not None]
    return Made(
        numbers=[row["row"] for row in made],
        data=b"".join([row["line"] + b"\n" for row in made]),
        counts=reduce(BuildCounts.plus, counts),
        facts=joined([pickle.loads(row["facts"]) for row in made]) if made and made[0]["facts"] else None,
        group_keys=[row["group_keys"] for row in made],
        classes=[row["class"] for row in made if row["class"] is not None],
        fact_ids=[row["fact_id"] for row in made if row["fact_id"] is not None],
        origins=[(row["origin"][0], row["origin"][1]) for row in made if row["origin"] is not None],
    )
