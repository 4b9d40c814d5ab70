"""What a ledger tells: rows that teach a fact, what learned from them, what is known, what has to go."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Literal

from ragtune._paths import from_here
from ragtune._table import Table
from ragtune.feedback.results import count

__all__ = ["Coverage", "CoverageTable", "LedgerFact", "LedgerTable", "Removal", "TaughtRow", "Training"]

Knowledge = Literal["generalised", "memorised", "not asked in other words", "unknown"]
State = Literal["stale", "generalised", "memorised", "not asked in other words", "unknown"]


@dataclass(frozen=True, kw_only=True)
class TaughtRow:
    """A line of a dataset that teaches a fact.

    Attributes:
        fingerprint: of the dataset.
        folder: of the dataset.
        split: which of its files.
        line: number of the line, from 1.
        row: number of the source row that it was made of, None where that is not known.
    """

    fingerprint: str
    folder: str
    split: str
    line: int
    row: int | None = None


@dataclass(frozen=True, kw_only=True)
class Training:
    """What learned from a dataset, or was trained further from a model that did.

    Attributes:
        fingerprint: of the dataset that it was trained on, None where that is not known.
        job_id: the job, None where it is not known.
        model: what came of it, None where nothing did (yet).
        aliases: which aliases lead to that model.
        lives: whether nobody saw the model deleted.
    """

    fingerprint: str | None
    job_id: str | None = None
    model: str | None = None
    aliases: tuple[str, ...] = ()
    lives: bool = True


@dataclass(frozen=True, kw_only=True)
class LedgerFact:
    """What is known of one fact.

    Attributes:
        id: the fact.
        source: the document that it comes from, None where that is not known.
        rows: the lines that teach it.
        models: the models that learned one of these lines, and those that were trained further from them.
        knowledge: what the model that the ledger looks at was measured at: `generalised` (right in other words too),
            `memorised` (right in the trained words alone), `not asked in other words` (right in the trained ones, so
            nobody knows whether it generalised), `unknown`; None where it was not asked.
        stale: whether the document does not say it any more; None where the document is not at hand.
    """

    id: str
    source: str | None
    rows: tuple[TaughtRow, ...] = ()
    models: tuple[str, ...] = ()
    knowledge: Knowledge | None = None
    stale: bool | None = None

    @property
    def state(self) -> State | None:
        """`stale` where the document changed and the model may still say what it said; else what was measured."""
        # A passage that changed makes no model wrong that never learned it.
        return "stale" if self.stale and self.rows else self.knowledge


class LedgerTable(Table[LedgerFact]):
    """Facts as a table."""

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Fact": [fact.id for fact in self.rows],
            "Document": [fact.source for fact in self.rows],
            "State": [fact.state for fact in self.rows],
            "Rows": [len(fact.rows) for fact in self.rows],
            "Models": [", ".join(fact.models) or None for fact in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of a document is taught and known.

    Attributes:
        source: the document, None for facts without one.
        facts: how many facts come from it.
        taught: of these, how many stand in a training file.
        measured: of these, how many the model was asked for.
        generalised: known in other words.
        memorised: known in the trained words alone.
        not_reworded: known in the trained words, and not asked in others: unknown whether generalised.
        unknown: asked for and not known.
        stale: taught, and not in the document any more.
    """

    source: str | None
    facts: int
    taught: int
    measured: int
    generalised: int
    memorised: int
    not_reworded: int
    unknown: int
    stale: int


class CoverageTable(Table[Coverage]):
    """Documents as a table."""

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Document": [row.source for row in self.rows],
            "Facts": [row.facts for row in self.rows],
            "Taught": [row.taught for row in self.rows],
            "Measured": [row.measured for row in self.rows],
            "Generalised": [row.generalised for row in self.rows],
            "Memorised": [row.memorised for row in self.rows],
            "Not Reworded": [row.not_reworded for row in self.rows],
            "Unknown": [row.unknown for row in self.rows],
            "Stale": [row.stale for row in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What has to go with a document, with facts, or with a person: nothing is changed by it.

    Attributes:
        what: what goes.
        facts: the facts that go with it.
        rows: the lines that have to leave their datasets.
        trainings: the jobs and models that learned from these datasets' training files, and what was trained further
            from these models; their checkpoints are here where the registry knows them.
        missing: folders of datasets that the registry names and that are not there: nobody looked into them.
        by_question: folders of datasets with lines that name none of the ledger's facts: these were found by the facts'
            questions alone, and in other words they may teach them all the same.
    """

    what: str
    facts: tuple[str, ...]
    rows: tuple[TaughtRow, ...]
    trainings: tuple[Training, ...]
    missing: tuple[str, ...] = ()
    by_question: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The models that live and learned one of these lines; only another training makes them forget."""
        found = [training.model for training in self.trainings if training.model is not None and training.lives]
        return tuple(dict.fromkeys(found))

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases that lead to one of these models."""
        return tuple(dict.fromkeys(chain.from_iterable(training.aliases for training in self.trainings)))

    def __str__(self) -> str:
        counts = {"fact": self.facts, "row": self.rows, "living model": self.models}
        lines = [f"{self.what}: " + ", ".join(count(len(found), word) for word, found in counts.items())]
        places: dict[tuple[str, str], list[int]] = {}
        for row in self.rows:
            places.setdefault((row.folder, row.split), []).append(row.line)
        lines += [
            f"  {from_here(folder)} {split}: lines {_told(numbers)}" for (folder, split), numbers in places.items()
        ]
        for training in self.trainings:
            led = f", to which {' and '.join(training.aliases)} leads" if training.aliases else ""
            gone = "" if training.lives else " (deleted)"
            lines.append(f"  {training.job_id or 'a job'} made {training.model or 'no model'}{gone}{led}")
        if any(training.model for training in self.trainings):
            lines.append("  not looked at: checkpoints of these models that are not in the registry")
        by = "lines without a known fact_id were found by the facts' questions alone, in other words they may be missed"
        lines += [f"  {by}: {from_here(folder)}" for folder in self.by_question]
        lines += [f"  not looked into, for it is not there: {folder}" for folder in self.missing]
        return "\n".join(lines)


def _told(numbers: list[int], *, most: int = 10) -> str:
    shown = ", ".join(map(str, numbers[:most]))
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"
