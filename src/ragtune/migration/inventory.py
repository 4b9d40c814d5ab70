"""What an account holds and how long it will: jobs, models, checkpoints and files in one table."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ragtune._atomic import write_whole
from ragtune._html import Markup, markup, page, table, wide
from ragtune._table import Table

if TYPE_CHECKING:
    import datetime as dt
    import os

__all__ = ["Holding", "Inventory"]

HoldingKind = Literal["job", "model", "checkpoint", "file"]
# What each kind is called in a sentence.
_PLURALS: dict[str, str] = {"job": "jobs", "model": "tuned models", "checkpoint": "checkpoints", "file": "files"}


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One thing on an account; what nobody knows is None.

    Attributes:
        kind: `job`, `model`, `checkpoint` or `file`.
        id: the server's name for it.
        base: base model beneath it.
        status: of a job or a file, in OpenAI's words.
        filename: of a file.
        purpose: what a file is for.
        bytes: size of a file.
        created_at: when it was made (UTC).
        age_days: whole days since then.
        trained_tokens: of a job, over all epochs.
        cost_usd: what the training cost.
        cost_source: what that figure is: `billed` (the server's tokens at the price of the day it was ordered, from the
            journal) or `trained tokens x catalogue`.
        ends: day on which it stops answering.
        days_left: whole days until then; below zero when that is past.
        ends_source: who says so: `server` or `catalogue`.
        job: the job that made it.
        asked: who asks it, or when it was asked last, as the caller said.
        orphan: why nothing else on the account needs it or leads to it.
        archived: whether the archive that was named holds it; None where none was named.

    Example:
        ```python
        from ragtune.migration import Holding

        print(Holding(kind="file", id="file-1", bytes=1200, orphan="no job names it").orphan)
        #> no job names it
        ```
    """

    kind: Literal["job", "model", "checkpoint", "file"]
    id: str
    base: str | None = None
    status: str | None = None
    filename: str | None = None
    purpose: str | None = None
    bytes: int | None = None
    created_at: dt.datetime | None = None
    age_days: int | None = None
    trained_tokens: int | None = None
    cost_usd: float | None = None
    cost_source: str | None = None
    ends: dt.date | None = None
    days_left: int | None = None
    ends_source: str | None = None
    job: str | None = None
    asked: str | None = None
    orphan: str | None = None
    archived: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Inventory(Table[Holding]):
    """Everything on an account, models first; see `Maintenance.inventory`.

    Attributes:
        rows: what there is: models, checkpoints, jobs, files.
        server: whose account it is, without anything secret.
        taken_at: when it was taken (UTC).
        notes: what could not be listed, and what the figures leave out.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        with LocalBackend("fresh") as backend:
            inventory = rt.Maintenance(backend.client()).inventory()
            print(len(inventory), inventory.cost_usd)
            #> 0 None
        ```
    """

    server: str
    taken_at: dt.datetime
    notes: tuple[str, ...] = field(default=())

    def of(self, kind: HoldingKind) -> tuple[Holding, ...]:
        """Return what there is of one kind."""
        return tuple(row for row in self.rows if row.kind == kind)

    @property
    def orphans(self) -> tuple[Holding, ...]:
        """Return what nothing else on the account leads to."""
        return tuple(row for row in self.rows if row.orphan)

    @property
    def unarchived(self) -> tuple[Holding, ...]:
        """Return what the archive that was named does not hold yet."""
        return tuple(row for row in self.rows if row.archived is False)

    @property
    def cost_usd(self) -> float | None:
        """What all trainings cost whose price is known; None where none is."""
        known = [row.cost_usd for row in self.of("job") if row.cost_usd is not None]
        return sum(known) if known else None

    @property
    def sentence(self) -> str:
        """The account in words, which claim nothing that is unknown."""
        return " ".join([f"{self._counted} on {self.server}.", *self._endings, *self._costs, *self._rest])

    @property
    def _counted(self) -> str:
        counts = [f"{len(self.of(kind)):,} {_PLURALS[kind]}" for kind in ("model", "checkpoint", "job", "file")]
        size = sum(row.bytes or 0 for row in self.of("file"))
        # Told beside the sum, which else would look like all there is.
        unsized = sum(row.bytes is None for row in self.of("file"))
        more = f", {unsized} of unknown size" if unsized else ""
        return f"{', '.join(counts[:-1])} and {counts[-1]} ({size / 1e6:,.1f} MB{more})"

    @property
    def _endings(self) -> list[str]:
        answering = [row for row in self.rows if row.kind in ("model", "checkpoint")]
        by_day = Counter((row.ends, row.days_left) for row in answering if row.ends is not None)
        told = [f"{count:,} of them end on {ends}, {_in_days(left)}." for (ends, left), count in sorted(by_day.items())]
        unknown = sum(row.ends is None for row in answering)
        return told + ([f"When {unknown:,} of them end is not known."] if unknown else [])

    @property
    def _costs(self) -> list[str]:
        jobs = self.of("job")
        by_source: dict[str, float] = {}
        for row in jobs:
            if row.cost_usd is not None and row.cost_source is not None:
                by_source[row.cost_source] = by_source.get(row.cost_source, 0.0) + row.cost_usd
        parts = [f"${usd:,.2f} ({source})" for source, usd in by_source.items()]
        unknown = sum(row.cost_usd is None for row in jobs)
        told = [f"Training cost {' and '.join(parts)}."] if parts else []
        return told + ([f"What {unknown:,} jobs cost is not known."] if unknown else [])

    @property
    def _rest(self) -> list[str]:
        told = [f"{len(self.orphans):,} are orphans."] if self.orphans else []
        if any(row.archived is not None for row in self.rows):
            told.append(f"{len(self.unarchived):,} are not in the archive.")
        return told

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Kind": [row.kind for row in self.rows],
            "ID": [row.id for row in self.rows],
            "Base": [row.base for row in self.rows],
            "Status": [row.status for row in self.rows],
            "Bytes": [row.bytes for row in self.rows],
            "Created At": [row.created_at for row in self.rows],
            "Age Days": [row.age_days for row in self.rows],
            "Trained Tokens": [row.trained_tokens for row in self.rows],
            "Cost USD": [row.cost_usd for row in self.rows],
            "Cost Source": [row.cost_source for row in self.rows],
            "Ends": [row.ends for row in self.rows],
            "Days Left": [row.days_left for row in self.rows],
            "Asked": [row.asked for row in self.rows],
            "Orphan": [row.orphan for row in self.rows],
            "Archived": [row.archived for row in self.rows],
        }

    def to_json(self) -> str:
        """Return everything as JSON; days and times are ISO texts, what is unknown is null."""
        said = {
            "server": self.server,
            "taken_at": self.taken_at.isoformat(),
            "sentence": self.sentence,
            "cost_usd": self.cost_usd,
            "notes": self.notes,
            "rows": [asdict(row) for row in self.rows],
        }
        return json.dumps(said, ensure_ascii=False, indent=1, default=str)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained page and return its path: no script, no network. Missing folders are made."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shown = Markup(self._repr_html_())
        notes = "".join(f"<p><small>{markup(note)}</small></p>" for note in self.notes)
        body = f"<p><strong>{markup(self.sentence)}</strong></p>{notes}{_calendar(self)}<h2>All of it</h2>{wide(shown)}"
        write_whole(target, page("Inventory", body))
        return target


def _calendar(inventory: Inventory) -> str:
    """What goes dark when, with what is not archived of it."""
    days: dict[dt.date, list[Holding]] = {}
    for row in inventory.rows:
        if row.ends is not None and row.kind in ("model", "checkpoint"):
            days.setdefault(row.ends, []).append(row)
    rows: list[tuple[object, ...]] = []
    for day, held in sorted(days.items()):
        kinds = Counter(row.kind for row in held)
        missing = "" if held[0].archived is None else sum(not row.archived for row in held)
        rows.append((str(day), held[0].days_left, kinds["model"], kinds["checkpoint"], missing))
    head = ("ends", "days left", "models", "checkpoints", "not archived")
    return f"<h2>What ends when</h2>{wide(table(rows, head))}" if rows else ""


def _in_days(left: int | None) -> str:
    if left is None or left > 0:
        return f"in {left} days"
    return "today" if left == 0 else f"{-left} days ago"
