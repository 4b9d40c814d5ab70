"""Questions that an evaluation holds out, and rows that would give them away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune import _arguments as arguments
from ragtune.dataset.bad_rows import BadRows
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ragtune.dataset.leakage.texts import Texts
    from ragtune.facts import FactSet

_Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Wordings that no row may hold.

    Attributes:
        by_start: what begins with these one or two words: all words of the wording in normal form, and how to tell it.
    """

    by_start: Mapping[_Words, Sequence[tuple[_Words, str]]]

    @classmethod
    def of(cls, *sets: FactSet) -> HeldOut | None:
        """All wordings of these sets of facts; None where there is no set.

        Raises:
            DatasetError: one of them is no `FactSet`.
        """
        from ragtune.facts import FactSet

        by_start: dict[_Words, list[tuple[_Words, str]]] = {}
        for facts in sets:
            arguments.instance("held_out", facts, FactSet, "rt.FactSet.from_rows(...) makes one")
            for fact in facts:
                for wording in fact.wordings:
                    words = tuple(normalise(wording.question).split())
                    told = f"the held-out {wording.kind} question {wording.question!r:.80} of fact {fact.id!r}"
                    # By two words, not one: "what is" begins half of all questions, and each would be compared
                    # at every "what".
                    by_start.setdefault(words[:2], []).append((words, told))
        return cls(by_start=by_start) if sets else None

    def refuse(self, said: Texts, numbers: Sequence[int]) -> None:
        """Refuse rows that hold such a wording, alone or inside a longer text.

        Raises:
            BadRowsError: there are some.
        """
        bad = BadRows()
        place = 0
        for number, count in zip(numbers, said.per_row, strict=True):
            own = slice(place, place + count)
            for text, field in zip(said.texts[own], said.fields[own], strict=True):
                for told in self.found(text):
                    bad.add(
                        f"row {number}, {field}: it holds {told}; drop the row, or hold out other wordings, for "
                        f"example held_out=facts.select('reworded')"
                    )
            place += count
        bad.refuse()

    def found(self, text: str) -> Iterator[str]:
        """How to tell each wording that a text holds."""
        words = tuple(normalise(text).split())
        for start in range(len(words)):
            for length in (1, 2):
                for wording, told in self.by_start.get(words[start : start + length], ()):
                    # Near the end both lengths cut out the same single word.
                    if len(wording[:2]) == length and words[start : start + len(wording)] == wording:
                        yield told
