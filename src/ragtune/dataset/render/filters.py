"""The steps of a builder: what they have in common, and the filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from ragtune.dataset.render.batches import SourceRow
from ragtune.dataset.render.rendered import BuildCounts
from ragtune.dataset.render.rows import missing_column
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from ragtune.dataset.render.rows import Selection

Predicate = Callable[[SourceRow], object]
Before = Callable[[], Iterator["Selection"]]


class RunningStep(Protocol):
    """A step of the builder at work on one reading of the rows."""

    @property
    def wants_more(self) -> bool:
        """Whether it would keep further rows; where it would not, the source is read no further."""

    def apply(self, rows: Selection) -> Mapping[str, int]:
        """Change rows or drop unwanted ones, and say how many for each reason that there is."""


class Step(Protocol):
    """A step of the builder.

    Attributes:
        in_order: whether it must see all rows in their order, so that no other process can do it to some of them.
    """

    in_order: ClassVar[bool]

    def start(self, before: Before) -> RunningStep:
        """The step for one reading of the rows; `before` reads those that come to it, for who must know all of them."""

    def described(self) -> dict[str, object]:
        """What the manifest says about the step."""


def apply_steps(steps: Mapping[int, RunningStep], rows: Selection) -> None:
    """Let steps do their work on a batch, and note what they drop in its counts, by the place of the step."""
    for place, step in steps.items():
        dropped = {(place, reason): number for reason, number in step.apply(rows).items()}
        rows.counts = rows.counts.plus(BuildCounts(dropped=dropped))


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A reason to drop rows: those for which `keep` gives something false. It remembers no row."""

    keep: Predicate
    reason: str

    in_order: ClassVar[bool] = False
    wants_more: ClassVar[bool] = True

    def start(self, before: Before) -> Filter:
        """The filter itself."""
        return self

    def described(self) -> dict[str, object]:
        """What the manifest says about the step."""
        return {"filter": self.reason}

    def apply(self, rows: Selection) -> dict[str, int]:
        """Drop the unwanted rows.

        Raises:
            DatasetError: the filter asks for a column that is not there.
        """
        return {self.reason: rows.drop(self._unwanted(rows))}

    def _unwanted(self, rows: Selection) -> list[bool]:
        # Both names are looked up once and not for every row.
        keep = self.keep
        flags: list[bool] = []
        add = flags.append
        try:
            for row in rows.views():
                add(not keep(row))
        except KeyError as error:
            name = error.args[0] if error.args else None
            # A KeyError about something else is a mistake inside the function, and its own business.
            if name in rows.names or not isinstance(name, str):
                error.add_note(f"in the filter {self.reason!r} at {rows.place(len(flags))}")
                raise
            raise DatasetError(missing_column(name, rows.names, f"the filter {self.reason!r}")) from None
        except Exception as error:
            error.add_note(f"in the filter {self.reason!r} at {rows.place(len(flags))}")
            raise
        return flags
