"""Which of the options that were shown was chosen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ragtune.evaluation.scorers.words import found_in
from ragtune.text import normalise

if TYPE_CHECKING:
    from ragtune.evaluation.scorers.context import Context

__all__ = ["LETTERS", "choice"]

LETTERS = "ABCDEFGHIJ"
# A letter by itself: "A volcano" begins with an article.
_lone_letter = re.compile(
    r"^\(?([A-J])(?:[).:,]|\s*$|\s*\n| (?:because|is|-))"
    r"|\b(?:[Aa]nswer(?: is)?:?|[Oo]ption) \(?([A-J])(?:[).:,]|\s*$| because)"
)


def choice(context: Context) -> bool | None:
    """Whether the right one of the options was chosen, by its letter or by its words; None where none were shown.

    Whoever names several options, or none, has not chosen and is wrong.
    """
    if not context.options:
        return None
    chosen = _chosen(context.text.strip(), context.options)
    return chosen is not None and normalise(chosen) in {normalise(answer) for answer in context.answers}


def _chosen(text: str, options: tuple[str, ...]) -> str | None:
    found = _lone_letter.search(text)
    place = -1 if found is None else LETTERS.index(found[1] or found[2])
    if 0 <= place < len(options):
        return options[place]
    named = [option for option in options if found_in(text, (option,))]
    # Who names several has chosen none.
    return named[0] if len(named) == 1 else None
