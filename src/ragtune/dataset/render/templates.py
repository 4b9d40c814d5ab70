"""What a record is filled with: texts of constants and column names, and where each stands in a record of its kind."""

from __future__ import annotations

import string
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from ragtune import _arguments as arguments
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ragtune.records import RecordFormat

# Python's own parser, so that braces are doubled as in every f-string; what it allows beyond names is refused below.
_FORMATTER = string.Formatter()


@dataclass(frozen=True, kw_only=True)
class Text:
    """One text of a record: constants and column names by turns.

    Attributes:
        name: how messages call it, for example `user`.
        source: the template as it was given.
        parts: (constant, column) pairs; the column of the last pair may be None.
        may_be_empty: whether a row may leave this text empty.
    """

    name: str
    source: str
    parts: tuple[tuple[str, str | None], ...]
    may_be_empty: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, in order."""
        return tuple(column for _, column in self.parts if column is not None)

    @property
    def is_never_blank(self) -> bool:
        """Whether its constants alone hold text."""
        return any(constant.strip() for constant, _ in self.parts)


def text(name: str, template: str, *, may_be_empty: bool = False) -> Text:
    """Parse a template such as `{answer} Explanation: {support}`; `{{` and `}}` stand for braces.

    Raises:
        DatasetError: it is no text, is empty, or holds more than plain column names in braces.
    """
    if not isinstance(template, str):
        raise DatasetError(f"the {name} template must be text with {{column}} names, got {template!r:.60}")
    try:
        pieces = list(_FORMATTER.parse(template))
    except ValueError as error:
        raise DatasetError(
            f"the {name} template {template!r} has unmatched braces: {error}; double literal braces"
        ) from None
    parts = []
    for constant, column, spec, conversion in pieces:
        if column is not None and (not column or spec or conversion or any(sign in column for sign in ".[]")):
            raise DatasetError(
                f"the {name} template {template!r} holds {{{column}}} with more than a plain column name; double "
                f"literal braces ({{{{ and }}}}), as in JSON; else rename the column, or make one of the "
                f"value as it shall be"
            )
        parts.append((constant, column))
    parsed = Text(name=name, source=template, parts=tuple(parts), may_be_empty=may_be_empty)
    if not may_be_empty and not parsed.columns and not parsed.is_never_blank:
        raise DatasetError(f"the {name} template is empty; give it text or a {{column}}")
    return parsed


@dataclass(frozen=True, kw_only=True)
class Template:
    """A record kind filled from columns.

    Attributes:
        format: the record kind it makes.
        texts: the texts in the order in which they stand in the record.
        record: the record as plain values, each text standing at its place.
        question: the texts that make up the question; rows with the same question belong together.
        answer: the texts that the model learns.
    """

    format: RecordFormat
    texts: tuple[Text, ...]
    record: Mapping[str, object]
    question: tuple[str, ...]
    answer: tuple[str, ...] = ()
    system: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a text names, once, in order."""
        return self._columns_of([item.name for item in self.texts])

    @property
    def question_columns(self) -> tuple[str, ...]:
        """The columns that the question is made of."""
        return self._columns_of(self.question)

    @property
    def answer_columns(self) -> tuple[str, ...]:
        """The columns that the answer is made of."""
        return self._columns_of(self.answer)

    def _columns_of(self, names: Sequence[str]) -> tuple[str, ...]:
        chosen = [item.columns for item in self.texts if item.name in names]
        return tuple(dict.fromkeys(chain.from_iterable(chosen)))

    def described(self) -> dict[str, object]:
        """What the manifest keeps."""
        return {"format": self.format, **{item.name: item.source for item in self.texts}}


def constant_system(system: Text | None) -> str | None:
    """The system prompt when it is the same for all rows."""
    if system is None or system.columns:
        return None
    # Remembered, because a tuned model is asked with it; one that differs from row to row is no one's to ask with.
    return "".join(constant for constant, _ in system.parts)


def chat_template(*, system: str | None, user: str, assistant: str) -> Template:
    """One turn: an optional system prompt, the user's text, the assistant's answer."""
    texts = [text("user", user), text("assistant", assistant)]
    instructions = None if system is None else text("system", system)
    if instructions is not None:
        texts.insert(0, instructions)
    messages = [{"role": item.name, "content": item} for item in texts]
    return Template(
        format="chat",
        texts=tuple(texts),
        record={"messages": messages},
        question=("user",),
        answer=("assistant",),
        system=constant_system(instructions),
    )


def completion_template(*, prompt: str, completion: str) -> Template:
    """A legacy pair; the prompt may be empty."""
    texts = (text("prompt", prompt, may_be_empty=True), text("completion", completion))
    return Template(
        format="completion",
        texts=texts,
        record={"prompt": texts[0], "completion": texts[1]},
        question=("prompt",),
        answer=("completion",),
    )


def preference_template(*, prompt: str, preferred: str, rejected: str, system: str | None) -> Template:
    """One input and two answers to it."""
    texts = [text("prompt", prompt), text("preferred", preferred), text("rejected", rejected)]
    messages: list[dict[str, object]] = [{"role": "user", "content": texts[0]}]
    instructions = None if system is None else text("system", system)
    if instructions is not None:
        messages.insert(0, {"role": "system", "content": instructions})
    record = {
        "input": {"messages": messages},
        "preferred_output": [{"role": "assistant", "content": texts[1]}],
        "non_preferred_output": [{"role": "assistant", "content": texts[2]}],
    }
    everything = tuple(texts) if instructions is None else (instructions, *texts)
    return Template(
        format="preference",
        texts=everything,
        record=record,
        question=("prompt",),
        answer=("preferred", "rejected"),
        system=constant_system(instructions),
    )


def reinforcement_template(*, user: str, reference: Mapping[str, str], developer: str | None) -> Template:
    """A question for the model to answer, and reference fields for the grader."""
    arguments.mapping("reference", reference)
    # The fields stand beside them in the record, and a grader would read the conversation as its reference.
    if taken := {"messages", "tools"} & reference.keys():
        raise DatasetError(f"reference field {min(taken)!r} is taken by the record itself; choose another name")
    question = text("user", user)
    fields = {key: text(key, value) for key, value in reference.items()}
    messages: list[dict[str, object]] = [{"role": "user", "content": question}]
    texts = [question, *fields.values()]
    instructions = None if developer is None else text("developer", developer)
    if instructions is not None:
        messages.insert(0, {"role": "developer", "content": instructions})
        texts.insert(0, instructions)
    return Template(
        format="reinforcement",
        texts=tuple(texts),
        record={"messages": messages, **fields},
        question=("user",),
        system=constant_system(instructions),
    )
