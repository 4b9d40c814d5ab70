"""What of a model's rows may be taught: by a rule where that is sure, else by asking a model again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.recipes.generation.prompts import FOLLOWS, RIGHT, SAME
from ragtune.text import normalise

if TYPE_CHECKING:
    from ragtune.facts.paid_chat import PaidChat
    from ragtune.recipes.generation.prompts import Unit, What

__all__ = ["BLANK", "HALVED", "PROSE", "REPEATED", "Checks"]

PROSE = "prose instead of rows"
NOTHING = "no fact in the passage"
BLANK = "a blank question or answer"
HALVED = "half of a surrogate pair"
REPEATED = "asked already"
TELLS = "the question tells its answer"
UNFOUNDED = "the answer neither stands in the passage nor follows from it"
OTHER = "asks for something else"
RIGHT_TOO = "a wrong answer that is right"


@dataclass(frozen=True, kw_only=True)
class Checks:
    """Says why a row is left out, or nothing.

    Attributes:
        chat: is asked where no rule is sure.
        judge: whether it may be; without it, what no rule is sure of is left out.
    """

    chat: PaidChat
    judge: bool

    def of_pair(self, what: What, unit: Unit, question: str, answer: str) -> str | None:
        """Whether the answer stands in the passage or follows from it."""
        said, asked, passage = normalise(answer), normalise(question), normalise(unit.passage)
        if not said or not asked:
            return BLANK
        if _stands(said, asked):
            return TELLS
        # Of pairs it is asked that answers are copied; of what follows from a passage, standing in it proves nothing.
        if what == "pairs" and _stands(said, passage):
            return None
        prompt = FOLLOWS.format(passage=unit.passage, question=question, answer=answer)
        return None if self.judge and self._yes(prompt) else UNFOUNDED

    def of_wording(self, unit: Unit, question: str) -> str | None:
        """Whether it asks for the same and does not tell the answer."""
        answer = normalise(unit.answer)
        if _stands(answer, normalise(question)):
            return TELLS
        if not self.judge:
            return None
        # Answered and not judged: whether it asks for the same shows in the answer, which a rule can compare.
        reply = self.chat.ask(SAME.format(question=unit.question, answer=unit.answer, asked=question))
        return None if _stands(answer, normalise(reply)) else OTHER

    def of_distractor(self, unit: Unit, other: str) -> str | None:
        """Whether it is wrong."""
        form, right = normalise(other), normalise(unit.answer)
        if not form:
            return BLANK
        # A part of the right answer, or the right one with more words, may be graded as right.
        if _stands(form, right) or _stands(right, form):
            return RIGHT_TOO
        prompt = RIGHT.format(question=unit.question, answer=unit.answer, other=other)
        return RIGHT_TOO if self.judge and self._yes(prompt) else None

    def _yes(self, prompt: str) -> bool:
        # Models say "Answer: YES" or "**Yes**, ..."; further on in a sentence a yes may belong to something else.
        return "yes" in normalise(self.chat.ask(prompt)).split()[:3]


def _stands(words: str, form: str) -> bool:
    # Between blanks, so that the answer "18" does not stand in "1871".
    return bool(words) and f" {words} " in f" {form} "
