"""Lists from an account as frozen tables that turn into data frames only when asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from numbers import Integral
from textwrap import shorten
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from ragtune._html import table
from ragtune.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

# Most characters of a sentence in a text table; data frames and HTML keep all of it.
LONGEST = 60
# Control signs, and those that turn the direction of what follows.
_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Table(Generic[Row]):
    """Rows of one kind with the columns that a person wants to see.

    Attributes:
        rows: the rows.

    Example:
        ```python
        from dataclasses import dataclass

        from ragtune._table import Table

        @dataclass(frozen=True, kw_only=True)
        class Names(Table[str]):
            def columns(self):
                return {"Name": list(self.rows)}

        print(Names(rows=("ft:a", "ft:b")).to_pandas().shape)
        #> (2, 1)
        ```
    """

    rows: tuple[Row, ...]

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column, in the order of the rows."""
        raise NotImplementedError

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a `pandas.DataFrame`; an unknown cell is None."""
        import pandas as pd

        return pd.DataFrame({name: pd.Series(cells, dtype=_kind(cells)) for name, cells in self.columns().items()})

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self.rows[index]

    def __str__(self) -> str:
        padded = []
        for name, cells in self.columns().items():
            texts = [name, *map(_short, cells)]
            width = max(map(len, texts))
            padded.append([text.ljust(width) for text in texts])
        return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))

    def _repr_html_(self) -> str:
        columns = self.columns()
        cells = [map(_cell, values) for values in columns.values()]
        return table([list(line) for line in zip(*cells, strict=True)], head=list(columns))


def check_limit(limit: object) -> None:
    """Refuse a number of rows that would show none without a word.

    Raises:
        SpecError: it is neither a whole number of at least 1 nor None.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1):
        raise SpecError(f"limit: {limit!r} must be a whole number, 1 or more, or None for all")


def in_one_line(text: str) -> str:
    """What strangers wrote, without signs that a terminal obeys or that break a line: they are spelled out."""
    return _OBEYED.sub(lambda sign: sign[0].encode("unicode_escape").decode("ascii"), text)


def _kind(cells: list[object]) -> str | None:
    # Text columns stay plain objects: otherwise pandas makes NaN of a name that is None.
    return "object" if any(isinstance(cell, str) or cell is None for cell in cells) else None


def _short(value: object) -> str:
    """A cell of a line of text: an error message would make every line as long as itself, a name stays whole."""
    text = _cell(value)
    # A sentence is cut between its words, wherever its lines end; in what is left each sign is spelled out.
    return in_one_line(shorten(text, LONGEST, placeholder=" ...") if " " in text and len(text) > LONGEST else text)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    # Dates have no time of day to show.
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
