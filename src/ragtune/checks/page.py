"""A check report as HTML: a table of problems that a notebook shows and a page can hold."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragtune.checks.report import CheckReport, Problem, Severity

# Readable on white and on black: a notebook brings its own background.
_COLOURS: dict[Severity, str] = {"error": "#d0453c", "warning": "#a86f00", "suggestion": "#3f7fc0"}
_SENTENCE = "text-align:left;min-width:16rem;overflow-wrap:anywhere"


def problem_table(report: CheckReport, limit: int = 100) -> str:
    """The summary and the first problems as a table."""
    rows = [
        f"<tr><td>{problem.line or ''}</td><td style='color:{_COLOURS[problem.severity]}'>{problem.severity}</td>"
        f"<td>{escape(problem.code)}</td><td><code>{escape(problem.path)}</code></td>"
        f"<td style='{_SENTENCE}'>{escape(problem.message)}<br><small>{escape(problem.hint)}</small></td></tr>"
        for problem in report.problems[:limit]
    ]
    hidden = sum(report.counts.values()) - len(rows)
    if hidden:
        rows.append(f"<tr><td colspan='5'>{hidden:,} more, not listed</td></tr>")
    head = "<tr><th>line</th><th>severity</th><th>rule</th><th>place</th><th style='text-align:left'>problem</th></tr>"
    table = f"<div style='overflow-x:auto'><table>{head}{''.join(rows)}</table></div>" if rows else ""
    return f"<p><b>{escape(report.summary())}</b></p>{table}"


def problems_by_kind(report: CheckReport, examples: int = 3) -> str:
    """The summary, and for each rule that spoke how often it did, with its first cases."""
    cases: dict[str, list[Problem]] = {}
    for problem in report.problems:
        cases.setdefault(problem.code, []).append(problem)
    rows = []
    for severity, code in sorted(report.counts, key=lambda kind: (list(_COLOURS).index(kind[0]), kind[1])):
        shown = cases.get(code, [])[:examples]
        places = "<br>".join(f"{escape(_place(problem))}: {escape(problem.message)}" for problem in shown)
        hint = f"<br><small>{escape(shown[0].hint)}</small>" if shown else ""
        rows.append(
            f"<tr><td style='color:{_COLOURS[severity]}'>{severity}</td><td style='text-align:left'>{escape(code)}</td>"
            f"<td>{report.counts[severity, code]:,}</td><td style='{_SENTENCE}'>{places}{hint}</td></tr>"
        )
    names = "<th style='text-align:left'>rule</th><th>times</th><th style='text-align:left'>for example</th>"
    head = f"<tr><th>severity</th>{names}</tr>"
    table = f"<div style='overflow-x:auto'><table>{head}{''.join(rows)}</table></div>" if rows else ""
    return f"<p><b>{escape(report.summary())}</b></p>{table}"


def _place(problem: Problem) -> str:
    return ", ".join(filter(None, [f"line {problem.line}" if problem.line else "file", problem.path]))


def whole_page(title: str, body: str) -> str:
    """One self-contained page: no script, no network."""
    style = (
        ":root{color-scheme:light dark;--ink:#1b1b1f;--paper:#fff;--line:#ddd;--said:#eef1f6;--answer:#dcefe0;"
        "--bar:#5b7fa6}@media(prefers-color-scheme:dark){:root{--ink:#e4e4e8;--paper:#17181b;--line:#3a3c42;"
        "--said:#26292f;--answer:#1f3a28;--bar:#7ea6d4}}"
        "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:var(--ink);"
        "background:var(--paper)}p{overflow-wrap:anywhere}table{border-collapse:collapse;margin:.5rem 0}"
        "th,td{border-bottom:1px solid var(--line);padding:.25rem .6rem;text-align:right;vertical-align:top}"
        "th:first-child,td:first-child{text-align:left}.wide{overflow-x:auto}.wide td,.wide th{white-space:nowrap}"
        ".bubble{width:fit-content;max-width:80%;padding:.4rem .8rem;margin:.3rem 0;border-radius:.8rem;"
        "background:var(--said);white-space:pre-wrap;overflow-wrap:anywhere}"
        ".assistant{margin-left:auto;background:var(--answer)}.record{border-top:1px solid var(--line);padding:.6rem 0}"
        "figure{margin:0}svg{display:block;width:100%;height:auto}svg rect{fill:var(--bar)}svg text{fill:var(--ink)}"
        "svg .limit{stroke:#d0453c;stroke-width:2;stroke-dasharray:6 4}"
    )
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        # The browser itself refuses to fetch or run anything that got into the page.
        f"<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<meta name='viewport' content='width=device-width,initial-scale=1'><style>{style}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )
