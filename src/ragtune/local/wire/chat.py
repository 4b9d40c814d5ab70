"""The body of a chat completion: a conversation, the tools that may be called, the form of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from ragtune.limits import MAX_FUNCTION_NAME, MAX_MESSAGES, MAX_TOOLS, MAX_TOP_LOGPROBS
from ragtune.local.engine.request import GenerateRequest
from ragtune.local.http.errors import invalid
from ragtune.local.wire.base import A_TEXT, BY_SHAPE, OBJECT, Metadata, RequestBody, Strict
from ragtune.local.wire.messages import ChatTurn
from ragtune.local.wire.sampling import ManyStops, SamplingRequest, Stops
from ragtune.local.wire.strict_schema import check_strict

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ChatRequest", "ManyStopsChatRequest", "MetadataRequest"]

DEFAULT_CHAT_TOKENS = 1024
"""Most tokens of a chat answer when the request does not say; as at OpenAI every model has such a limit."""

_Name = Annotated[str, Field(pattern=rf"^[a-zA-Z0-9_-]{{1,{MAX_FUNCTION_NAME}}}$")]


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


class ChatRequest(SamplingRequest):
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
            # As at OpenAI null may stand beside calls or a refusal alone, which the type of one field cannot say.
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
            # OpenAI's rule: models that are held to JSON without being told to write it go on with blanks until they
            # are cut.
            if not any("json" in str(turn.for_template()["content"]).lower() for turn in self.messages):
                message = "'messages' must say 'json' somewhere to use 'response_format' of type 'json_object'."
                raise invalid(message, param="messages")
        elif wanted.json_schema is None:
            message = "Missing required parameter: 'response_format.json_schema'."
            raise invalid(message, param="response_format.json_schema", code="missing_required_parameter")
        elif wanted.json_schema.strict:
            check_strict(wanted.json_schema.schema_ or {}, param="response_format")


class ManyStopsChatRequest(ChatRequest):
    """The same where the server's owner allows more stop texts than OpenAI does."""

    stop: Stops[ManyStops] | None = None


class MetadataRequest(RequestBody):
    """Body of `POST /v1/chat/completions/{id}`."""

    metadata: Metadata | None
