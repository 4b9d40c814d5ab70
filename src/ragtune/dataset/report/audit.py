"""What is wrong with the facts themselves: questions asked twice, answered in two ways, or by a wrong choice."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class FactCounts:
    """Counts of one reading of the rows: exact strings, or normalised ones.

    Attributes:
        repeated_questions: distinct questions that stand in more than one row.
        surplus_rows: rows beyond the first of each such question.
        contradictions: questions with more than one distinct answer.
        duplicates: rows beyond the first with the same question, answer and context.
        answers_among_distractors: rows whose answer is also one of their wrong choices.

    Example:
        ```python
        import ragtune as rt

        rows = [{"q": "Is it?", "a": "yes"}, {"q": "Is it?", "a": "no"}, {"q": "is  it", "a": "No!"}]
        audit = rt.DatasetBuilder.from_rows(rows).audit(question="q", answer="a")
        print(audit.exact.repeated_questions, audit.normalised.surplus_rows, audit.normalised.duplicates)
        #> 1 2 1
        ```
    """

    repeated_questions: int
    surplus_rows: int
    contradictions: int
    duplicates: int
    answers_among_distractors: int


@dataclass(frozen=True, kw_only=True)
class FactAudit:
    """The facts of a source, counted as exact strings and normalised (see `ragtune.dataset.normalise`).

    Attributes:
        rows: how many rows were read.
        exact: counts with strings as they are.
        normalised: counts with casefolded words only.
        contradicting_rows: source rows (counted from 0) of the first contradictions, one tuple per question.
        distractor_rows: the first source rows whose answer equals a wrong choice, exactly.

    Example:
        ```python
        import ragtune as rt

        rows = [{"q": "Is it?", "a": "yes"}, {"q": "Is it?", "a": "no"}]
        print(rt.DatasetBuilder.from_rows(rows).audit(question="q", answer="a").contradicting_rows)
        #> ((0, 1),)
        ```
    """

    rows: int
    exact: FactCounts
    normalised: FactCounts
    contradicting_rows: tuple[tuple[int, ...], ...]
    distractor_rows: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """The audit as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows{'':24}exact  normalised"]
        for key, number in asdict(self.exact).items():
            lines.append(f"  {key.replace('_', ' '):<28}{number:>8,}{asdict(self.normalised)[key]:>12,}")
        return "\n".join(lines)


class _Counter:
    """Counts facts under one way of reading a text."""

    def __init__(self, read: Callable[[str], str]) -> None:
        self._read = read
        self.by_question: dict[int, list[int]] = defaultdict(list)
        self._answers: dict[int, set[int]] = defaultdict(set)
        self._triples: set[int] = set()
        self.duplicates = 0
        self.distractor_rows: list[int] = []

    def add(self, row: int, question: str, answer: str, context: str, distractors: Iterable[str]) -> None:
        question, answer, context = map(self._read, (question, answer, context))
        # Python's own hash is equal for equal texts within one process, and that is all that is asked of it here.
        key, triple = hash(question), hash((question, answer, context))
        self.by_question[key].append(row)
        self._answers[key].add(hash(answer))
        self.duplicates += triple in self._triples
        self._triples.add(triple)
        if any(answer == self._read(item) for item in distractors):
            self.distractor_rows.append(row)

    def contradictions(self) -> list[tuple[int, ...]]:
        return [tuple(self.by_question[key]) for key, answers in self._answers.items() if len(answers) > 1]

    def counts(self) -> FactCounts:
        repeated = [rows for rows in self.by_question.values() if len(rows) > 1]
        return FactCounts(
            repeated_questions=len(repeated),
            surplus_rows=sum(len(rows) - 1 for rows in repeated),
            contradictions=len(self.contradictions()),
            duplicates=self.duplicates,
            answers_among_distractors=len(self.distractor_rows),
        )


def audit_rows(
    rows: Iterable[tuple[int, Mapping[str, object]]],
    *,
    question: str,
    answer: str,
    context: str | None,
    distractors: tuple[str, ...],
) -> FactAudit:
    """Read rows, each with its number in the source, once and count; holds hashes, no texts."""
    exact, normalised = _Counter(str), _Counter(normalise)
    count = 0
    for number, row in rows:
        count += 1
        texts = (_text(row[question]), _text(row[answer]), _text(row[context]) if context else "")
        # An empty cell is no wrong choice: beside a row without an answer it would be the answer.
        wrong = [str(row[name]) for name in distractors if row[name] is not None]
        exact.add(number, *texts, wrong)
        normalised.add(number, *texts, wrong)
    return FactAudit(
        rows=count,
        exact=exact.counts(),
        normalised=normalised.counts(),
        contradicting_rows=tuple(exact.contradictions()[:_SHOWN]),
        distractor_rows=tuple(exact.distractor_rows[:_SHOWN]),
    )


def _text(value: object) -> str:
    # As `deduplicate` reads an empty cell: the word "None" is an answer that somebody may give.
    return "" if value is None else str(value)
