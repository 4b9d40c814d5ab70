"""A check report as HTML: a table of problems that a notebook shows and a page can hold."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragtune.checks.report import CheckReport

_COLOURS = {"error": "#b3261e", "warning": "#8a5a00", "suggestion": "#355f8d"}


def problem_table(report: CheckReport, limit: int = 100) -> str:
    """The summary and the first problems as a table."""
    rows = [
        f"<tr><td>{problem.line or ''}</td><td style='color:{_COLOURS[problem.severity]}'>{problem.severity}</td>"
        f"<td>{escape(problem.code)}</td><td><code>{escape(problem.path)}</code></td>"
        f"<td style='text-align:left'>{escape(problem.message)}<br><small>{escape(problem.hint)}</small></td></tr>"
        for problem in report.problems[:limit]
    ]
    hidden = sum(report.counts.values()) - len(rows)
    if hidden:
        rows.append(f"<tr><td colspan='5'>{hidden:,} more, not listed</td></tr>")
    head = "<tr><th>line</th><th>severity</th><th>rule</th><th>place</th><th>problem</th></tr>"
    table = f"<table>{head}{''.join(rows)}</table>" if rows else ""
    return f"<p><b>{escape(report.summary())}</b></p>{table}"


def whole_page(title: str, body: str) -> str:
    """One self-contained page: no script, no network."""
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1f;"
        "background:#fff}table{border-collapse:collapse;margin:.5rem 0}th,td{border-bottom:1px solid #ddd;"
        "padding:.25rem .6rem;text-align:right;vertical-align:top}th:first-child,td:first-child{text-align:left}"
        ".bubble{max-width:80%;padding:.4rem .8rem;margin:.3rem 0;border-radius:.8rem;background:#eef1f6;"
        "white-space:pre-wrap;overflow-wrap:anywhere}.assistant{margin-left:auto;background:#dcefe0}"
        ".record{border-top:1px solid #ddd;padding:.6rem 0}figure{margin:0}"
    )
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{style}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )
