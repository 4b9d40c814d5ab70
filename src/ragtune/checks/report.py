"""What a check found: problems with their place and way out, counts, and how they print."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ragtune.checks.page import problem_table, whole_page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ragtune.records import RecordFormat

Severity = Literal["error", "warning", "suggestion"]
# A file of the wrong kind breaks one rule on every line; ten of them tell as much as a thousand.
_LISTED_PER_CODE = 10

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

    def __str__(self) -> str:
        place = ", ".join(filter(None, [f"line {self.line}" if self.line is not None else "", self.path])) or "file"
        return f"{place}: {self.severity} {self.code}: {self.message}; {self.hint}"


@dataclass(frozen=True, kw_only=True)
class CheckStats:
    """Figures of a checked file.

    Attributes:
        examples: records, whole or broken (lines that are not blank).
        format: the record kind, None when no line has one.
        bytes: size of the file.
        tokens: tokens of all records that could be read, None when they were not counted.
        longest: tokens of the longest record, None when they were not counted.
        encoding: the vocabulary that was counted in, None when nothing was counted.

    Example:
        ```python
        from ragtune.checks import CheckStats

        print(CheckStats(examples=12, format="chat", bytes=3_000).tokens)
        #> None
        ```
    """

    examples: int
    format: RecordFormat | None
    bytes: int
    tokens: int | None = None
    longest: int | None = None
    encoding: str | None = None


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The verdict on one training file; prints like a linter, at most ten problems of a kind.

    Where no line is a record, one problem of a kind is printed: they have one cause.

    Attributes:
        path: the file.
        problems: the first problems, errors first within the number that is kept, each group in file order.
        counts: how many problems each rule found, `(severity, code) -> number`; counts what is not kept, too.
        stats: figures of the file.
        model: the model it was checked for, or None.

    Example:
        ```python
        from pathlib import Path

        import ragtune as rt

        line = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}'
        path = Path("train.jsonl")
        path.write_text((line + chr(10)) * 12)
        print(rt.check_file(path).ok)
        #> True
        ```
    """

    path: Path
    problems: tuple[Problem, ...]
    counts: Mapping[tuple[Severity, str], int]
    stats: CheckStats
    model: str | None = None
    fixed: Path | None = field(default=None)

    @property
    def ok(self) -> bool:
        """Whether no error was found; warnings and suggestions do not count."""
        return not any(severity == "error" for severity, _ in self.counts)

    def count(self, severity: Severity) -> int:
        """How many problems of a severity were found, kept or not."""
        return sum(number for (kind, _), number in self.counts.items() if kind == severity)

    def summary(self) -> str:
        """One line: file, format, examples, tokens and the number of problems by severity."""
        parts = [self.stats.format or "no known format", _number(self.stats.examples, "example")]
        if self.stats.tokens is not None:
            parts.append(f"{self.stats.tokens:,} tokens ({self.stats.encoding})")
        found = [_number(self.count(severity), severity) for severity in SEVERITIES if self.count(severity)]
        return f"{self.path}: {', '.join(parts)}: {', '.join(found) or 'no problems'}"

    def __str__(self) -> str:
        lines = []
        listed: Counter[str] = Counter()
        most = _LISTED_PER_CODE if self.stats.format else 1
        for problem in self.problems:
            listed[problem.code] += 1
            if listed[problem.code] > most:
                continue
            place = f"{self.path}:{problem.line}:" if problem.line is not None else f"{self.path}:"
            path = f" {problem.path}:" if problem.path else ""
            lines.append(f"{place} {problem.severity} [{problem.code}]{path} {problem.message}\n    {problem.hint}")
        for (severity, code), number in sorted(self.counts.items()):
            hidden = number - min(listed[code], most)
            if hidden:
                lines.append(f"{self.path}: {_number(hidden, f'more {severity}')} [{code}] counted, not listed")
        if self.fixed is not None:
            lines.append(f"{self.path}: a repaired copy was written to {self.fixed}")
        return "\n".join([*lines, self.summary()])

    def to_html(self) -> str:
        """The report as one page without scripts."""
        return whole_page(f"Check of {self.path.name}", problem_table(self, limit=len(self.problems)))

    def _repr_html_(self) -> str:
        return problem_table(self)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, ready for JSON."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "model": self.model,
            "stats": asdict(self.stats),
            "counts": [
                {"severity": severity, "code": code, "count": number}
                for (severity, code), number in sorted(self.counts.items())
            ],
            "problems": [asdict(problem) for problem in self.problems],
            "fixed": None if self.fixed is None else str(self.fixed),
        }


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class ProblemList:
    """Collects problems while a file is read: keeps the first ones, errors before the rest, and counts all.

    `mask` covers what messages must not show.
    """

    def __init__(self, limit: int, mask: Callable[[str], str] | None = None) -> None:
        self._limit = limit
        self._mask = mask
        self._kept: dict[Severity, list[Problem]] = {severity: [] for severity in SEVERITIES}
        self.counts: dict[tuple[Severity, str], int] = {}

    def add(self, problem: Problem) -> None:
        """Count a problem, and keep it while there is room for its severity."""
        key = (problem.severity, problem.code)
        self.counts[key] = self.counts.get(key, 0) + 1
        kept = self._kept[problem.severity]
        if len(kept) < self._limit:
            if self._mask is not None:
                problem = replace(problem, message=self._mask(problem.message))
            kept.append(problem)

    def kept(self) -> tuple[Problem, ...]:
        """The problems that fit into the limit, errors first to be chosen, in file order, the whole file's last."""
        chosen = [problem for severity in SEVERITIES for problem in self._kept[severity]][: self._limit]
        return tuple(sorted(chosen, key=lambda problem: (problem.line is None, problem.line or 0)))
