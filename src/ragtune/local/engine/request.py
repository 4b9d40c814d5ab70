"""What a caller asks of the engine, and the two answers that are no text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["ContextOverflowError", "EngineClosedError", "GenerateRequest"]


class ContextOverflowError(BackendError):
    """The prompt leaves no room for an answer in the model's context.

    Attributes:
        prompt_tokens: length of the prompt.
        context_tokens: what the model can look at, prompt and answer together.
    """

    def __init__(self, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"This model's maximum context length is {context_tokens} tokens and the prompt alone has {prompt_tokens}; "
            "shorten the messages"
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class EngineClosedError(BackendError):
    """The engine was closed before this request was answered."""


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """One question to one model.

    Attributes:
        base_path: folder of the base model.
        adapter_path: folder of the LoRA adapter that makes it a tuned model; None asks the base itself.
        messages: a conversation that the model answers as the assistant; exactly one of this and `prompt`.
        prompt: a text that the model goes on with.
        tools: function tools that the chat template shows to the model.
        max_tokens: most tokens of one answer; None means up to the end of the model's context.
        temperature: 0 takes the likeliest token each time; higher values flatten the distribution.
        top_p: draw from the likeliest tokens that together hold this share of the probability, in (0, 1].
        frequency_penalty: taken off a token's logit for each time that it already stands in the answer, in [-2, 2].
        presence_penalty: taken off once when it stands there at all, in [-2, 2].
        stop: texts at which an answer ends; they are cut out of it.
        seed: makes drawing repeatable; choice `i` draws with `seed + i`.
        n: number of answers.
        logprobs: whether to keep natural log-probabilities of the tokens, from the model's own distribution (before
            temperature, top_p and penalties).
        top_logprobs: how many of the likeliest alternatives to keep per token.
    """

    base_path: Path
    adapter_path: Path | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    prompt: str | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    logprobs: bool = False
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        if (self.messages is None) == (self.prompt is None):
            message = "a request needs either messages or a prompt"
            raise ValueError(message)
