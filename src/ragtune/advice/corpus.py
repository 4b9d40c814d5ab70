"""What a pile of documents tells of itself: volume, growth, what changes and what does not, what stands there twice."""

from __future__ import annotations

import datetime as dt
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

__all__ = ["ColumnNames", "Corpus", "GroupFacts", "Snapshot", "measure"]

_MONTH_DAYS = 365.25 / 12
_COUNTED = 200
"""Documents of each group whose tokens are counted; the others go by their length."""
_KEPT_CHARACTERS = 20_000_000
_KEPT = 20_000
"""Documents whose texts are kept, for near-duplicates and for the questions that touch them."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All documents as they were on one day.

    Attributes:
        date: the day.
        documents: rows or texts; read once, one at a time.

    Example:
        ```python
        import datetime as dt

        import ragtune as rt
        from ragtune.advice import Snapshot

        spring = Snapshot(date=dt.date(2026, 3, 1), documents=[{"id": "a", "text": "Ferries cross at noon."}])
        summer = Snapshot(date=dt.date(2026, 6, 1), documents=[{"id": "a", "text": "Ferries cross at one."}])
        advice = rt.advise([spring, summer], queries_per_month=1_000)
        print(f"{advice.groups[0].changed_per_month:.2f} of the documents change in a month")
        #> 0.33 of the documents change in a month
        ```
    """

    date: dt.date
    documents: Iterable[object]


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """Where a row says what."""

    text: str
    id: str | None
    group: str | None
    updated: str | None


@dataclass(kw_only=True)
class GroupFacts:
    """What was measured of one group."""

    documents: int = 0
    characters: int = 0
    counted_characters: int = 0
    counted_tokens: int = 0
    ages: array[float] = field(default_factory=lambda: array("d"))
    undated: int = 0
    future: int = 0
    repeated: int = 0
    near: int | None = None
    growth_per_month: float | None = None
    changed_per_month: float | None = None
    static_share: float | None = None

    @property
    def tokens(self) -> float:
        """Tokens of all documents, by those that were counted."""
        return self.characters * self.counted_tokens / self.counted_characters if self.counted_characters else 0.0


@dataclass(kw_only=True)
class Corpus:
    """All groups, with the texts that were kept for a closer look."""

    groups: dict[str, GroupFacts]
    texts: list[str]
    text_groups: list[str]
    complete: bool


@dataclass(kw_only=True)
class _Seen:
    """One snapshot as numbers: 18 bytes a document."""

    ids: array[int] = field(default_factory=lambda: array("Q"))
    contents: array[int] = field(default_factory=lambda: array("Q"))
    groups: array[int] = field(default_factory=lambda: array("H"))


def measure(source: Iterable[object], columns: ColumnNames, *, today: dt.date, static_after_months: float) -> Corpus:
    """Read all snapshots, one document at a time.

    Raises:
        DatasetError: see `ragtune.advise`.
    """
    reader = _DocumentReader(columns, today)
    snapshots = _snapshots(source, today)
    before: _Seen | None = None
    changes = _ChangeRates()
    for index, snapshot in enumerate(snapshots):
        last = index == len(snapshots) - 1
        seen = reader.read(snapshot, counts=last, needs_ids=len(snapshots) > 1)
        if before is not None:
            months = (snapshot.date - snapshots[index - 1].date).days / _MONTH_DAYS
            changes.add(before, seen, months)
        before = seen
    corpus = reader.corpus()
    assert before is not None
    for number, name in enumerate(reader.names):
        own = corpus.groups.get(name)
        if own is None:
            continue  # it stood in earlier snapshots only
        own.repeated = _repeated(before, number)
        changes.tell(own, number)
        if own.changed_per_month is None and len(own.ages):
            _by_age(own, static_after_months)
    return corpus


def _snapshots(source: Iterable[object], today: dt.date) -> list[Snapshot]:
    if isinstance(source, str | bytes | Mapping):
        raise DatasetError(f"the corpus is {type(source).__name__}; give rows, texts, or Snapshots of them")
    if not isinstance(source, list | tuple) or not any(isinstance(item, Snapshot) for item in source):
        return [Snapshot(date=today, documents=source)]
    found = [item for item in source if isinstance(item, Snapshot)]
    if len(found) < len(source):
        raise DatasetError("the corpus mixes Snapshots and documents; put the documents into a Snapshot with its date")
    for item in found:
        # A datetime is a date to Python, and cannot be compared with one.
        if not isinstance(item.date, dt.date) or isinstance(item.date, dt.datetime):
            raise DatasetError(f"Snapshot(date={item.date!r:.60}): give the day as datetime.date(2026, 3, 1)")
        if item.date > today:
            raise DatasetError(f"Snapshot(date={item.date}) lies in the future; today is {today}, see today=")
    dates = [item.date for item in found]
    if sorted(set(dates)) != dates:
        raise DatasetError("the Snapshots must come in the order of their dates, each with a day of its own")
    return found


