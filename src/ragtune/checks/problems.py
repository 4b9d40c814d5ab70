"""Problems in a training file: what one is, and how they are collected while the file is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Severity = Literal["error", "warning", "suggestion"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "suggestion")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One broken rule in a training file.

    Attributes:
        line: 1-based line, or None when it concerns the whole file.
        byte_offset: where that line starts in the file, in bytes, or None.
        path: place inside the record, for example `messages[1].role`; empty for the whole line or file.
        code: stable name of the rule.
        message: what is wrong, with the value.
        hint: the way out.
        severity: `error` (the server refuses it, or it teaches nothing), `warning` or `suggestion`.
        related_line: the earlier line that it repeats or contradicts, or None.

    Example:
        ```python
        from ragtune import Problem

        problem = Problem(
            line=3, byte_offset=120, path="messages[0].role", code="unknown-role", message="'bot' is no role",
            hint="use 'assistant'", severity="error",
        )
        print(problem)
        #> line 3, messages[0].role: error unknown-role: 'bot' is no role; use 'assistant'
        ```
    """

    line: int | None
    byte_offset: int | None
    path: str
    code: str
    message: str
    hint: str
    severity: Severity
    related_line: int | None = None

    def __str__(self) -> str:
        place = ", ".join(filter(None, [f"line {self.line}" if self.line is not None else "", self.path])) or "file"
        return f"{place}: {self.severity} {self.code}: {self.message}; {self.hint}"


class ProblemList:
    """Collects problems while a file is read: keeps the first ones, errors before the rest, and counts all.

    `mask` covers what messages must not show.
    """

    def __init__(self, limit: int, *, mask: Callable[[str], str] | None = None) -> None:
        self._limit = limit
        self._mask = mask
        self._kept: dict[Severity, list[Problem]] = {severity: [] for severity in SEVERITIES}
        self.counts: dict[tuple[Severity, str], int] = {}

    def add(self, problem: Problem) -> None:
        """Count a problem, and keep it while there is room for its severity."""
        key = (problem.severity, problem.code)
        self.counts[key] = self.counts.get(key, 0) + 1
        kept = self._kept[problem.severity]
        # Each severity has the whole limit until the end, so that errors that come late still push warnings out.
        if len(kept) < self._limit:
            if self._mask is not None:
                # Here, where all messages come by, and only for those that are kept: to look for private data takes
                # time.
                problem = replace(problem, message=self._mask(problem.message), hint=self._mask(problem.hint))
            kept.append(problem)

    def kept(self) -> tuple[Problem, ...]:
        """The problems that fit into the limit, errors first to be chosen, in file order, the whole file's last."""
        chosen = islice(chain.from_iterable(self._kept[severity] for severity in SEVERITIES), self._limit)
        return tuple(sorted(chosen, key=lambda problem: (problem.line is None, problem.line or 0)))
