"""The record kinds, one per training method and model family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from ragtune.records.base import FrozenModel, JsonObject, Path, Record, RecordFault, StrictStr, collects_faults
from ragtune.records.messages import FunctionDefinition, Message, Tool, as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

Messages = Annotated[tuple[Message, ...], Field(min_length=1)]
Flag = Annotated[bool, Strict()]


class ChatRecord(Record):
    """One conversation to learn from: the assistant's messages are the target.

    Raises:
        RecordError: an unknown or missing key, a wrong type, or a message that breaks the rules of its role.

    Example:
        ```python
        from ragtune import ChatRecord

        record = ChatRecord(messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}])
        print(record.to_json_line().strip())
        #> b'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello!"}]}'
        ```
    """

    messages: Messages
    tools: tuple[Tool, ...] | None = None
    parallel_tool_calls: Flag | None = None
    # OpenAI's older key for tools, with its limit.
    functions: Annotated[tuple[FunctionDefinition, ...], Field(min_length=1, max_length=128)] | None = None

    def faults(self) -> Iterator[RecordFault]:
        """Yield every rule between roles and keys that a message of this record breaks."""
        yield from _message_faults(self.messages, ("messages",))


class CompletionRecord(Record):
    r"""One legacy prompt/completion pair; an empty prompt stands for open-ended text.

    Example:
        ```python
        from ragtune import CompletionRecord

        print(CompletionRecord(prompt="Capital of France?\n\n###\n\n", completion=" Paris END").completion)
        #>  Paris END
        ```
    """

    prompt: StrictStr
    completion: StrictStr


class PreferenceInput(FrozenModel):
    """What both answers of a preference pair reply to.

    Example:
        ```python
        from ragtune.records import PreferenceInput

        print(PreferenceInput(messages=[{"role": "user", "content": "Hi"}]).messages[0].text)
        #> Hi
        ```
    """

    messages: Messages
    tools: tuple[Tool, ...] | None = None
    parallel_tool_calls: Flag | None = None


OneMessage = Annotated[tuple[Message, ...], Field(min_length=1, max_length=1)]


class PreferenceRecord(Record):
    """A preference pair: one answer that is wanted and one that is not, to the same input.

    Example:
        ```python
        from ragtune import PreferenceRecord

        record = PreferenceRecord(
            input={"messages": [{"role": "user", "content": "Hi"}]},
            preferred_output=[{"role": "assistant", "content": "Hello!"}],
            non_preferred_output=[{"role": "assistant", "content": "What?"}],
        )
        print(record.preferred_output[0].text)
        #> Hello!
        ```
    """

    input: PreferenceInput
    preferred_output: OneMessage
    non_preferred_output: OneMessage

    def faults(self) -> Iterator[RecordFault]:
        """Yield broken role rules, and outputs that are not the assistant's."""
        yield from _message_faults(self.input.messages, ("input", "messages"))
        for key in ("preferred_output", "non_preferred_output"):
            yield from _answer_faults(getattr(self, key)[0], key)

    @model_validator(mode="after")
    def _outputs_are_the_assistants(self, info: ValidationInfo) -> PreferenceRecord:
        if not collects_faults(info):
            # Whoever builds a record hears of the first fault; a checker of a file wants them all and asks for them
            # itself.
            for fault in self.faults():
                raise PydanticCustomError("rule", "{text}", {"text": fault.message})
        return self


class UnpairedRecord(Record):
    """One answer that somebody called good or bad, with no other answer beside it: what a thumb up or down leaves.

    The keys are those of TRL's unpaired preference data (trl 1.16, `KTOTrainer`), so that other programs read the file.

    Attributes:
        prompt: the messages that the answer replies to.
        completion: the answer, one message of the assistant.
        label: true where the answer is wanted, false where it is not.
        tools: what the model could call.

    Example:
        ```python
        from ragtune import UnpairedRecord

        record = UnpairedRecord(
            prompt=[{"role": "user", "content": "How deep is Lake Sorrel?"}],
            completion=[{"role": "assistant", "content": "12 metres"}],
            label=False,
        )
        print(record.completion[0].text, record.label)
        #> 12 metres False
        ```
    """

    prompt: Messages
    completion: OneMessage
    label: Flag
    tools: tuple[Tool, ...] | None = None

    def faults(self) -> Iterator[RecordFault]:
        """Yield broken role rules, and an answer that is not the assistant's."""
        yield from _message_faults(self.prompt, ("prompt",))
        yield from _answer_faults(self.completion[0], "completion")

    @model_validator(mode="after")
    def _answer_is_the_assistants(self, info: ValidationInfo) -> UnpairedRecord:
        if not collects_faults(info):
            for fault in self.faults():
                raise PydanticCustomError("rule", "{text}", {"text": fault.message})
        return self


class ReinforcementRecord(Record):
    """A conversation to be answered by the model, and free reference fields that graders read as `item.<name>`.

    Every key besides `messages` and `tools` is a reference field.

    Example:
        ```python
        from ragtune import ReinforcementRecord

        record = ReinforcementRecord(messages=[{"role": "user", "content": "7 + 5?"}], answer="12")
        print(record.reference)
        #> {'answer': '12'}
        ```
    """

    model_config = ConfigDict(extra="allow")

    messages: Messages
    tools: tuple[Tool, ...] | None = None

    @property
    def reference(self) -> JsonObject:
        """The free fields by name."""
        return dict(self.model_extra or {})

    def to_dict(self) -> JsonObject:
        """The record as plain dicts and lists; a reference field that is None stays."""
        known = BaseModel.model_dump(self, include={"messages", "tools"}, exclude_none=True, mode="json")
        # A reference field that is None stays, since a grader may compare with null.
        return {**known, **self.reference}

    @model_validator(mode="after")
    def _reference_is_json(self, info: ValidationInfo) -> ReinforcementRecord:
        for name, value in self.reference.items():
            # Frozen for users; here the value only becomes what will be written.
            (self.model_extra or {})[name] = as_json(value, info, name)
        return self

    def faults(self) -> Iterator[RecordFault]:
        """Yield every rule between roles and keys that a message of this record breaks."""
        yield from _message_faults(self.messages, ("messages",))


def _message_faults(messages: tuple[Message, ...], path: Path) -> Iterator[RecordFault]:
    for index, message in enumerate(messages):
        yield from message.faults((*path, index))


def _answer_faults(answer: Message, key: str) -> Iterator[RecordFault]:
    """The rules of its role, and that it is the assistant's."""
    yield from answer.faults((key, 0))
    if answer.role != "assistant":
        message = f"{key} holds a message with role {answer.role!r}; it must be the assistant's"
        yield RecordFault((key, 0, "role"), "output-not-assistant", message, "set its role to 'assistant'")
