"""All rows that make no record, told at once: the first hundred with their places, and how many there are."""

from __future__ import annotations

from ragtune.errors import DatasetError

_TOLD = 100


class BadRowsError(DatasetError):
    """Rows of a source that make no record.

    Attributes:
        rows: the first hundred, each with its place, value, rule and way out.
        count: how many there are.
    """

    def __init__(self, rows: tuple[str, ...], count: int) -> None:
        self.rows = rows[:_TOLD]
        self.count = count
        super().__init__(_told(self.rows, count))

    def __reduce__(self) -> tuple[type[BadRowsError], tuple[tuple[str, ...], int]]:
        # An exception is pickled with its message, of which alone this one cannot be made again.
        return type(self), (self.rows, self.count)


def _told(rows: tuple[str, ...], count: int) -> str:
    if count == 1:
        return rows[0]
    more = [f"and {count - len(rows):,} more"] if count > len(rows) else []
    return "\n  ".join([f"{count:,} rows make no record:", *rows, *more])


class BadRows:
    """Collects the rows that make no record while the others are looked at."""

    def __init__(self) -> None:
        self._rows: list[str] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, message: str) -> None:
        """One more row."""
        self._count += 1
        if len(self._rows) < _TOLD:
            self._rows.append(message)

    def add_all(self, error: BadRowsError) -> None:
        """The rows of a part that was looked at elsewhere."""
        self._count += error.count
        self._rows += error.rows[: _TOLD - len(self._rows)]

    def refuse(self) -> None:
        """Raise when there are any.

        Raises:
            BadRowsError: there are.
        """
        if self._count:
            raise BadRowsError(tuple(self._rows), self._count)
