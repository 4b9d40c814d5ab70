"""The items of a response's input: messages, calls of functions and what they gave, and names of kept items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, TypeAdapter
from pydantic_core import PydanticCustomError

from ragtune.limits import MAX_MESSAGES
from ragtune.local.http.errors import invalid
from ragtune.local.ids import new_id
from ragtune.local.wire.base import A_TEXT, ARRAY, BY_SHAPE, RequestBody, Strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["CallItem", "InputItem", "Items", "MessageItem", "OutputItem", "ReferenceItem", "chat_turns", "read_items"]

Json = dict[str, object]

_Status = Literal["in_progress", "completed", "incomplete"]
_A_MESSAGE, _A_CALL, _AN_OUTPUT, _A_REFERENCE = (
    Tag("a message"),
    Tag("a function call"),
    Tag("an output of a function call"),
    Tag("a reference to an item"),
)
_KINDS = {
    "message": _A_MESSAGE.tag,
    "function_call": _A_CALL.tag,
    "function_call_output": _AN_OUTPUT.tag,
    "item_reference": _A_REFERENCE.tag,
}


class _InputText(RequestBody):
    unserved: ClassVar = {"prompt_cache_breakpoint": ()}

    type: Literal["input_text"]
    text: str


class _OutputText(Strict):
    type: Literal["output_text"]
    text: str
    # They come back in histories; there is nothing in them that a template could show.
    annotations: Annotated[list[Any], Field(fail_fast=True)] | None = None
    logprobs: Annotated[list[Any], Field(fail_fast=True)] | None = None


class _Refusal(Strict):
    type: Literal["refusal"]
    refusal: str


_IN, _OUT, _REFUSED = Tag("an input text"), Tag("an output text"), Tag("a refusal part")
_PARTS = {"output_text": _OUT.tag, "refusal": _REFUSED.tag}


def _type_of(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else getattr(value, "type", None)


def _part_kind(value: Any) -> str:
    return _PARTS.get(_type_of(value), _IN.tag)


def _refuse_other_media(value: Any) -> Any:
    kind = _type_of(value)
    if kind in ("input_image", "input_file", "input_audio"):
        message = f"this server's models read text alone, and this part is of type '{kind}'; leave it out"
        raise PydanticCustomError("not_read", message)
    return value


_Part = Annotated[
    Annotated[_InputText, _IN] | Annotated[_OutputText, _OUT] | Annotated[_Refusal, _REFUSED],
    Discriminator(_part_kind),
    BeforeValidator(_refuse_other_media),
]
_Parts = Annotated[list[_Part], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
_Content = Annotated[Annotated[str, A_TEXT] | Annotated[_Parts, ARRAY], BY_SHAPE]


def _said(content: str | list[_InputText | _OutputText | _Refusal]) -> str:
    if isinstance(content, str):
        return content
    # As in a chat.
    return "\n".join(part.refusal if isinstance(part, _Refusal) else part.text for part in content)


class MessageItem(Strict):
    """A message, in the short form (`role` and `content`) or as it stood in a response's output."""

    type: Literal["message"] | None = None
    role: Literal["system", "developer", "user", "assistant"]
    content: _Content
    # These three come back in histories, and no template has a place for them.
    id: str | None = None
    status: _Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None

    def for_chat(self) -> Json:
        """The message of a conversation."""
        return {"role": self.role, "content": _said(self.content)}

    def kept(self) -> Json:
        """The item as lists of a response's input show it."""
        part: Json = {"type": "input_text", "text": _said(self.content)}
        if self.role == "assistant":
            part = {"type": "output_text", "text": _said(self.content), "annotations": [], "logprobs": []}
        return {
            # A new one, whatever the client sent: histories bring the same item again, and ids of kept items are
            # unique.
            "id": new_id("msg_", length=32),
            "type": "message",
            "status": "completed",
            "role": self.role,
            "content": [part],
        }


