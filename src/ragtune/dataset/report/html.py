"""Parts of a dataset report as HTML: lengths, prices, sample records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune._html import cell, markup, table, wide
from ragtune.catalog import load
from ragtune.dataset.report.preview import turns

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from ragtune._html import Cell
    from ragtune.cost import CostEstimate
    from ragtune.dataset.report.samples import Contradiction
    from ragtune.records import AnyRecord

_BARS = 24
_CONTRADICTION = ("question", "answer", "other answer", "lines of train")
_UNCOUNTED = "<p>Tools, tool calls and images are outside the count.</p>"


def histogram(lengths: Sequence[int], context: int) -> str:
    """How many examples have how many tokens, as an SVG."""
    if not lengths:
        return "<p>no examples</p>"
    # Rounded up: rounded down there would be more bars than these.
    width = max(1, -(-(max(lengths) + 1) // _BARS))
    counts = [0] * (max(lengths) // width + 1)
    for length in lengths:
        counts[length // width] += 1
    highest, step = max(counts), 720 / len(counts)
    bars = "".join(
        f"<rect x='{index * step:.1f}' y='{150 - 130 * count / highest:.1f}' width='{step - 2:.1f}' "
        f"height='{130 * count / highest:.1f}'>"
        f"<title>{index * width:,} to {(index + 1) * width - 1:,} tokens: {count:,}</title></rect>"
        for index, count in enumerate(counts)
    )
    last = len(counts) * width
    axis = "".join(
        f"<text x='{720 * part / 4:.0f}' y='170' text-anchor='{anchor}' font-size='16'>{last * part // 4:,}</text>"
        for part, anchor in enumerate(("start", "middle", "middle", "middle", "end"))
    )
    axis += f"<text x='0' y='13' font-size='16'>{highest:,} examples in the highest bar</text>"
    if context < last:
        place = 720 * context / last
        axis += f"<line class='limit' x1='{place:.1f}' x2='{place:.1f}' y1='0' y2='150'><title>context</title></line>"
    longer = sum(length > context for length in lengths)
    note = f"longest {max(lengths):,} tokens; {longer:,} longer than a training context of {context:,}"
    image = f"<svg viewBox='0 0 720 178' role='img' aria-label='lengths in tokens'>{bars}{axis}</svg>"
    return f"<figure>{image}<figcaption>tokens per example; one bar is {width:,} wide; {note}</figcaption></figure>"


def prices(costs: Sequence[CostEstimate]) -> str:
    """What training would cost, model by model."""
    known = load()
    rows = []
    for cost in costs:
        info = known.find(cost.model)
        until = (info.last_new_job, info.shutdown) if info else (None, None)
        rows.append(
            (cost.model, f"{cost.tokens:,}", cost.epochs, _dollars(cost.usd), cost.as_of or "", *map(_day, until))
        )
    head = ("model", "tokens", "epochs", "US dollars", "as of", "new jobs until", "answers until")
    shown = wide(table(rows, head=head), unbroken=True)
    # Without its scheme an address is a text that no browser makes a link of.
    sources = sorted({cost.source.replace("https://", "") for cost in costs if cost.source})
    told = f"<p>Prices: {markup('; '.join(sources))}</p>" if sources else ""
    return f"{shown}{told}{_UNCOUNTED}"


def _day(day: dt.date | None) -> str:
    return "unknown" if day is None else day.isoformat()


def _dollars(usd: float | None) -> str:
    return "unknown" if usd is None else f"${usd:,.4f}"


def contradictions(found: Sequence[Contradiction]) -> str:
    """Questions that are answered in two ways; nothing where there are none."""
    if not found:
        return ""
    shown = table(map(_contradiction, found), _CONTRADICTION)
    return f"<h2>Questions answered in two ways</h2>{wide(shown)}"


def _contradiction(found: Contradiction) -> list[Cell]:
    row = (found.question, *found.answers, f"{found.lines[0]:,} and {found.lines[1]:,}")
    return [cell(value, style="text-align:left") for value in row]


def bubbles(records: Iterable[AnyRecord]) -> str:
    """Records as a chat, the assistant on the right."""
    return "".join(f"<div class='record'>{''.join(map(_bubble, turns(record)))}</div>" for record in records)


def _bubble(turn: tuple[str, str]) -> str:
    who, text = turn
    side = " assistant" if who in ("assistant", "completion", "preferred") else ""
    return f"<div class='bubble{side}'><small>{markup(who)}</small><br>{markup(text)}</div>"
