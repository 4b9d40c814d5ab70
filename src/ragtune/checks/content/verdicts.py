"""What can be said about the labels of a whole file of single verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.checks.file_rules import file_problem
from ragtune.modelling.balance import advised_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.checks.problems import Problem


@dataclass
class Verdicts:
    """Counts the good and the bad answers of a file."""

    good: int = 0
    bad: int = 0

    def add(self, label: bool) -> None:
        """Count one answer."""
        if label:
            self.good += 1
        else:
            self.bad += 1

    def problems(self) -> Iterator[Problem]:
        """One label alone, or weights that should not be equal."""
        if not self.good and not self.bad:
            return
        if not self.good or not self.bad:
            kind, other = ("good", "bad") if self.good else ("bad", "good")
            text = f"all {self.good + self.bad:,} answers are labelled {kind}: nothing says what a {other} one is"
            hint = (
                "add answers with label false; good answers alone are learned better as chat records"
                if self.good
                else "add answers with label true: told only what not to say, a model may say anything else"
            )
            yield file_problem("one-label", text, hint, severity="warning")
        elif (advice := advised_weights(self.good, self.bad)) is not None:
            text = f"{self.good:,} good and {self.bad:,} bad answers: with equal weights one kind outweighs the other"
            yield file_problem("unbalanced-labels", text, f"train with rt.KTO({advice})", severity="warning")
