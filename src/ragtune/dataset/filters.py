"""Which rows are dropped, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune.dataset.batches import missing_column
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from ragtune.dataset.batches import Selection

Predicate = Callable[[Mapping[str, Any]], object]


@dataclass
class Tally:
    """How many rows were read, and how many each step dropped, by reason."""

    read: int = 0
    steps: list[dict[str, int]] = field(default_factory=list)

    @property
    def dropped(self) -> dict[str, int]:
        """How many rows were dropped for each reason, in all steps together."""
        total: dict[str, int] = {}
        for step in self.steps:
            for reason, number in step.items():
                total[reason] = total.get(reason, 0) + number
        return total

    def refuse_nothing_left(self) -> None:
        """Raise when every row was dropped.

        Raises:
            DatasetError: names the reasons with their numbers.
        """
        reasons = ", ".join(f"{number:,} for {reason!r}" for reason, number in self.dropped.items() if number)
        raise DatasetError(f"all {self.read:,} rows were dropped ({reasons}); loosen the filters")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A reason to drop rows: those for which `keep` gives something false."""

    keep: Predicate
    reason: str

    def start(self) -> Filtering:
        """The step for one reading of the rows."""
        return Filtering(filter=self, dropped={self.reason: 0})

    def described(self) -> dict[str, Any]:
        """What the manifest says about the step."""
        return {"filter": self.reason}

    def unwanted(self, rows: Selection) -> list[bool]:
        """One flag per row: whether it is to be dropped.

        Raises:
            DatasetError: the filter asks for a column that is not there.
        """
        keep = self.keep
        flags: list[bool] = []
        add = flags.append
        try:
            for row in rows.views():
                add(not keep(row))
        except KeyError as error:
            name = error.args[0] if error.args else None
            if name in rows.names or not isinstance(name, str):
                raise
            raise DatasetError(missing_column(name, rows.names, f"the filter {self.reason!r}")) from None
        except Exception as error:
            error.add_note(f"in the filter {self.reason!r} at row {rows.number(len(flags))}")
            raise
        return flags


@dataclass(frozen=True, kw_only=True)
class Filtering:
    """A filter at work: counts what it drops."""

    filter: Filter
    dropped: dict[str, int]

    def apply(self, rows: Selection) -> None:
        """Drop the unwanted rows."""
        self.dropped[self.filter.reason] += rows.drop(self.filter.unwanted(rows))
