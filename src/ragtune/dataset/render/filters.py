"""Which rows are dropped, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune.dataset.render.rows import missing_column, two_kinds
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ragtune.dataset.render.rows import Made, Selection
    from ragtune.records import RecordFormat

Predicate = Callable[[Mapping[str, Any]], object]


@dataclass
class Tally:
    """What is known of the rows so far: how many were read and dropped by each step, and what the others became."""

    read: int = 0
    steps: list[dict[str, int]] = field(default_factory=list)
    format: RecordFormat | None = None
    # How many records have an answer in which a column is blank, by column.
    gaps: Counter[str] = field(default_factory=Counter)
    # Of each record, where they are counted; at the end those of the training file.
    tokens: list[int] = field(default_factory=list)
    # Two are enough to know that it varies.
    _systems: set[str | None] = field(default_factory=set)

    @property
    def system(self) -> str | None:
        """The system prompt that all records share; None when there is none or it varies."""
        return next(iter(self._systems)) if len(self._systems) == 1 else None

    def added(self, batches: Iterable[Made], filters: Sequence[dict[str, int]]) -> Iterator[Made]:
        """Count what became of each batch on its way.

        Args:
            batches: in the order of the rows.
            filters: where the drops of their filters are counted.

        Raises:
            DatasetError: records of a batch are of another kind than those before.
        """
        for made in batches:
            for index in made.dropped.values():
                for reason in filters[index]:
                    filters[index][reason] += 1
            if made.format is not None and self.format not in (None, made.format):
                raise DatasetError(two_kinds(made.numbers[0], made.format, self.format))
            self.format = self.format or made.format
            self.tokens.extend(made.tokens)
            for columns in made.gaps.values():
                self.gaps.update(columns)
            if len(self._systems) < 2:
                self._systems.update(made.systems)
            yield made

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
        self.dropped[self.filter.reason] += len(rows.drop(self.filter.unwanted(rows)))
