"""Thoughts in a training file: where they stand, who takes them, and when they teach a model not to think."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.checks.file_rules import file_problem
from ragtune.modelling.encoding.thoughts import THOUGHT_CLOSE, THOUGHT_OPEN, parted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.catalog import ModelInfo
    from ragtune.checks.problems import Problem
    from ragtune.records import JsonObject

_KEYS = ("reasoning_content", "reasoning", "thinking")
# Where answers stand in the record kinds.
_PLACES = ("messages", "preferred_output", "non_preferred_output", "completion", "prompt")


def may_hold_thoughts(line: bytes) -> bool:
    """Whether a line is worth a closer look."""
    return b"think" in line or b'"reasoning' in line


@dataclass
class Thoughts:
    """Counts answers by what was thought before them; the first line of each kind is kept."""

    beside: int = 0
    tagged: int = 0
    empty: int = 0
    open: int = 0
    line_beside: int = 0
    line_tagged: int = 0
    line_empty: int = 0
    line_open: int = 0

    def add(self, record: JsonObject, number: int) -> None:
        """Count the answers of one record."""
        for message in _answers(record):
            if any(isinstance(message.get(key), str) and message[key].strip() for key in _KEYS):
                self.beside, self.line_beside = self.beside + 1, self.line_beside or number
            content = message.get("content")
            if not isinstance(content, str):
                continue
            thought, _ = parted(content)
            if thought:
                self.tagged, self.line_tagged = self.tagged + 1, self.line_tagged or number
            elif thought is not None:
                self.empty, self.line_empty = self.empty + 1, self.line_empty or number
            elif content.lstrip().startswith(THOUGHT_OPEN):
                self.open, self.line_open = self.open + 1, self.line_open or number

    def problems(self, model: str | None, info: ModelInfo | None) -> Iterator[Problem]:
        """What to say of the whole file."""
        if self.beside:
            yield from self._beside_problems(model, info)
        if self.tagged:
            text = f"{_count(self.tagged)} a thought in {THOUGHT_OPEN} tags (first in line {self.line_tagged})"
            hint = (
                "the embedded backend takes it for what was thought where the template of the base thinks; elsewhere "
                "the tags are text that the model learns to write"
            )
            yield file_problem("thought-in-text", text, hint, severity="suggestion")
        if self.empty:
            text = f"{_count(self.empty)} an empty {THOUGHT_OPEN}{THOUGHT_CLOSE} (first in line {self.line_empty})"
            hint = "leave the tags out: most servers train them as text, which teaches a model that thinks not to"
            yield file_problem("empty-thought", text, hint, severity="warning")
        if self.open:
            text = f"{_count(self.open)} a thought that never ends (first in line {self.line_open})"
            yield file_problem(
                "unclosed-thought", text, f"write {THOUGHT_CLOSE} behind it, before the answer", severity="warning"
            )

    def _beside_problems(self, model: str | None, info: ModelInfo | None) -> Iterator[Problem]:
        known = (
            f"{_count(self.beside)} a thought beside them, in 'reasoning_content' (first in line {self.line_beside})"
        )
        # A model with a price is one of OpenAI's: its schema of a training message has no such key.
        if info is not None and info.training_usd_per_million:
            hint = "leave the thoughts out for this model, or train a base of the embedded backend, which takes them"
            yield file_problem("thought-not-for-model", f"{known}; {model} takes no such key", hint)
        elif model is None:
            hint = (
                "OpenAI and Azure refuse the key; the embedded backend trains thoughts where the template of its base "
                "writes them, masks or drops them by rt.Supervised(reasoning=...)"
            )
            yield file_problem("thoughts", known, hint, severity="suggestion")


def _answers(record: JsonObject) -> Iterator[JsonObject]:
    for place in _PLACES:
        found = record.get(place)
        for message in found if isinstance(found, list) else ():
            if message.get("role") == "assistant":
                yield message


def _count(answers: int) -> str:
    return "1 answer has" if answers == 1 else f"{answers:,} answers have"
