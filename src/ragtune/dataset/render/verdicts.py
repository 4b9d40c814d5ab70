"""Records of single verdicts from columns: question, answer, and whether the answer was good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune import _arguments as arguments
from ragtune.dataset.render.templates import Text, text
from ragtune.errors import DatasetError
from ragtune.layouts.base import MisfitError
from ragtune.layouts.verdicts import label_at
from ragtune.records import UnpairedRecord

if TYPE_CHECKING:
    from ragtune.dataset.render.batches import SourceRow


@dataclass(frozen=True, kw_only=True)
class VerdictRow:
    """Makes the record of a row; for `DatasetBuilder.records`.

    Attributes:
        prompt: the user's message.
        completion: the answer that was judged.
        label: column of the verdict.
        system: the system prompt, or None.
    """

    prompt: Text
    completion: Text
    label: str
    system: Text | None = None

    def __call__(self, row: SourceRow) -> UnpairedRecord:
        """The record of a row.

        Raises:
            DatasetError: a column is missing, a value is no text or no verdict, or a text would be empty.
        """
        if row.get(self.label) is None:
            raise DatasetError(f"column {self.label!r} holds no verdict; drop such rows with .filter(..., reason=...)")
        try:
            label = label_at(row[self.label], f"column {self.label!r}")
        except MisfitError as error:
            raise DatasetError(f"{error.path} {error.message}") from None
        prompt = [{"role": "user", "content": _filled(self.prompt, row)}]
        if self.system is not None:
            prompt.insert(0, {"role": "system", "content": _filled(self.system, row)})
        answer = {"role": "assistant", "content": _filled(self.completion, row)}
        # Tuples of models are what the record turns them into.
        return UnpairedRecord(prompt=prompt, completion=[answer], label=label)  # type: ignore[arg-type]

    def described(self) -> dict[str, object]:
        """What the manifest keeps."""
        texts = [*([] if self.system is None else [self.system]), self.prompt, self.completion]
        return {"format": "unpaired", **{item.name: item.source for item in texts}, "label": self.label}


def verdict_row(*, prompt: str, completion: str, label: str, system: str | None) -> VerdictRow:
    """Parse the templates of a verdict.

    Raises:
        DatasetError: a template is empty or malformed, or `label` names no column.
    """
    column = arguments.text("label", label).strip()
    # Every other option of this call is a template, so people write braces here, too.
    if column.startswith("{") and column.endswith("}"):
        column = column[1:-1]
    if not column or set(column) & set("{}"):
        raise DatasetError(f"label={label!r} must be the name of one column, such as 'good'")
    return VerdictRow(
        prompt=text("prompt", prompt),
        completion=text("completion", completion),
        label=column,
        system=None if system is None else text("system", system),
    )


def _filled(item: Text, row: SourceRow) -> str:
    pieces = []
    for constant, column in item.parts:
        pieces.append(constant)
        if column is not None:
            pieces.append(_text_in(row, column))
    filled = "".join(pieces)
    if not filled.strip():
        raise DatasetError(f"the {item.name} text {item.source!r} is empty; drop such rows with .filter(...)")
    return filled


def _text_in(row: SourceRow, column: str) -> str:
    if column not in row:
        raise DatasetError(f"column {column!r} is missing; there are {', '.join(map(str, row))}")
    value = row[column]
    if not isinstance(value, str):
        raise DatasetError(
            f"column {column!r}: {value!r:.80} is {type(value).__name__}, not text; convert it with .map(...), or drop "
            "such rows with .filter(..., reason=...)"
        )
    return value
