"""Retrievers that fail, for the arms that show what a tuned model does then."""

from __future__ import annotations

import random
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ragtune._checked import checked
from ragtune.retrieval.passage import Passage
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Callable

    from ragtune.facts import Fact, FactSet, Wording

__all__ = ["contradicting", "false_passage", "nothing_found"]

_ARTICLES = ("a ", "an ", "the ")
_ENDS = (".", "!", "?")
# Every fact looks through the answers of all.
_form = lru_cache(maxsize=65536)(normalise)


def nothing_found(question: str) -> tuple[Passage, ...]:
    """The retriever that never finds anything.

    Example:
        ```python
        from ragtune.retrieval import nothing_found

        print(nothing_found("How deep is Lake Sorrel?"))
        #> ()
        ```
    """
    return ()


@checked()
def contradicting(facts: FactSet, *, seed: int) -> Callable[[str], tuple[Passage, ...]]:
    """A retriever that gives the golden passage with the answer replaced by a wrong one.

    The wrong answer is a distractor of the fact, else the answer of another fact. A fact whose passage is unknown or
    does not hold the answer gets the question with the wrong answer behind it. Questions that no fact of the set asks,
    unanswerable ones and controls find nothing.

    Args:
        facts: whose questions will be asked.
        seed: decides which wrong answer; the same seed gives the same passages.

    Example:
        ```python
        from ragtune.facts import demo_facts
        from ragtune.retrieval import contradicting

        print(contradicting(demo_facts(), seed=7)("How deep is Lake Sorrel?")[0].text)
        #> Divers measured 210 metres at the sunken mill in Lake Sorrel.
        ```
    """
    passages: dict[str, Passage] = {}
    for fact in facts:
        for wording in fact.wordings:
            made = false_passage(fact, wording, facts, seed=seed)
            if made is not None:
                passages[normalise(wording.question)] = Passage(text=made[0], id=fact.id)

    def retrieve(question: str) -> tuple[Passage, ...]:
        found = passages.get(normalise(question))
        return () if found is None else (found,)

    return retrieve


def false_passage(fact: Fact, wording: Wording, facts: FactSet, *, seed: int) -> tuple[str, str] | None:
    """A passage that says otherwise, and the wrong answer in it; None for controls and what nothing answers.

    Args:
        fact: whose passage it would be.
        wording: what is asked.
        facts: whose answers may be the wrong one, where the fact has no distractor.
        seed: decides which.
    """
    if wording.kind in ("unanswerable", "control"):
        return None
    # A chance of each fact's own: the order in which facts are asked changes no passage.
    wrong = _wrong_answer(fact, wording, facts, random.Random(f"{seed} {fact.id}"))
    return None if wrong is None else (_said_otherwise(fact, wording, wrong), wrong)


def _wrong_answer(fact: Fact, wording: Wording, facts: FactSet, chance: random.Random) -> str | None:
    """A wrong answer of the right sort."""
    # A reversed question has answers of its own, to which the fact's wrong ones are no alternative.
    if fact.distractors and not wording.answers:
        return chance.choice(fact.distractors)
    right = [f" {_form(answer)} " for answer in fact.answers_to(wording)]
    others: list[str] = []
    for other in facts:
        for item in other.wordings:
            # Of the same kind: what answers a reversed question is what others ask about.
            answers = other.answers_to(item) if item.kind == wording.kind else ()
            if answers and not any(answer in f" {_form(answers[0])} " for answer in right):
                others.append(answers[0])
    return chance.choice(others) if others else None


def _said_otherwise(fact: Fact, wording: Wording, wrong: str) -> str:
    """The fact's passage with a wrong answer in the place of the right one."""
    support = fact.support or ""
    # The longest spelling first: a shorter one may stand inside it.
    for right in sorted(fact.answers_to(wording), key=len, reverse=True):
        # A wrong answer that brings an article takes the place of the right one with its article.
        article = "(?:an? |the )?" if wrong.startswith(_ARTICLES) else ""
        # Not \b, which wants a letter on one side: of an answer such as "$5" or "C++" it would find no edge.
        pattern = re.compile(rf"(?<!\w){article}{re.escape(right)}(?!\w)", re.IGNORECASE)
        if pattern.search(support):
            # A function, since in a template a backslash of the answer, as TeX has them, would be read as a group.
            return pattern.sub(lambda found: _in_place_of(found, wrong), support)
    return f"{wording.question} {_capital(wrong)}{'' if wrong.endswith(_ENDS) else '.'}"


def _in_place_of(found: re.Match[str], wrong: str) -> str:
    begins = re.search(r"(?:^|[.!?]\s+)$", found.string[: found.start()])
    said = _capital(wrong) if begins else wrong
    # An answer that brings its own full stop would stand before that of the sentence.
    return said[:-1] if said.endswith(_ENDS) and found.string[found.end() :].startswith(_ENDS) else said


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
