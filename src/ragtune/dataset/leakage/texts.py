"""What rows say, before it is numbered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What rows say, text by text and row after row, without a template's constant words.

    Attributes:
        texts: all texts.
        fields: where each of them stands: a column, or who speaks.
        asked: whether each of them is its row's question.
        per_row: how many texts each row has.
    """

    texts: Sequence[str]
    fields: Sequence[str]
    asked: Sequence[bool]
    per_row: Sequence[int]
