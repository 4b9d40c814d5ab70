"""Further wordings of facts: from a function, or by rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from ragtune.errors import DatasetError
from ragtune.facts.fact import Fact, Wording
from ragtune.facts.rules import proposals
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.facts.fact import Kind

__all__ = ["MakeWordings", "by_function", "by_rules", "with_further"]

MakeWordings = Callable[[Fact], object]


def by_function(make: MakeWordings, kind: Kind) -> Callable[[Fact], Iterator[Wording]]:
    """What a user's function gives for a fact, as wordings of a kind."""

    def wordings(fact: Fact) -> Iterator[Wording]:
        try:
            found = make(fact)
        except Exception as error:
            error.add_note(f"in the function given to with_wordings() at fact {fact.id!r}")
            raise
        several = found if isinstance(found, Iterable) and not isinstance(found, str) else (found,)
        for item in () if found is None else several:
            if isinstance(item, str):
                yield Wording(question=item, kind=kind)
            elif isinstance(item, Wording) and item.kind == kind:
                yield item
            else:
                raise DatasetError(
                    f"make gave {item!r:.80} for fact {fact.id!r}; give {kind} questions, as texts or as Wordings"
                )

    return wordings


def questions_of(facts: Iterable[Fact]) -> set[str]:
    """Every question that facts ask, in normal form."""
    wordings = chain.from_iterable(fact.wordings for fact in facts)
    return {normalise(wording.question) for wording in wordings}


def by_rules(facts: Sequence[Fact], kind: Kind, *, per_fact: int) -> Callable[[Fact], Iterator[Wording]]:
    """The first proposals of the rules that no fact of the set asks yet; none where they abstain."""
    if kind not in ("reworded", "reversed"):
        raise DatasetError(f"the rules make reworded and reversed questions, not {kind!r:.40} ones")
    asked = questions_of(facts)

    def wordings(fact: Fact) -> Iterator[Wording]:
        left = per_fact
        for proposal in proposals(fact):
            form = normalise(proposal.question)
            if left and proposal.kind == kind and form not in asked:
                asked.add(form)
                left -= 1
                yield Wording(question=proposal.question, kind=kind, answers=proposal.answers)

    return wordings


def with_further(facts: Sequence[Fact], further: Callable[[Fact], Iterable[Wording]]) -> tuple[Fact, ...]:
    """The facts with further wordings behind their own."""
    return tuple(replace(fact, wordings=(*fact.wordings, *further(fact))) for fact in facts)
