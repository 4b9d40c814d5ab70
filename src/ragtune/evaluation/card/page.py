"""A card as one page: the table as a heat map, the differences as a forest plot, and the facts that changed sides."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ragtune._html import Markup, cell, page, table, wide
from ragtune.evaluation.asking.arms import BASE, TUNED
from ragtune.evaluation.card.figures import p_text
from ragtune.evaluation.card.words import cell_text, difference_text, notes, sentence
from ragtune.evaluation.log import read_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.evaluation.card.figures import Difference, Figures
    from ragtune.evaluation.log import Line

MAX_FLIPS = 100
# In the plot's own units: the height of a row, and the widths of names and intervals.
_ROW, _LEFT, _PLOT = 26, 330, 360


def card_page(card: Figures) -> str:
    """Return the whole page."""
    parts = [f"<p><strong>{escape(sentence(card))}</strong></p>", heat(card), *_noted(card)]
    if len(card.differences):
        parts += ["<h2>Differences</h2>", forest(card, card.differences.rows)]
    if len(card.lines):
        head = ("", "kind", "value", "n")
        rows = [(row.name, row.kind, difference_text(card, row), str(row.n)) for row in card.lines]
        parts += ["<h2>What no cell shows</h2>", wide(table(rows, head))]
    parts += [_flips(card), _usage(card), _errors(card)]
    return page("Scorecard", "".join(parts))


def notebook_view(card: Figures) -> str:
    """Return what a notebook shows: sentence, table and notes."""
    return "".join([f"<p><strong>{escape(sentence(card))}</strong></p>", heat(card), *_noted(card)])


def _noted(card: Figures) -> list[str]:
    return [f"<p><small>{escape(note)}</small></p>" for note in notes(card)]


def heat(card: Figures) -> Markup:
    """Return arms x kinds, the greener the better."""
    found = {(one.arm, one.kind): one.estimate for one in card.cells}
    rows = []
    for arm in card.arms:
        row: list[object] = [arm]
        for kind in card.kinds:
            estimate = found.get((arm, kind))
            if estimate is None or not estimate.n:
                row.append("")
                continue
            # Colour over whatever the page's own background is, light or dark.
            share = min(1.0, max(0.0, estimate.mean)) if card.is_share else 0.0
            style = f"background:rgba(46,160,67,{0.08 + 0.62 * share:.2f})"
            row.append(cell(cell_text(card, estimate, long=True), style=style, title=f"{estimate.n} facts"))
        rows.append(row)
    return wide(table(rows, ("", *card.kinds)), unbroken=True)


def forest(card: Figures, rows: Sequence[Difference]) -> str:
    """Return the differences with their intervals as an SVG, zero in the middle."""
    # Never 0: all is divided by it.
    reach = max([1e-9, *(abs(end) for row in rows for end in (row.low, row.high) if end == end)])
    reach = min(1.0, 1.15 * reach) if card.is_share else 1.15 * reach
    height = _ROW * len(rows) + 34
    lines = [_forest_row(card, row, place=place, reach=reach) for place, row in enumerate(rows)]
    zero = _LEFT + _PLOT / 2
    axis = (
        f"<line x1='{zero}' x2='{zero}' y1='4' y2='{height - 26}' stroke='currentColor' stroke-dasharray='3 3'/>"
        f"<text x='{_LEFT}' y='{height - 8}' font-size='12'>worse</text>"
        f"<text x='{_LEFT + _PLOT}' y='{height - 8}' font-size='12' text-anchor='end'>better</text>"
    )
    width, unit = _LEFT + _PLOT + 330, "Percentage points" if card.is_share else "Scores"
    return (
        f"<figure><svg viewBox='0 0 {width} {height}' role='img' aria-label='paired differences with 95 % intervals'>"
        f"{axis}{''.join(lines)}</svg></figure><p><small>{unit} with 95 % intervals; p corrected by Holm's method in "
        "each kind; full dots are differences that interval and test both tell.</small></p>"
    )


def _forest_row(card: Figures, row: Difference, *, place: int, reach: float) -> str:
    def across(value: float) -> float:
        return _LEFT + _PLOT / 2 * (1 + max(-1.0, min(1.0, value / reach)))

    y = _ROW * place + 18
    fill = "currentColor" if row.told else "var(--paper, #fff)"
    told = f"{difference_text(card, row)}, p {p_text(row.p)}"
    return (
        f"<text x='0' y='{y + 4}' font-size='13'>{escape(f'{row.name}, {row.kind}')}</text>"
        f"<line x1='{across(row.low):.1f}' x2='{across(row.high):.1f}' y1='{y}' y2='{y}' stroke='currentColor' "
        "stroke-width='2'/>"
        f"<circle cx='{across(row.value):.1f}' cy='{y}' r='5' fill='{fill}' stroke='currentColor' stroke-width='2'/>"
        f"<text x='{_LEFT + _PLOT + 14}' y='{y + 4}' font-size='13'>{escape(told)}</text>"
    )


def _flips(card: Figures) -> str:
    """Questions that base and tuned answered differently well, with both answers."""
    first, second = (BASE, TUNED) if {BASE, TUNED} <= set(card.arms) else (*card.arms, "", "")[:2]
    if not second:
        return ""
    pairs = _changed(card, first, second)
    won = [pair for pair in pairs if pair[0]]
    lost = [pair for pair in pairs if not pair[0]]
    parts = []
    for title, chosen in ((f"Right in {second} alone", won), (f"Right in {first} alone", lost)):
        parts.append(f"<h2>{escape(title)}: {len(chosen)}</h2>")
        rows = [_flip(card, *offsets) for _, *offsets in chosen[:MAX_FLIPS]]
        if rows:
            parts.append(wide(table(rows, ("question", "kind", "accepted", first, second))))
        if len(chosen) > MAX_FLIPS:
            parts.append(f"<p>and {len(chosen) - MAX_FLIPS} more, in the log</p>")
    return "".join(parts)


def _changed(card: Figures, first: str, second: str) -> list[tuple[bool, int, int]]:
    """Whether the second alone was right (or the first alone), and where both answers stand in the log."""
    scores = card.scores
    values = scores.columns[card.scorer]
    # What no scorer could judge counts as wrong here.
    right = np.nan_to_num(values) >= 0.5
    places: dict[str, dict[tuple[int, int, int], int]] = {}
    for arm in (first, second):
        rows = np.flatnonzero(scores.arm == scores.arms.index(arm))
        keys = zip(scores.fact[rows].tolist(), scores.kind[rows].tolist(), scores.wording[rows].tolist(), strict=True)
        places[arm] = dict(zip(keys, rows.tolist(), strict=True))
    return [
        (bool(right[b]), int(scores.offset[a]), int(scores.offset[b]))
        for key, a in places[first].items()
        if (b := places[second].get(key)) is not None and right[a] != right[b]
    ]


def _flip(card: Figures, first: int, second: int) -> list[str]:
    # By its place in the log: the answers of a long evaluation are not held in memory.
    left, right = (next(read_log(card.path, start=offset))[1] for offset in (first, second))
    accepted = ", ".join(left.get("answers", ())) or "(says that it does not know)"
    return [left["question"], left["kind"], accepted, _said(left), _said(right)]


def _said(line: Line) -> str:
    text = line.get("text")
    return f"[{line['fault']['type']}]" if text is None else text if len(text) <= 300 else f"{text[:300]}..."


def _usage(card: Figures) -> str:
    rows = [
        (
            use.arm,
            f"{use.answers:,}",
            "?" if use.prompt_tokens is None else f"{use.prompt_tokens:,}",
            "?" if use.completion_tokens is None else f"{use.completion_tokens:,}",
            "?" if use.cost_usd is None else f"${use.cost_usd:.4f}",
            "?" if use.median_s is None else f"{use.median_s:.2f} s",
            "?" if use.slow_s is None else f"{use.slow_s:.2f} s",
        )
        for use in card.usage
    ]
    head = ("", "answers", "prompt tokens", "answer tokens", "cost", "median", "95 % within")
    return f"<h2>Cost and latency</h2>{wide(table(rows, head))}"


def _errors(card: Figures) -> str:
    if not card.errors:
        return ""
    rows = [(one.arm, one.kind, one.question, one.error[:300]) for one in card.errors[:MAX_FLIPS]]
    return f"<h2>Not answered</h2>{wide(table(rows, ('', 'kind', 'question', 'error')))}"
