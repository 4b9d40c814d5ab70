"""What rows became: lines, counts, and what the split needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ragtune.dataset.leakage.text_hashes import Facts
    from ragtune.dataset.leakage.texts import Texts
    from ragtune.records import RecordFormat
    from ragtune.tokens import RecordCounter

_Key = TypeVar("_Key")
# By which wording and which recipe, with its version, a row was made.
Origin = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class BuildCounts:
    """What became of some rows: those of one batch, or of all batches together.

    Attributes:
        read: how many rows the source gave.
        dropped: how many were dropped, by the place of the step among the builder's filters and by reason.
        format: the record kind; None where no row is left.
        systems: the different system prompts of the records; two are enough to know that they vary.
        gaps: how many records have an answer in which a column is blank, by column.
        tokens: of each record, batch by batch; empty where they are not counted.
        masked: how many secrets and personal data were covered, by place and kind.
        origins: how many records each wording of a recipe made.
    """

    read: int = 0
    dropped: Mapping[tuple[int, str], int] = field(default_factory=dict)
    format: RecordFormat | None = None
    systems: frozenset[str | None] = frozenset()
    gaps: Mapping[str, int] = field(default_factory=dict)
    tokens: tuple[Sequence[int], ...] = ()
    masked: Mapping[tuple[str, str], int] = field(default_factory=dict)
    origins: Mapping[Origin, int] = field(default_factory=dict)

    def plus(self, other: BuildCounts) -> BuildCounts:
        """The counts of these rows and others of the same record kind."""
        return BuildCounts(
            read=self.read + other.read,
            dropped=_sums(self.dropped, other.dropped),
            format=self.format or other.format,
            # A system prompt of its own in every record would fill the memory.
            systems=self.systems if len(self.systems) > 1 else self.systems | other.systems,
            gaps=_sums(self.gaps, other.gaps),
            tokens=self.tokens + other.tokens,
            masked=_sums(self.masked, other.masked),
            origins=_sums(self.origins, other.origins),
        )

    @property
    def system(self) -> str | None:
        """The system prompt that all records share; None when there is none or it varies."""
        return next(iter(self.systems)) if len(self.systems) == 1 else None

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows were dropped for each reason, in all steps together."""
        total: dict[str, int] = {}
        for (_, reason), number in self.dropped.items():
            # Two steps may drop rows for the same reason.
            total[reason] = total.get(reason, 0) + number
        return total

    def without(self, mask: Callable[[str], str]) -> BuildCounts:
        """The same counts; reasons and names of columns say nothing that `mask` covers."""
        return replace(
            self,
            dropped=_summed(((place, mask(reason)), number) for (place, reason), number in self.dropped.items()),
            gaps=_summed((mask(name), number) for name, number in self.gaps.items()),
            masked=_summed(((mask(place), kind), number) for (place, kind), number in self.masked.items()),
        )

    def of_step(self, place: int) -> dict[str, int]:
        """How many rows one step dropped, by reason."""
        return {reason: number for (step, reason), number in self.dropped.items() if step == place}


def _sums(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> Mapping[_Key, int]:
    return _summed(chain(one.items(), other.items()))


def _summed(numbers: Iterable[tuple[_Key, int]]) -> Mapping[_Key, int]:
    found: dict[_Key, int] = {}
    for key, number in numbers:
        found[key] = found.get(key, 0) + number
    return found


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What selected rows became.

    Attributes:
        format: the record kind; None where there was no row.
        systems: the different system prompts of the records.
        data: one line per row, each with its line feed and without other line separators.
        gaps: how many records have an answer in which a column is blank beside others, by column.
        texts: gives what the rows say.
        tokens: counts the tokens of each record.
    """

    format: RecordFormat | None
    systems: frozenset[str | None]
    data: bytes
    gaps: Mapping[str, int]
    texts: Callable[[], Texts]
    tokens: Callable[[RecordCounter], Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What became of a batch of rows.

    Attributes:
        numbers: the number in the source of each row that is left, in order.
        data: a line for each of them, with its line feed.
        counts: what became of all rows of the batch.
        facts: the facts of these rows; None where nothing is split.
        group_keys: for each row the keys by which the user wants rows kept together, too; empty where there are none.
        classes: for each row its class; empty where nobody asked for them.
        fact_ids: for each row the id of its fact; empty where nobody asked for them.
        origins: for each row by which wording and recipe it was made; empty where no recipe made it.
    """

    numbers: Sequence[int]
    data: bytes
    counts: BuildCounts
    facts: Facts | None = None
    group_keys: Sequence[Sequence[int]] = ()
    classes: Sequence[str] = ()
    fact_ids: Sequence[str] = ()
    origins: Sequence[Origin] = ()


def two_kinds(number: int, kind: str, earlier: str) -> str:
    """The message about a dataset of two record kinds."""
    return f"row {number} became a {kind} record, earlier rows {earlier}; build one dataset per record kind"
