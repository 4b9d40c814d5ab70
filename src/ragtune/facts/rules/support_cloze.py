"""A gap in the passage's own sentence, in any language whose prompt is known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ragtune.facts.rules.proposal import Proposal
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.facts.fact import Fact

__all__ = ["propose"]

_PROMPTS = {"en": "Fill in the blank:", "tr": "Boşluğu doldurun:"}
_MOST_WORDS = 35
# So many of the question's words must stand in the sentence: else it says something else about the answer.
_SHARED = 0.7
_EMPTY = {
    "en": frozenset(
        "what which who whom whose where when why how is are was were be been do does did has have had the a an of in "
        "on at to for from by with as and or that this these those it its their type kind called name term used "
        "many".split()
    ),
    "tr": frozenset(
        normalise("ne nedir kim kimdir hangi hangisidir kaç kaçtır nerede neden niçin nasıl bir ve ile için bu").split()
    ),
}
_sentences = re.compile(r"(?<=[.!?])\s+(?=[A-ZÇĞİÖŞÜ])").split
# What a sentence says of its neighbours nobody knows who reads it alone; a heading before it has no full stop.
_leaning = re.compile(
    r"^(?:it|he|she|they|there|here|however|bu|o|onlar|şu)\b"
    r"|\b(?:this|these|those|such|here|above|below|following|another|bunlar|şunlar)\b|___ (?:and|or|ve|veya)\b",
    re.IGNORECASE,
).search
_headed = re.compile(r"(?!(?:The|An?) ___)(?:[A-Z][\w-]* )+___ (?:is|are|was|were)\b").match
# Schoolbooks, SciQ's passages among them, point to figures and set formulas in brackets.
_aside = re.compile(r"\s*\((?:\s*(?:see )?figures?\b[^)]*|[^)]*=[^)]*)\);?", re.IGNORECASE)
# A single letter before the full stop: the sentence was cut within somebody's initials.
_abbreviated = re.compile(r"\b\w\.$").search


def propose(question: str, fact: Fact, language: str) -> Iterator[Proposal]:
    """The sentence of the passage that answers the question, with a gap for the answer; none where that is unsure."""
    answer = fact.answers[0]
    pattern = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)", re.IGNORECASE)
    empty = _EMPTY[language]
    asked = set(normalise(question).split()) - empty
    for sentence in _sentences(_aside.sub("", fact.support or "")):
        text, gaps = pattern.subn("___", " ".join(sentence.split()).replace(" .", "."))
        words = set(normalise(sentence).split())
        # With two gaps the one answer would be asked for twice, and often the rest of the sentence says too little.
        sure = gaps == 1 and text.endswith(".") and (text[0].isupper() or text[0] == "_") and not _leaning(text)
        sure = sure and not _headed(text) and not _abbreviated(text)
        if sure and len(text.split()) <= _MOST_WORDS and asked and len(asked & words) >= _SHARED * len(asked):
            yield Proposal(question=f"{_PROMPTS[language]} {text}", rule="support-cloze", language=language)
            return
