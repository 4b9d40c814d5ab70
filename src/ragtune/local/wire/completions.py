"""What may be asked of a model: the bodies of chat completions and completions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar, cast

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from ragtune.limits import (
    DEFAULT_COMPLETION_TOKENS,
    MAX_CHOICES,
    MAX_FUNCTION_NAME,
    MAX_LOGIT_BIAS,
    MAX_MESSAGES,
    MAX_PENALTY,
    MAX_STOPS,
    MAX_TEMPERATURE,
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
)
from ragtune.local.engine.request import GenerateRequest
from ragtune.local.http.errors import invalid
from ragtune.local.wire.base import (
    A_TEXT,
    ARRAY,
    BY_SHAPE,
    OBJECT,
    Metadata,
    RequestBody,
    Strict,
    at_most,
)
from ragtune.local.wire.strict_schema import check_strict

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ChatRequest", "ChatTurn", "CompletionRequest", "MetadataRequest", "PatientChatRequest", "StreamOptions"]

DEFAULT_CHAT_TOKENS = 1024
"""Most tokens of a chat answer when the request does not say; as at OpenAI every model has such a limit."""

_MANY_BIASES = 4096

# Programs that evaluate models send all stop texts of a task to completions, which OpenAI serves for old models alone.
_MANY_STOPS = 64

# Below this the softmax of the logits overflows; the likeliest token has all the probability long before.
_MIN_TEMPERATURE = 1e-3
_MIN_TOP_P = 1e-9

_Name = Annotated[str, Field(pattern=rf"^[a-zA-Z0-9_-]{{1,{MAX_FUNCTION_NAME}}}$")]


_TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
_Bias = Annotated[float, Field(ge=-MAX_LOGIT_BIAS, le=MAX_LOGIT_BIAS)]


class StreamOptions(Strict):
    """How a stream is to be sent."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


_FewStops = Annotated[list[str], Field(min_length=1, max_length=MAX_STOPS)]
_ManyStops = Annotated[list[str], Field(min_length=1, max_length=_MANY_STOPS)]
_T = TypeVar("_T")
_Stops = Annotated[Annotated[str, A_TEXT] | Annotated[_T, ARRAY], BY_SHAPE]


class _Asked(RequestBody):
    """What chat completions and completions have in common."""

    model: str
    temperature: Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-MAX_PENALTY, le=MAX_PENALTY)] | None = None
    presence_penalty: Annotated[float, Field(ge=-MAX_PENALTY, le=MAX_PENALTY)] | None = None
    logit_bias: Annotated[dict[_TokenId, _Bias], at_most(_MANY_BIASES)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: _Stops[_FewStops] | None = None
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


class _TextPart(Strict):
    type: Literal["text"]
    text: str


class _RefusalPart(Strict):
    type: Literal["refusal"]
    refusal: str


_TEXT_PART, _REFUSAL_PART = Tag("a text part"), Tag("a refusal part")


def _refuse_what_is_not_read(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in ("image_url", "input_audio", "file"):
        message = f"this server's models read text alone, and this part is of type '{kind}'; leave it out"
        raise PydanticCustomError("not_read", message)
    return value


def _part_kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return _REFUSAL_PART.tag if kind == "refusal" else _TEXT_PART.tag


_Part = Annotated[
    Annotated[_TextPart, _TEXT_PART] | Annotated[_RefusalPart, _REFUSAL_PART],
    Discriminator(_part_kind),
    BeforeValidator(_refuse_what_is_not_read),
]
_Parts = Annotated[list[_Part], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]


class _CalledFunction(Strict):
    name: str
    arguments: str


class _PastCall(Strict):
    id: str
    type: Literal["function"]
    function: _CalledFunction


def _told(part: _TextPart | _RefusalPart) -> str:
    return part.text if isinstance(part, _TextPart) else part.refusal


class ChatTurn(RequestBody):
    """One message of a conversation."""

    # In answers they are null, and histories bring them back.
    unserved: ClassVar = {"audio": (), "function_call": ()}

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[Annotated[str, A_TEXT] | Annotated[_Parts, ARRAY], BY_SHAPE] | None = None
    name: str | None = None
    refusal: str | None = None
    # Comes back in answers; there is nothing in it that a template could show.
    annotations: Annotated[list[dict[str, Any]], Field(fail_fast=True)] | None = None
    tool_calls: Annotated[list[_PastCall], Field(min_length=1, fail_fast=True)] | None = None
    tool_call_id: str | None = None

    def for_template(self) -> dict[str, Any]:
        """The message for a chat template: content as one text, nothing that was left out."""
        content = self.content if isinstance(self.content, str) else "".join(map(_told, self.content or ()))
        given = self.model_dump(include={"role", "name", "tool_calls", "tool_call_id"}, exclude_none=True)
        return {**given, "content": content}


class _Function(Strict):
    name: _Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(Strict):
    type: Literal["function"]
    function: _Function


class _ToolName(Strict):
    name: _Name


class _NamedTool(Strict):
    type: Literal["function"]
    function: _ToolName


class _SomeTools(Strict):
    mode: Literal["auto", "required"]
    tools: Annotated[list[_NamedTool], Field(min_length=1, fail_fast=True)]


class _AllowedTools(Strict):
    type: Literal["allowed_tools"]
    allowed_tools: _SomeTools


_ONE_TOOL, _SOME_TOOLS = Tag("a named tool"), Tag("some tools")


def _choice_kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return _SOME_TOOLS.tag if kind == "allowed_tools" else _ONE_TOOL.tag


_ToolObject = Annotated[
    Annotated[_NamedTool, _ONE_TOOL] | Annotated[_AllowedTools, _SOME_TOOLS], Discriminator(_choice_kind)
]
_ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], A_TEXT] | Annotated[_ToolObject, OBJECT], BY_SHAPE
]


