"""A question to one arm, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from ragtune.facts import Fact, FactSet, Wording

__all__ = ["Failure", "Prompt", "Question", "Returned", "Shown"]

Prompt = str | list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One wording of one fact of a set, for one arm; `number` is the wording's place within the fact."""

    arm: str
    facts: FactSet
    fact: Fact
    wording: Wording
    number: int


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What an arm is shown.

    Attributes:
        text: the question with whatever stands around it.
        options: the answers to choose from, in their order; empty where there is no choice.
        planted: the wrong answer that a passage was made to say, or None.
    """

    text: str
    options: tuple[str, ...] = ()
    planted: str | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why there is no answer: the type of the error and what it says."""

    type: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What came back from an arm.

    Attributes:
        text: the answer, None where there is none.
        fault: why there is none, else None.
        refused: whether the server marked it as a refusal.
        finish_reason: why it ended, None where that is not said.
        prompt_tokens: tokens of the prompt, None where that is not said.
        completion_tokens: tokens of the answer, None where that is not said.
        latency_s: seconds from the request to the answer.
        cost_usd: its price in US dollars, None where no price is known.
        details: what else is worth keeping in the log.
    """

    text: str | None
    fault: Failure | None = None
    refused: bool = False
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_s: float | None = None
    cost_usd: float | None = None
    details: dict[str, object] = field(default_factory=dict)

    @classmethod
    def late(cls, timeout_s: float) -> Self:
        """What stands for an answer that did not come in time."""
        return cls(
            text=None, fault=Failure(type="TimeoutError", message=f"no answer within timeout_s={timeout_s:g} seconds")
        )

    def line(self, prompt: Prompt | None) -> dict[str, Any]:
        """The fields of a line of a log, beside those of the question."""
        return {
            "prompt": prompt,
            "text": self.text,
            "fault": None if self.fault is None else {"type": self.fault.type, "message": self.fault.message},
            "refused": self.refused,
            "finish_reason": self.finish_reason,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "latency_s": self.latency_s,
            "cost_usd": self.cost_usd,
            **self.details,
        }
