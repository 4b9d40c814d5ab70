"""The synchronous face of maintenance: each method is one step of the asynchronous code beneath it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from ragtune._api import synchronous
from ragtune._checked import checked
from ragtune._sync import run
from ragtune.job import FineTuneJob, JobTable
from ragtune.journal import USERS
from ragtune.maintenance.core import AsyncMaintenance

if TYPE_CHECKING:
    import datetime as dt
    import os
    from collections.abc import Iterable, Mapping

    import openai

    from ragtune._api import Api
    from ragtune.dialects import Dialect
    from ragtune.feedback import FeedbackStore
    from ragtune.journal import JournalArgument
    from ragtune.maintenance.cleanup import CleanupPlan, CleanupResult
    from ragtune.maintenance.tables import Deleted, FileTable, ModelTable
    from ragtune.migration import Archive, Inventory
    from ragtune.monitor import JobEvent
    from ragtune.plan import Plan
    from ragtune.registry import Registry


@checked()
class Maintenance:
    """Lists what an account holds; cancels and deletes only when it was opened for that.

    Args:
        client: an `openai.OpenAI`.
        enabled: whether writes go through; reads and plans always do.
        dialect: name or `Dialect` of the server, as in `FineTuneJob.create`; default: of each job and model the one
            that it was made in, by the journal, else by base URL.
        journal: as in `FineTuneJob.create`; what is seen, cancelled and deleted is written there.
        registry: an `rt.Registry` or its path. With it nothing is deleted that an alias leads to, that a living model
            was trained on, or that is the last known copy of a model's data, unless `force=True`.

    Raises:
        RegistryError: a path is given for the registry, and nothing is there.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        with LocalBackend("fresh") as backend:
            maintenance = rt.Maintenance(backend.client())
            print(len(maintenance.jobs()), [model.id for model in maintenance.models() if model.tuned])
            #> 0 []
            try:
                maintenance.delete_file("file-abc")
            except rt.MaintenanceDisabled as refusal:
                print(str(refusal).partition(";")[0])
                #> DELETE /files/file-abc would change the account and was not sent
        ```
    """

    def __init__(
        self,
        client: openai.OpenAI | Api,
        *,
        enabled: bool = False,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
        registry: Registry | str | os.PathLike[str] | None = None,
    ) -> None:
        self._maintenance = AsyncMaintenance(
            synchronous(client), enabled=enabled, dialect=dialect, journal=journal, registry=registry
        )

    def jobs(self, *, limit: int | None = 20, status: str | None = None) -> JobTable[FineTuneJob]:
        """List jobs, newest first.

        Args:
            limit: how many at most, 1 or more; None for all.
            status: only those in this status.
        """
        found = run(self._maintenance.jobs(limit=limit, status=status))
        # Both faces stand on one state: nothing is read twice to turn one into the other.
        return JobTable(rows=tuple(FineTuneJob(job._state) for job in found))

    def job(self, job_id: str) -> FineTuneJob:
        """Fetch a job; its `cancel`, `pause` and `resume` are guarded too."""
        return FineTuneJob(run(self._maintenance.job(job_id))._state)

    def events(self, job_id: str, *, limit: int | None = 20) -> tuple[JobEvent, ...]:
        """Return a job's newest `limit` events (None: all), the oldest of them first."""
        return run(self._maintenance.events(job_id, limit=limit))

    def models(self) -> ModelTable:
        """List the models that this key may use; tuned ones are `.tuned` and begin with `ft:`."""
        return run(self._maintenance.models())

    def files(self) -> FileTable:
        """List the account's files."""
        return run(self._maintenance.files())

    def inventory(
        self, *, archive: Archive | str | os.PathLike[str] | None = None, asked: Mapping[str, str] | None = None
    ) -> Inventory:
        """Return every job, model, checkpoint and file in one table, with base, size, age, cost and days left.

        Three lists are read, page by page; nothing is asked for a single row. An end comes from the server where it
        tells one, else from the catalogue where its dates hold; a cost from the journal where it knows what was billed,
        else from the trained tokens and the catalogue's price.

        Args:
            archive: an `rt.Archive` or its folder: what it does not hold yet is told.
            asked: who asks a model or when it was asked last, by its name; servers do not tell that to this key.

        Raises:
            ArchiveError: the folder holds no archive.
        """
        return run(self._maintenance.inventory(archive=archive, asked=asked))

    @overload
    def cancel(self, job_id: str, *, dry_run: Literal[False] = False) -> FineTuneJob: ...
    @overload
    def cancel(self, job_id: str, *, dry_run: Literal[True]) -> Plan: ...
    def cancel(self, job_id: str, *, dry_run: bool = False) -> FineTuneJob | Plan:
        """Cancel a job and return it, or with `dry_run` the plan of it.

        Raises:
            MaintenanceDisabled: the guard is closed.
        """
        if dry_run:
            return run(self._maintenance.cancel(job_id, dry_run=True))
        return FineTuneJob(run(self._maintenance.cancel(job_id))._state)

    @overload
    def delete_model(
        self, name: str, *, checkpoints: bool = False, force: bool = False, dry_run: Literal[False] = False
    ) -> Deleted: ...
    @overload
    def delete_model(
        self, name: str, *, checkpoints: bool = False, force: bool = False, dry_run: Literal[True]
    ) -> Plan: ...
    def delete_model(
        self, name: str, *, checkpoints: bool = False, force: bool = False, dry_run: bool = False
    ) -> Deleted | Plan:
        """Delete a tuned model for good, or with `dry_run` return the plan of it.

        Args:
            name: the model.
            checkpoints: delete its checkpoints too, the listed models `NAME:ckpt-step-N`; the list is read for that,
                also for a plan.
            force: delete it although the registry says that it is needed.
            dry_run: return the plan only; why it is needed stands in its warnings.

        Raises:
            MaintenanceDisabled: the guard is closed.
            RegistryError: an alias of the registry leads to it.
            Unsupported: the server is known to delete models in another way; nothing was sent.
            openai.NotFoundError: there is no such model on this account.
        """
        if dry_run:
            return run(self._maintenance.delete_model(name, checkpoints=checkpoints, force=force, dry_run=True))
        return run(self._maintenance.delete_model(name, checkpoints=checkpoints, force=force))

    @overload
    def delete_file(self, file_id: str, *, force: bool = False, dry_run: Literal[False] = False) -> Deleted: ...
    @overload
    def delete_file(self, file_id: str, *, force: bool = False, dry_run: Literal[True]) -> Plan: ...
    def delete_file(self, file_id: str, *, force: bool = False, dry_run: bool = False) -> Deleted | Plan:
        """Delete a file for good, or with `dry_run` return the plan of it.

        Args:
            file_id: the file.
            force: delete it although the registry says that it is needed.
            dry_run: return the plan only; why it is needed stands in its warnings.

        Raises:
            MaintenanceDisabled: the guard is closed.
            RegistryError: there is a registry, and a job still reads it, a living model was trained on it, or it is
                the last known copy of what a model learned from.
            openai.NotFoundError: there is no such file on this account.
        """
        if dry_run:
            return run(self._maintenance.delete_file(file_id, force=force, dry_run=True))
        return run(self._maintenance.delete_file(file_id, force=force))

    def cleanup_plan(
        self,
        *,
        older_than: dt.timedelta | float | None = None,
        never_asked: FeedbackStore | Iterable[str] | None = None,
        orphans: bool = True,
        keep: Iterable[str] = (),
    ) -> CleanupPlan:
        """Say what may go, as one plan to look at, save and hand to `clean_up`; nothing is changed.

        Jobs, models and files are listed, nothing is asked for one by one. A model takes its checkpoints along, and
        files follow whose models are all gone or go with the plan. Only files for fine-tuning are looked at. What has
        no date counts as young.

        Args:
            older_than: models and files that are at least so old, a timedelta or days. None and no `never_asked`
                plan no models, and only orphans of files.
            never_asked: what tells who was asked: an `rt.FeedbackStore`, or names of models. Models that it does not
                hold may go (those that are old enough, where `older_than` is given).
            orphans: files that no job of the account reads or wrote and that are at least a day old.
            keep: names, ids and patterns (`ft:*:prod:*`) of what stays.

        Raises:
            SpecError: an age below zero or that is no number of days, a name that is no text, or a `never_asked` that
                is not there or names no model.
        """
        return run(
            self._maintenance.cleanup_plan(older_than=older_than, never_asked=never_asked, orphans=orphans, keep=keep)
        )

    def clean_up(self, plan: CleanupPlan, *, progress: bool | None = None) -> CleanupResult:
        """Delete what a plan says, one after the other, and return what became of each.

        The account is read once before: what was needed since the plan was made stays, what is gone already is
        passed over, so that the same call goes on where another was interrupted. What the server refuses is
        listed, and the rest goes on.

        Args:
            plan: of `cleanup_plan`, or `CleanupPlan.load(path)`.
            progress: draw a bar. True: always; False: never; None: on a terminal or in a notebook.

        Raises:
            MaintenanceDisabled: the guard is closed.
            RegistryError: the plan is of another server.
            KeyboardInterrupt: Ctrl-C; its note says how far it came.
        """
        return run(self._maintenance.clean_up(plan, progress=progress))

    def __repr__(self) -> str:
        return repr(self._maintenance).removeprefix("Async")
