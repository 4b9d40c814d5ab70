"""Wordings that are kept for an evaluation, apart from those that are trained."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from ragtune._checked import checked
from ragtune.errors import DatasetError
from ragtune.facts import KINDS, FactSet
from ragtune.recipes.options import known, require_whole

if TYPE_CHECKING:
    from ragtune.facts import Kind

__all__ = ["hold_out"]


@checked("kind")
def hold_out(facts: FactSet, *, kind: Kind = "reworded", per_fact: int = 1, seed: int = 0) -> tuple[FactSet, FactSet]:
    """Part wordings into those to train on and those to ask in an evaluation.

    A fact keeps at least one wording of the kind for training where it has two or more.

    Args:
        facts: what is taught.
        kind: which wordings are parted; all others stay in the first set.
        per_fact: how many of each fact are held out.
        seed: decides which.

    Returns:
        The facts without these wordings, and the held-out wordings alone, with the same ids.

    Raises:
        DatasetError: no fact has a wording of this kind.

    Example:
        ```python
        from ragtune.facts import demo_facts
        from ragtune.recipes import hold_out

        to_teach, held_out = hold_out(demo_facts(), kind="reworded", per_fact=1, seed=7)
        print(to_teach.counts["reworded"], held_out.counts["reworded"])
        #> 120 60
        ```
    """
    known(kind, KINDS, "kind")
    require_whole("per_fact", per_fact, low=1, high=1_000)
    kept, held = [], []
    for fact in facts:
        places = [place for place, item in enumerate(fact.wordings) if item.kind == kind]
        # Where there is one alone it is held out: the fact is still taught by its wordings of other kinds.
        most = min(per_fact, max(len(places) - 1, 1))
        # The fact's id in the seed: what is held out of one fact does not hang on which others there are.
        drawn = set(random.Random(f"hold out {seed} {fact.id}").sample(places, min(most, len(places))))
        rest = tuple(item for place, item in enumerate(fact.wordings) if place not in drawn)
        if rest:
            kept.append(replace(fact, wordings=rest))
        if drawn:
            held.append(replace(fact, wordings=tuple(fact.wordings[place] for place in sorted(drawn))))
    if not held:
        raise DatasetError(
            f"no fact has a {kind} wording to hold out; make some first: facts.with_wordings(kind='reworded', "
            f"make='rules'), or where the rules abstain recipes.generate(client, facts, what='wordings', ...)"
        )
    return FactSet(facts=tuple(kept)), FactSet(facts=tuple(held))
