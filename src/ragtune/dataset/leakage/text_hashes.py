"""The facts of rows as numbers, by which rows belong together and splits are compared."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ragtune.dataset.leakage.grouping import MIN_KEY_WORDS
from ragtune.dataset.leakage.overlap import RUN_WORDS
from ragtune.dataset.leakage.shingles import shingle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    import numpy.typing as npt

    from ragtune.dataset.leakage.shingles import Numbers, Places
    from ragtune.dataset.leakage.texts import Texts


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of some rows as numbers: questions of any length, other texts of at least `MIN_KEY_WORDS` words.

    Attributes:
        per_row: how many facts each row has.
        names: of the fields in which they stand.
        fields: index of each fact's field in `names`.
        texts: a number per fact, equal for equal normal forms.
        runs: numbers of all runs of `RUN_WORDS` words, fact after fact.
        runs_per_fact: how many of the runs each fact has.
    """

    per_row: Places
    names: tuple[str, ...]
    fields: Places
    texts: Numbers
    runs: Numbers
    runs_per_fact: Places

    def rows(self) -> Iterator[Facts]:
        """The facts of each row by themselves."""
        ends, run_ends = np.cumsum(self.per_row), np.concatenate(([0], np.cumsum(self.runs_per_fact)))
        for end, count in zip(ends.tolist(), self.per_row.tolist(), strict=True):
            own = slice(end - count, end)
            yield Facts(
                per_row=np.array([count]),
                names=self.names,
                fields=self.fields[own],
                texts=self.texts[own],
                runs=self.runs[run_ends[own.start] : run_ends[end]],
                runs_per_fact=self.runs_per_fact[own],
            )

    def of(self, chosen: npt.NDArray[np.bool_]) -> Facts:
        """The facts of chosen rows, a flag for each row."""
        return self._kept(self.per_row[chosen], np.repeat(chosen, self.per_row))

    def _kept(self, per_row: Places, facts: npt.NDArray[np.bool_]) -> Facts:
        return Facts(
            per_row=per_row,
            names=self.names,
            fields=self.fields[facts],
            texts=self.texts[facts],
            runs=self.runs[np.repeat(facts, self.runs_per_fact)],
            runs_per_fact=self.runs_per_fact[facts],
        )

    def by_field(self) -> Iterator[tuple[str, Numbers, Numbers]]:
        """For each field the numbers of its texts and of their runs."""
        for index, name in enumerate(self.names):
            inside = self.fields == index
            yield name, self.texts[inside], self.runs[np.repeat(inside, self.runs_per_fact)]


def joined(parts: Sequence[Facts]) -> Facts:
    """The facts of several groups of rows, one after the other."""
    # Each part numbers its fields by itself.
    known = dict.fromkeys(chain.from_iterable(part.names for part in parts))
    names = {name: index for index, name in enumerate(known)}
    fields = [np.array([names[name] for name in part.names], dtype=np.int64)[part.fields] for part in parts]
    return Facts(
        per_row=np.concatenate([part.per_row for part in parts]),
        names=tuple(names),
        fields=np.concatenate(fields),
        texts=np.concatenate([part.texts for part in parts]),
        runs=np.concatenate([part.runs for part in parts]),
        runs_per_fact=np.concatenate([part.runs_per_fact for part in parts]),
    )


def number(said: Texts) -> Facts:
    """Number the facts among the texts of some rows."""
    numbers = shingle(said.texts, RUN_WORDS)
    asked = np.fromiter(map(bool, said.texts), np.bool_, len(said.texts)) & np.array(said.asked, dtype=np.bool_)
    names = {name: index for index, name in enumerate(dict.fromkeys(said.fields))}
    per_row = np.array(said.per_row, dtype=np.int64)
    every = Facts(
        per_row=per_row,
        names=tuple(names),
        fields=np.fromiter(map(names.__getitem__, said.fields), np.int64, len(said.fields)),
        texts=numbers.texts,
        runs=numbers.hashes,
        runs_per_fact=np.diff(numbers.offsets),
    )
    # A short text that is no question, a name or a number, stands in many rows and gives nothing away.
    counts = asked | (numbers.words >= MIN_KEY_WORDS)
    # How many facts each row has left: the difference of two running sums.
    left = np.concatenate(([0], np.cumsum(counts)))
    ends = np.cumsum(per_row)
    return every._kept(left[ends] - left[ends - per_row], counts)


def write(facts: Facts, file: BinaryIO) -> None:
    """Append facts to a temporary file."""
    # Only this process reads the file, and it is gone with the build; arrays are written as they lie in memory.
    pickle.dump(facts, file, protocol=5)


def read(file: BinaryIO) -> Iterator[Facts]:
    """The facts in a file that `write` has written, from where it stands."""
    while True:
        try:
            yield pickle.load(file)
        except EOFError:
            return
