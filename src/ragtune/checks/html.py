"""The problems of a file as HTML: a table that a notebook shows and a page can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune._html import Markup, cell, markup, table, wide
from ragtune.checks.problems import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ragtune._html import Cell
    from ragtune.checks.problems import Problem, Severity

# Readable on white and on black: a notebook brings its own background.
_COLOURS: dict[Severity, str] = {"error": "#d0453c", "warning": "#a86f00", "suggestion": "#3f7fc0"}
_LEFT = "text-align:left"
_SENTENCE = f"{_LEFT};min-width:16rem;overflow-wrap:anywhere"
# How many cases stand for all cases of a rule.
_CASES = 3


def problem_table(summary: str, problems: Sequence[Problem], *, hidden: int) -> str:
    """The summary, the problems, and how many more there are."""
    rows: list[Sequence[object]] = [
        (problem.line or "", _severity(problem.severity), problem.code, _code(problem.path), _sentence(problem))
        for problem in problems
    ]
    if hidden:
        rows.append([cell(f"{hidden:,} more, not listed", colspan="5")])
    return _summed_up(summary, rows, ("line", "severity", "rule", "place", cell("problem", tag="th", style=_LEFT)))


def problems_by_kind(summary: str, problems: Sequence[Problem], counts: Mapping[tuple[Severity, str], int]) -> str:
    """The summary, and for each rule that spoke how often it did, with its first cases."""
    cases: dict[str, list[Problem]] = {}
    for problem in problems:
        cases.setdefault(problem.code, []).append(problem)
    rows = [
        (_severity(severity), cell(code, style=_LEFT), f"{counts[severity, code]:,}", _cases(cases.get(code, [])))
        for severity, code in sorted(counts, key=lambda kind: (SEVERITIES.index(kind[0]), kind[1]))
    ]
    rule, example = (cell(name, tag="th", style=_LEFT) for name in ("rule", "for example"))
    return _summed_up(summary, rows, ("severity", rule, "times", example))


def _summed_up(summary: str, rows: Sequence[Sequence[object]], head: Sequence[object]) -> str:
    return f"<p><b>{markup(summary)}</b></p>{wide(table(rows, head)) if rows else ''}"


def _severity(severity: Severity) -> Cell:
    return cell(severity, style=f"color:{_COLOURS[severity]}")


def _code(text: str) -> Markup:
    return Markup(f"<code>{markup(text)}</code>")


def _sentence(problem: Problem) -> Cell:
    return cell(Markup(f"{markup(problem.message)}{_hint(problem)}"), style=_SENTENCE)


def _hint(problem: Problem) -> Markup:
    return Markup(f"<br><small>{markup(problem.hint)}</small>")


def _cases(problems: Sequence[Problem]) -> Cell:
    """The first cases of a rule, and its way out once."""
    told = Markup("<br>").join(_places(problems[:_CASES]))
    return cell(Markup(f"{told}{_hint(problems[0]) if problems else ''}"), style=_SENTENCE)


def _places(problems: Sequence[Problem]) -> Iterator[Markup]:
    for problem in problems:
        place = ", ".join(filter(None, [f"line {problem.line}" if problem.line else "file", problem.path]))
        yield Markup(f"{markup(place)}: {markup(problem.message)}")
