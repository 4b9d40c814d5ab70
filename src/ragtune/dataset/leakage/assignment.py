"""Which split each group of rows goes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import index
from typing import TYPE_CHECKING

from ragtune.dataset.leakage.grouping import SPLITS, SplitPlan, key_of
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ragtune.dataset.leakage.shingles import Places

# A split that is further from its share, in shares of all rows, is refused; tiny sets are forgiven a few rows.
MOST_APART = 0.1
_FORGIVEN_ROWS = 3
_AT_ONCE = 65_536
_FEW_CLASSES = 100


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Where rows go, and what that makes of the shares.

    Attributes:
        splits: of each row: 0 train, 1 validation, 2 test.
        given: share of the rows that each split has.
        largest_group: rows of the largest group.
        notes: what is otherwise than asked for, in sentences.
        classes: rows of each class in each split, where classes were asked for.
    """

    splits: npt.NDArray[np.uint8]
    given: Mapping[str, float]
    largest_group: int
    notes: Sequence[str] = ()
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def check_seed(seed: object) -> int:
    """A seed as a plain integer.

    Raises:
        DatasetError: it is no integer, or has more than 64 bits.
    """
    # numpy's integers have it, too; True would be seed 1 without a word.
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise DatasetError(f"seed={seed!r:.60} must be an integer, for example 7")
    number = index(seed)
    if not -(1 << 63) <= number < 1 << 63:
        raise DatasetError(f"seed={number} must be an integer of 64 bits, from {-(1 << 63)} to {(1 << 63) - 1}")
    return number


def check_shares(validation: float, test: float) -> None:
    """Refuse shares that leave nothing to train on.

    Raises:
        DatasetError: a share is not in [0, 1), or both together reach 1.
    """
    for name, share in (("validation", validation), ("test", test)):
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise DatasetError(f"{name}={share!r} must be a share of the rows in [0, 1), for example 0.05")
    if validation + test >= 1:
        raise DatasetError(
            f"validation={validation} and test={test} leave nothing to train on; their sum must be below 1"
        )


def assign(groups: Places, plan: SplitPlan, *, classes: Sequence[str] = ()) -> Assignment:
    """Give every row its split, whole groups at a time.

    Groups are taken in an order that the seed decides, until a split has its share of rows; a share above zero gets at
    least one group. A group that would overfill a split is passed over. With classes, the rows of a split are parted
    among them by largest remainder, and each class by itself is split.

    Args:
        groups: for each row the first row of its group.
        plan: the shares and the seed.
        classes: of each row; empty without classes.

    Raises:
        DatasetError: there are fewer groups than splits, or a split is too far from its share.
    """
    import numpy as np

    count = len(groups)
    # A group has the number of its first row, so most of these sizes are zero.
    sizes = np.bincount(groups, minlength=count)
    first = np.flatnonzero(sizes)
    # The first row of a group decides its place in the order: rows added at the end leave the others in theirs.
    order = first[np.argsort(scrambled(first.astype(np.uint64), plan.seed), kind="stable")]
    asked = [(split, share) for split, share in ((1, plan.validation), (2, plan.test)) if share > 0]
    # Train needs a group as well.
    if len(first) <= len(asked):
        raise DatasetError(
            f"{count} rows form {len(first)} group(s) that share a question, a longer text or a value of group_by: too "
            f"few to split without a leak; give rows that share less, or build without validation and test"
        )
    split_of_group = np.zeros(count, dtype=np.uint8)
    if classes:
        _fill_classes(split_of_group, _strata(order, groups, classes), sizes=sizes, asked=asked)
    else:
        _fill(split_of_group, order, sizes=sizes, asked=asked)
    splits = split_of_group[groups]
    numbers = np.bincount(splits, minlength=len(SPLITS)).tolist()
    notes = _share_notes(asked, numbers, largest=int(sizes.max()), stratify_by=plan.stratify_by)
    per_class = _per_class(splits, classes, asked)
    for name, by_class in per_class.items():
        if missing := [value for value, rows in by_class.items() if not rows]:
            notes.append(
                f"{name} has no row of {len(missing):,} of the {len(by_class):,} classes in {plan.stratify_by!r}, for "
                f"example {missing[0]!r:.60}: they have too few groups of rows; give more rows of them"
            )
    used = [0, *(split for split, _ in asked)]
    given = {SPLITS[split]: round(numbers[split] / count, 6) for split in used}
    return Assignment(
        splits=splits,
        given=given,
        largest_group=int(sizes.max()),
        notes=tuple(notes),
        classes=_few(per_class),
    )