class _Schema(Strict):
    name: _Name
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class _ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class ChatRequest(_Asked):
    """Body of `POST /v1/chat/completions`."""

    unserved: ClassVar = {
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "modalities": (["text"],),
        "moderation": (),
        "prediction": (),
        "prompt_cache_options": (),
        "reasoning_effort": ("none",),
        "verbosity": ("medium",),
        "web_search_options": (),
    }

    messages: Annotated[list[ChatTurn], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    tools: Annotated[list[_Tool], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    tool_choice: _ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _ResponseFormat | None = None
    store: bool | None = None
    # Notes and hints for the provider's books, caches and queues; they change no answer.
    metadata: Metadata | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise invalid("'top_logprobs' is only allowed when 'logprobs' is true.", param="top_logprobs")
        for index, turn in enumerate(self.messages):
            if turn.content is None and not (turn.role == "assistant" and (turn.tool_calls or turn.refusal)):
                message = f"Invalid value for 'content' of message {index}: expected a string, got null."
                raise invalid(message, param=f"messages.[{index}].content")
            if turn.role == "tool" and turn.tool_call_id is None:
                message = f"Missing required parameter: 'messages.[{index}].tool_call_id'."
                raise invalid(message, param=f"messages.[{index}].tool_call_id", code="missing_required_parameter")
        self._check_tools()
        self._check_format()
        return self

    @property
    def calls_one_by_name(self) -> bool:
        """Whether the request names the one tool to be called."""
        return isinstance(self.tool_choice, _NamedTool)

    def requests(self, base: Path, adapter: Path | None) -> list[GenerateRequest]:
        """What the engine is asked: one conversation of the model in these folders."""
        names, mode = self._chosen_tools()
        wanted = self.response_format
        schema = None
        if wanted is not None and wanted.type != "text":
            schema = (wanted.json_schema and wanted.json_schema.schema_) or {"type": "object"}
        one_call = self.calls_one_by_name or self.parallel_tool_calls is False
        asked = GenerateRequest(
            base_path=base,
            adapter_path=adapter,
            messages=[turn.for_template() for turn in self.messages],
            max_tokens=self.max_completion_tokens or self.max_tokens or DEFAULT_CHAT_TOKENS,
            logprobs=bool(self.logprobs),
            top_logprobs=self.top_logprobs or 0,
            tools=[tool.model_dump(exclude_none=True) for tool in self.tools or ()] or None,
            tool_choice=mode,
            allowed_tools=names,
            parallel_tool_calls=not one_call,
            json_schema=schema,
        )
        return [self._drawn(asked)]

    def _chosen_tools(self) -> tuple[tuple[str, ...] | None, Literal["none", "auto", "required"]]:
        """Names of the tools that may be called (None: all), and whether one must be."""
        match self.tool_choice:
            case _NamedTool(function=function):
                return (function.name,), "required"
            case _AllowedTools(allowed_tools=allowed):
                return tuple(tool.function.name for tool in allowed.tools), allowed.mode
            case str(mode):
                return None, mode
        return None, "auto"

    def _check_tools(self) -> None:
        known = {tool.function.name for tool in self.tools or ()}
        names, mode = self._chosen_tools()
        if not known and (names or mode == "required"):
            raise invalid("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        missing = next((name for name in names or () if name not in known), None)
        if missing is not None:
            message = f"Invalid value for 'tool_choice': there is no tool '{missing}' among 'tools'."
            raise invalid(message, param="tool_choice", code="invalid_value")
        for index, tool in enumerate(self.tools or ()):
            if tool.function.strict:
                check_strict(tool.function.parameters or {}, param=f"tools.[{index}].function.parameters")

    def _check_format(self) -> None:
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return
        if wanted.type == "json_object":
            if not any("json" in str(turn.for_template()["content"]).lower() for turn in self.messages):
                message = "'messages' must say 'json' somewhere to use 'response_format' of type 'json_object'."
                raise invalid(message, param="messages")
        elif wanted.json_schema is None:
            message = "Missing required parameter: 'response_format.json_schema'."
            raise invalid(message, param="response_format.json_schema", code="missing_required_parameter")
        elif wanted.json_schema.strict:
            check_strict(wanted.json_schema.schema_ or {}, param="response_format")


class MetadataRequest(RequestBody):
    """Body of `POST /v1/chat/completions/{id}`."""

    metadata: Metadata | None


_Tokens = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, fail_fast=True)]
_TEXTS, _NUMBERS, _LISTS = Tag("an array of strings"), Tag("an array of integers"), Tag("an array of arrays")


def _prompt_kind(value: Any) -> str:
    if not isinstance(value, list):
        return A_TEXT.tag
    first = value[0] if value else ""
    if isinstance(first, list):
        return _LISTS.tag
    return _NUMBERS.tag if isinstance(first, int | float) else _TEXTS.tag


_Prompt = Annotated[
    Annotated[str, A_TEXT]
    | Annotated[list[str], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True), _TEXTS]
    | Annotated[_Tokens, _NUMBERS]
    | Annotated[list[_Tokens], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True), _LISTS],
    Discriminator(_prompt_kind),
]


class PatientChatRequest(ChatRequest):
    """The same where the server's owner allows more stop texts than OpenAI does."""

    stop: _Stops[_ManyStops] | None = None


class CompletionRequest(_Asked):
    """Body of `POST /v1/completions`."""

    unserved: ClassVar = {"suffix": ()}

    prompt: _Prompt
    stop: _Stops[_ManyStops] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = None
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
