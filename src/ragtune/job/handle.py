"""The synchronous face of a job: each method drives one step of the asynchronous code to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from ragtune._api import synchronous
from ragtune._checked import checked
from ragtune._sync import run
from ragtune._warn import deprecated
from ragtune.job import submit
from ragtune.job.dry_run import planned
from ragtune.job.preparation.preflight import WARN_DAYS
from ragtune.job.preparation.prepare import CreateOptions
from ragtune.job.state import JobState, fetch, fetch_saved, newest
from ragtune.job.table import JobTable
from ragtune.journal import USERS

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import openai

    from ragtune._api import Api
    from ragtune.dataset import Dataset, Split
    from ragtune.dialects import Dialect
    from ragtune.files import UploadedFile
    from ragtune.job.details import Checkpoint, JobDetails
    from ragtune.journal import Budget, Journal, JournalArgument
    from ragtune.plan import Plan
    from ragtune.spec import TuneSpec


@checked("client", "dataset", "spec", "key", "max_cost_usd")
class FineTuneJob:
    """A handle on one fine-tuning job.

    It holds what the server said when it was last looked at; `refresh` looks again. Make one with `create`, `get`,
    `load` or `list_jobs`.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        rows = [{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("sums", overwrite=True)
        spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=1), seed=7, suffix="sums")
        with LocalBackend("runs") as backend:
            job = rt.FineTuneJob.create(backend.client(), dataset, spec, max_cost_usd=1.0)
            print(job.details.model, job.details.n_epochs)
            #> tiny-random 1
            print(rt.FineTuneJob.create(backend.client(), dataset, spec).id == job.id)
            #> True
        ```
    """

    def __init__(self, state: JobState) -> None:
        self._state = state

    @property
    def id(self) -> str:
        """The server's name for the job, `ftjob-...`."""
        return self._state.id

    @property
    def status(self) -> str:
        """The status when the job was last looked at, in the server's words."""
        return self._state.details.status

    @property
    def details(self) -> JobDetails:
        """The job as it was when it was last looked at, typed."""
        return self._state.details

    @property
    def key(self) -> str | None:
        """What makes two orders the same, as `create` was given or made it; None for a job made without ragtune."""
        return self._state.key

    @property
    def reused(self) -> bool:
        """Whether `create` found this job instead of making one."""
        return self._state.reused

    @classmethod
    def plan(
        cls,
        client: openai.OpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        probe: bool = False,
        validation: UploadedFile | Split | str | os.PathLike[str] | None = None,
        key: str | None = None,
        new: bool = False,
        max_cost_usd: float | None = None,
        allow_unknown_cost: bool = False,
        force: bool = False,
        warn_days: int = WARN_DAYS,
        dialect: Dialect | str | None = None,
        budget: Budget | None = None,
        journal: JournalArgument = USERS,
    ) -> Plan:
        """Return what `create` would do: calls, cost and warnings; nothing is written and nothing is sent.

        Args:
            client: as in `create`.
            dataset: as in `create`.
            spec: as in `create`.
            probe: really make the reads, so that the plan knows what is on the account.
            validation: as in `create`.
            key: as in `create`.
            new: as in `create`.
            max_cost_usd: as in `create`.
            allow_unknown_cost: as in `create`.
            force: as in `create`.
            warn_days: as in `create`.
            dialect: as in `create`.
            budget: as in `create`.
            journal: as in `create`; it is only read.

        Raises:
            RagtuneError: what `create` would refuse before sending anything.
        """
        options = CreateOptions(
            validation=validation,
            key=key,
            new=new,
            max_cost_usd=max_cost_usd,
            allow_unknown_cost=allow_unknown_cost,
            force=force,
            warn_days=warn_days,
            dialect=dialect,
            budget=budget,
            journal=journal,
        )
        return run(planned(synchronous(client), dataset, spec, options, probe=probe))

    @overload
    @classmethod
    def create(
        cls,
        client: openai.OpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        dry_run: Literal[False] = False,
        validation: UploadedFile | Split | str | os.PathLike[str] | None = None,
        key: str | None = None,
        new: bool = False,
        max_cost_usd: float | None = None,
        allow_unknown_cost: bool = False,
        force: bool = False,
        warn_days: int = WARN_DAYS,
        dialect: Dialect | str | None = None,
        budget: Budget | None = None,
        journal: JournalArgument = USERS,
    ) -> FineTuneJob: ...
    @overload
    @classmethod
    def create(
        cls,
        client: openai.OpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        dry_run: Literal[True],
        validation: UploadedFile | Split | str | os.PathLike[str] | None = None,
        key: str | None = None,
        new: bool = False,
        max_cost_usd: float | None = None,
        allow_unknown_cost: bool = False,
        force: bool = False,
        warn_days: int = WARN_DAYS,
        dialect: Dialect | str | None = None,
        budget: Budget | None = None,
        journal: JournalArgument = USERS,
    ) -> Plan: ...
    @classmethod
    def create(
        cls,
        client: openai.OpenAI | Api,
        dataset: Dataset | UploadedFile | str,
        spec: TuneSpec,
        *,
        dry_run: bool = False,
        validation: UploadedFile | Split | str | os.PathLike[str] | None = None,
        key: str | None = None,
        new: bool = False,
        max_cost_usd: float | None = None,
        allow_unknown_cost: bool = False,
        force: bool = False,
        warn_days: int = WARN_DAYS,
        dialect: Dialect | str | None = None,
        budget: Budget | None = None,
        journal: JournalArgument = USERS,
    ) -> FineTuneJob | Plan:
        """Upload the data and create the job, exactly once.

        A live or succeeded job with the same key is handed back (`reused`); a failed or cancelled one never. The
        request that buys is sent once; when its answer is lost the account is searched instead.

        Args:
            client: an `openai.OpenAI`.
            dataset: a `Dataset`, an `UploadedFile`, or the id of an uploaded file.
            spec: model, method, hyperparameters.
            dry_run: return the `Plan` instead.
            validation: an uploaded file or its id, a split or a path; a dataset brings its own.
            key: what "the same job" means; default: data and spec.
            new: make another although one exists.
            max_cost_usd: refuse above this estimate, in US dollars.
            allow_unknown_cost: go on where there is no estimate.
            force: past the dates of catalogue and server, and the catalogue's methods.
            warn_days: warn about a base that ends in so many days.
            dialect: name or `Dialect` of the server; default: by base URL.
            budget: a limit for all jobs of a period.
            journal: a `Journal`, the path of one, or None for none; default: the user's. Without a journal a killed
                process forgets that it bought, and two processes may both buy.

        Raises:
            SpecError: the spec does not fit the data or the model.
            DatasetError: the data breaks a rule, or the server refused the file.
            BudgetExceeded: the estimate is above `max_cost_usd` or what is left of `budget`, or unknown.
            Unsupported: the server is known not to do this.
            ModelExpired: the base was shut down.
            TuningClosed: the account may not create jobs.
            CreateUncertain: the answer was lost, now or in an earlier call, and no job showed up.
            JournalError: the journal cannot be used; nothing was bought.
        """
        options = CreateOptions(
            validation=validation,
            key=key,
            new=new,
            max_cost_usd=max_cost_usd,
            allow_unknown_cost=allow_unknown_cost,
            force=force,
            warn_days=warn_days,
            dialect=dialect,
            budget=budget,
            journal=journal,
        )
        api = synchronous(client)
        if dry_run:
            return run(planned(api, dataset, spec, options))
        return cls(run(submit.create(api, dataset, spec, options)))

    @classmethod
    def get(
        cls,
        client: openai.OpenAI | Api,
        job_id: str,
        *,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> FineTuneJob:
        """Fetch a job by its id; where the journal has it, how it stands is written there.

        Args:
            client: an `openai.OpenAI`.
            job_id: the server's name for the job.
            dialect: as in `create`; default: the one that it was made in, by the journal, else by base URL.
            journal: as in `create`.
        """
        return cls(run(fetch(synchronous(client).speaking(dialect), job_id, journal=journal)))

    @classmethod
    def attach(
        cls,
        client: openai.OpenAI | Api,
        run_id: int,
        *,
        job_id: str | None = None,
        dialect: Dialect | str | None = None,
        journal: Journal | str | os.PathLike[str] = USERS,
    ) -> FineTuneJob:
        """Return the job of a run in the journal; of one whose answer was lost, find out which it is.

        Args:
            client: a client for the account that the run belongs to.
            run_id: the run's number, as `rt.runs()` lists it.
            job_id: the job that it made, where only you can tell.
            dialect: as in `create`; default: the one that the run was made in.
            journal: the journal or its path; default: the user's.

        Raises:
            CreateUncertain: no job showed up yet, or several may be the one.
            JournalError: the run made no job, belongs to another account, or is not in the journal.
        """
        return cls(run(submit.attach(synchronous(client).speaking(dialect), run_id, journal=journal, job_id=job_id)))

    @classmethod
    def list(
        cls,
        client: openai.OpenAI | Api,
        *,
        limit: int | None = 20,
        status: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> JobTable[FineTuneJob]:
        """List the account's jobs; the old name of `list_jobs`."""
        deprecated("FineTuneJob.list", "ragtune.list_jobs")
        return list_jobs(client, limit=limit, status=status, metadata=metadata)

    def refresh(self) -> FineTuneJob:
        """Look at the job again; returns itself."""
        run(self._state.refresh())
        return self

    def cancel(self) -> FineTuneJob:
        """End the job; what it trained so far may be billed."""
        run(self._state.steer("cancel"))
        return self

    def pause(self) -> FineTuneJob:
        """Pause the job, where the server can."""
        run(self._state.steer("pause"))
        return self

    def resume(self) -> FineTuneJob:
        """Let a paused job go on."""
        run(self._state.steer("resume"))
        return self

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the models along the way, newest first; each can be asked like the finished one."""
        return run(self._state.checkpoints())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a small JSON file that `load` reads, in this program or another; it holds no key and no address."""
        return run(self._state.save(path))

    @classmethod
    def load(
        cls,
        client: openai.OpenAI | Api,
        path: str | os.PathLike[str],
        *,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> FineTuneJob:
        """Fetch the job that was saved in `path`.

        Args:
            client: an `openai.OpenAI`.
            path: the file.
            dialect: as in `create`; default: the one that was saved with the job.
            journal: as in `create`; default: the one that was saved with the job.

        Raises:
            RagtuneError: the file is missing or is no saved job.
        """
        return cls(run(fetch_saved(synchronous(client), path, dialect=dialect, journal=journal)))

    def __repr__(self) -> str:
        return self._state.described(type(self).__name__)


@checked()
def list_jobs(
    client: openai.OpenAI | Api,
    *,
    limit: int | None = 20,
    status: str | None = None,
    metadata: dict[str, str] | None = None,
    dialect: Dialect | str | None = None,
    journal: JournalArgument = USERS,
) -> JobTable[FineTuneJob]:
    """List the account's jobs, newest first.

    Args:
        client: an `openai.OpenAI`.
        limit: how many at most, 1 or more; None for all.
        status: only those in this status, for example `failed`.
        metadata: only those that carry these pairs.
        dialect: as in `FineTuneJob.create`; default: job by job what the journal knows, else by base URL.
        journal: as in `FineTuneJob.create`; how its jobs stand is written there.

    Raises:
        SpecError: the limit is no such number.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        with LocalBackend("fresh") as backend:
            print(len(rt.list_jobs(backend.client(), status="failed")))
            #> 0
        ```
    """
    api = synchronous(client).speaking(dialect)
    found = run(newest(api, limit=limit, status=status, metadata=metadata, journal=journal))
    return JobTable(rows=tuple(map(FineTuneJob, found)))
