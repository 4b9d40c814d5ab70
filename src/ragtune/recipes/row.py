"""What recipes make of facts: rows that know where they come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar, Protocol

from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.facts import Fact, FactSet, Wording

__all__ = ["Material", "RecipeRow", "Strategy", "passage_key"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeRow:
    """One row to train on.

    Attributes:
        question: what the model is asked; of a document its tag.
        answer: what it learns to say.
        fact_id: the fact that it teaches; replayed rows count as facts of their own.
        wording: which way of saying it: `verbatim`, `reworded-2`, `framed-1`, `statement`, `cloze`, `reversed`,
            `document-1`, `open-book`, `open-book-withheld`, `unanswerable`, `invented`, `replay`.
        recipe: name and version, for example `qa_multi/1`.
        passage: the same for facts that one passage tells, so that a split can keep them on one side.

    Example:
        ```python
        import ragtune as rt
        from ragtune.facts import demo_facts

        row = next(rt.Recipe("qa_single").rows(demo_facts()))
        print(row.question, row.answer, row.fact_id, row.wording, row.recipe)
        #> Which bird is on the coat of arms of Quillhaven? lantern heron coat-of-arms verbatim qa_single/1
        ```
    """

    question: str
    answer: str
    fact_id: str
    wording: str
    recipe: str
    passage: str

    def to_dict(self) -> dict[str, str]:
        """The row as a builder takes it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a recipe makes rows of.

    Attributes:
        facts: what is to be taught.
        held_out: normal forms of questions that an evaluation keeps for itself.
        rows_before: how many rows stand before those of this recipe in the same sum; None where it stands alone.
    """

    facts: FactSet
    held_out: frozenset[str] = field(default_factory=frozenset)
    rows_before: int | None = None

    def may_ask(self, question: str) -> bool:
        """Whether no evaluation keeps this question for itself."""
        return normalise(question) not in self.held_out

    def taught(self, fact: Fact, *kinds: str) -> list[Wording]:
        """The fact's wordings of these kinds that may be trained."""
        return [item for item in fact.wordings if item.kind in kinds and self.may_ask(item.question)]


class Strategy(Protocol):
    """The way from facts to rows that a name and a version stand for: frozen data, so it can be pickled.

    Attributes:
        name: what a `Recipe` calls it.
        version: goes up whenever the same facts and options give other rows.
        about: what it buys, in one sentence.
        scale: the option that decides how many tokens come of a fact, and its highest value; None where there is none.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    about: ClassVar[str]
    scale: ClassVar[tuple[str, int] | None]

    def rows(self, material: Material) -> Iterator[RecipeRow]:
        """The rows: the same for the same facts, whatever came before."""


def passage_key(fact: Fact) -> str:
    """The same for all facts that one passage tells; a fact without a passage stands alone."""
    if not fact.support:
        return fact.id
    # Of the words and not the place: facts of two sources that tell the same passage stay on one side of a split.
    return blake2b(normalise(fact.support).encode(), digest_size=8).hexdigest()
