"""The facts of the demo, with their wordings."""

from __future__ import annotations

from ragtune.data import demo_facts_file
from ragtune.facts.fact_set import FactSet

__all__ = ["demo_facts"]


def demo_facts() -> FactSet:
    """The 60 facts of `ragtune.demo_file`, each with three rewordings and a reversed question, all written by hand.

    Beside them stand 20 questions about Quillhaven that no row answers, and 20 control questions: general knowledge
    that the base model of 135 million parameters answers before any training.

    Example:
        ```python
        from ragtune.facts import demo_facts

        print(demo_facts())
        #> FactSet(100 facts; 60 verbatim, 180 reworded, 60 reversed, 20 unanswerable, 20 control)
        ```
    """
    return FactSet.from_jsonl(demo_facts_file())
