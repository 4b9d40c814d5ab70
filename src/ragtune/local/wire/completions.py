"""The body of a completion: texts or tokens that a model goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

from pydantic import Discriminator, Field, Tag, model_validator

from ragtune.limits import DEFAULT_COMPLETION_TOKENS, MAX_MESSAGES
from ragtune.local.engine.request import GenerateRequest
from ragtune.local.http.errors import invalid
from ragtune.local.wire.base import A_TEXT
from ragtune.local.wire.sampling import ManyStops, SamplingRequest, Stops

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CompletionRequest"]

_Tokens = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, fail_fast=True)]
_TEXTS, _NUMBERS, _LISTS = Tag("an array of strings"), Tag("an array of integers"), Tag("an array of arrays")


def _prompt_kind(value: Any) -> str:
    if not isinstance(value, list):
        return A_TEXT.tag
    first = value[0] if value else ""
    if isinstance(first, list):
        return _LISTS.tag
    # Fractions as well: the refusal is then about the number, and not about a text that is missing.
    return _NUMBERS.tag if isinstance(first, int | float) else _TEXTS.tag


_Prompt = Annotated[
    Annotated[str, A_TEXT]
    | Annotated[list[str], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True), _TEXTS]
    | Annotated[_Tokens, _NUMBERS]
    | Annotated[list[_Tokens], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True), _LISTS],
    Discriminator(_prompt_kind),
]


class CompletionRequest(SamplingRequest):
    """Body of `POST /v1/completions`."""

    unserved: ClassVar = {"suffix": ()}

    prompt: _Prompt
    stop: Stops[ManyStops] | None = None
    # 0 has a text scored alone, with `echo` and `logprobs`; in a chat it would be of no use.
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = None
    # OpenAI's numbers, as above.
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None

    @model_validator(mode="after")
    def _check_best_of(self) -> Self:
        if self.best_of is not None and self.best_of < (self.n or 1):
            message = (
                f"'best_of' must be at least 'n': it is {self.best_of}, and {self.n or 1} answers are to come back."
            )
            raise invalid(message, param="best_of")
        if self.stream and self.choices > (self.n or 1):
            message = "Which answers are the best is known at the end only: 'best_of' above 'n' cannot be streamed."
            raise invalid(message, param="best_of")
        return self

    @property
    def choices(self) -> int:
        """How many answers are to be written to each prompt; the best `n` of them come back."""
        return self.best_of or self.n or 1

    @property
    def prompts(self) -> int:
        """How many prompts are to be answered."""
        return len(self._prompts())

    def requests(self, base: Path, adapter: Path | None) -> list[GenerateRequest]:
        """What the engine is asked, once per prompt, of the model in these folders."""
        return [self._drawn(self._request(prompt, base, adapter)) for prompt in self._prompts()]

    def _request(self, prompt: str | list[int], base: Path, adapter: Path | None) -> GenerateRequest:
        return GenerateRequest(
            base_path=base,
            adapter_path=adapter,
            prompt=prompt,
            max_tokens=DEFAULT_COMPLETION_TOKENS if self.max_tokens is None else self.max_tokens,
            # Which answers are the likeliest is told by their tokens' log-probabilities.
            logprobs=self.logprobs is not None or self.choices > (self.n or 1),
            top_logprobs=self.logprobs or 0,
            echo=bool(self.echo),
        )

    def _prompts(self) -> list[str | list[int]]:
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]  # one prompt, as token ids
        return cast("list[str | list[int]]", self.prompt)
