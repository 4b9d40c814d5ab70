"""Of rows that ask the same, the newest is kept: so an old and a new answer to one question contradict no more."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from ragtune._ranges import plain_number
from ragtune.dataset.deduplicate import digest
from ragtune.errors import DatasetError
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.dataset.render.filters import Before
    from ragtune.dataset.render.rows import Selection

# A row without a time or number is older than any that has one.
Age = tuple[int, dt.datetime | float | Decimal]
_UNKNOWN: Age = (0, 0)


@dataclass(frozen=True, kw_only=True)
class KeepNewest:
    """Keeps the newest of all rows whose columns say the same in normal form, the last of several as new.

    Attributes:
        per: the columns that are compared.
        by: the column of times or numbers.
    """

    per: tuple[str, ...]
    by: str

    in_order: ClassVar[bool] = True

    def start(self, before: Before) -> RunningKeepNewest:
        """The step for one reading of the rows, all of which are looked at first.

        Raises:
            DatasetError: a column is not there, or a value of `by` is neither a time nor a number, or it is the other
                of the two than those before it.
        """
        newest: dict[bytes, tuple[Age, int]] = {}
        older: set[int] = set()
        ages = _Ages(self.by)
        # All rows first: that a row is not the newest is known only when the last one was read.
        for rows in before():
            said = zip(*(rows.column(name, who="keep_newest") for name in self.per), strict=True)
            times = rows.column(self.by, who="keep_newest")
            for index, (values, time) in enumerate(zip(said, times, strict=True)):
                key = _key(values)
                age = ages.of(time, rows, index)
                if key is None:
                    continue
                row = rows.number(index)
                known = newest.get(key)
                # Of two as new the later row: tables grow at their end.
                if known is None or age >= known[0]:
                    newest[key] = age, row
                    row = row if known is None else known[1]
                if known is not None:
                    older.add(row)
        return RunningKeepNewest(per=self.per, older=frozenset(older))

    def described(self) -> dict[str, object]:
        """What the manifest says about the step."""
        return {"keep_newest": list(self.per), "by": self.by}


@dataclass(frozen=True, kw_only=True)
class RunningKeepNewest:
    """Knows the numbers of the rows that are not the newest."""

    per: tuple[str, ...]
    older: frozenset[int] = field(repr=False)

    wants_more: ClassVar[bool] = True

    def apply(self, rows: Selection) -> dict[str, int]:
        """Drop them."""
        dropped = rows.drop([number in self.older for number in rows.numbers()])
        return {f"older than another row of the same {', '.join(self.per)}": dropped}


def _key(values: Sequence[object]) -> bytes | None:
    """What rows have in common that ask the same; None where nothing is said, which is like nothing else."""
    forms = [normalise("" if value is None else str(value)) for value in values]
    return digest(forms) if any(forms) else None


class _Ages:
    """Makes the values of a column comparable: all of them times, or all of them numbers."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._are_times: bool | None = None

    def of(self, value: object, rows: Selection, index: int) -> Age:
        """How new a row is.

        Raises:
            DatasetError: nobody can say.
        """
        found = _time_or_number(value)
        if found == _UNKNOWN:
            return found
        is_time = isinstance(found[1], dt.datetime)
        if self._are_times is None:
            self._are_times = is_time
        if found[0] < 0 or is_time != self._are_times:
            needed = (
                "is neither a time nor a number" if found[0] < 0 else "cannot be compared with the values before it"
            )
            raise DatasetError(
                f"{rows.place(index)}, column {self._column!r}: {value!r:.60} {needed}; keep_newest takes numbers, or "
                f"times in ISO 8601 such as 2026-01-31: convert them with .map(...)"
            )
        return found


def _time_or_number(value: object) -> Age:
    """Times are in UTC unless they say otherwise; what is neither has an age below zero."""
    if value is None or _is_gap(value) or (isinstance(value, str) and not value.strip()):
        return _UNKNOWN
    if isinstance(value, str):
        # Before times: `20260131` is a number here, which compares as the day does.
        try:
            number = float(value)
            return (1, number) if math.isfinite(number) else _UNKNOWN
        except ValueError:
            pass
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            return (-1, 0)
    if type(value).__name__ == "datetime64":
        # Nanoseconds would come out as a whole number.
        value = value.astype("datetime64[us]").item()  # type: ignore[attr-defined]  # a time of NumPy
    value = plain_number(value)
    if isinstance(value, dt.datetime):
        return (1, value if value.tzinfo else value.replace(tzinfo=dt.UTC))
    # Behind the check for moments, which are dates as well.
    if isinstance(value, dt.date):
        return (1, dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC))
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return (1, value)
    return (-1, 0)


def _is_gap(value: object) -> bool:
    try:
        # NaN and NaT are unlike themselves, of whatever library.
        return bool(value != value)
    # An array has no one answer; a signalling NaN of Decimal refuses every comparison.
    except (ValueError, ArithmeticError):
        return isinstance(value, Decimal)
