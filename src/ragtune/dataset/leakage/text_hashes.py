"""The facts of rows as numbers, by which rows belong together and splits are compared."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from itertools import chain, compress
from typing import TYPE_CHECKING

import numpy as np

from ragtune.dataset.leakage.grouping import GIVEN, LEARNED, MIN_KEY_WORDS, PHRASE, QUESTION, keyed
from ragtune.dataset.leakage.overlap import RUN_WORDS
from ragtune.dataset.leakage.proof import begins_of
from ragtune.dataset.leakage.shingles import shingle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    import numpy.typing as npt

    from ragtune.dataset.leakage.shingles import Numbers, Places
    from ragtune.dataset.leakage.texts import Texts

_SHOWN = 120
_MOST_NAMED = 100


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
        kinds: what each fact is to its row, see `ragtune.dataset.leakage.grouping`.
        begins: a number for how each text begins, for the proof.
        said: the facts themselves, for the proof.
    """

    per_row: Places
    names: tuple[str, ...]
    fields: Places
    texts: Numbers
    runs: Numbers
    runs_per_fact: Places
    kinds: npt.NDArray[np.uint8]
    begins: npt.NDArray[np.uint32]
    said: Sequence[str]

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
                kinds=self.kinds[own],
                begins=self.begins[own],
                said=self.said[own],
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
            kinds=self.kinds[facts],
            begins=self.begins[facts],
            said=list(compress(self.said, facts.tolist())),
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
    renumbered = [np.array(list(map(names.__getitem__, part.names)), dtype=np.int64) for part in parts]
    fields = [numbers[part.fields] for numbers, part in zip(renumbered, parts, strict=True)]
    return Facts(
        per_row=np.concatenate([part.per_row for part in parts]),
        names=tuple(names),
        fields=np.concatenate(fields),
        texts=np.concatenate([part.texts for part in parts]),
        runs=np.concatenate([part.runs for part in parts]),
        runs_per_fact=np.concatenate([part.runs_per_fact for part in parts]),
        kinds=np.concatenate([part.kinds for part in parts]),
        begins=np.concatenate([part.begins for part in parts]),
        said=list(chain.from_iterable(part.said for part in parts)),
    )


def kinds_of(said: Texts, words: Places) -> npt.NDArray[np.uint8]:
    """What each text is to its row."""
    learned = np.array(said.learned, dtype=np.bool_)
    kinds = np.where(learned, np.where(words < RUN_WORDS, PHRASE, LEARNED), GIVEN)
    return np.where(np.array(said.asked, dtype=np.bool_), QUESTION, kinds).astype(np.uint8)


def number(said: Texts) -> Facts:
    """Number the facts among the texts of some rows."""
    numbers = shingle(said.texts, RUN_WORDS)
    # A question of signs that say nothing is like no other.
    asked = (numbers.words > 0) & np.array(said.asked, dtype=np.bool_)
    names = {name: index for index, name in enumerate(dict.fromkeys(said.fields))}
    per_row = np.array(said.per_row, dtype=np.int64)
    every = Facts(
        per_row=per_row,
        names=tuple(names),
        fields=np.fromiter(map(names.__getitem__, said.fields), np.int64, len(said.fields)),
        texts=numbers.texts,
        runs=numbers.hashes,
        runs_per_fact=np.diff(numbers.offsets),
        kinds=kinds_of(said, numbers.words),
        begins=begins_of(said.texts),
        said=said.texts,
    )
    # A short text that is no question, a name or a number, stands in many rows and gives nothing away.
    counts = asked | (numbers.words >= MIN_KEY_WORDS)
    # How many facts each row has left: the difference of two running sums.
    left = np.concatenate(([0], np.cumsum(counts)))
    ends = np.cumsum(per_row)
    return every._kept(left[ends] - left[ends - per_row], counts)


def write(facts: Facts, file: BinaryIO, texts: BinaryIO) -> None:
    """Append facts to a temporary file, and the texts themselves, which few readers need, to another one."""
    # Only this process reads the files, and they are gone with the build; arrays are written as they lie in memory.
    pickle.dump(replace(facts, said=()), file, protocol=5)
    pickle.dump(facts.said, texts, protocol=5)


def read_texts(file: BinaryIO) -> Iterator[Sequence[str]]:
    """The texts that `write` has written, batch by batch, from the beginning."""
    file.seek(0)
    while True:
        try:
            yield pickle.load(file)
        except EOFError:
            return


def read(file: BinaryIO) -> Iterator[Facts]:
    """The facts in a file that `write` has written, from where it stands."""
    while True:
        try:
            yield pickle.load(file)
        except EOFError:
            return


def named(file: BinaryIO, texts: BinaryIO, left_out: Mapping[int, int]) -> list[dict[str, object]]:
    """The texts that tie nothing, the most frequent first: how many rows have each, and where it stands first.

    Args:
        file: the facts that `write` has written.
        texts: the texts themselves.
        left_out: how many rows each key has.
    """
    found: dict[int, dict[str, object]] = {}
    file.seek(0)
    # Frequent texts stand early, so that most of the file is never read.
    for facts, said in zip(read(file), read_texts(texts), strict=True) if left_out else ():
        keys = keyed(facts.texts, np.zeros(len(facts.texts), np.uint8))
        for place in np.flatnonzero(np.isin(keys, np.fromiter(left_out, np.uint64))).tolist():
            found.setdefault(
                int(keys[place]),
                {
                    "text": said[place][:_SHOWN],
                    "field": facts.names[int(facts.fields[place])],
                    "rows": left_out[int(keys[place])],
                },
            )
        if len(found) == len(left_out):
            break
    return sorted(found.values(), key=lambda entry: (-int(str(entry["rows"])), str(entry["text"])))[:_MOST_NAMED]