class _DocumentReader:
    """Turns documents into numbers, and keeps a few of their texts."""

    def __init__(self, columns: ColumnNames, today: dt.date) -> None:
        self.columns, self.today = columns, today
        self.names: dict[str, int] = {}
        self.groups: defaultdict[str, GroupFacts] = defaultdict(GroupFacts)
        self.texts: list[str] = []
        self.text_groups: list[str] = []
        self.complete = True
        self._kept = 0

    def corpus(self) -> Corpus:
        """What was read of the last snapshot."""
        if not self.groups:
            raise DatasetError("there is no document in the corpus; give rows with a text, or texts")
        return Corpus(groups=dict(self.groups), texts=self.texts, text_groups=self.text_groups, complete=self.complete)

    def read(self, snapshot: Snapshot, *, counts: bool, needs_ids: bool) -> _Seen:
        """Numbers of all documents of a snapshot; volumes, ages and texts of the last one alone are kept."""
        from ragtune.tokens import counter_for

        count = counter_for("o200k_base").count_batch
        seen = _Seen()
        for place, item in enumerate(snapshot.documents):
            text, id, group, updated = self._document(item, f"{snapshot.date}, document {place}", needs_ids=needs_ids)
            data = text.encode("utf-8", "surrogatepass")
            # Eight bytes: that two of a hundred million documents are taken for one has a chance of three in ten
            # thousand.
            seen.contents.append(int.from_bytes(blake2b(data, digest_size=8).digest(), "little"))
            if id is not None:
                named = id.encode("utf-8", "surrogatepass")
                seen.ids.append(int.from_bytes(blake2b(named, digest_size=8).digest(), "little"))
            number = self.names.setdefault(group, len(self.names))
            # Two bytes for each document are kept of its group.
            if number > 65_535:
                raise DatasetError(f"column {self.columns.group!r} has more than 65,536 groups; name a coarser one")
            seen.groups.append(number)
            if not counts:
                continue
            own = self.groups[group]
            own.documents += 1
            own.characters += len(text)
            if own.documents <= _COUNTED:
                own.counted_characters += len(text)
                own.counted_tokens += count([text])[0]
            if updated is None:
                own.undated += self.columns.updated is not None
            elif updated > self.today:
                own.future += 1
            else:
                # Never 0: the number of documents is divided by the sum of their ages.
                own.ages.append(max((self.today - updated).days, 1) / _MONTH_DAYS)
            self._keep(text, group)
        return seen

    def _keep(self, text: str, group: str) -> None:
        if len(self.texts) < _KEPT and self._kept + len(text) <= _KEPT_CHARACTERS:
            self._kept += len(text)
            self.texts.append(text)
            self.text_groups.append(group)
        else:
            self.complete = False

    def _document(self, item: object, place: str, *, needs_ids: bool) -> tuple[str, str | None, str, dt.date | None]:
        own = self.columns
        if isinstance(item, str):
            if needs_ids:
                raise DatasetError(f"{place} is a text; several snapshots need rows with an id, column {own.id!r}")
            return item, None, "all", None
        if not isinstance(item, Mapping):
            raise DatasetError(f"{place}: {item!r:.60} is neither a row nor a text")
        needed = [own.text, own.group, own.updated, own.id if needs_ids else None]
        for name in needed:
            if name is not None and name not in item:
                listed = ", ".join(map(repr, item)) or "none"
                raise DatasetError(f"{place} has no column {name!r}; its columns are {listed}")
        text = item[own.text]
        if not isinstance(text, str):
            raise DatasetError(f"{place}, column {own.text!r}: {text!r:.60} is {type(text).__name__}, not text")
        id = item.get(own.id) if own.id is not None else None
        if id is None and needs_ids:
            raise DatasetError(f"{place}, column {own.id!r}: None; several snapshots need an id for every document")
        group = "all" if own.group is None else str(item[own.group])
        updated = None if own.updated is None else self._day(item[own.updated], place)
        return text, None if id is None else str(id), group, updated

    def _day(self, value: object, place: str) -> dt.date | None:
        if value is None:
            return None
        try:
            # So pandas and NumPy write a day that nobody knows.
            if value != value:
                return None
            found = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        except (ValueError, TypeError):
            found = None
        day = found.date() if isinstance(found, dt.datetime) else found
        if not isinstance(day, dt.date):
            raise DatasetError(f"{place}, column {self.columns.updated!r}: {value!r:.60} is no date; write 2026-03-01")
        return day


