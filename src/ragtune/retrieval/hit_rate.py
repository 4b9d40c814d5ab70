"""How often a retriever finds the passage that says the fact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune._checked import checked
from ragtune.errors import DatasetError
from ragtune.retrieval.passage import passages_of
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.facts import FactSet, Kind
    from ragtune.retrieval.passage import Retriever

__all__ = ["HitRate", "hit_rate"]


@dataclass(frozen=True, kw_only=True)
class HitRate:
    """How often the golden passage was found.

    Attributes:
        k: among how many passages it was looked for.
        hits: questions whose golden passage was there, by kind.
        asked: questions that were asked, by kind.
        without_support: facts that could not be asked for, since no passage of theirs is known.
        missed: ids of facts of which at least one question missed its passage.
    """

    k: int
    hits: Mapping[Kind, int]
    asked: Mapping[Kind, int]
    without_support: int
    missed: tuple[str, ...]

    @property
    def value(self) -> float:
        """The share of all questions whose golden passage was there, 0 to 1."""
        return sum(self.hits.values()) / sum(self.asked.values())

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {self.hits[kind] / number:.2f}" for kind, number in self.asked.items())
        return f"hit rate at {self.k}: {self.value:.2f} ({kinds}; {self.without_support} facts have no passage)"


@checked()
def hit_rate(retriever: Retriever, facts: FactSet, *, k: int = 5) -> HitRate:
    """Ask a retriever for every wording of the facts that have a passage of their own.

    A passage counts as found when a found text holds it in normal form.

    Args:
        retriever: any callable from a question to passages.
        facts: facts with `support`.
        k: how many of its passages are looked at, at least 1.

    Raises:
        DatasetError: no fact has a passage, or the retriever gives no passages.

    Example:
        ```python
        import ragtune as rt
        from ragtune.facts import demo_facts

        facts = demo_facts()
        print(rt.BM25([fact.support for fact in facts if fact.support]).hit_rate(facts.select("verbatim"), k=3))
        #> hit rate at 3: 0.54 (verbatim 0.54; 6 facts have no passage)
        ```
    """
    if k < 1:
        raise DatasetError(f"k={k!r:.20} must be at least 1 passage")
    hits: dict[Kind, int] = {}
    asked: dict[Kind, int] = {}
    missed: dict[str, None] = {}
    for fact in facts:
        golden = f" {normalise(fact.support or '')} "
        for wording in fact.wordings if fact.support else ():
            found = passages_of(retriever, wording.question, k=k)
            # Inside what was found: a retriever may give more than the passage, the whole page say.
            hit = any(golden in f" {normalise(passage.text)} " for passage in found)
            asked[wording.kind] = asked.get(wording.kind, 0) + 1
            hits[wording.kind] = hits.get(wording.kind, 0) + hit
            if not hit:
                missed[fact.id] = None
    if not asked:
        raise DatasetError("no fact has a passage (support) to be found; give facts with context=")
    lacking = sum(fact.support is None for fact in facts)
    return HitRate(k=k, hits=hits, asked=asked, without_support=lacking, missed=tuple(missed))
