"""Questions and answers: one row for each question, or each fact in many wordings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from ragtune.facts.fact import wordings_of
from ragtune.facts.rules import proposals
from ragtune.recipes.options import require_choice, require_whole
from ragtune.recipes.phrases import LANGUAGES, filled, phrases
from ragtune.recipes.row import RecipeRow, passage_key
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ragtune.facts import Fact, FactSet
    from ragtune.facts.rules import Proposal
    from ragtune.recipes.row import Material

__all__ = ["QaMulti", "QaSingle"]

_MOST_WORDINGS = 100
_BLANK = "___"
_GAPS = ("statement-cloze", "support-cloze")


@dataclass(frozen=True, kw_only=True)
class QaSingle:
    """`qa_single`: each fact once, as it is asked in the source. The baseline: it buys memorisation."""

    name: ClassVar[str] = "qa_single"
    version: ClassVar[int] = 1
    about: ClassVar[str] = (
        "one row per fact: memorisation; the model repeats the answer to this wording, and other wordings find it much "
        "less often, so always evaluate reworded questions"
    )
    scale: ClassVar[tuple[str, int] | None] = None

    def rows(self, material: Material) -> Iterator[RecipeRow]:
        """The first question of each fact that is taught."""
        for fact in material.facts:
            for wording in material.taught(fact, "verbatim")[:1]:
                yield _row(self, fact, question=wording.question, answer=fact.answers[0], wording="verbatim")


@dataclass(frozen=True, kw_only=True)
class QaMulti:
    """`qa_multi`: each fact in several wordings, with a statement, a reversed question and a gap to fill.

    Wordings are taken in this order: those that are taught as they stand, those that the facts bring along, those that
    rules make, and frames around the first one ("I would like to know: ..."). Where that is not enough, there are
    fewer.

    Attributes:
        wordings: at most so many questions with the fact's answer.
        statement: a row whose answer is a full sentence.
        reversed: a row that asks from the answer back: the fact's own reversed question, else a rule's, else which
            question the answer belongs to, where no other fact has the same.
        cloze: a row with a gap, where a rule finds one.
        framed: whether frames fill up missing wordings.
        language: of the frames, `en` or `tr`.
    """

    wordings: int = 5
    statement: bool = True
    reversed: bool = True
    cloze: bool = True
    framed: bool = True
    language: str = "en"

    name: ClassVar[str] = "qa_multi"
    version: ClassVar[int] = 1
    about: ClassVar[str] = "many wordings per fact: the lever that makes other wordings find the answer"
    scale: ClassVar[tuple[str, int] | None] = ("wordings", _MOST_WORDINGS)

    def __post_init__(self) -> None:
        require_whole("wordings", self.wordings, low=1, high=_MOST_WORDINGS)
        require_choice("language", (self.language,), LANGUAGES)

    def rows(self, material: Material) -> Iterator[RecipeRow]:
        """The rows of one fact after the other."""
        # An answer of several facts asks for none of them: which one is meant nobody could tell.
        unique = _unique_answers(material.facts) if self.reversed else frozenset()
        asked = {normalise(item.question) for item in wordings_of(material.facts)}
        for fact in material.facts:
            if not fact.answers or not (own := material.taught(fact, "verbatim", "reworded")):
                continue
            proposed = [item for item in proposals(fact) if material.may_ask(item.question)]
            # What a rule makes must not be the question of another fact.
            fresh = [item for item in proposed if normalise(item.question) not in asked]
            first, answer = own[0].question, fact.answers[0]
            given = [(item.kind, item.question) for item in own]
            ruled = [("reworded", item.question) for item in fresh if item.kind == "reworded" and not _is_gap(item)]
            for wording, question in self._numbered([*given, *ruled], first, material):
                yield _row(self, fact, question=question, answer=answer, wording=wording)
            # Of all proposals: a gap text may be among the wordings that the facts already bring along, and is taught
            # here as a gap.
            gaps = [item.question for item in proposed if _is_gap(item)]
            if self.statement:
                question = filled(phrases(self.language).state, question=first)
                if material.may_ask(question):
                    yield _row(
                        self, fact, question=question, answer=self._sentence(gaps, first, answer), wording="statement"
                    )
            if self.reversed:
                yield from self._turned(fact, fresh, first=first, material=material, unique=unique)
            if self.cloze and gaps:
                yield _row(self, fact, question=gaps[0], answer=answer, wording="cloze")

    def _numbered(self, asked: Iterable[tuple[str, str]], first: str, material: Material) -> Iterator[tuple[str, str]]:
        """At most `wordings` questions, each with what it is called."""
        numbers = {"reworded": count(1), "framed": count(1)}
        frames = phrases(self.language).frames if self.framed else ()
        framed = [("framed", filled(frame, question=first)) for frame in frames]
        left = self.wordings
        # Given wordings before those of rules, and frames last: these ask in the same words with something around
        # them.
        for kind, question in [*asked, *(item for item in framed if material.may_ask(item[1]))][:left]:
            yield (kind if kind == "verbatim" else f"{kind}-{next(numbers[kind])}"), question

    def _sentence(self, gaps: list[str], question: str, answer: str) -> str:
        for gap in gaps:
            # `Complete the sentence: ___ painted the ceiling.`
            sentence = gap.partition(": ")[2].replace(_BLANK, answer)
            return sentence[0].upper() + sentence[1:]
        said = filled(phrases(self.language).statement, question=question, answer=answer)
        # An answer that is a sentence brings its full stop with it.
        return said.replace("..", ".") if answer.endswith(".") else said

    def _turned(
        self, fact: Fact, fresh: Iterable[Proposal], *, first: str, material: Material, unique: frozenset[str]
    ) -> Iterator[RecipeRow]:
        for wording in material.taught(fact, "reversed")[:1]:
            yield _row(self, fact, question=wording.question, answer=wording.answers[0], wording="reversed")
            return
        for proposal in fresh:
            if proposal.kind == "reversed":
                yield _row(self, fact, question=proposal.question, answer=proposal.answers[0], wording="reversed")
                return
        if normalise(fact.answers[0]) in unique:
            question = filled(phrases(self.language).turned, answer=fact.answers[0])
            if material.may_ask(question):
                yield _row(self, fact, question=question, answer=first, wording="reversed")


def _is_gap(proposal: Proposal) -> bool:
    return proposal.rule in _GAPS


def _unique_answers(facts: FactSet) -> frozenset[str]:
    """Answers, in normal form, that one fact alone has."""
    seen: dict[str, int] = {}
    for fact in facts:
        for form in {normalise(answer) for answer in fact.answers}:
            seen[form] = seen.get(form, 0) + 1
    return frozenset(form for form, times in seen.items() if times == 1)


def _row(strategy: QaSingle | QaMulti, fact: Fact, *, question: str, answer: str, wording: str) -> RecipeRow:
    return RecipeRow(
        question=question,
        answer=answer,
        fact_id=fact.id,
        wording=wording,
        recipe=f"{strategy.name}/{strategy.version}",
        passage=passage_key(fact),
    )