class _ChangeRates:
    """What changed from snapshot to snapshot, by group."""

    def __init__(self) -> None:
        self.months = 0.0
        self.common_months: defaultdict[int, float] = defaultdict(float)
        self.changed: defaultdict[int, int] = defaultdict(int)
        self.grown: defaultdict[int, int] = defaultdict(int)
        self.first: defaultdict[int, int] = defaultdict(int)
        self.intervals = 0
        self._touched: npt.NDArray[np.uint64] | None = None
        self._unchanged: dict[int, int] = {}

    def add(self, before: _Seen, now: _Seen, months: float) -> None:
        """Compare two snapshots."""
        import numpy as np

        old_ids, new_ids = (np.frombuffer(seen.ids, np.uint64) for seen in (before, now))
        old, new = (np.frombuffer(seen.contents, np.uint64) for seen in (before, now))
        groups = np.frombuffer(now.groups, np.uint16)
        # Each snapshot once, the first one with the second: `assume_unique` below would count wrongly without a word.
        if any(len(np.unique(ids)) < len(ids) for ids in ([] if self.intervals else [old_ids]) + [new_ids]):
            raise DatasetError("two documents of one snapshot have the same id; ids must tell documents apart")
        ids, at_old, at_new = np.intersect1d(old_ids, new_ids, assume_unique=True, return_indices=True)
        differs = old[at_old] != new[at_new]
        touched = ids[differs]
        self._touched = touched if self._touched is None else np.union1d(self._touched, touched)
        own = groups[at_new]
        size = int(groups.max(initial=0)) + 1
        for number, (common, changed) in enumerate(
            zip(np.bincount(own, minlength=size), np.bincount(own[differs], minlength=size), strict=True)
        ):
            self.common_months[number] += int(common) * months
            self.changed[number] += int(changed)
        old_sizes = np.bincount(np.frombuffer(before.groups, np.uint16), minlength=size)
        for number, growth in enumerate(np.bincount(groups, minlength=size)[:size] - old_sizes[:size]):
            self.grown[number] += int(growth)
        if not self.intervals:
            self._since = ids
        else:
            self._since = np.intersect1d(self._since, ids, assume_unique=True)
        # What came later has not stood unchanged for the whole time.
        still = own[np.isin(ids, self._since) & ~np.isin(ids, self._touched)]
        self._unchanged = dict(enumerate(np.bincount(still, minlength=size).tolist()))
        self.months += months
        self.intervals += 1

    def tell(self, own: GroupFacts, number: int) -> None:
        """Write into a group what its snapshots showed."""
        if not self.intervals:
            return
        own.growth_per_month = self.grown[number] / self.months
        if self.common_months[number]:
            # Every document that stood in both counts with the months between.
            own.changed_per_month = self.changed[number] / self.common_months[number]
            own.static_share = self._unchanged.get(number, 0) / own.documents


def _repeated(seen: _Seen, number: int) -> int:
    """Documents of a group whose text stands there before, to the letter."""
    import numpy as np

    own = np.frombuffer(seen.contents, np.uint64)[np.frombuffer(seen.groups, np.uint16) == number]
    return len(own) - len(np.unique(own))


def _by_age(own: GroupFacts, static_after_months: float) -> None:
    """How often documents change, when only the day of the last change is known.

    Were changes to come at random and equally often, the time since the last one had the mean of one over their rate.
    """
    import numpy as np

    ages = np.frombuffer(own.ages, np.float64)
    own.changed_per_month = min(1.0, len(ages) / float(ages.sum()))
    own.static_share = float((ages >= static_after_months).mean())


def documents_near(texts: list[str]) -> Iterator[int]:
    """Numbers of texts that are nearly the same as an earlier one."""
    from ragtune.dataset import near_duplicates

    yield from {pair.second for pair in near_duplicates(texts)}
