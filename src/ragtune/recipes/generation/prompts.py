"""What a model is asked to write, and what it is asked about what it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["FOLLOWS", "KINDS", "RIGHT", "SAME", "What", "prompt_of"]

What = Literal["wordings", "pairs", "implications", "distractors"]
KINDS: tuple[What, ...] = get_args(What)

_AS_LIST = "Write a JSON list and nothing else."
_WORDINGS = f"""Write {{count}} questions that ask for exactly the same as the question below, each in other words and \
built in another way. Keep every name, number and unit. Never tell the answer. {_AS_LIST[:-1]}: ["...", "..."]

Question: {{question}}
Answer: {{answer}}"""
# Braces are written four times where the model is to see one: the f-string takes half of them, `format` the next.
_PAIRS = f"""Write up to {{count}} questions that the passage below answers, each about another fact in it. A question \
must be clear to somebody who has not seen the passage: name what it is about. An answer is a few words, copied from \
the passage. If the passage holds no fact, write []. {_AS_LIST[:-1]}: [{{{{"question": "...", "answer": "..."}}}}]

Passage: {{passage}}"""
_IMPLICATIONS = f"""Write up to {{count}} questions whose answers follow from the passage below without standing in it \
word for word. A question must be clear to somebody who has not seen the passage: name what it is about. An answer is \
a few words. If nothing follows, write []. {_AS_LIST[:-1]}: [{{{{"question": "...", "answer": "..."}}}}]

Passage: {{passage}}"""
_DISTRACTORS = f"""Write {{count}} wrong answers to the question below that somebody who does not know the right one \
might believe: of the same kind, as long as the right one, and certainly wrong. {_AS_LIST[:-1]}: ["...", "..."]

Question: {{question}}
Right answer: {{answer}}"""
_PROMPTS: dict[What, str] = {
    "wordings": _WORDINGS,
    "pairs": _PAIRS,
    "implications": _IMPLICATIONS,
    "distractors": _DISTRACTORS,
}

SAME = """A fact, as question and answer:
Question: {question}
Answer: {answer}

Another question: {asked}

Answer the other question from this fact alone, in as few words as you can. If the fact does not answer it, write NO."""
FOLLOWS = """Passage: {passage}

Question: {question}
Proposed answer: {answer}

Does the proposed answer follow from the passage alone, and is it the right answer to the question? Write YES or NO."""
RIGHT = """Question: {question}
Right answer: {answer}
Another answer: {other}

Could the other answer be counted as right, too? Write YES or NO."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What one call is about.

    Attributes:
        id: of the fact or the passage.
        passage: what a passage says, or what stands behind a fact.
        question: of a fact.
        answer: of a fact.
    """

    id: str
    passage: str = ""
    question: str = ""
    answer: str = ""


def prompt_of(what: What, unit: Unit, count: int) -> str:
    """The prompt for one fact or passage; braces in their texts stay what they are."""
    return _PROMPTS[what].format(count=count, passage=unit.passage, question=unit.question, answer=unit.answer)
