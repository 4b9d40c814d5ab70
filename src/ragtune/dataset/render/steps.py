"""What happens to rows before they become records, besides filters: changed, renamed, cut, drawn by lot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from ragtune.dataset.bad_rows import BadRows
from ragtune.dataset.leakage.assignment import scrambled
from ragtune.dataset.render.batches import SourceRow
from ragtune.dataset.render.rows import missing_column
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from ragtune.dataset.render.filters import Before, Step
    from ragtune.dataset.render.rows import Selection

ChangeRow = Callable[[dict[str, Any]], SourceRow]


@dataclass(frozen=True, kw_only=True)
class Map:
    """Puts what a function makes of a row in its place."""

    change: ChangeRow

    in_order: ClassVar[bool] = False
    wants_more: ClassVar[bool] = True

    def start(self, before: Before) -> Map:
        """The step itself: it remembers no row."""
        return self

    def described(self) -> dict[str, object]:
        """What the manifest says about the step."""
        return {"map": getattr(self.change, "__qualname__", type(self.change).__qualname__)}

    def apply(self, rows: Selection) -> dict[str, int]:
        """Change the rows.

        Raises:
            BadRowsError: of some the function makes no row; all of them are told.
        """
        changed: list[SourceRow] = []
        bad = BadRows()
        for index, row in enumerate(rows.rows()):
            try:
                # A copy: who changes the row that was given would change the source, and twice at a second reading.
                made: object = self.change(dict(row))
            except Exception as error:
                error.add_note(f"in the function given to map() at {rows.place(index)}")
                raise
            if isinstance(made, Mapping):
                changed.append(made)
            else:
                bad.add(
                    f"{rows.place(index)}: the function given to map() must return a row, that is a mapping of column "
                    f"names to values, got {made!r:.60}; drop rows with .filter(..., reason=...)"
                )
        bad.refuse()
        rows.replace(changed)
        return {}


@dataclass(frozen=True, kw_only=True)
class Rename:
    """Gives columns other names.

    Attributes:
        names: the new name of each column, by its old one.
    """

    names: Mapping[str, str]

    in_order: ClassVar[bool] = False
    wants_more: ClassVar[bool] = True

    def start(self, before: Before) -> Rename:
        """The step itself: it remembers no row."""
        return self

    def described(self) -> dict[str, object]:
        """What the manifest says about the step."""
        return {"rename": dict(self.names)}

    def apply(self, rows: Selection) -> dict[str, int]:
        """Rename the columns of a batch.

        Raises:
            DatasetError: a column is not there, or another one has the new name already.
        """
        present = rows.names
        for old, new in self.names.items():
            if old not in present:
                raise DatasetError(missing_column(old, present, "rename"))
            # Two columns may change names with each other.
            if new in present and new not in self.names:
                raise DatasetError(
                    f"rename gives {old!r} the name {new!r}, which another column has; drop or rename it"
                )
        rows.rename(self.names)
        return {}


def names_behind(steps: Sequence[Step], names: Sequence[str]) -> Sequence[str] | None:
    """The names that columns have behind some steps; None where a function decides."""
    for step in steps:
        if isinstance(step, Map):
            return None
        if isinstance(step, Rename):
            names = [step.names.get(name, name) for name in names]
    return names


@dataclass(frozen=True, kw_only=True)
class Take:
    """Keeps the first rows; behind them the source is not read on."""

    count: int

    # Another process does not know how many rows came before its own.
    in_order: ClassVar[bool] = True

    def start(self, before: Before) -> RunningTake:
        """The step for one reading of the rows."""
        return RunningTake(count=self.count, left=self.count)

    def described(self) -> dict[str, object]:
        """What the manifest says about the step."""
        return {"take": self.count}


@dataclass(kw_only=True)
class RunningTake:
    """Counts down."""

    count: int
    left: int

    @property
    def wants_more(self) -> bool:
        """Whether further rows would be kept."""
        return self.left > 0

    def apply(self, rows: Selection) -> dict[str, int]:
        """Drop the rows behind the last one that is wanted."""
        kept = min(self.left, len(rows))
        self.left -= kept
        dropped = rows.drop([index >= kept for index in range(len(rows))])
        return {f"beyond the first {self.count:,} rows": dropped}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Keeps rows that are drawn by lot; which ones, their numbers and the seed decide."""

    count: int
    seed: int

    in_order: ClassVar[bool] = True

    def start(self, before: Before) -> RunningSample:
        """The step for one reading of the rows, which are counted first."""
        import numpy as np

        numbers = np.fromiter(chain.from_iterable(rows.numbers() for rows in before()), np.int64)
        # By the rows' numbers and not by a lot of Python's, whose draws may differ between its versions.
        order = np.argsort(scrambled(numbers.astype(np.uint64), self.seed), kind="stable")
        return RunningSample(count=self.count, chosen=numbers[order[: self.count]])

    def described(self) -> dict[str, object]:
        """What the manifest says about the step."""
        return {"sample": self.count, "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class RunningSample:
    """Knows the numbers of the rows that were drawn."""

    count: int
    chosen: npt.NDArray[np.int64] = field(repr=False)

    wants_more: ClassVar[bool] = True

    def apply(self, rows: Selection) -> dict[str, int]:
        """Drop the others."""
        import numpy as np

        drawn = np.isin(np.array(rows.numbers(), dtype=np.int64), self.chosen)
        return {f"not among the {self.count:,} rows that were drawn": rows.drop((~drawn).tolist())}
