"""Taking the inventory of an account: three lists, page by page, and no request for a single row."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ragtune import catalog
from ragtune._api import gather
from ragtune._api.errors import NO_SUCH_LIST, UnreadableReplyError
from ragtune._api.fields import identity, text, whole
from ragtune._api.times import day, moment
from ragtune.files import UploadedFile
from ragtune.job import JobDetails
from ragtune.job.whereabouts import remembering
from ragtune.migration.inventory import Holding, Inventory

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.journal import JournalArgument, Run
    from ragtune.migration.inventory import HoldingKind

__all__ = ["take_inventory"]

CHECKPOINT = ":ckpt-step-"


async def take_inventory(
    api: Api,
    *,
    journal: JournalArgument,
    archived: Collection[tuple[str, str]] | None = None,
    asked: Mapping[str, str] | None = None,
) -> Inventory:
    """List an account; see `Maintenance.inventory`.

    Args:
        api: the account.
        journal: knows what jobs were ordered for.
        archived: kind and id of what an archive holds; None where there is none.
        asked: who asks a model, by its name.
    """
    api, runs = await remembering(api, journal)
    notes: list[str] = []
    stock = _Stock(
        api=api,
        runs=runs,
        now=dt.datetime.fromtimestamp(api.port.now(), tz=dt.UTC),
        archived=archived,
        asked=asked or {},
        jobs=[JobDetails.from_wire(body) for body in await gather(api.jobs()) if text(body.get("id"))],
        models=await _listed(api.models(), "models", notes),
        files=await _listed(api.files(), "files", notes),
    )
    rows = (*stock.answering(), *stock.trainings(), *stock.stored())
    return Inventory(rows=rows, server=api.port.base_url, taken_at=stock.now, notes=tuple(notes))


async def _listed(items: AsyncGenerator[Json, None], what: str, notes: list[str]) -> list[Json] | None:
    """What a list says; None where the server has no such list."""
    import openai

    try:
        return await gather(items)
    except UnreadableReplyError as error:
        notes.append(f"the server lists no {what}: {error}")
    except openai.APIStatusError as error:
        if error.status_code not in NO_SUCH_LIST:
            raise
        notes.append(f"the server lists no {what} ({error.status_code}), so what is missing there cannot be told")
    return None


@dataclass(frozen=True, kw_only=True)
class _Stock:
    """The three lists, and what is known beside them."""

    api: Api
    runs: Mapping[str, Run]
    now: dt.datetime
    archived: Collection[tuple[str, str]] | None
    asked: Mapping[str, str]
    jobs: list[JobDetails]
    models: list[Json] | None
    files: list[Json] | None
    _ends: dict[str, dt.date] = field(default_factory=dict)
    _maker: dict[str, JobDetails] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for body in self.models or ():
            if (end := day(body.get("shutdown_date"))) is not None:
                self._ends[identity(body)] = end
        self._maker.update({job.fine_tuned_model: job for job in self.jobs if job.fine_tuned_model is not None})

    @cached_property
    def _names(self) -> set[str] | None:
        return None if self.models is None else {identity(body) for body in self.models}

    @cached_property
    def _file_ids(self) -> set[str] | None:
        return None if self.files is None else {identity(body) for body in self.files}

    def answering(self) -> list[Holding]:
        """Tuned models, then their checkpoints."""
        bodies = self.models
        if bodies is None:
            # The jobs tell then which models there were.
            bodies = [{"id": name, "created": job.raw.get("finished_at")} for name, job in self._maker.items()]
        # Not every server begins such names with `ft:`; that a job made it is a sign as well.
        tuned = [body for body in bodies if identity(body).startswith("ft:") or identity(body) in self._maker]
        rows = [self._model(identity(body), moment(body.get("created"))) for body in tuned]
        # Within both kinds the server's own order stays.
        return sorted(rows, key=lambda row: row.kind == "checkpoint")

    def _model(self, name: str, created_at: dt.datetime | None) -> Holding:
        parent, is_checkpoint, _ = name.partition(CHECKPOINT)
        job = self._maker.get(parent)
        kind: HoldingKind = "checkpoint" if is_checkpoint else "model"
        orphan = None if job is not None else "no job of this account made it"
        # Without a list of models nobody knows what is gone.
        if is_checkpoint and self.models is not None and parent not in (self._names or ()):
            orphan = "the model that it led to is gone"
        base = (job and job.model) or (catalog.base_of(name) if name.startswith("ft:") else None)
        return self._held(
            kind,
            name,
            base=base,
            created_at=created_at,
            job=None if job is None else job.id,
            orphan=orphan,
            # Weights cannot be archived anywhere: what is kept of a model is the job that made it.
            archived_as=("job", job.id) if job is not None else None,
        )

    def trainings(self) -> list[Holding]:
        """Jobs, newest first."""
        return [self._job(job) for job in self.jobs]

    def _job(self, job: JobDetails) -> Holding:
        run = self.runs.get(job.id)
        cost_usd, source = self._cost(job, run)
        lost = []
        names = self._names
        if job.fine_tuned_model is not None and names is not None and job.fine_tuned_model not in names:
            lost.append("its model is not listed")
        if self._file_ids is not None and job.training_file not in self._file_ids:
            lost.append("its training file is not listed")
        return self._held(
            "job",
            job.id,
            base=job.model,
            created_at=job.created_at,
            status=job.status,
            trained_tokens=job.trained_tokens,
            cost_usd=cost_usd,
            cost_source=source,
            job=job.id,
            asked=self.asked.get(job.fine_tuned_model or ""),
            orphan="; ".join(lost) or None,
            archived_as=("job", job.id),
        )

    def _cost(self, job: JobDetails, run: Run | None) -> tuple[float | None, str | None]:
        dialect = self.api.of_job(job.id).dialect
        if not dialect.bills:
            return 0.0, "nothing is billed there"
        if run is not None and run.billed_usd is not None:
            return run.billed_usd, "billed"
        info = catalog.load().find(job.model or "")
        price = None if info is None else info.training_usd_per_million
        if job.trained_tokens is None or price is None or not dialect.catalog_dates:
            # The catalogue's prices are OpenAI's: what another server asks is not known by them.
            return None, None
        return job.trained_tokens * price / 1e6, "trained tokens x catalogue"

    def stored(self) -> list[Holding]:
        """Files, newest first."""
        named: dict[str, str] = {}
        for job in self.jobs:
            for file_id in (job.training_file, job.validation_file, *job.result_files):
                if file_id is not None:
                    named.setdefault(file_id, job.id)
        return [self._file(UploadedFile.from_wire(body), named) for body in self.files or () if text(body.get("id"))]

    def _file(self, file: UploadedFile, named: Mapping[str, str]) -> Holding:
        # Files for other purposes are named by no job anyhow.
        trains = (file.purpose or "").startswith("fine-tune")
        return self._held(
            "file",
            file.id,
            filename=file.filename,
            purpose=file.purpose,
            bytes=whole(file.bytes),
            created_at=file.created_at,
            status=file.status,
            job=named.get(file.id),
            orphan="no job names it" if trains and file.id not in named else None,
            archived_as=("file", file.id),
        )

    def _held(
        self,
        kind: HoldingKind,
        name: str,
        *,
        archived_as: tuple[str, str] | None,
        created_at: dt.datetime | None = None,
        base: str | None = None,
        asked: str | None = None,
        **known: object,
    ) -> Holding:
        ends, source = (None, None) if kind == "file" else self._end(name, base)
        values = {
            "kind": kind,
            "id": name,
            "base": base,
            "created_at": created_at,
            "age_days": None if created_at is None else (self.now - created_at).days,
            "ends": ends,
            "ends_source": source,
            "days_left": None if ends is None else (ends - self.now.date()).days,
            "asked": asked or self.asked.get(name),
            "archived": None if self.archived is None else archived_as in self.archived,
        }
        return Holding(**values | known)  # type: ignore[arg-type]  # every key is a field of its type

    def _end(self, name: str, base: str | None) -> tuple[dt.date | None, str | None]:
        # The server's own word before the catalogue's, and of a checkpoint that on its model.
        for asked in (name, name.partition(CHECKPOINT)[0], base):
            if asked in self._ends:
                return self._ends[asked], "server"
        info = catalog.load().find(base or "")
        if info is None or info.shutdown is None or not self.api.dialect.catalog_dates:
            return None, None
        return info.shutdown, "catalogue"
