"""Messages of a conversation: roles, content parts, tool calls, and the rules that tie a role to its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, AliasChoices, Field, Strict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from ragtune.errors import RecordError
from ragtune.records.base import FrozenModel, JsonObject, Path, RecordFault, StrictStr, collects_faults
from ragtune.records.json_values import plain_value

if TYPE_CHECKING:
    from collections.abc import Iterator

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
ROLES: tuple[str, ...] = ("system", "developer", "user", "assistant", "tool", "function")

KEYS_BY_ROLE: dict[str, frozenset[str]] = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset(
        {"role", "content", "name", "weight", "tool_calls", "function_call", "refusal", "reasoning_content"},
    ),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
    "function": frozenset({"role", "content", "name"}),
}


def as_json(value: object, info: ValidationInfo, path: str = "") -> object:
    """A value as JSON has it, for the validators of records."""
    # What a checker collects was JSON a moment ago.
    if collects_faults(info):
        return value
    try:
        return plain_value(value, path=path)
    except RecordError as error:
        raise PydanticCustomError("rule", "{text}", {"text": str(error)}) from None


# An object of which no more is known than that JSON can write it.
JsonValues = Annotated[JsonObject, AfterValidator(as_json)]


class TextPart(FrozenModel):
    """One piece of text in a message's content list.

    Example:
        ```python
        from ragtune.records import TextPart

        print(TextPart(text="What is this?").type)
        #> text
        ```
    """

    type: Literal["text"] = "text"
    text: StrictStr


class ImageURL(FrozenModel):
    """Where an image is: an http(s) URL or a `data:` URL, and how closely the model should look at it.

    Example:
        ```python
        from ragtune.records import ImageURL

        print(ImageURL(url="https://example.com/cat.png", detail="low").detail)
        #> low
        ```
    """

    url: StrictStr
    detail: Literal["low", "high", "auto"] | None = None


class ImagePart(FrozenModel):
    """One image in a user message's content list.

    Example:
        ```python
        from ragtune.records import ImagePart

        print(ImagePart(image_url={"url": "https://example.com/cat.png"}).image_url.url)
        #> https://example.com/cat.png
        ```
    """

    type: Literal["image_url"] = "image_url"
    image_url: ImageURL


class RefusalPart(FrozenModel):
    """A refusal in an assistant message's content list.

    Example:
        ```python
        from ragtune.records import RefusalPart

        print(RefusalPart(refusal="I cannot help with that.").type)
        #> refusal
        ```
    """

    type: Literal["refusal"] = "refusal"
    refusal: StrictStr


# By its `type`, so that a fault is told of the part that was meant and not of all three.
ContentPart = Annotated[TextPart | ImagePart | RefusalPart, Field(discriminator="type")]


class FunctionCall(FrozenModel):
    """The function that the model calls and its arguments as a JSON text.

    Example:
        ```python
        from ragtune.records import FunctionCall

        print(FunctionCall(name="land", arguments='{"place": "home"}').name)
        #> land
        ```
    """

    name: StrictStr
    arguments: StrictStr


class ToolCall(FrozenModel):
    """One call of a tool in an assistant message; a later tool message answers its `id`.

    Example:
        ```python
        from ragtune.records import ToolCall

        call = ToolCall(id="call_1", function={"name": "land", "arguments": "{}"})
        print(call.function.name)
        #> land
        ```
    """

    id: StrictStr
    type: Literal["function"] = "function"
    function: FunctionCall


class FunctionDefinition(FrozenModel):
    """A function the model may call; `parameters` is a JSON schema.

    Example:
        ```python
        from ragtune.records import FunctionDefinition

        print(FunctionDefinition(name="land", parameters={"type": "object", "properties": {}}).name)
        #> land
        ```
    """

    name: StrictStr
    description: StrictStr | None = None
    parameters: JsonValues | None = None
    strict: Annotated[bool, Strict()] | None = None


class Tool(FrozenModel):
    """A tool that is offered to the model in one record.

    Example:
        ```python
        from ragtune.records import Tool

        print(Tool(function={"name": "land"}).function.name)
        #> land
        ```
    """

    type: Literal["function"] = "function"
    function: FunctionDefinition


class Message(FrozenModel):
    """One message of a conversation.

    Which keys a role may carry: every role `content` and `name`; the assistant also `weight` (0: do not learn from this
    message, 1: learn from it; absent means 1), `tool_calls`, `function_call` (deprecated), `refusal` and
    `reasoning_content`, what it thought before it spoke (also read as `reasoning` or `thinking`); a tool message
    `tool_call_id`. Content is text or, for all roles but tool and function, a list of parts; images belong to the user.

    Raises:
        RecordError: an unknown key, a missing one, a wrong type, or a key that the role may not carry.

    Example:
        ```python
        from ragtune import Message

        message = Message(role="assistant", content="Because the ground warms unevenly.", weight=1)
        print(message.text)
        #> Because the ground warms unevenly.
        ```
    """

    role: Role
    content: StrictStr | Annotated[tuple[ContentPart, ...], Field(min_length=1)] | None = None
    name: StrictStr | None = None
    weight: Annotated[int, Strict(), Field(ge=0, le=1)] | None = None
    tool_calls: Annotated[tuple[ToolCall, ...], Field(min_length=1)] | None = None
    tool_call_id: StrictStr | None = None
    function_call: FunctionCall | None = None
    refusal: StrictStr | None = None
    # Servers spell it in three ways; records are written in the oldest of them.
    reasoning_content: Annotated[
        StrictStr | None, Field(validation_alias=AliasChoices("reasoning_content", "reasoning", "thinking"))
    ] = None

    @property
    def text(self) -> str:
        """The content itself, or its text parts joined by line breaks; empty where there is none."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if isinstance(part, TextPart))

    def faults(self, path: Path = ()) -> Iterator[RecordFault]:
        """Yield every rule between role and keys that this message breaks.

        Args:
            path: where the message stands in its record, put in front of each fault's path.
        """
        allowed = KEYS_BY_ROLE[self.role]
        for key in sorted(self.model_fields_set - allowed):
            # None is how tables and other libraries write a key that is not there.
            if getattr(self, key) is not None:
                yield RecordFault(
                    (*path, key),
                    "key-not-for-role",
                    f"{key!r} is not a key of a message with role {self.role!r}",
                    f"remove it; a {self.role} message may carry {', '.join(sorted(allowed))}",
                )
        yield from self._content_faults(path)
        if self.role == "tool" and self.tool_call_id is None:
            hint = "add the id of the assistant's tool call that this message answers"
            yield RecordFault((*path, "tool_call_id"), "missing-key", "a tool message needs 'tool_call_id'", hint)
        if self.role == "function" and self.name is None:
            yield RecordFault(
                (*path, "name"), "missing-key", "a function message needs 'name'", "add the function's name"
            )

    def _content_faults(self, path: Path) -> Iterator[RecordFault]:
        place = (*path, "content")
        if self.content is None:
            # A thought alone says nothing that could be learned as an answer.
            speaks = self.role == "assistant" and (self.tool_calls or self.function_call or self.refusal is not None)
            if not speaks and self.role != "function":
                instead = ", tool_calls or function_call" if self.role == "assistant" else ""
                message = f"a message with role {self.role!r} needs 'content'{instead}"
                yield RecordFault(place, "missing-key", message, "give the message its text or remove it")
        elif not isinstance(self.content, str):
            if self.role in ("tool", "function"):
                message = f"the content of a {self.role} message must be plain text, not a list of parts"
                yield RecordFault(place, "tool-content-parts", message, "join the parts into one string")
                return
            for index, part in enumerate(self.content):
                if isinstance(part, ImagePart) and self.role != "user":
                    message = f"an image in a message with role {self.role!r}; only user messages may hold images"
                    yield RecordFault(
                        (*place, index), "image-not-for-role", message, "move the image to a user message"
                    )
                if isinstance(part, RefusalPart) and self.role != "assistant":
                    message = f"a refusal part in a message with role {self.role!r}; only the assistant refuses"
                    yield RecordFault((*place, index), "key-not-for-role", message, "turn it into a text part")

    @model_validator(mode="after")
    def _fits_its_role(self, info: ValidationInfo) -> Message:
        if not collects_faults(info):
            for fault in self.faults():
                where = ".".join(map(str, fault.path))
                # The text is an argument, not the template: braces in it must not be read as fields.
                raise PydanticCustomError("rule", "{where}: {text}", {"where": where, "text": fault.message})
        return self
