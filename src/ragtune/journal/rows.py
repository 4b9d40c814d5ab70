"""What stands in a journal, as frozen rows and tables of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from ragtune._checked import checked
from ragtune._table import Table
from ragtune.dialects import Dialect, dialect_from_text, dialect_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

__all__ = ["Run", "RunTable", "Spend", "SpendTable", "Upload", "UploadTable", "spend_of"]

State = Literal["intent", "sent", "uncertain", "created", "failed"]


@checked()
@dataclass(frozen=True, kw_only=True)
class Run:
    """One call of `FineTuneJob.create`, from the intent to what became of its job.

    Attributes:
        id: its number in the journal.
        state: `intent` (nothing was sent), `sent` (the request went out, its answer was not written down yet),
            `uncertain` (its answer was lost and no job showed up), `created`, or `failed` (no job was made).
        account: whose job it is: server address, organisation and project, or the id of an embedded backend.
        server: base URL at that time, without user, password and query.
        folder: where an embedded backend keeps that account, None for other servers.
        dialect: the server's, where it was said or the server named itself; None goes by the address.
        key: what makes two calls the same.
        model: base model.
        suffix: part of the tuned model's name that was asked for.
        fingerprint: of the dataset, None for data that was uploaded already.
        system: the dataset's constant system prompt, or None.
        predicted_tokens: tokens that training was expected to bill, None when there was nothing to count.
        predicted_usd: what it was expected to cost, None when that was unknown.
        usd_per_million: the training price per million tokens at that time, None when it was unknown.
        budget_usd: the `Budget` that it was made under, None without one.
        budget_period: of that budget.
        training_file: id of the training file, None before it was uploaded.
        validation_file: id of the validation file, or None.
        known: jobs with this key that the server had before the request.
        job_id: the job, None while there is none.
        status: the job's status when it was last written down.
        fine_tuned_model: the tuned model, None until the job succeeded.
        model_deleted_at: when a program saw that the model is there no more (UTC), or None.
        trained_tokens: tokens that the server billed, None until it says.
        error: why there is no job, or why the job failed.
        begun_at: when `create` was called (UTC).
        sent_at: when the request went out (UTC), or None.
        finished_at: when the job ended (UTC), or None.

    Example:
        ```python
        from datetime import UTC, datetime

        import ragtune as rt

        run = rt.Run(account="a", server="https://api.openai.com/v1", key="k", model="m", state="created",
                     begun_at=datetime(2026, 11, 21, tzinfo=UTC), usd_per_million=3.0, trained_tokens=2_000_000)
        print(run.billed_usd, run.cost_usd)
        #> 6.0 6.0
        elsewhere = rt.Run(account="a", server="https://llm.example.org/v1", key="k", model="m", state="created",
                           begun_at=datetime(2026, 11, 21, tzinfo=UTC), usd_per_million=3.0, trained_tokens=2_000_000)
        print(elsewhere.billed_usd, elsewhere.estimated_usd)
        #> None 6.0
        ```
    """

    id: int = 0
    state: State
    account: str
    server: str
    folder: str | None = None
    dialect: Dialect | None = field(default=None, repr=False)
    key: str
    model: str
    suffix: str | None = None
    fingerprint: str | None = None
    system: str | None = field(default=None, repr=False)
    predicted_tokens: int | None = None
    predicted_usd: float | None = None
    usd_per_million: float | None = None
    budget_usd: float | None = None
    budget_period: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    known: tuple[str, ...] = field(default=(), repr=False)
    job_id: str | None = None
    status: str | None = None
    fine_tuned_model: str | None = None
    model_deleted_at: datetime | None = None
    trained_tokens: int | None = None
    error: str | None = None
    begun_at: datetime
    sent_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def billed_usd(self) -> float | None:
        """Tokens that the server billed times its own price at the time of the call; None while one is unknown.

        The catalogue's prices are OpenAI's: what another server asks is not known by them.
        """
        # None where nobody said which, as in runs of earlier versions: then the address tells.
        spoken = self.dialect or dialect_of(self.server)
        return self._priced if spoken.catalog_dates or not spoken.bills else None

    @property
    def estimated_usd(self) -> float | None:
        """What it should cost by the catalogue: for the tokens trained, before they are known for those foreseen."""
        return self.predicted_usd if self._priced is None else self._priced

    @property
    def cost_usd(self) -> float | None:
        """What counts against a budget: the billed price, before it is known the estimated one; None if unknown."""
        return self.estimated_usd if self.billed_usd is None else self.billed_usd

    @property
    def last_status(self) -> str | None:
        """The status that a program saw last, with what became of the model since."""
        return f"{self.status}, model deleted" if self.model_deleted_at else self.status

    @property
    def place(self) -> str:
        """Where the job is, for a person: a folder of this machine, or an account."""
        return f"the account {self.account!r}" if self.folder is None else f"the folder {self.folder}"

    @property
    def _priced(self) -> float | None:
        # The price of the day on which it was bought: prices of a later catalogue would change history.
        if self.trained_tokens is None or self.usd_per_million is None:
            return None
        return self.trained_tokens * self.usd_per_million / 1e6

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Run:
        """Read a row of the journal's table."""
        values = _values(row, "begun_at", "sent_at", "finished_at", "model_deleted_at")
        known, dialect = tuple(json.loads(row["known"])), dialect_from_text(row["dialect"])
        return cls(**values | {"known": known, "dialect": dialect})


