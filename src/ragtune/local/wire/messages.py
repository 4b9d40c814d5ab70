"""The messages of a conversation, as a client sends them and as a chat template reads them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from ragtune.limits import MAX_MESSAGES
from ragtune.local.wire.base import A_TEXT, ARRAY, BY_SHAPE, RequestBody, Strict

__all__ = ["ChatTurn"]


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
        # On lines of their own, as the encoder joins those of a training row: what was trained is what is asked.
        content = self.content if isinstance(self.content, str) else "\n".join(map(_told, self.content or ()))
        # Without null: a template that asks whether a key is defined would take it for one that is there.
        given = self.model_dump(include={"role", "name", "tool_calls", "tool_call_id"}, exclude_none=True)
        return {**given, "content": content}
