"""The synchronous face of a monitor: each method is one step of the asynchronous code beneath it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragtune._checked import checked
from ragtune._sync import iterate, run
from ragtune.errors import JobFailed
from ragtune.evaluation import evaluate
from ragtune.job import AsyncFineTuneJob, list_jobs
from ragtune.job.state import state_of
from ragtune.journal import USERS
from ragtune.model import TunedModel
from ragtune.monitor.best import BestCheckpoint, asked, best_of, candidates, kind_to_ask
from ragtune.monitor.core import AsyncJobMonitor
from ragtune.monitor.many import follow_many

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime

    import openai

    from ragtune._api import Api
    from ragtune.dialects import Dialect
    from ragtune.evaluation.scorers import ScorerArgument
    from ragtune.facts import FactSet, Kind
    from ragtune.job import FineTuneJob, JobTable
    from ragtune.journal import JournalArgument
    from ragtune.monitor.events import JobEvent
    from ragtune.monitor.metrics import Metrics


@checked("job", "scorers", "kind")
class JobMonitor:
    """Watches one job.

    Args:
        job: the job.
        poll_s: longest pause between two looks, in seconds; while something happens it looks twice a second. A server
            that asks for another pause (`openai-poll-after-ms`, `Retry-After`) gets it.
        patience_s: how long to go on, in seconds, while the server is in trouble or out of reach.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        rows = [{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("sums", overwrite=True)
        spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=2, batch_size=4), seed=7)
        with LocalBackend("runs") as backend:
            monitor = rt.JobMonitor(rt.FineTuneJob.create(backend.client(), dataset, spec))
            model = monitor.wait(timeout_s=300)
            print(model.base, len(monitor.metrics()))
            #> tiny-random 6
        ```
    """

    def __init__(self, job: FineTuneJob, *, poll_s: float = 20.0, patience_s: float = 300.0) -> None:
        self._job = job
        self._monitor = AsyncJobMonitor(
            AsyncFineTuneJob(state_of(job, "JobMonitor")), poll_s=poll_s, patience_s=patience_s
        )

    @property
    def job(self) -> FineTuneJob:
        """The job that is watched."""
        return self._job

    @property
    def eta(self) -> datetime | None:
        """When the job ends (UTC) at the pace of its steps so far, else as the server estimates it; None is unknown.

        It follows the events that `events` or `wait` read.
        """
        return self._monitor.eta

    def events(self, *, after: str | Collection[str] | None = None) -> Iterator[JobEvent]:
        """Iterate the events: oldest first, each once, until the job has ended.

        Trouble of the server or the line is outlasted, for `patience_s`; after a restart of the program `after` goes on
        where it stopped.

        Args:
            after: id of the last event that you have already, to go on behind it; or the ids of all that you have,
                which holds even where a server gives events of one second in an order that changes.
        """
        return iterate(self._monitor.events(after=after))

    def wait(
        self,
        timeout_s: float | None = None,
        *,
        progress: bool | None = None,
        on_event: Callable[[JobEvent], object] | None = None,
        on_end: Callable[[FineTuneJob], object] | None = None,
    ) -> TunedModel:
        """Wait until the job ends and return its model, once the server answers to the model's name.

        Args:
            timeout_s: seconds to wait at most; None waits for as long as it takes.
            progress: draw a bar with loss and time to go. True: always; False: never; None: on a terminal or in a
                notebook.
            on_event: called with each event.
            on_end: called with the job when it has ended, however it did.

        Raises:
            JobFailed: the server ended the job; holds code, param, line and job, and for a job from `create` the local
                file and the beginning of what stands on that line.
            JobCancelled: somebody cancelled it.
            WaitTimeout: the time is over; the job runs on, and the message says how to come back.
            ModelNotReady: the job succeeded and its server names no model, or does not answer to its name in five
                minutes.
            NoTunedModel: the job had succeeded before, and its model was deleted since.
            KeyboardInterrupt: Ctrl-C ends the waiting only; the message says how to come back. An embedded backend
                whose block it leaves stops as well; a note says that the job goes on with the next start.
        """
        end = on_end
        try:
            return TunedModel._around(
                run(
                    self._monitor.wait(
                        timeout_s,
                        progress=progress,
                        on_event=on_event,
                        on_end=None if end is None else lambda _: end(self._job),
                    )
                )
            )
        except JobFailed as error:
            # The caller's own: the code beneath knows the asynchronous one alone.
            error.job = self._job
            raise

    def metrics(self) -> Metrics:
        """Return the steps measured so far, from the job's events and, once it has ended, its result file."""
        return run(self._monitor.metrics())

    def best_checkpoint(
        self,
        facts: FactSet,
        scorers: ScorerArgument = ("contains",),
        *,
        kind: Kind | None = None,
        log: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> BestCheckpoint:
        """Ask the job's checkpoints held-out questions, and return the one that answers best.

        The finished model is the last checkpoint; of a job that ended early it is asked beside them. Of equals the
        earliest is the best.

        Args:
            facts: what is asked for; wordings that were not trained on say most.
            scorers: as in `rt.evaluate`; the first decides.
            kind: kind of wording to ask; None takes the first of reworded, verbatim and reversed that the facts have.
            log: as in `rt.evaluate`.
            options: further keywords of `rt.evaluate`, for example `max_cost_usd` or `concurrency`.

        Raises:
            NoTunedModel: there is no checkpoint that can be asked.
            EvaluationError: as in `rt.evaluate`, or the facts have no wording of that kind.
            BudgetExceeded: the money is spent.
        """
        chosen = kind_to_ask(facts, kind)
        state = state_of(self._job, "JobMonitor")
        run(state.refresh())
        models = run(candidates(state))
        answerers = {arm: TunedModel._around(run(asked(state, name))) for arm, (name, _) in models.items()}
        card = evaluate(answerers, facts, scorers, kinds=[chosen], log=log, probe=False, **options)
        return best_of(card, models, chosen)

    @classmethod
    def table(
        cls,
        client: openai.OpenAI | Api,
        *,
        limit: int | None = 20,
        status: str | None = None,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> JobTable[FineTuneJob]:
        """List the account's jobs, newest first, as a table with `.to_pandas()`; the same as `list_jobs`."""
        return list_jobs(client, limit=limit, status=status, dialect=dialect, journal=journal)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._job!r})"


@checked()
def watch_many(
    jobs: Iterable[FineTuneJob], *, timeout_s: float | None = None, poll_s: float = 20.0, patience_s: float = 300.0
) -> Iterator[FineTuneJob]:
    """Watch many jobs with one poller: hands a job out whenever its status has changed, until all have ended.

    It reads the account's list of jobs, a hundred at a time, and asks for single ones only where that takes fewer
    requests. Each job is handed out at least once, and for the last time when it has ended.

    Args:
        jobs: handles, as `create`, `get` and `list_jobs` give them; they are brought up to date in place.
        timeout_s: seconds to watch at most; None watches for as long as it takes.
        poll_s: longest pause between two looks, in seconds, unless the server asks for another one.
        patience_s: how long to go on, in seconds, while the server is in trouble or out of reach.

    Raises:
        WaitTimeout: the time is over; the jobs run on.

    Example:
        ```python
        import ragtune as rt
        from ragtune.testing import ScriptedBackend

        rows = [{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("sums", overwrite=True)
        specs = [rt.TuneSpec(model="tiny-random", seed=seed) for seed in range(3)]
        with ScriptedBackend() as backend, backend.client() as client:
            jobs = [rt.FineTuneJob.create(client, dataset, spec) for spec in specs]
            ended = [job for job in rt.watch_many(jobs) if job.details.is_final]
            print(len(ended), {job.status for job in ended})
            #> 3 {'succeeded'}
        ```
    """
    faces = {state_of(job, "watch_many").id: job for job in jobs}
    states = [job._state for job in faces.values()]
    for job in iterate(follow_many(states, timeout_s=timeout_s, poll_s=poll_s, patience_s=patience_s)):
        yield faces[job.id]
