"""The passages of facts: without boilerplate, each once, with the hard ones beside them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ragtune.errors import DatasetError
from ragtune.retrieval import BM25, Passage
from ragtune.text import normalise

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from ragtune.facts import Fact, FactSet

__all__ = ["Passages", "sentence_with", "sentences", "without_boilerplate"]

# From so many documents on, and beyond which share of all, a paragraph belongs to the page and not to the document.
_REPEATED = (5, 0.2)
# Of two passages that share so many of their runs of three words, one is a copy of the other.
_COPY = 0.5
_paragraphs = re.compile(r"\n[ \t]*\n|\n").split
_sentences = re.compile(r"(?<=[.!?])\s+(?=[A-ZÇĞİÖŞÜ0-9\"“])").split
_furniture = re.compile(
    r"(?:all rights reserved|tüm hakları saklıdır|©|\(c\) ?\d{4}|copyright (?:©|\(c\)|\d{4})"
    r"|(?:we|this site) uses? cookies|accept (?:all )?cookies|çerez(?:ler)? kullan"
    r"|share (?:this|on) |subscribe to (?:our|the) newsletter|skip to (?:main )?content|back to top|read more$"
    r"|^(?:page|sayfa) \d+(?: (?:of|/) \d+)?$|^https?://\S+$|^[-–—_=*•|\s\d]+$)",
    re.IGNORECASE,
).search


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    return [piece for piece in map(str.strip, _sentences(" ".join(text.split()))) if piece]


def sentence_with(text: str, answer: str) -> str | None:
    """The first sentence that holds an answer at word boundaries; None where none does."""
    # Between blanks, so that an answer is not found inside a longer word or number.
    wanted = f" {normalise(answer)} "
    return next((piece for piece in sentences(text) if wanted in f" {normalise(piece)} "), None)


def without_boilerplate(texts: Sequence[str]) -> Iterator[str]:
    """Each text without lines that many texts have, and without what pages say of themselves."""
    # Hashes, and each text is parted twice: to hold all lines would take twice the memory of the texts.
    stands: Counter[int] = Counter()
    for text in texts:
        stands.update({hash(normalise(line)) for line in _lines(text)})
    least, share = _REPEATED
    # Of a handful of passages two or three may well share a line that belongs to them.
    most = max(least, share * len(texts))
    for text in texts:
        lines = _lines(text)
        # The one line of a passage is the passage, however often it comes: it is a repetition, and those go later.
        if len(lines) > 1:
            lines = [line for line in lines if not _furniture(line) and stands[hash(normalise(line))] < most]
        yield "\n".join(lines)


def _lines(text: str) -> list[str]:
    return [line for line in map(str.strip, _paragraphs(text)) if line]


@dataclass(frozen=True, kw_only=True)
class Passages:
    """The different passages of facts, found by the words that they share with a question.

    Attributes:
        by_form: each passage by its normal form, in the order of the facts.
    """

    by_form: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, facts: FactSet) -> Passages:
        """The passages of these facts.

        Raises:
            DatasetError: there is none.
        """
        found: dict[str, str] = {}
        for fact in facts:
            if fact.support and (form := normalise(fact.support)):
                # Facts of one passage share it; shown twice it would be two of the distractors that were asked for.
                found.setdefault(form, fact.support)
        if not found:
            raise DatasetError(
                "none of these facts has a passage, so nothing can stand around a question; name the column of the "
                "passage with context="
            )
        return cls(by_form=found)

    @cached_property
    def _forms(self) -> list[str]:
        return list(self.by_form)

    @cached_property
    def _search(self) -> BM25:
        return BM25(Passage(text=text, id=str(place)) for place, text in enumerate(self.by_form.values()))

    def beside(self, fact: Fact, question: str, count: int, chance: random.Random) -> list[str]:
        """Passages that look as if they told the fact and do not: the hardest first, others by lot where they run out.

        None of them holds an accepted answer, and none is nearly the fact's own passage.
        """
        golden = _runs(normalise(fact.support or ""))
        answers = [f" {form} " for form in map(normalise, fact.answers) if form]
        chosen: list[str] = []
        # Copies of the golden passage come first of all, so more are looked at than are wanted.
        near = [int(passage.id or 0) for passage in self._search(question, k=3 * count + 4)]
        drawn = chance.sample(range(len(self._forms)), min(len(self._forms), 2 * count + 4))
        for place in dict.fromkeys([*near, *drawn]):
            form = self._forms[place]
            if len(chosen) == count:
                break
            if not any(answer in f" {form} " for answer in answers) and not _are_copies(golden, _runs(form)):
                chosen.append(self.by_form[form])
        return chosen


def _runs(form: str) -> set[tuple[str, ...]]:
    words = form.split()
    # A passage of one or two words has no run of three and is compared whole.
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)}


def _are_copies(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> bool:
    return len(one & other) >= _COPY * min(len(one), len(other))
