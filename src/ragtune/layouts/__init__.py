"""Rows as people have them, turned into plain rows or typed records, by the name of their layout.

| name | gives | required keys |
|---|---|---|
| `alpaca` | chat | `instruction`, `output` |
| `completion` | completion | `prompt`, `completion` |
| `contexts` | plain rows | `question`, `contexts`, `answer`; or `user_input`, `retrieved_contexts`, `reference` |
| `dpo` | preference | `chosen`, `rejected`, with `prompt`, `question`, `instruction`, `conversations` or nothing |
| `kto` | unpaired | `label`, with `prompt` and `completion`, `instruction` and `output`, or `messages` |
| `messages` | chat | `messages` |
| `preference` | preference | `input`, `preferred_output`, `non_preferred_output` |
| `pubmedqa` | plain rows | `question`, `context`, `long_answer`, `final_decision` |
| `sharegpt` | chat | `conversations`, `conversation` or `items` |
| `squad` | plain rows | `context`, `question`, `answers`; or `paragraphs`; or `data` |

A converter is a pure function of one row: it reads nothing else, changes nothing, and a layout can be pickled.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING

from ragtune import _arguments as arguments
from ragtune.errors import DatasetError
from ragtune.layouts.base import Converted, Fit, KeySet, Layout, LayoutKind, Row, closeness, key_list, without_none
from ragtune.layouts.chat import ALPACA, COMPLETION, MESSAGES, SHAREGPT
from ragtune.layouts.preferences import DPO, PREFERENCE
from ragtune.layouts.rows import CONTEXTS, PUBMEDQA, SQUAD
from ragtune.layouts.verdicts import KTO

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = [
    "LAYOUTS",
    "Converted",
    "Fit",
    "KeySet",
    "Layout",
    "LayoutKind",
    "Row",
    "convert_rows",
    "detect",
    "explain",
    "get_layout",
]

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (ALPACA, COMPLETION, CONTEXTS, DPO, KTO, MESSAGES, PREFERENCE, PUBMEDQA, SHAREGPT, SQUAD)
    }
)
_SHOWN = 3


def get_layout(name: str, row: Row | None = None) -> Layout:
    """The layout of this name.

    Args:
        name: one of `LAYOUTS`.
        row: a row of the data; when the name is unknown, the error also says which layouts its keys fit.

    Raises:
        DatasetError: no layout has this name; the message lists the known ones.

    Example:
        ```python
        from ragtune.layouts import get_layout

        print(get_layout("sharegpt").kind)
        #> chat
        ```
    """
    try:
        return LAYOUTS[name]
    # TypeError for a list or another value that has no hash.
    except (KeyError, TypeError):
        seen = "" if row is None else f"; {explain(row)}"
        raise DatasetError(f"layout {name!r} is not one of {', '.join(LAYOUTS)}{seen}") from None


def detect(row: Row) -> tuple[Fit, ...]:
    """The layouts that a row's keys fit or nearly fit, the best first; empty when no layout needs any of them.

    Only keys are looked at. Where two spellings of one layout fit, the better one is given.

    Example:
        ```python
        from ragtune.layouts import detect

        print([str(fit) for fit in detect({"prompt": "7 + 5?", "chosen": "12", "rejected": "13"}) if fit.exact])
        #> ['dpo']
        ```
    """
    found = frozenset(without_none(row))
    best = []
    for layout in LAYOUTS.values():
        pairs = zip(layout.keys, layout.fits(row), strict=True)
        near = [fit for keys, fit in pairs if keys.required & found]
        if near:
            best.append(min(near, key=closeness))
    return tuple(sorted(best, key=closeness))


def explain(row: Row) -> str:
    """The keys of a row and the layouts that they fit or nearly fit, in one line for a message.

    Example:
        ```python
        from ragtune.layouts import explain

        print(explain({"paragraphs": [], "rating": 5}))
        #> keys found: 'paragraphs', 'rating'; nearest layouts: squad (not known: 'rating')
        ```
    """
    fits = detect(row)[:_SHOWN]
    nearest = f"nearest layouts: {', '.join(map(str, fits))}" if fits else "no layout needs any of them"
    return f"keys found: {key_list(row)}; {nearest}"


def convert_rows(name: str, rows: Iterable[Row], *, ignore: Collection[str] = ()) -> Iterator[Converted]:
    """Turn rows into records or plain rows, one source row after the other.

    Args:
        name: a layout of `LAYOUTS`.
        rows: mappings; read once, one at a time.
        ignore: further keys of the rows that carry nothing to train on.

    Raises:
        DatasetError: the layout is unknown, or a row does not fit it; rows are counted from 1.

    Example:
        ```python
        from ragtune.layouts import convert_rows

        rows = [{"conversations": [{"from": "human", "value": "7 + 5?"}, {"from": "gpt", "value": "12"}]}]
        for record in convert_rows("sharegpt", rows):
            print([(message.role, message.text) for message in record.messages])
            #> [('user', '7 + 5?'), ('assistant', '12')]
        ```
    """
    ignore = arguments.texts("ignore", ignore)
    layout: Layout | None = None
    if not isinstance(rows, Iterable):
        raise DatasetError(f"rows={rows!r:.60} must be an iterable of mappings, not {type(rows).__name__}")
    for number, row in enumerate(rows, start=1):
        # With the first row, so that a name that is none is answered with the layouts that its keys fit.
        layout = layout or get_layout(name, row)
        yield from layout.convert(row, number=number, ignore=ignore)
    # Without any row a wrong name would go unnoticed.
    if layout is None:
        get_layout(name)