@checked()
@dataclass(frozen=True, kw_only=True)
class Upload:
    """One upload of a training or validation file.

    Attributes:
        id: its number in the journal.
        state: `sent` (begun, no answer was written down), `done`, `failed`, or `gone` (deleted from the server since).
        account: where it went.
        sha256: of its content, in hex.
        filename: the name it got.
        bytes: its size.
        file_id: the server's id, None before it is known.
        begun_at: when (UTC).
        fingerprint: of the dataset whose training file it is, None for other files.
        system: that dataset's constant system prompt, or None.
    """

    id: int
    state: str
    account: str
    sha256: str
    filename: str
    bytes: int
    file_id: str | None
    begun_at: datetime
    fingerprint: str | None = None
    system: str | None = field(default=None, repr=False)

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> Self:
        """Read a row of the journal's table."""
        return cls(**_values(row, "begun_at"))


@dataclass(frozen=True, kw_only=True)
class RunTable(Table[Run]):
    """Runs as a table, newest first.

    Example:
        ```python
        import ragtune as rt

        print(list(rt.runs().to_pandas().columns)[:4])
        #> ['Run', 'Begun At', 'State', 'Model']
        ```
    """

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Run": [run.id for run in self.rows],
            "Begun At": [run.begun_at for run in self.rows],
            "State": [run.state for run in self.rows],
            "Model": [run.model for run in self.rows],
            "Job ID": [run.job_id for run in self.rows],
            "Last Status": [run.last_status for run in self.rows],
            "Fine-Tuned Model": [run.fine_tuned_model for run in self.rows],
            "Estimated USD": [run.estimated_usd for run in self.rows],
            "Billed USD": [run.billed_usd for run in self.rows],
            "Error": [run.error for run in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class UploadTable(Table[Upload]):
    """Uploads as a table, newest first."""

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Upload": [upload.id for upload in self.rows],
            "Begun At": [upload.begun_at for upload in self.rows],
            "State": [upload.state for upload in self.rows],
            "File ID": [upload.file_id for upload in self.rows],
            "Filename": [upload.filename for upload in self.rows],
            "Bytes": [upload.bytes for upload in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What the jobs on one base model cost in one month.

    Attributes:
        month: `2026-11`, of the day on which the jobs were sent (UTC).
        model: base model.
        jobs: how many were bought, uncertain ones included.
        predicted_tokens: tokens that were expected, of the jobs for which they were counted.
        trained_tokens: tokens that the server billed so far.
        estimated_usd: sum of the estimates that are known; None when none is.
        billed_usd: sum of the bills that are known; None when none is.
        unknown: jobs with neither, so the sums are lower bounds.
    """

    month: str
    model: str
    jobs: int
    predicted_tokens: int
    trained_tokens: int
    estimated_usd: float | None
    billed_usd: float | None
    unknown: int


@dataclass(frozen=True, kw_only=True)
class SpendTable(Table[Spend]):
    """Spend per month and model, newest month first.

    Example:
        ```python
        import ragtune as rt

        print(len(rt.Journal().spend()))
        #> 0
        ```
    """

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        columns = {}
        for one in fields(Spend):
            title = one.name.replace("_", " ").title().replace("Usd", "USD")
            columns[title] = [getattr(row, one.name) for row in self.rows]
        return columns


def spend_of(runs: Iterable[Run]) -> SpendTable:
    """Add up runs that were sent, per month and model."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        # One that failed before a job was made cost nothing; a failed job is "created" and has its bill.
        if run.sent_at is not None and run.state != "failed":
            groups.setdefault((f"{run.sent_at:%Y-%m}", run.model), []).append(run)
    rows = [_spend(month, model, of) for (month, model), of in groups.items()]
    return SpendTable(rows=tuple(sorted(rows, key=lambda row: (row.month, row.model), reverse=True)))


def _spend(month: str, model: str, runs: Sequence[Run]) -> Spend:
    return Spend(
        month=month,
        model=model,
        jobs=len(runs),
        predicted_tokens=sum(run.predicted_tokens or 0 for run in runs),
        trained_tokens=sum(run.trained_tokens or 0 for run in runs),
        estimated_usd=_sum(run.estimated_usd for run in runs),
        billed_usd=_sum(run.billed_usd for run in runs),
        unknown=sum(run.cost_usd is None for run in runs),
    )


def _sum(amounts: Iterable[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def _values(row: sqlite3.Row, *times: str) -> dict[str, Any]:
    values: dict[str, Any] = dict(row)
    moments = {name: datetime.fromtimestamp(values[name], tz=UTC) for name in times if values[name] is not None}
    return values | moments
