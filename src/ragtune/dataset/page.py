"""A dataset report as one HTML page: figures, lengths, prices, problems, proof of the split, sample records."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ragtune.checks.page import problems_by_kind, whole_page
from ragtune.dataset.overlap import overlap_table
from ragtune.dataset.preview import turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ragtune.dataset.cost import CostEstimate
    from ragtune.dataset.dataset import Dataset
    from ragtune.dataset.report import DatasetReport
    from ragtune.records import AnyRecord

_BARS = 24
_UNCOUNTED = "<p>Tools, tool calls and images are outside the count.</p>"


def report_page(report: DatasetReport) -> str:
    """The whole page."""
    sections = [
        figures(report),
        shared_texts(report),
        f"<h2>Length of the training examples</h2>{histogram(report.lengths, report.context)}",
        f"<h2>Price</h2>{prices(report.costs)}",
        "<h2>Problems</h2>" + "".join(problems_by_kind(check) for check in report.checks.values()),
        f"<h2>Sample records</h2>{bubbles(report.samples)}",
    ]
    return whole_page("Dataset report", "".join(sections))


def figures(report: DatasetReport) -> str:
    """Rows read, dropped and kept, splits, and what the splits share."""
    rows = [("records", f"{report.kept:,} ({report.format})")]
    if report.read is not None:
        rows.append(("rows read", f"{report.read:,}"))
    rows += [(f"dropped: {reason}", f"{number:,}") for reason, number in report.dropped.items()]
    rows += [(f"answers with nothing in place of {{{name}}}", f"{number:,}") for name, number in report.gaps.items()]
    rows += [(split, f"{number:,}") for split, number in report.rows.items() if number]
    rows.append((f"training tokens ({report.encoding})", f"{report.tokens:,}"))
    if report.overlap is not None and "in_more_than_one_split" in report.overlap:
        rows.append(("normalised texts in more than one split", f"{report.overlap['in_more_than_one_split']:,}"))
    return (
        "<table>"
        + "".join(f"<tr><td>{escape(key)}</td><td>{escape(text)}</td></tr>" for key, text in rows)
        + "</table>"
    )


def split_table(dataset: Dataset) -> str:
    """The files of a dataset; nothing is read for it."""
    facts = [("folder", str(dataset.folder)), ("records", dataset.format), ("fingerprint", dataset.fingerprint[:16])]
    head = "".join(f"<tr><th>{key}</th><td colspan='3'>{escape(text)}</td></tr>" for key, text in facts)
    rows = (
        f"<tr><td>{split.name}</td><td>{split.rows:,}</td><td>{split.bytes:,}</td><td>{str(split.sha256)[:16]}</td></tr>"
        for split in dataset.splits
    )
    names = "".join(f"<th>{name}</th>" for name in ("split", "records", "bytes", "sha256"))
    return f"<table>{head}<tr>{names}</tr>{''.join(rows)}</table>"


def shared_texts(report: DatasetReport) -> str:
    """What the splits share, field by field."""
    fields = (report.overlap or {}).get("fields")
    if not fields:
        return ""
    note = "Questions count at any length, other texts from five words on; a run is a piece of another text."
    return f"<h2>What the splits share</h2><div class='wide'>{overlap_table(fields)}</div><p>{note}</p>"


def histogram(lengths: Sequence[int], context: int) -> str:
    """How many examples have how many tokens, as an SVG."""
    if not lengths:
        return "<p>no examples</p>"
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
    rows = [
        f"<tr><td>{escape(cost.model)}</td><td>{cost.tokens:,}</td><td>{cost.epochs}</td>"
        f"<td>{'unknown' if cost.usd is None else f'${cost.usd:,.4f}'}</td><td>{cost.as_of or ''}</td></tr>"
        for cost in costs
    ]
    head = "<tr><th>model</th><th>tokens</th><th>epochs</th><th>US dollars</th><th>as of</th></tr>"
    # Without its scheme an address is a text that no browser makes a link of.
    sources = sorted({cost.source.replace("https://", "") for cost in costs if cost.source})
    told = f"<p>Prices: {escape('; '.join(sources))}</p>" if sources else ""
    return f"<div class='wide'><table>{head}{''.join(rows)}</table></div>{told}{_UNCOUNTED}"


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
