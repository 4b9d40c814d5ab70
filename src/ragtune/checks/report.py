"""What a check found: problems with their place and way out, counts, and how they print."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune._html import page
from ragtune._paths import from_here
from ragtune.checks.html import problem_table
from ragtune.checks.problems import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ragtune.checks.problems import Problem, Severity
    from ragtune.records import RecordFormat

# A file of the wrong kind breaks one rule on every line; ten of them tell as much as a thousand.
_LISTED_PER_CODE = 10
# In a notebook.
_SHOWN = 100


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
        fixed: the repaired copy, or None.
        left_out: steps of the repair that would have made a new problem, so the copy is without them.

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
    left_out: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no error was found; warnings and suggestions do not count."""
        # By the counts: of many problems the list keeps only the first.
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
        return f"{from_here(self.path)}: {', '.join(parts)}: {', '.join(found) or 'no problems'}"

    def __str__(self) -> str:
        lines = []
        name = from_here(self.path)
        listed: Counter[str] = Counter()
        most = _LISTED_PER_CODE if self.stats.format else 1
        for problem in self.problems:
            listed[problem.code] += 1
            if listed[problem.code] > most:
                continue
            place = f"{name}:{problem.line}:" if problem.line is not None else f"{name}:"
            path = f" {problem.path}:" if problem.path else ""
            lines.append(f"{place} {problem.severity} [{problem.code}]{path} {problem.message}\n    {problem.hint}")
        for (severity, code), number in sorted(self.counts.items()):
            hidden = number - min(listed[code], most)
            if hidden:
                lines.append(f"{name}: {_number(hidden, f'more {severity}')} [{code}] counted, not listed")
        if self.fixed is not None:
            lines.append(f"{name}: a repaired copy was written to {self.fixed}")
        if self.left_out:
            lines.append(f"{name}: left out of the repair, as new problems would follow: {', '.join(self.left_out)}")
        return "\n".join([*lines, self.summary()])

    def to_html(self) -> str:
        """The report as one page without scripts."""
        return page(f"Check of {self.path.name}", self._table(len(self.problems)))

    def _repr_html_(self) -> str:
        return self._table(_SHOWN)

    def _table(self, limit: int) -> str:
        shown = self.problems[:limit]
        return problem_table(self.summary(), shown, hidden=sum(self.counts.values()) - len(shown))

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
            "left_out": list(self.left_out),
        }


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
