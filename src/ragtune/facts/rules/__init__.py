"""Other wordings without a model: rules for English and Turkish, which abstain wherever they are not sure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ragtune.facts.rules import english, support_cloze, turkish
from ragtune.facts.rules.proposal import Proposal
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.facts.fact import Fact

__all__ = ["LANGUAGES", "Proposal", "proposals"]

LANGUAGES = ("en", "tr")
_english = re.compile(
    r"(?:what|which|who|whose|where|when|why|how|\w+ (?:what|which))\b|.+\b(?:called|known as|as|termed) what\?",
    re.IGNORECASE,
).match
_turkish = re.compile(
    r"\b(?:nedir|kimdir|neresidir|kaçtır|hangisidir|kim|kaç|hangi|nerede|nereden|neden|niçin|ne zaman)\b", re.IGNORECASE
).search
# A colon, a semicolon or a second sentence: what the question leans on may stand before it.
_one_sentence = re.compile(r"[^?!:;\n]+\?").fullmatch
_LANGUAGES = {"en": (_english, english.propose), "tr": (_turkish, turkish.propose)}


def proposals(fact: Fact) -> Iterator[Proposal]:
    """What the rules make of the question that is taught; nothing where they abstain.

    Example:
        ```python
        from ragtune.facts import Fact, Wording
        from ragtune.facts.rules import proposals

        metal = Wording(question="Which metal is mined under Harrow Fell?")
        for proposal in proposals(Fact(id="metal", answers=("bismuth",), wordings=(metal,))):
            print(f"{proposal.kind}: {proposal.question}")
            #> reworded: Name the metal that is mined under Harrow Fell.
            #> reworded: Complete the sentence: The metal that is mined under Harrow Fell is ___.
            #> reversed: Where is bismuth mined?
        ```
    """
    question = "" if fact.taught is None else " ".join(fact.taught.question.split())
    if not _one_sentence(question):
        return
    seen = {normalise(question)}
    for language, (speaks, propose) in _LANGUAGES.items():
        if not speaks(question):
            continue
        for proposal in (*propose(question, fact), *support_cloze.propose(question, fact, language)):
            form = normalise(proposal.question)
            # A wording that tells its own answer asks nothing.
            told = proposal.answers or fact.answers
            if form not in seen and not any(f" {normalise(answer)} " in f" {form} " for answer in told):
                seen.add(form)
                yield proposal
        # One language alone: an English question about somebody called Kim holds a Turkish word.
        return
