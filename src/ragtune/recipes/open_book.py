"""Questions with passages, as a model that is asked with retrieval gets them; and questions that nothing answers."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from ragtune.facts.fact import wordings_of
from ragtune.recipes.options import require_choice, require_share, require_whole
from ragtune.recipes.passages import Passages, sentence_with
from ragtune.recipes.phrases import LANGUAGES, filled, phrases
from ragtune.recipes.row import RecipeRow, passage_key
from ragtune.retrieval.open_book import PROMPT
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.facts import Fact
    from ragtune.recipes.row import Material

__all__ = ["Abstain", "Raft"]

_MOST_DISTRACTORS = 20
_KINDS = ("given", "withheld", "invented")
# A name inside a question; the first word has a capital for another reason.
# English writes I with a capital wherever it stands.
_name = re.compile(r"(?<=[\w,] )(?!I\b)[A-ZÇĞİÖŞÜ][\w’'-]*[\w-](?: (?:of the |of )?[A-ZÇĞİÖŞÜ][\w’'-]*[\w-])*")
_BEGINNINGS = "Bra Cal Dru Fen Gor Hel Jas Kor Lum Mer Nor Or Pel Quor Ras Sel Tor Ul Ves Wyn Yar Zel".split()
_MIDDLES = "a e i o u an en il or um av".split()
_ENDINGS = "bek dane fell gard hollow lin mere nova port quist ra stead thal vik wick zan".split()


@dataclass(frozen=True, kw_only=True)
class Raft:
    """`raft`: each question among passages, the golden one between hard distractors, with an answer that quotes.

    Distractors are what BM25 finds for the question; none holds the answer or is nearly the golden passage. The prompt
    is that of `ragtune.retrieval.OpenBook`, so an evaluation with a retriever asks as the model was trained. Facts
    without a passage make no row.

    Attributes:
        distractors: passages beside the golden one.
        withheld: share of rows without the golden passage, where the model has to answer by itself.
        quote: whether answers quote the sentence that holds the answer, where the golden passage is there and has one.
        language: of what stands around the quotation, `en` or `tr`.
        seed: decides which rows lack the passage, and the order of passages.
    """

    distractors: int = 4
    withheld: float = 0.2
    quote: bool = True
    language: str = "en"
    seed: int = 0

    name: ClassVar[str] = "raft"
    version: ClassVar[int] = 1
    about: ClassVar[str] = (
        "questions among passages: a tuned model that still uses what retrieval finds, or does without"
    )
    scale: ClassVar[tuple[str, int] | None] = None

    def __post_init__(self) -> None:
        require_whole("distractors", self.distractors, low=0, high=_MOST_DISTRACTORS)
        require_share("withheld", self.withheld)
        require_choice("language", (self.language,), LANGUAGES)

    def rows(self, material: Material) -> Iterator[RecipeRow]:
        """A row for each fact that has a passage."""
        passages = Passages.of(material.facts)
        for fact in material.facts:
            asked = material.taught(fact, "verbatim", "reworded")
            if not asked or not fact.answers or not fact.support:
                continue
            # By fact, so that one which is added or taken away changes no row of another.
            chance = random.Random(f"raft {self.seed} {fact.id}")
            is_withheld = chance.random() < self.withheld
            question = asked[0].question
            # One more where the golden one is missing: else the number of passages would tell that it is.
            shown = passages.beside(fact, question, self.distractors + is_withheld, chance)
            if not is_withheld:
                # At any place, so that the place does not tell which passage holds the answer.
                shown.insert(chance.randint(0, len(shown)), fact.support)
            # A question with no passage at all is no question of this kind.
            elif not shown:
                continue
            yield RecipeRow(
                question=prompt(question, shown),
                answer=fact.answers[0] if is_withheld else self._answer(fact),
                fact_id=fact.id,
                wording="open-book-withheld" if is_withheld else "open-book",
                recipe=f"{self.name}/{self.version}",
                passage=passage_key(fact),
            )

    def _answer(self, fact: Fact) -> str:
        quotation = sentence_with(fact.support or "", fact.answers[0]) if self.quote else None
        if quotation is None:
            return fact.answers[0]
        return filled(phrases(self.language).quoted, quotation=quotation, answer=fact.answers[0])


@dataclass(frozen=True, kw_only=True)
class Abstain:
    """`abstain`: questions whose right answer is that the sources do not say.

    Attributes:
        share: so many rows for each fact that is taught, drawn by lot; of each kind one at least.
        kinds: which, in equal parts: `given` are unanswerable questions among the facts, `withheld` a question among
            passages that do not answer it, `invented` a question about something that does not exist.
        answer: what the model learns to say; None takes the language's sentence, which evaluations understand.
        language: of the answer and of invented questions, `en` or `tr`.
        seed: decides which facts, and the invented names.
    """

    share: float = 0.2
    kinds: tuple[str, ...] = _KINDS
    answer: str | None = None
    language: str = "en"
    seed: int = 0

    name: ClassVar[str] = "abstain"
    version: ClassVar[int] = 1
    about: ClassVar[str] = (
        "says that the sources do not tell, instead of making something up; too much of it costs answers"
    )
    scale: ClassVar[tuple[str, int] | None] = None

    def __post_init__(self) -> None:
        require_share("share", self.share)
        require_choice("kinds", self.kinds, _KINDS)
        require_choice("language", (self.language,), LANGUAGES)

    def rows(self, material: Material) -> Iterator[RecipeRow]:
        """The rows of one kind after the other."""
        asked = [
            (fact, own[0].question)
            for fact in material.facts
            if fact.answers and (own := material.taught(fact, "verbatim", "reworded"))
        ]
        chance = random.Random(f"abstain {self.seed}")
        # One row of each kind at least, as of replay: a share of few facts is still a share.
        count = max(round(self.share * len(asked) / len(self.kinds)), 1) if self.share else 0
        for kind in self.kinds:
            if kind == "given":
                yield from self._given(material, count, chance)
            elif kind == "withheld":
                yield from self._withheld(material, _drawn(asked, count, chance), chance)
            else:
                yield from self._invented(material, _drawn(asked, count, chance), chance)

    def _given(self, material: Material, count: int, chance: random.Random) -> Iterator[RecipeRow]:
        found = [(fact, item.question) for fact in material.facts for item in material.taught(fact, "unanswerable")]
        for fact, question in _drawn(found, count, chance):
            yield self._row(fact, question, "unanswerable")

    def _withheld(
        self, material: Material, drawn: Sequence[tuple[Fact, str]], chance: random.Random
    ) -> Iterator[RecipeRow]:
        # Facts without passages leave this kind out and do not end a recipe whose other kinds can be made.
        if not any(fact.support for fact in material.facts):
            return
        passages = Passages.of(material.facts)
        for fact, question in drawn:
            if shown := passages.beside(fact, question, 4, chance):
                yield self._row(fact, prompt(question, shown), "open-book-unanswerable")

    def _invented(
        self, material: Material, drawn: Sequence[tuple[Fact, str]], chance: random.Random
    ) -> Iterator[RecipeRow]:
        questions = (normalise(item.question) for item in wordings_of(material.facts))
        # Words of all questions, not names alone: which words of a question are a name could only be guessed.
        known = set(chain.from_iterable(map(str.split, questions)))
        for fact, question in drawn:
            name = _invented_name(known, chance)
            invented = _name.sub(name, question, count=1)
            # There is no name in the question, or one in a script that has no capitals.
            if invented == question:
                invented = filled(chance.choice(phrases(self.language).about), name=name)
            if material.may_ask(invented):
                yield self._row(fact, invented, "invented")

    def _row(self, fact: Fact, question: str, wording: str) -> RecipeRow:
        return RecipeRow(
            question=question,
            answer=self.answer or phrases(self.language).unknown,
            fact_id=fact.id,
            wording=wording,
            recipe=f"{self.name}/{self.version}",
            passage=passage_key(fact),
        )


def prompt(question: str, passages: Sequence[str]) -> str:
    """The question with its passages, as `ragtune.retrieval.OpenBook` writes it."""
    shown = "\n\n".join(f"[{number}] {text}" for number, text in enumerate(passages, 1))
    return filled(PROMPT, passages=shown, question=question)


def _drawn(found: Sequence[tuple[Fact, str]], count: int, chance: random.Random) -> list[tuple[Fact, str]]:
    """So many of them, in their order."""
    return [found[place] for place in sorted(chance.sample(range(len(found)), min(count, len(found))))]


def _invented_name(known: set[str], chance: random.Random) -> str:
    while True:
        name = f"{chance.choice(_BEGINNINGS)}{chance.choice(_MIDDLES)}{chance.choice(_ENDINGS)}"
        if normalise(name) not in known:
            return name
