"""What may be asked for as a response: the body of `POST /v1/responses`, and the chat that it comes to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from ragtune.limits import MAX_TEMPERATURE, MAX_TOOLS, MAX_TOP_LOGPROBS
from ragtune.local.http.body import checked
from ragtune.local.http.errors import ApiError, invalid
from ragtune.local.wire.base import A_TEXT, ARRAY, BY_SHAPE, OBJECT, Metadata, RequestBody, Strict
from ragtune.local.wire.chat import ChatRequest
from ragtune.local.wire.response_items import InputItem, Items, MessageItem, ReferenceItem, chat_turns

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ResponseRequest", "in_own_words"]

_LOGPROBS = "message.output_text.logprobs"
# What can be included of things that never happen here asks for nothing.
_Includable = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]


def _refuse_other_tools(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind not in ("function", "allowed_tools"):
        message = (
            f"this server runs no tools of its own and serves those of type 'function' alone, and this one is of type "
            f"'{kind[:60]}'; leave it out"
        )
        raise PydanticCustomError("not_served", "{message}", {"message": message})
    return value


class _FunctionTool(RequestBody):
    unserved: ClassVar = {
        "allowed_callers": (["direct"],),
        "async": (False,),
        "defer_loading": (False,),
        "output_schema": (),
    }

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def for_chat(self) -> dict[str, Any]:
        return {"type": "function", "function": self.model_dump(exclude={"type"}, exclude_none=True)}

    def repeated(self) -> dict[str, Any]:
        # OpenAI's schema wants these two there, null or not.
        return {"parameters": None, "strict": None, **self.model_dump(exclude_none=True)}


class _FunctionChoice(Strict):
    type: Literal["function"]
    name: str

    def for_chat(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": self.name}}


class _AllowedFunctions(Strict):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[
        list[Annotated[_FunctionChoice, BeforeValidator(_refuse_other_tools)]],
        Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True),
    ]

    def for_chat(self) -> dict[str, Any]:
        allowed = {"mode": self.mode, "tools": [tool.for_chat() for tool in self.tools]}
        return {"type": "allowed_tools", "allowed_tools": allowed}


_ONE_TOOL, _SOME_TOOLS = Tag("a named tool"), Tag("some tools")
_A_SCHEMA, _NO_SCHEMA = Tag("a schema"), Tag("no schema")


def _choice_kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return _SOME_TOOLS.tag if kind == "allowed_tools" else _ONE_TOOL.tag


_ToolObject = Annotated[
    Annotated[_FunctionChoice, _ONE_TOOL] | Annotated[_AllowedFunctions, _SOME_TOOLS],
    Discriminator(_choice_kind),
    BeforeValidator(_refuse_other_tools),
]
_ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], A_TEXT] | Annotated[_ToolObject, OBJECT], BY_SHAPE
]


class _PlainFormat(Strict):
    type: Literal["text", "json_object"]

    def for_chat(self) -> dict[str, Any]:
        return {"type": self.type}


class _SchemaFormat(Strict):
    type: Literal["json_schema"]
    name: str
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None

    def for_chat(self) -> dict[str, Any]:
        told = self.model_dump(exclude={"type"}, exclude_none=True, by_alias=True)
        return {"type": "json_schema", "json_schema": told}


def _format_kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return _A_SCHEMA.tag if kind == "json_schema" else _NO_SCHEMA.tag


class _Text(RequestBody):
    unserved: ClassVar = {"verbosity": ("medium",)}

    format: (
        Annotated[
            Annotated[_PlainFormat, _NO_SCHEMA] | Annotated[_SchemaFormat, _A_SCHEMA], Discriminator(_format_kind)
        ]
        | None
    ) = None


class _StreamOptions(Strict):
    # It pads events against who counts their bytes on the way, which nothing here does.
    include_obfuscation: Literal[False] | None = None


_NO_REASONING: tuple[dict[str, str | None], ...] = (
    {},
    {"effort": "none"},
    {"effort": None},
    {"summary": None},
    {"effort": None, "summary": None},
)


class ResponseRequest(RequestBody):
    """Body of `POST /v1/responses`."""

    unserved: ClassVar = {
        "access_programs": (),
        "background": (False,),
        "context_management": ([],),
        "conversation": (),
        "image": (),
        "moderation": (),
        "prompt": (),
        "prompt_cache_options": (),
        "reasoning": _NO_REASONING,
        "truncation": ("disabled",),
    }

    model: str
    input: Annotated[Annotated[str, A_TEXT] | Annotated[Items, ARRAY], BY_SHAPE]
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    text: _Text | None = None
    tools: (
        Annotated[
            list[Annotated[_FunctionTool, BeforeValidator(_refuse_other_tools)]],
            Field(max_length=MAX_TOOLS, fail_fast=True),
        ]
        | None
    ) = None
    tool_choice: _ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    include: list[_Includable] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    metadata: Metadata | None = None
    # It counts calls of tools that the server runs itself, and here there are none.
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    # Notes and hints for the provider's books, caches and queues; they change no answer.
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            message = "The 'stream_options' parameter is only allowed when 'stream' is true."
            raise invalid(message, param="stream_options")
        return self

    @property
    def items(self) -> Sequence[InputItem | ReferenceItem]:
        """The input as items."""
        return [MessageItem(role="user", content=self.input)] if isinstance(self.input, str) else self.input

    @property
    def stored(self) -> bool:
        """Whether the response is to be kept; as at OpenAI it is unless the request says otherwise."""
        return self.store is not False

    @property
    def with_logprobs(self) -> bool:
        """Whether the log-probabilities of the text's tokens are to be told."""
        return _LOGPROBS in (self.include or ()) or bool(self.top_logprobs)

    def chat(self, items: Sequence[InputItem]) -> ChatRequest:
        """The chat that is to be answered.

        Args:
            items: what was said before and the input, one after the other, with no references among them.

        Raises:
            ApiError: the parts do not go together; names them as a chat does, see `in_own_words`.
        """
        # Its own alone: as at OpenAI, the instructions of an earlier response do not go over to those that follow it.
        told = [{"role": "system", "content": self.instructions}] if self.instructions else []
        wanted = self.text.format if self.text is not None else None
        choice = self.tool_choice
        body = {
            "model": self.model,
            "messages": [*told, *chat_turns(items)],
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "stream": self.stream,
            "response_format": None if wanted is None else wanted.for_chat(),
            "tools": [tool.for_chat() for tool in self.tools or ()] or None,
            "tool_choice": choice if choice is None or isinstance(choice, str) else choice.for_chat(),
            "parallel_tool_calls": self.parallel_tool_calls,
            "logprobs": self.with_logprobs or None,
            "top_logprobs": self.top_logprobs if self.with_logprobs else None,
        }
        # As if it had been sent as a chat, so that all rules of one hold.
        return checked({name: value for name, value in body.items() if value is not None}, ChatRequest)

    def repeated(self) -> dict[str, object]:
        """What the response says again of the request, with the defaults of what was left out."""
        wanted = self.text.format if self.text is not None else None
        form: dict[str, object] = {"type": "text"}
        if wanted is not None:
            form = wanted.model_dump(exclude_none=True, by_alias=True)
        choice = self.tool_choice or "auto"
        return {
            "model": self.model,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "previous_response_id": self.previous_response_id,
            "prompt_cache_key": self.prompt_cache_key,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": self.safety_identifier,
            "service_tier": "default",
            "store": self.stored,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "text": {"format": form, "verbosity": "medium"},
            "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
            "tools": [tool.repeated() for tool in self.tools or ()],
            "top_logprobs": self.top_logprobs or 0,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "truncation": "disabled",
            # The only one of these that the schema does not let be null.
            **({} if self.user is None else {"user": self.user}),
        }


# What a chat calls otherwise, longer names first.
_OTHER_NAMES = {
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
}
_OTHER_NAME = re.compile("|".join(map(re.escape, _OTHER_NAMES)))
# Messages name parameters in quotation marks; words that look like one stay as they are.
_QUOTED = re.compile(r"'[\w.\[\]]+'")


def in_own_words(error: ApiError) -> ApiError:
    """An error about the chat that a request comes to, with the parameters' names that the request has for them."""

    def own(name: str) -> str:
        # A chat has the fields of a tool one level deeper.
        return _OTHER_NAME.sub(lambda found: _OTHER_NAMES[found[0]], name).replace("].function.", "].")

    message = _QUOTED.sub(lambda found: own(found[0]), error.message)
    param = None if error.param is None else own(error.param)
    return ApiError(error.status, message, type=error.type, param=param, code=error.code, headers=error.headers)
