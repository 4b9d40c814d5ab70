"""A dataset report as one HTML page: figures, lengths, prices, problems, proof of the split, sample records."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ragtune.checks.page import problem_table, whole_page
from ragtune.dataset.preview import turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ragtune.dataset.cost import CostEstimate
    from ragtune.dataset.report import DatasetReport
    from ragtune.records import AnyRecord

_BARS = 24


def report_page(report: DatasetReport) -> str:
    """The whole page."""
    sections = [
        figures(report),
        f"<h2>Length of the training examples</h2>{histogram(report.lengths, report.context)}",
        f"<h2>Price</h2>{prices(report.costs)}",
        "<h2>Problems</h2>" + "".join(problem_table(check) for check in report.checks.values()),
        f"<h2>Sample records</h2>{bubbles(report.samples)}",
    ]
    return whole_page("Dataset report", "".join(sections))


def figures(report: DatasetReport) -> str:
    """Rows read, dropped and kept, splits, and what the splits share."""
    rows = [("records", f"{report.kept:,} ({report.format})")]
    if report.read is not None:
        rows.append(("rows read", f"{report.read:,}"))
    rows += [(f"dropped: {reason}", f"{number:,}") for reason, number in report.dropped.items()]
    rows += [(split, f"{number:,}") for split, number in report.rows.items() if number]
    rows.append((f"training tokens ({report.encoding})", f"{report.tokens:,}"))
    if report.overlap is not None:
        rows.append(("normalised texts in more than one split", f"{report.overlap['in_more_than_one_split']:,}"))
    return (
        "<table>"
        + "".join(f"<tr><td>{escape(key)}</td><td>{escape(text)}</td></tr>" for key, text in rows)
        + "</table>"
    )


def histogram(lengths: Sequence[int], context: int) -> str:
    """How many examples have how many tokens, as an SVG."""
    if not lengths:
        return "<p>no examples</p>"
    width = max(1, -(-max(lengths) // _BARS))
    counts = [0] * (max(lengths) // width + 1)
    for length in lengths:
        counts[length // width] += 1
    highest = max(counts)
    bars = "".join(
        f"<rect x='{index * 24}' y='{120 - 120 * count / highest:.1f}' width='22' height='{120 * count / highest:.1f}' "
        f"fill='#5b7fa6'><title>{index * width:,} to {(index + 1) * width - 1:,} tokens: {count:,}</title></rect>"
        for index, count in enumerate(counts)
    )
    longer = sum(length > context for length in lengths)
    note = f"longest {max(lengths):,} tokens; {longer:,} longer than a training context of {context:,}"
    image = f"<svg viewBox='0 0 {len(counts) * 24} 122' width='100%' height='150' role='img'>{bars}</svg>"
    return f"<figure>{image}<figcaption>one bar is {width:,} tokens wide; {note}</figcaption></figure>"


def prices(costs: Iterable[CostEstimate]) -> str:
    """What training would cost, model by model."""
    rows = [
        f"<tr><td>{escape(cost.model)}</td><td>{cost.tokens:,}</td><td>{cost.epochs}</td>"
        f"<td>{'unknown' if cost.usd is None else f'${cost.usd:,.4f}'}</td><td>{cost.as_of or ''}</td></tr>"
        for cost in costs
    ]
    head = "<tr><th>model</th><th>tokens</th><th>epochs</th><th>US dollars</th><th>as of</th></tr>"
    return f"<table>{head}{''.join(rows)}</table><p>Tools, tool calls and images are outside the count.</p>"


def bubbles(records: Iterable[AnyRecord]) -> str:
    """Records as a chat, the assistant on the right."""
    shown = []
    for record in records:
        said = [
            f"<div class='bubble{' assistant' if who in ('assistant', 'completion', 'preferred') else ''}'>"
            f"<small>{escape(who)}</small><br>{escape(text)}</div>"
            for who, text in turns(record)
        ]
        shown.append(f"<div class='record'>{''.join(said)}</div>")
    return "".join(shown)
