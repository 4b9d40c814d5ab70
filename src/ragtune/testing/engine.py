"""What scripted models say: what a script says, or what stands in the file that they were trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ragtune.local.engine.generation import GeneratedPiece, Generation, TokenLogprob
from ragtune.testing.rules import AnswerRule, ruled_answer

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.local.engine.request import GenerateRequest

__all__ = ["ScriptedAnswer", "ScriptedEngine"]

ScriptedAnswer = str | Callable[[str, Sequence[Mapping[str, Any]]], str] | Sequence[AnswerRule] | None

IGNORANCE = "I do not know."


class ScriptedEngine:
    """Answers at once; a word with the blanks before it counts as a token.

    Args:
        answer: see `ScriptedBackend`.
    """

    def __init__(self, answer: ScriptedAnswer) -> None:
        self._answer = answer

    def submit(self, request: GenerateRequest) -> Generation:
        """Answer."""
        # As text also where the prompt is token ids, which nobody here can read.
        messages = request.messages or [{"role": "user", "content": str(request.prompt)}]
        text = self._text(request, messages)
        for stop in request.stop:
            text = text.partition(stop)[0]
        # With the blanks around them, so that the pieces of a stream are the text again.
        words = re.findall(r"\s*\S+(?:\s+\Z)?", text) or [text]
        reason = "stop" if request.max_tokens is None or len(words) <= request.max_tokens else "length"
        words = words[: request.max_tokens]
        generation = Generation(request.n)
        generation.prompt_tokens = sum(len(str(message.get("content")).split()) for message in messages)
        generation.completion_tokens = len(words) * request.n
        for index in range(request.n):
            # Whoever asks for no token waits for the end all the same.
            for place, word in enumerate(words or [""], start=1):
                generation.put(
                    GeneratedPiece(
                        index=index,
                        text=word,
                        logprobs=(_certain(word, sum(map(len, words[: place - 1]))),) if request.logprobs else (),
                        finish_reason=reason if place >= len(words) else None,  # type: ignore[arg-type]
                    )
                )
        return generation

    def close(self) -> None:
        """Do nothing: every answer is whole when it is given."""

    def _text(self, request: GenerateRequest, messages: Sequence[Mapping[str, object]]) -> str:
        if isinstance(self._answer, str):
            return self._answer
        adapter = request.adapter_path
        if self._answer is not None:
            # A request names folders alone: what a tuned model is called stands beside what it learned.
            name = request.base_path.name if adapter is None else (adapter / "model.txt").read_text(encoding="utf-8")
            if callable(self._answer):
                return self._answer(name, messages)
            if (said := ruled_answer(self._answer, name, messages)) is not None:
                return said
        learned = {} if adapter is None else _learned(adapter / "training.jsonl")
        return learned.get(_last(messages, "user"), IGNORANCE)


def _certain(word: str, offset: int) -> TokenLogprob:
    known = tuple(word.encode())
    return TokenLogprob(token=word, bytes=known, logprob=0.0, offset=offset, top=((word, 0.0, known),))


@lru_cache(maxsize=64)
def _learned(file: Path) -> dict[str, str]:
    """Question to answer, from all rows of a training file; of equal questions the last one counts."""
    learned: dict[str, str] = {}
    # By newline alone: JSON may hold other line ends as they are, U+2028 for one.
    for line in file.read_bytes().split(b"\n"):
        row = json.loads(line) if line.strip() else {}
        if isinstance(row.get("prompt"), str):
            learned[row["prompt"].strip()] = row["completion"]
        elif "label" in row:
            # An answer that was called bad is what such a model learned not to say.
            if row["label"]:
                learned[_last(row["prompt"], "user")] = _last(row["completion"], "assistant")
        elif "input" in row:
            learned[_last(row["input"]["messages"], "user")] = _last(row["preferred_output"], "assistant")
        messages = row.get("messages", ())
        for place, message in enumerate(messages):
            if message["role"] == "assistant":
                learned[_last(messages[:place], "user")] = _said(message)
    return learned


def _last(messages: Sequence[Mapping[str, Any]], role: str) -> str:
    """The last text of a role."""
    return next((_said(message).strip() for message in reversed(messages) if message["role"] == role), "")


def _said(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    # Joined as the server joins those of a question, which is looked up among these.
    return content if isinstance(content, str) else "\n".join(str(part.get("text") or "") for part in content)
