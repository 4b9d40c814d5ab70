"""How tokens are to be drawn: what the bodies of chat completions and completions have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from ragtune.limits import MAX_CHOICES, MAX_LOGIT_BIAS, MAX_PENALTY, MAX_STOPS, MAX_TEMPERATURE
from ragtune.local.http.errors import invalid
from ragtune.local.wire.base import A_TEXT, ARRAY, BY_SHAPE, RequestBody, Strict, at_most

if TYPE_CHECKING:
    from ragtune.local.engine.request import GenerateRequest

__all__ = ["ManyStops", "SamplingRequest", "Stops", "StreamOptions"]

_MANY_BIASES = 4096

# Programs that evaluate models send all stop texts of a task to completions, which OpenAI serves for old models alone.
_MANY_STOPS = 64

# Below this the softmax of the logits overflows; the likeliest token has all the probability long before.
_MIN_TEMPERATURE = 1e-3
_MIN_TOP_P = 1e-9

_TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
_Bias = Annotated[float, Field(ge=-MAX_LOGIT_BIAS, le=MAX_LOGIT_BIAS)]

_FewStops = Annotated[list[str], Field(min_length=1, max_length=MAX_STOPS)]
ManyStops = Annotated[list[str], Field(min_length=1, max_length=_MANY_STOPS)]
_T = TypeVar("_T")
Stops = Annotated[Annotated[str, A_TEXT] | Annotated[_T, ARRAY], BY_SHAPE]


class StreamOptions(Strict):
    """How a stream is to be sent."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class SamplingRequest(RequestBody):
    """What chat completions and completions have in common."""

    model: str
    temperature: Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-MAX_PENALTY, le=MAX_PENALTY)] | None = None
    presence_penalty: Annotated[float, Field(ge=-MAX_PENALTY, le=MAX_PENALTY)] | None = None
    logit_bias: Annotated[dict[_TokenId, _Bias], at_most(_MANY_BIASES)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: Stops[_FewStops] | None = None
    # OpenAI's range: 64 bits with a sign.
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Names the end user for the provider's own books; it changes no answer.
    user: str | None = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            message = "The 'stream_options' parameter is only allowed when 'stream' is true."
            raise invalid(message, param="stream_options")
        return self

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def choices(self) -> int:
        """How many answers are to be written to each prompt."""
        return self.n or 1

    @property
    def prompts(self) -> int:
        """How many prompts are to be answered."""
        return 1

    def _drawn(self, request: GenerateRequest) -> GenerateRequest:
        """The request with how its tokens are to be drawn; OpenAI's defaults for what was left out."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        temperature = 1.0 if self.temperature is None else self.temperature
        return replace(
            request,
            temperature=0.0 if temperature < _MIN_TEMPERATURE else temperature,
            top_p=1.0 if self.top_p is None else max(self.top_p, _MIN_TOP_P),
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            logit_bias={int(token): bias for token, bias in (self.logit_bias or {}).items()},
            n=self.choices,
            seed=self.seed,
            # An empty stop text would end every answer before it begins.
            stop=tuple(stop for stop in stops if stop),
        )
