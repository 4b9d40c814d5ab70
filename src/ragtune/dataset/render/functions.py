"""Records from a user's Python function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import orjson

from ragtune.dataset.bad_rows import BadRows, BadRowsError
from ragtune.dataset.leakage.texts import Texts, with_attachments
from ragtune.dataset.render.batches import SourceRow
from ragtune.dataset.render.rendered import Lines, two_kinds
from ragtune.errors import DatasetError, RecordError
from ragtune.layouts import get_layout
from ragtune.records import (
    FORMATS,
    ChatRecord,
    CompletionRecord,
    ImagePart,
    Message,
    PreferenceRecord,
    Record,
    RecordFormat,
    ReinforcementRecord,
    UnpairedRecord,
    parse_record,
)
from ragtune.records.parsing import RECORD_OF

if TYPE_CHECKING:
    from ragtune.dataset.render.rows import Selection
    from ragtune.records import AnyRecord

MakeRecord = Callable[[SourceRow], object]
_FORMAT_OF: Mapping[type[Record], RecordFormat] = {RECORD_OF[name]: name for name in FORMATS}


@dataclass(frozen=True, kw_only=True)
class LaidOut:
    """Makes the record of a row that has a known layout; for `DatasetBuilder.records`.

    Attributes:
        layout: its name.
        ignore: further keys that carry nothing.
        system: system prompt of the records that have none.
    """

    layout: str
    ignore: tuple[str, ...] = ()
    system: str | None = None

    def __call__(self, row: SourceRow) -> object:
        """The one record of the row.

        Raises:
            DatasetError: the row does not have this layout.
        """
        # Layouts of records make one of each row; several come of layouts of plain rows alone.
        (record,) = get_layout(self.layout).convert(row, ignore=self.ignore)
        if (
            self.system is None
            or not isinstance(record, ChatRecord | PreferenceRecord | UnpairedRecord)
            or system_of(record) is not None
        ):
            return record
        first = Message(role="system", content=self.system)
        # `model_copy` validates nothing: both parts were validated when they were made.
        if isinstance(record, ChatRecord):
            return record.model_copy(update={"messages": (first, *record.messages)})
        if isinstance(record, UnpairedRecord):
            return record.model_copy(update={"prompt": (first, *record.prompt)})
        asked = record.input.model_copy(update={"messages": (first, *record.input.messages)})
        return record.model_copy(update={"input": asked})


class FunctionRenderer:
    """Calls the function for every row and writes the records it gives."""

    def __init__(self, make: MakeRecord, hidden: tuple[str, ...]) -> None:
        self._make = make
        self._hidden = frozenset(hidden)

    def render(self, rows: Selection) -> Lines:
        """The records of the selected rows.

        Raises:
            BadRowsError: of some rows the function makes no record; all of them are told.
            DatasetError: the records are of two kinds.
        """
        records: list[AnyRecord] = []
        lines: list[bytes] = []
        bad = BadRows()
        format: RecordFormat | None = None
        # Only a layout knows that an entry without a value is an absent one.
        for index, row in enumerate(rows.rows(sparse=isinstance(self._make, LaidOut))):
            try:
                record = self._record(row, rows, index, format)
                lines.append(_line(record, rows, index))
            except BadRowsError as error:
                bad.add_all(error)
                continue
            kind: RecordFormat = _FORMAT_OF[type(record)]
            if format is None:
                format = kind
            if kind != format:
                raise DatasetError(two_kinds(rows.number(index), kind, format))
            records.append(record)
        bad.refuse()
        return Lines(
            format=format,
            systems=frozenset(map(system_of, records)),
            data=b"".join(lines),
            gaps={},
            texts=lambda: _texts(records),
            tokens=lambda counter: counter.count([record.to_dict() for record in records]),
        )

    def _record(self, row: SourceRow, rows: Selection, index: int, format: RecordFormat | None) -> AnyRecord:
        if self._hidden:
            row = {name: value for name, value in row.items() if name not in self._hidden}
        try:
            made = self._make(row)
            return made if isinstance(made, Record) else self._parsed(made, format)  # type: ignore[return-value]
        except (RecordError, DatasetError) as error:
            raise BadRowsError((f"{rows.place(index)}: {error}",), 1) from error
        except Exception as error:
            error.add_note(f"in the function given to records() at {rows.place(index)}")
            raise

    def _parsed(self, made: object, format: RecordFormat | None) -> AnyRecord:
        if not isinstance(made, Mapping):
            raise RecordError(
                f"the function given to records() must return a record or a dict, got {made!r:.60}; "
                f"drop rows with .filter(..., reason=...)"
            )
        # With the kind of the rows before: its keys alone may fit two kinds.
        return parse_record(made, format)


def _line(record: AnyRecord, rows: Selection, index: int) -> bytes:
    try:
        return record.to_json_line()
    # Half a surrogate pair, which a record may hold and no file can, or what nests deeper than can be written.
    except orjson.JSONEncodeError as error:
        told = f"{rows.place(index)}: the record cannot be written: {error}; repair the source"
        raise BadRowsError((told,), 1) from error


def system_of(record: AnyRecord) -> str | None:
    """The system prompt that a record begins with, or None."""
    if isinstance(record, CompletionRecord):
        return None
    first = asked_messages(record)[0]
    return first.text if first.role in ("system", "developer") else None


def asked_messages(record: ChatRecord | PreferenceRecord | UnpairedRecord | ReinforcementRecord) -> tuple[Message, ...]:
    """The conversation of a record, without the answers that stand beside it."""
    if isinstance(record, UnpairedRecord):
        return record.prompt
    return (record.input if isinstance(record, PreferenceRecord) else record).messages


_LEARNED = ("assistant", "reasoning", "completion", "preferred_output", "non_preferred_output")


def _texts(records: Sequence[AnyRecord]) -> Texts:
    said = [list(_said(record)) for record in records]
    every = list(chain.from_iterable(said))
    fields, texts, asked = zip(*every, strict=True) if every else ((), (), ())
    learned = [field in _LEARNED for field in fields]
    return Texts(texts=texts, fields=fields, asked=asked, learned=learned, per_row=list(map(len, said)))


def _said(record: AnyRecord) -> Iterator[tuple[str, str, bool]]:
    """Each text of a record: who says it, the text, and whether it is the question, which is the user's first."""
    if isinstance(record, CompletionRecord):
        yield "prompt", record.prompt, True
        yield "completion", record.completion, False
        return
    # Later turns of the user lean on the first one: "And why?" stands in many dialogues and is no fact.
    waits = True
    for message in asked_messages(record):
        if message.role not in ("system", "developer"):
            asked = waits and message.role == "user"
            yield from _asked(message, record) if asked else ((message.role, message.text, False),)
            waits = waits and not asked
            if message.reasoning_content:
                yield "reasoning", message.reasoning_content, False
    if isinstance(record, PreferenceRecord):
        yield from (("preferred_output", message.text, False) for message in record.preferred_output)
        yield from (("non_preferred_output", message.text, False) for message in record.non_preferred_output)
    if isinstance(record, UnpairedRecord):
        yield "completion", record.completion[0].text, False


def _asked(message: Message, record: AnyRecord) -> Iterator[tuple[str, str, bool]]:
    """All that a question is made of: text, images by content, tools at hand; and each image by itself."""
    parts = () if isinstance(message.content, str) else message.content or ()
    images = [part.image_url.url for part in parts if isinstance(part, ImagePart)]
    given = record.input.tools if isinstance(record, PreferenceRecord) else getattr(record, "tools", None)
    tools = [tool.model_dump(mode="json") for tool in given or ()]
    yield message.role, with_attachments(message.text, images, tools), True
    # The same picture with another question, and the same question with other tools, leak as well.
    yield from (("image", with_attachments("", [image], ()), True) for image in images)
    if tools:
        yield message.role, message.text, False
