"""What a caller asks of the engine, and the answers that are no text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ragtune.records.base import JsonMapping

__all__ = ["ContextOverflowError", "EngineClosedError", "EngineFaultError", "GenerateRequest", "RequestError"]


class RequestError(BackendError):
    """What was asked cannot be done with this model.

    Attributes:
        param: the parameter at fault, None when it is the messages or the prompt.
        code: machine-readable code, as it stands on the wire.
    """

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ContextOverflowError(RequestError):
    """The prompt leaves no room for an answer in the model's context.

    Attributes:
        prompt_tokens: length of the prompt.
        context_tokens: what the model can look at, prompt and answer together.
    """

    def __init__(self, prompt_tokens: int, context_tokens: int, *, at_least: bool = False) -> None:
        number = f"at least {prompt_tokens}" if at_least else f"{prompt_tokens}"
        super().__init__(
            f"This model's maximum context length is {context_tokens} tokens and the prompt alone has {number}; "
            "shorten the messages",
            code="context_length_exceeded",
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class EngineClosedError(BackendError):
    """The engine was closed before this request was answered."""


class EngineFaultError(BackendError):
    """What is wrong with an engine that answers elsewhere; it names its kind, and nothing that is its owner's alone.

    Attributes:
        status: HTTP status of the answer.
        code: machine-readable code, as it stands on the wire.
        elsewhere: whether another engine may do better.
    """

    def __init__(self, message: str, *, code: str, status: int = 502, elsewhere: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.elsewhere = elsewhere


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """One question to one model.

    Attributes:
        base_path: folder of the base model.
        adapter_path: folder of the LoRA adapter that makes it a tuned model; None asks the base itself.
        messages: a conversation that the model answers as the assistant; exactly one of this and `prompt`.
        prompt: a text that the model goes on with, or its token ids.
        echo: begin the answer with the prompt itself (and its log-probabilities, when they are asked for).
        tools: function tools that the chat template shows to the model; calls of them come back as `GeneratedCall`.
        tool_choice: `auto` lets the model choose; `required` makes it call; `none` shows it no tools.
        allowed_tools: names of the tools that `required` may call; None allows all.
        parallel_tool_calls: whether one answer may call more than one tool.
        json_schema: what every answer must parse as and fit: a JSON Schema, `{"type": "object"}` for any object. With
            tools an answer may call instead.
        max_tokens: most tokens of one answer; None means up to the end of the model's context.
        temperature: 0 takes the likeliest token each time; higher values flatten the distribution.
        top_p: draw from the likeliest tokens that together hold this share of the probability, in (0, 1].
        frequency_penalty: taken off a token's logit for each time that it already stands in the answer, in [-2, 2].
        presence_penalty: taken off once when it stands there at all, in [-2, 2].
        logit_bias: added to the logits of these token ids, in [-100, 100].
        stop: texts at which an answer ends; they are cut out of it.
        seed: makes drawing repeatable; choice `i` draws with `seed + i`.
        n: number of answers.
        logprobs: whether to keep natural log-probabilities of the tokens, from the model's own distribution (before
            temperature, top_p, penalties, bias and schema).
        top_logprobs: how many of the likeliest alternatives to keep per token.
    """

    base_path: Path
    adapter_path: Path | None = None
    messages: Sequence[JsonMapping] | None = None
    prompt: str | Sequence[int] | None = None
    echo: bool = False
    tools: Sequence[JsonMapping] | None = None
    tool_choice: Literal["none", "auto", "required"] = "auto"
    allowed_tools: tuple[str, ...] | None = None
    parallel_tool_calls: bool = True
    json_schema: JsonMapping | None = None
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    logprobs: bool = False
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        # A mistake of our own: what clients send is judged before it gets here.
        if (self.messages is None) == (self.prompt is None):
            message = "a request needs either messages or a prompt"
            raise ValueError(message)

    @property
    def shown_tools(self) -> Sequence[JsonMapping] | None:
        """The tools that the model is told of."""
        return None if self.tool_choice == "none" else self.tools or None
