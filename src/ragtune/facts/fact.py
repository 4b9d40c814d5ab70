"""One fact and the wordings that ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["KINDS", "Fact", "Kind", "Wording", "wordings_of"]

Kind = Literal["verbatim", "reworded", "reversed", "unanswerable", "control"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Wording:
    """One way to ask for a fact.

    Attributes:
        question: the question as it is sent.
        kind: `verbatim` is the question that was taught, `reworded` asks the same in other words, `reversed` asks
            from the answer back to the subject, `unanswerable` asks what no source tells, `control` asks general
            knowledge that no training should have touched.
        answers: the accepted spellings of this wording's own answer, the preferred one first; empty means the fact's.
            Only a reversed question has answers of its own.

    Example:
        ```python
        from ragtune.facts import Wording

        print(Wording(question="Which lake is 83 metres deep?", kind="reversed", answers=("Lake Sorrel",)).kind)
        #> reversed
        ```
    """

    question: str
    kind: Kind = "verbatim"
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that is known, whatever words ask for it.

    Attributes:
        id: names the fact in rows, splits, logs and score cards; unique within a set.
        answers: the accepted spellings of the answer, the preferred one first. Empty for a question that has no
            answer: right is who says so.
        wordings: the questions that ask for it; at least one.
        distractors: wrong answers that look right.
        support: the passage that says it, or None.
        source: where it comes from (a file, a page, a URL), or None.

    Example:
        ```python
        from ragtune.facts import Fact, Wording

        fact = Fact(id="lake", answers=("83 metres", "83 m"), wordings=(Wording(question="How deep is Lake Sorrel?"),))
        print(fact.answers_to(fact.wordings[0]))
        #> ('83 metres', '83 m')
        ```
    """

    id: str
    answers: tuple[str, ...]
    wordings: tuple[Wording, ...]
    distractors: tuple[str, ...] = ()
    support: str | None = None
    source: str | None = None

    @property
    def taught(self) -> Wording | None:
        """The first question that is trained as it stands; None for controls and what nothing answers."""
        return next((wording for wording in self.wordings if wording.kind == "verbatim"), None)

    def answers_to(self, wording: Wording) -> tuple[str, ...]:
        """Return the accepted spellings of the answer to one of its wordings."""
        return wording.answers or self.answers


def wordings_of(facts: Iterable[Fact]) -> Iterator[Wording]:
    """All wordings of some facts, fact after fact."""
    return chain.from_iterable(fact.wordings for fact in facts)
