"""The first finished records, to look at before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from ragtune._encodings import Misreading
from ragtune._html import Markup, cell, markup, table
from ragtune.records import ChatRecord, CompletionRecord, PreferenceRecord, ReinforcementRecord, UnpairedRecord

if TYPE_CHECKING:
    from ragtune.records import AnyRecord, Message


@dataclass(frozen=True, kw_only=True)
class Preview(Sequence["AnyRecord"]):
    """A few records; prints as a conversation, shows as a table in a notebook.

    Example:
        ```python
        import ragtune as rt

        rows = [{"question": "Capital of France?", "answer": "Paris"}]
        preview = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}").preview(1)
        print(preview[0].messages[1].text)
        #> Paris
        ```
    """

    records: tuple[AnyRecord, ...]

    @overload
    def __getitem__(self, index: int) -> AnyRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AnyRecord]: ...
    def __getitem__(self, index: int | slice) -> AnyRecord | Sequence[AnyRecord]:
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[AnyRecord]:
        return iter(self.records)

    def __str__(self) -> str:
        lines = []
        for number, record in enumerate(self.records, 1):
            for position, (speaker, text) in enumerate(turns(record)):
                lead = f"[{number}] " if position == 0 else " " * (len(str(number)) + 3)
                lines.append(f"{lead}{speaker}: {text}")
        return "\n".join([*lines, *([f"warning: {self.warning}"] if self.warning else [])])

    @property
    def warning(self) -> str | None:
        """Why the texts look as if they were read in a wrong encoding, and the way out; None where they do not."""
        # Told here and not by the check alone: who looks at five records can still have the source read otherwise.
        texts = Misreading()
        for record in self.records:
            for _, text in turns(record):
                texts.add(text)
        if texts.finding is None:
            return None
        return f"{texts.finding}; pass encoding={texts.verdict!r} to the source, unless it is meant so"

    def _repr_html_(self) -> str:
        rows = []
        for number, record in enumerate(self.records, 1):
            said = Markup("<br>".join(f"<b>{markup(who)}</b> {markup(text)}" for who, text in turns(record)))
            rows.append((number, cell(said, style="text-align:left")))
        told = f"<p>{markup(f'warning: {self.warning}')}</p>" if self.warning else ""
        return Markup(table(rows, head=("#", "record")) + told)


def turns(record: AnyRecord) -> list[tuple[str, str]]:
    """Who says what in a record, in reading order."""
    if isinstance(record, CompletionRecord):
        return [("prompt", record.prompt), ("completion", record.completion)]
    if isinstance(record, PreferenceRecord):
        outputs = [("preferred", record.preferred_output[0]), ("not preferred", record.non_preferred_output[0])]
        return [*map(_turn, record.input.messages), *((name, _turn(message)[1]) for name, message in outputs)]
    if isinstance(record, UnpairedRecord):
        answer = ("good answer" if record.label else "bad answer", _turn(record.completion[0])[1])
        return [*map(_turn, record.prompt), answer]
    if isinstance(record, ReinforcementRecord):
        return [*map(_turn, record.messages), *((key, str(value)) for key, value in record.reference.items())]
    assert isinstance(record, ChatRecord)
    return list(map(_turn, record.messages))


def _turn(message: Message) -> tuple[str, str]:
    calls = [f"{call.function.name}({call.function.arguments})" for call in message.tool_calls or ()]
    thought = message.reasoning_content and f"({message.reasoning_content})"
    return message.role, "\n".join(filter(None, [thought, message.text, *calls]))
