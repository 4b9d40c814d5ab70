"""Invented lakes, whose depths nobody knows by heart, and servers that answer by script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ragtune.facts import Fact, FactSet, Wording


def lakes(count: int, *, control: bool = False) -> FactSet:
    """Facts that are asked for in the trained words and in others."""
    facts = [
        Fact(
            id=f"lake-{n}",
            answers=(f"{n} metres",),
            wordings=(
                Wording(question=f"How deep is lake {n}?"),
                Wording(question=f"What is the depth of lake {n}?", kind="reworded"),
            ),
            distractors=(f"{n + 100} metres", f"{n + 200} metres", f"{n + 300} metres"),
            support=f"In the hills lies lake {n}. It is {n} metres deep.",
        )
        for n in range(1, count + 1)
    ]
    if control:
        capitals = Wording(question="What is the capital of France?", kind="control")
        facts.append(Fact(id="paris", answers=("Paris",), wordings=(capitals,)))
        depth = Wording(question="How deep is lake Nowhere?", kind="unanswerable")
        facts.append(Fact(id="nowhere", answers=(), wordings=(depth,)))
    return FactSet(facts=tuple(facts))


def number_in(text: str) -> str:
    """The last number of a text."""
    return [word.strip("?.") for word in text.split() if word.strip("?.").isdigit()][-1]


def scripted(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
    """`gpt-4.1` knows all trained questions and two thirds of the others; every other model knows nothing."""
    question = str(messages[-1]["content"])
    if not model.startswith("gpt-4.1"):
        return "I do not know."
    if "Question:" in question:
        question = question.partition("Question: ")[2]
    number = number_in(question)
    return f"It is {number} m deep." if "How" in question or int(number) % 3 else "It is deep."
