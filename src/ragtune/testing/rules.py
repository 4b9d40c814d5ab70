"""Answers by rule: what a scripted model says to prompts of one kind, whatever else stands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AnswerRule", "ruled_answer"]

_NAMED = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class AnswerRule:
    """One rule; of several the first that fits speaks.

    The patterns are regular expressions that are searched without regard to case; `.` fits line ends, too. What is None
    fits everything.

    Attributes:
        say: the answer; `{name}` stands for what a group `(?P<name>...)` of a pattern found, other braces stay.
        prompt: what the user's last message holds.
        context: what the conversation holds anywhere: the system prompt, retrieved passages, earlier turns.
        model: the model's name, as a shell pattern such as `ft:*`.

    Raises:
        ValueError: a pattern is no regular expression.

    Example:
        ```python
        from ragtune.testing import AnswerRule, ScriptedBackend

        rules = [
            AnswerRule(prompt=r"Question: (?P<q>.*)", context="refunds take", say="To '{q}': within 14 days."),
            AnswerRule(say="Nothing is said about that."),
        ]
        with ScriptedBackend(answer=rules) as backend, backend.client() as client:
            prompt = "Context: refunds take two weeks.\\nQuestion: When?"
            messages = [{"role": "user", "content": prompt}]
            print(client.chat.completions.create(model="tiny-random", messages=messages).choices[0].message.content)
            #> To 'When?': within 14 days.
        ```
    """

    say: str
    prompt: str | None = None
    context: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "context"):
            # When the rule is made, and not when a question comes: there the error would be an answer of 500.
            pattern = getattr(self, name)
            try:
                re.compile(pattern or "")
            except re.error as error:
                message = (
                    f"{name}={pattern!r} is no regular expression: {error}; write signs with a meaning as \\? or \\("
                )
                raise ValueError(message) from None

    def answer(self, model: str, messages: Sequence[Mapping[str, Any]]) -> str | None:
        """What is said to a conversation, None where the rule does not fit."""
        # Not `fnmatch`, which forgets about case on Windows.
        if self.model is not None and not fnmatchcase(model, self.model):
            return None
        said = [(str(message["role"]), _text(message.get("content"))) for message in messages]
        asked = next((text for role, text in reversed(said) if role == "user"), "")
        groups: dict[str, str] = {}
        for pattern, text in ((self.context, "\n".join(text for _, text in said)), (self.prompt, asked)):
            found = re.search(pattern or "", text, re.IGNORECASE | re.DOTALL)
            if found is None:
                return None
            # A group in a part of the pattern that was not taken found None.
            groups |= {name: value or "" for name, value in found.groupdict().items()}
        # Not str.format: what is said may be JSON, with braces of its own.
        return _NAMED.sub(lambda place: groups.get(place[1], place[0]), self.say)


def ruled_answer(rules: Sequence[AnswerRule], model: str, messages: Sequence[Mapping[str, Any]]) -> str | None:
    """What the first rule says that fits; None where none does."""
    return next((said for rule in rules if (said := rule.answer(model, messages)) is not None), None)


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
