"""Cursor paging as the wire has it: `after` is exclusive, order is by time of creation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from ragtune._sqlite import Database

__all__ = ["UnknownCursorError", "page"]


class UnknownCursorError(LookupError):
    """The id given as `after` names nothing that was ever listed here."""


def page(
    database: Database,
    table: str,
    *,
    where: str = "1",
    parameters: Sequence[object] = (),
    after: str | None,
    limit: int,
    newest_first: bool = True,
    along: str | None = None,
) -> tuple[list[sqlite3.Row], bool]:
    """Read one page of a table.

    Args:
        database: where the table is.
        table: its name; it has the columns `seq` and `id`.
        where: SQL condition for the rows that count.
        parameters: values for the condition.
        after: id of the last row of the page before, or None for the first page.
        limit: most rows to give.
        newest_first: the order of the pages.
        along: a table whose rows name those of `table`, by `seq`, in a column called like it; its condition narrows
            the rows first.

    Returns:
        The rows, and whether more follow.

    Raises:
        UnknownCursorError: `after` is no id of this table.
    """
    condition, values = f"({where})", [*parameters]
    source, place = table, f"{table}.seq"
    if along is not None:
        # A cross join keeps its order: SQLite would sort the whole list to begin with the other table.
        source, place = f"{along} CROSS JOIN {table} ON {along}.{table} = {place}", f"{along}.{table}"
    if after is not None:
        # Without the condition: the row may have been deleted since the page before, or be in another state.
        cursor = database.row(f"SELECT seq FROM {table} WHERE id = ?", (after,))
        if cursor is None:
            raise UnknownCursorError(after)
        condition += f" AND {place} {'<' if newest_first else '>'} ?"
        values.append(cursor["seq"])
    # By `seq` and not by time: many rows may come within one second.
    order = "DESC" if newest_first else "ASC"
    # Tables and conditions come from our own code alone; whatever a client sends is a parameter.
    sql = f"SELECT {table}.* FROM {source} WHERE {condition} ORDER BY {place} {order} LIMIT ?"
    # One more than asked for tells whether another page follows.
    rows = database.rows(sql, (*values, limit + 1))
    return rows[:limit], len(rows) > limit
