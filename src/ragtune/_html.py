"""What the rooms write as HTML: tables for a notebook, and pages that are one file without scripts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Markup(str):
    """HTML already; every other text is escaped before it becomes a part of a page."""

    __slots__ = ()


class Cell(Markup):
    """A whole cell of a table."""

    __slots__ = ()


def markup(value: object) -> Markup:
    """A value as HTML: as it is, where it is HTML already."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def cell(value: object, *, tag: str = "td", **attributes: str) -> Cell:
    """A cell of a table.

    Args:
        value: what stands in it.
        tag: `td` or `th`.
        attributes: such as `style` or `colspan`.
    """
    if isinstance(value, Cell):
        return value
    given = "".join(f" {name}='{escape(text)}'" for name, text in attributes.items())
    return Cell(f"<{tag}{given}>{markup(value)}</{tag}>")


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> Markup:
    """A table; whatever is no cell yet becomes one, in the head a `th`."""
    lines = [_row(row, "td") for row in rows]
    if head:
        lines.insert(0, _row(head, "th"))
    return Markup(f"<table>{''.join(lines)}</table>")


def _row(values: Sequence[object], tag: str) -> str:
    return f"<tr>{''.join([cell(value, tag=tag) for value in values])}</tr>"


def wide(content: Markup, *, unbroken: bool = False) -> Markup:
    """Something that is pushed sideways where it is wider than the window.

    Args:
        content: a table.
        unbroken: no cell is broken into lines.
    """
    # A notebook knows no class of ours.
    return Markup(f"<div style='overflow-x:auto'{' class=unbroken' if unbroken else ''}>{content}</div>")


_STYLE = (
    ":root{color-scheme:light dark;--ink:#1b1b1f;--paper:#fff;--line:#ddd;--said:#eef1f6;--answer:#dcefe0;"
    "--bar:#5b7fa6}@media(prefers-color-scheme:dark){:root{--ink:#e4e4e8;--paper:#17181b;--line:#3a3c42;"
    "--said:#26292f;--answer:#1f3a28;--bar:#7ea6d4}}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:var(--ink);"
    "background:var(--paper)}p{overflow-wrap:anywhere}table{border-collapse:collapse;margin:.5rem 0}"
    "th,td{border-bottom:1px solid var(--line);padding:.25rem .6rem;text-align:right;vertical-align:top}"
    "th:first-child,td:first-child{text-align:left}.unbroken td,.unbroken th{white-space:nowrap}"
    ".bubble{width:fit-content;max-width:80%;padding:.4rem .8rem;margin:.3rem 0;border-radius:.8rem;"
    "background:var(--said);white-space:pre-wrap;overflow-wrap:anywhere}"
    ".assistant{margin-left:auto;background:var(--answer)}.record{border-top:1px solid var(--line);padding:.6rem 0}"
    "figure{margin:0}svg{display:block;width:100%;height:auto}svg rect{fill:var(--bar)}svg text{fill:var(--ink)}"
    "svg .limit{stroke:#d0453c;stroke-width:2;stroke-dasharray:6 4}"
)


def page(title: str, body: str) -> str:
    """One self-contained page: no script, no network.

    Args:
        title: heading and title of the window.
        body: HTML.
    """
    whole = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        # The browser itself refuses to fetch or run anything that got into the page.
        f"<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<meta name='viewport' content='width=device-width,initial-scale=1'><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )
    # Names of files and answers may hold half a surrogate pair, which has no bytes in UTF-8.
    return whole.encode("utf-8", "backslashreplace").decode()