def _strata(order: Places, groups: Places, classes: Sequence[str]) -> list[tuple[Places, int]]:
    """The groups of each class in their order, and how many rows they have; most rows of a group decide its class."""
    import numpy as np

    names = {name: index for index, name in enumerate(dict.fromkeys(classes))}
    numbers = np.fromiter(map(names.__getitem__, classes), np.int64, len(classes))
    pairs, rows = np.unique(groups * len(names) + numbers, return_counts=True)
    ranked = pairs[np.argsort(rows, kind="stable")]
    # The last one that is written stays: the class of the most rows.
    class_of_group = np.zeros(len(groups), dtype=np.int64)
    class_of_group[ranked // len(names)] = ranked % len(names)
    sizes = np.bincount(class_of_group[groups], minlength=len(names)).tolist()
    return [(order[class_of_group[order] == index], size) for index, size in enumerate(sizes) if size]


def _fill(
    split_of_group: npt.NDArray[np.uint8], order: Places, *, sizes: Places, asked: Sequence[tuple[int, float]]
) -> None:
    """Give groups, taken in their order, to the splits."""
    rows = int(sizes.sum())
    for later, (split, share) in zip(range(len(asked) - 1, -1, -1), asked, strict=True):
        # Later splits and the training file need a group each.
        at_most = len(order) - later - 1
        chosen = _choose(order, sizes, rows=max(1, round(share * rows)), at_most=at_most)
        split_of_group[chosen] = split
        order = order[split_of_group[order] == 0]


def _fill_classes(
    split_of_group: npt.NDArray[np.uint8],
    strata: Sequence[tuple[Places, int]],
    *,
    sizes: Places,
    asked: Sequence[tuple[int, float]],
) -> None:
    """Give groups of each class to the splits, so that classes keep their shares and each split has its own."""
    rows = [number for _, number in strata]
    for split, share in asked:
        free = [order[split_of_group[order] == 0] for order, _ in strata]
        # The training file needs a group of each class.
        most = [int(sizes[order].sum() - sizes[order].min()) if len(order) > 1 else 0 for order in free]
        missed = 0
        for order, quota, limit in zip(free, _quotas(rows, share=share, most=most), most, strict=True):
            # What whole groups of one class cannot give, the next one gives.
            wanted = min(quota + missed, limit)
            chosen = _choose(order, sizes, rows=wanted, at_most=len(order) - 1) if wanted > 0 else []
            split_of_group[chosen] = split
            missed += quota - int(sizes[chosen].sum())


def _quotas(rows: Sequence[int], *, share: float, most: Sequence[int]) -> list[int]:
    """How many rows of each class a split gets: shares rounded by largest remainder, so that their sum is right.

    Args:
        rows: of each class.
        share: of the split.
        most: how many rows each class can give.
    """
    left = max(1, round(share * sum(rows)))
    ideal = [share * number for number in rows]
    quotas = [min(int(wanted), limit) for wanted, limit in zip(ideal, most, strict=True)]
    one_each = [max(quota, min(1, limit)) for quota, limit in zip(quotas, most, strict=True)]
    # That every file has each class is worth more than shares to the last row.
    quotas = one_each if sum(one_each) <= left else quotas
    left -= sum(quotas)
    while left > 0:
        behind = [place for place, quota in enumerate(quotas) if quota < most[place]]
        if not behind:
            break
        # Whoever is furthest below the ideal first: that is the largest remainder.
        behind.sort(key=lambda place: quotas[place] - ideal[place])
        for place in behind[:left]:
            quotas[place] += 1
        left -= min(left, len(behind))
    return quotas


def _share_notes(
    asked: Sequence[tuple[int, float]], numbers: Sequence[int], *, largest: int, stratify_by: str | None
) -> list[str]:
    """What is to be said about shares that were missed.

    Raises:
        DatasetError: one is missed by too much, or a split is empty.
    """
    count, notes = sum(numbers), []
    for split, share in asked:
        wanted, rows = share * count, numbers[split]
        # Whole groups meet a share roughly; a tenth of it off is what was asked for.
        if rows and abs(rows - wanted) <= max(1, 0.1 * wanted):
            continue
        part = f"{largest / count:.2%} ({largest:,} rows)"
        reason = (
            f"rows that share something stay together, and the largest group has {part}"
            if stratify_by is None or largest > abs(rows - wanted)
            else f"some rows of each class in {stratify_by!r} stay in train, and many classes have too few to give any"
        )
        note = (
            f"{SPLITS[split]} was asked to have {share:.2%} of the rows ({round(wanted):,}) and has {rows / count:.2%} "
            f"({rows:,}): {reason}"
        )
        if not rows or abs(rows - wanted) > max(MOST_APART * count, _FORGIVEN_ROWS):
            way_out = "give rows that share less" if stratify_by is None else "give more rows of each class"
            raise DatasetError(
                f"{note}; an empty split, and more than {MOST_APART:.0%} of all rows apart, is refused: ask for a "
                f"share that whole groups can give, or {way_out}"
            )
        notes.append(note)
    return notes


def _per_class(
    splits: npt.NDArray[np.uint8], classes: Sequence[str], asked: Sequence[tuple[int, float]]
) -> dict[str, dict[str, int]]:
    """Rows of each class in each split that is in use."""
    import numpy as np

    if not classes:
        return {}
    names = {name: index for index, name in enumerate(sorted(set(classes)))}
    numbers = np.fromiter(map(names.__getitem__, classes), np.int64, len(classes))
    used = (0, *(split for split, _ in asked))
    counts = {split: np.bincount(numbers[splits == split], minlength=len(names)).tolist() for split in used}
    return {SPLITS[split]: dict(zip(names, counts[split], strict=True)) for split in used}


def _few(classes: Mapping[str, Mapping[str, int]]) -> Mapping[str, Mapping[str, int]]:
    """The first classes only: a manifest is no data set."""
    return {name: dict(list(rows.items())[:_FEW_CLASSES]) for name, rows in classes.items()}


def _choose(groups: Places, sizes: Places, *, rows: int, at_most: int) -> list[int]:
    """The first groups that fit into `rows` rows, and the smallest further one where that comes nearer."""
    import numpy as np

    chosen: list[int] = []
    left = rows
    # In pieces: as Python's numbers all groups of a large source would take several times the memory of the array.
    for start in range(0, len(groups), _AT_ONCE):
        some = groups[start : start + _AT_ONCE]
        for group, size in zip(some.tolist(), sizes[some].tolist(), strict=True):
            if not left or len(chosen) == at_most:
                return chosen
            if size <= left:
                chosen.append(group)
                left -= size
    if len(chosen) == at_most:
        return chosen
    others = groups[~np.isin(groups, chosen)] if chosen else groups
    smallest = int(others[sizes[others].argmin()])
    # One of more than twice what is missing would leave the split further off above than it is below.
    if not chosen or sizes[smallest] < 2 * left:
        chosen.append(smallest)
    return chosen


def scrambled(values: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """A fixed scrambling of numbers by a seed (splitmix64): the same on every machine and version."""
    import numpy as np

    # To wrap around at 64 bits is what is wanted; numpy warns of it where two scalars meet.
    with np.errstate(over="ignore"):
        # The seed is hashed first: added as it is, row n under seed 8 would be where row n + 1 is under seed 7.
        z = values + np.uint64(key_of(b"seed %d" % seed))
        z = (z + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