class CallItem(RequestBody):
    """A call of a function that a model made."""

    unserved: ClassVar = {"async": (False,), "caller": ({"type": "direct"},), "namespace": (), "created_by": ()}

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: _Status | None = None

    def for_chat(self) -> Json:
        """The call as an assistant's message holds it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.call_id, "type": "function", "function": function}

    def kept(self) -> Json:
        """The item as lists of a response's input show it."""
        given = {"call_id": self.call_id, "name": self.name, "arguments": self.arguments}
        return {"id": new_id("fc_", length=32), "type": "function_call", "status": "completed", **given}


class OutputItem(RequestBody):
    """What a function gave."""

    unserved: ClassVar = {"caller": ({"type": "direct"},), "namespace": (), "created_by": (), "name": ()}

    type: Literal["function_call_output"]
    call_id: str
    output: _Content
    id: str | None = None
    status: _Status | None = None

    def for_chat(self) -> Json:
        """The message of a conversation."""
        return {"role": "tool", "tool_call_id": self.call_id, "content": _said(self.output)}

    def kept(self) -> Json:
        """The item as lists of a response's input show it."""
        given = {"call_id": self.call_id, "output": _said(self.output)}
        return {"id": new_id("fc_", length=32), "type": "function_call_output", "status": "completed", **given}


class ReferenceItem(Strict):
    """The name of an item of a kept response."""

    type: Literal["item_reference"] | None = None
    id: str


InputItem = MessageItem | CallItem | OutputItem


def _item_kind(value: Any) -> str:
    kind = _type_of(value)
    if kind is None:
        # OpenAI's schema lets both a message and a reference leave out their type.
        named = value.keys() == {"id"} if isinstance(value, dict) else isinstance(value, ReferenceItem)
        return _A_REFERENCE.tag if named else _A_MESSAGE.tag
    return _KINDS.get(kind, _A_MESSAGE.tag) if isinstance(kind, str) else _A_MESSAGE.tag


def _refuse_other_items(value: Any) -> Any:
    kind = _type_of(value)
    if isinstance(kind, str) and kind not in _KINDS:
        message = (
            f"this server reads messages, function calls and their outputs, and this item is of type '{kind[:60]}'; "
            "leave it out"
        )
        # Through a place holder: braces in what was sent would be taken for one.
        raise PydanticCustomError("not_read", "{message}", {"message": message})
    return value


_Item = Annotated[
    Annotated[MessageItem, _A_MESSAGE]
    | Annotated[CallItem, _A_CALL]
    | Annotated[OutputItem, _AN_OUTPUT]
    | Annotated[ReferenceItem, _A_REFERENCE],
    Discriminator(_item_kind),
    BeforeValidator(_refuse_other_items),
]
Items = Annotated[list[_Item], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
"""A list of items as a body may hold it."""

_KEPT: TypeAdapter[list[_Item]] = TypeAdapter(list[_Item])


def read_items(kept: Sequence[Json]) -> list[InputItem]:
    """Items as they were kept, inputs and outputs alike."""
    return [item for item in _KEPT.validate_python(list(kept)) if not isinstance(item, ReferenceItem)]


def chat_turns(items: Iterable[InputItem]) -> list[dict[str, Any]]:
    """The messages of the conversation that items tell; calls stand in the message of the assistant that made them.

    Raises:
        ApiError: an output without its call, or a call without its output.
    """
    turns: list[dict[str, Any]] = []
    called: set[str] = set()
    # A dict and no set, so that of several the first call is told.
    waiting: dict[str, None] = {}
    for item in items:
        if isinstance(item, CallItem):
            called.add(item.call_id)
            waiting[item.call_id] = None
            if not turns or turns[-1]["role"] != "assistant":
                turns.append({"role": "assistant", "content": None})
            turns[-1].setdefault("tool_calls", []).append(item.for_chat())
            continue
        if isinstance(item, OutputItem):
            if item.call_id not in called:
                message = f"No tool call found for function call output with call_id {item.call_id[:80]}."
                raise invalid(message, param="input")
            waiting.pop(item.call_id, None)
        turns.append(item.for_chat())
    for call_id in waiting:
        raise invalid(f"No tool output found for function call {call_id[:80]}.", param="input")
    return turns
