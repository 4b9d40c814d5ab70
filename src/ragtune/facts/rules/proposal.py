"""What a rule proposes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragtune.facts.fact import Kind

__all__ = ["Proposal"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Another wording of a question, and the rule that made it.

    Attributes:
        question: the wording.
        rule: name of the rule, for example `name-the`.
        language: `en` or `tr`.
        kind: `reworded` or `reversed`.
        answers: of a reversed question.
    """

    question: str
    rule: str
    language: str
    kind: Kind = "reworded"
    answers: tuple[str, ...] = ()
