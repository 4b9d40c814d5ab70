"""What a scorer sees, and what a scorer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragtune.facts import Kind

__all__ = ["Context", "Scorer"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """One answer to one wording of a fact, for a scorer to judge.

    Attributes:
        text: what was answered.
        answers: the accepted spellings, the preferred one first; empty where nothing is right but to say that one does
            not know.
        question: the wording that was asked for.
        kind: of the wording.
        arm: who answered.
        fact_id: the fact.
        distractors: wrong answers that look right.
        options: the answers to choose from, in the order in which they were shown; empty where none were.
        prompt: what was sent: a text, or messages.
        finish_reason: why the answer ended, None where that is not said.
        refused: whether the server itself marked the answer as a refusal.

    Example:
        ```python
        from ragtune.evaluation import Context, contains

        context = Context(text="It is about 83 m deep.", answers=("83 metres",), question="How deep is Lake Sorrel?")
        print(contains(context))
        #> True
        ```
    """

    text: str
    answers: tuple[str, ...]
    question: str
    kind: Kind = "verbatim"
    arm: str = ""
    fact_id: str = ""
    distractors: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    prompt: object = None
    finish_reason: str | None = None
    refused: bool = False


# A bool (right or wrong), a number, or a label, whose share is counted; None where the scorer has no opinion.
Scorer = Callable[[Context], bool | float | str | None]
