"""Watching a job: the code itself, asynchronous. `handle` puts the synchronous face before it."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ragtune._checked import checked
from ragtune.errors import JobCancelled, JobFailed, NoTunedModel, RagtuneError
from ragtune.evaluation.run import evaluate_async
from ragtune.job.core import list_jobs
from ragtune.job.model_check import APPEARS_WITHIN_S, require_model
from ragtune.job.state import state_of
from ragtune.job.whereabouts import forget_model
from ragtune.journal import USERS
from ragtune.model import AsyncTunedModel
from ragtune.monitor.best import BestCheckpoint, asked, best_of, candidates, kind_to_ask
from ragtune.monitor.events import EventReader, JobEvent
from ragtune.monitor.locate import blame, excerpt
from ragtune.monitor.metrics import merged, row_from, rows_from_file
from ragtune.monitor.polling import SHORTEST_PAUSE_S, Poller, check_rhythm
from ragtune.monitor.progress import Pace, ProgressBar
from ragtune.monitor.unknown import UnknownStates

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Collection
    from datetime import datetime

    import openai

    from ragtune._api import Api
    from ragtune.dialects import Dialect
    from ragtune.evaluation.scorers import ScorerArgument
    from ragtune.facts import FactSet, Kind
    from ragtune.job import AsyncFineTuneJob, JobDetails, JobTable
    from ragtune.journal import JournalArgument
    from ragtune.monitor.metrics import MetricRow, Metrics

logger = logging.getLogger("ragtune")


@checked("job", "scorers", "kind")
class AsyncJobMonitor:
    """`JobMonitor` over an `openai.AsyncOpenAI`: the same methods, awaited; `events` is iterated with `async for`.

    Example:
        ```python
        import asyncio

        import ragtune as rt
        from ragtune.local import LocalBackend

        rows = [{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("sums", overwrite=True)
        spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=1), seed=7)

        async def main(backend: LocalBackend) -> None:
            async with backend.async_client() as client:
                job = await rt.AsyncFineTuneJob.create(client, dataset, spec)
                model = await rt.AsyncJobMonitor(job).wait(timeout_s=300)
            print(model.base)
            #> tiny-random

        with LocalBackend("runs") as backend:
            asyncio.run(main(backend))
        ```
    """

    def __init__(self, job: AsyncFineTuneJob, *, poll_s: float = 20.0, patience_s: float = 300.0) -> None:
        self._job = job
        self._state = state_of(job, type(self).__name__)
        self._api: Api = self._state.api
        check_rhythm(poll_s=poll_s, patience_s=patience_s)
        self._poll_s = poll_s
        self._patience_s = patience_s
        self._pace = Pace()
        self._was_paused = False
        self._unknown = UnknownStates()

    @property
    def job(self) -> AsyncFineTuneJob:
        """The job that is watched."""
        return self._job

    @property
    def eta(self) -> datetime | None:
        """When the job ends at its present pace; see `JobMonitor.eta`."""
        return self._pace.end or self._job.details.estimated_finish

    async def events(self, *, after: str | Collection[str] | None = None) -> AsyncGenerator[JobEvent, None]:
        """Iterate the events; see `JobMonitor.events`."""
        async with aclosing(self._follow(self._poller(None), after=after)) as events:
            async for event in events:
                yield event

    async def wait(
        self,
        timeout_s: float | None = None,
        *,
        progress: bool | None = None,
        on_event: Callable[[JobEvent], object] | None = None,
        on_end: Callable[[AsyncFineTuneJob], object] | None = None,
    ) -> AsyncTunedModel:
        """Wait until the job ends; see `JobMonitor.wait`."""
        poller = self._poller(timeout_s)
        try:
            with ProgressBar(self._job.id, wanted=progress) as bar:
                async with aclosing(self._follow(poller)) as events:
                    async for event in events:
                        bar.show(event)
                        if on_event is not None:
                            on_event(event)
                bar.end(self._job.status)
                if on_end is not None:
                    on_end(self._job)
                return await self._model(poller, bar)
        except KeyboardInterrupt as stop:
            # As its argument too: a bare KeyboardInterrupt prints no message.
            stop.args = (f"waiting ended, {self._job.id} runs on as long as its server does; {self._come_back()}",)
            raise

    async def metrics(self) -> Metrics:
        """Return the measured steps; see `JobMonitor.metrics`."""
        poller = self._poller(None)
        await poller.look(self._look)
        events = await poller.look(EventReader(self._api, self._job.id).new)
        found = [row_from(event.data, time=event.created_at) for event in events]
        rows = [row for row in found if row is not None]
        # After the events: of two numbers for one step the first stays, and an event knows its time.
        for file_id in self._job.details.result_files:
            rows += await self._rows_of(file_id)
        told: dict[str, str] = {}
        for event in events:
            # The last one that was told: a run that was taken up again may stand on another device.
            for name in ("device", "dtype"):
                if isinstance(value := event.data.get(name), str):
                    told[name] = value
        return merged(rows, **told)

    async def best_checkpoint(
        self,
        facts: FactSet,
        scorers: ScorerArgument = ("contains",),
        *,
        kind: Kind | None = None,
        log: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> BestCheckpoint:
        """Ask the checkpoints and return the best; see `JobMonitor.best_checkpoint`."""
        chosen = kind_to_ask(facts, kind)
        # A handle from before the end knows of no finished model and of no early stop.
        await self._state.refresh()
        models = await candidates(self._state)
        answerers = {arm: await asked(self._state, name) for arm, (name, _) in models.items()}
        card = await evaluate_async(answerers, facts, scorers, kinds=[chosen], log=log, probe=False, **options)
        return best_of(card, models, chosen)

    @classmethod
    async def table(
        cls,
        client: openai.AsyncOpenAI | Api,
        *,
        limit: int | None = 20,
        status: str | None = None,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> JobTable[AsyncFineTuneJob]:
        """List the account's jobs as a table; see `JobMonitor.table`."""
        return await list_jobs(client, limit=limit, status=status, dialect=dialect, journal=journal)

    def _poller(self, timeout_s: float | None) -> Poller:
        return Poller(self._api, poll_s=self._poll_s, patience_s=self._patience_s, timeout_s=timeout_s, late=self._late)

    async def _follow(
        self, poller: Poller, *, after: str | Collection[str] | None = None
    ) -> AsyncGenerator[JobEvent, None]:
        reader = EventReader(self._api, self._job.id, after=after)
        live, ended = not self._job.details.is_final, False
        asked_s: float | None = None
        while True:
            # State first, events after it: what happened before the end is then read before we stop.
            if not ended:
                asked_s = await poller.look(self._look)
            fresh = await poller.look(reader.new)
            for event in fresh:
                self._pace.add(event)
                yield event
            final = self._job.details.is_final
            # A server may write the last events after the end; so who saw the end come looks until nothing is new.
            if final and (not live or (ended and not fresh) or poller.left_s <= 0):
                return
            live, ended = live or not final, final
            # Only stragglers come now: the long pauses that a server asks for are meant for a job that runs.
            if ended:
                asked_s = min(asked_s or SHORTEST_PAUSE_S, SHORTEST_PAUSE_S)
            await poller.pause(news=bool(fresh) or ended, asked_s=asked_s)

    async def _look(self, timeout_s: float) -> float | None:
        """Look at the job; returns the seconds after which the server wants to be asked again."""
        asked_s = await self._state.look(timeout_s)
        paused = self._job.status == "paused"
        if paused and not self._was_paused:
            logger.warning(
                "%s is paused; it goes on after job.resume(), until then there is only waiting", self._job.id
            )
        self._was_paused = paused
        self._unknown.tell(self._job.id, self._job.status)
        return asked_s

    async def _model(self, poller: Poller, bar: ProgressBar) -> AsyncTunedModel:
        """Return the finished job's model once the server answers to its name, or say what became of the job."""
        job = self._job.details
        if job.status == "cancelled":
            message = f"{job.id} was cancelled; create it again with the same call, cancelled jobs are not reused"
            raise JobCancelled(message)
        if job.status == "failed":
            raise await self._failure()
        # A deadline that has passed still leaves one look: the job is done, and its model most likely there.
        window_s = max(0.0, min(poller.left_s, APPEARS_WITHIN_S))
        job = await self._named(poller, window_s)
        model = AsyncTunedModel._of(self._state)

        def waits() -> None:
            bar.end(f"{job.status}, its model does not answer yet")
            logger.info("%s succeeded, %s does not answer yet; it is waited for", job.id, model.name)

        try:
            await require_model(self._api, job, model.name, window_s=window_s, waits=waits)
        except NoTunedModel:
            await forget_model(self._api, model.name, self._state.journal)
            raise
        return model

    async def _named(self, poller: Poller, window_s: float) -> JobDetails:
        """Look at a succeeded job until its server names the model: some do so minutes later, some never."""
        port, pause = self._api.port, 0.5
        # Where a model has to be deployed first, its name may never come.
        until = port.monotonic() + (window_s if self._api.dialect.result == "callable" else 0.0)
        while self._job.details.fine_tuned_model is None and port.monotonic() < until:
            pause = min(2 * pause, 15.0)
            await port.sleep(pause)
            await poller.look(self._look)
        return self._job.details

    async def _failure(self) -> JobFailed:
        """Return what the server says of a failed job, with the local line that it means."""
        job, error = self._job.details, self._job.details.error
        code, said = (error.code, error.message) if error else (None, None)
        place = blame(error)
        file = self._state.files.get(place.file or "")
        lines, shown = place.numbers, None
        if file is not None and lines:
            line, shown = await self._api.port.work(excerpt, file, place)
            # A server may count examples; an editor counts lines.
            lines = lines if line is None else (line, *lines[1:])
        message = f"{job.id} failed: {said or 'the server gives no reason'}" + (f" [{code}]" if code else "")
        if lines:
            where = file.path if file else f"the {(place.file or 'training_file').replace('_', ' ')}"
            message += f"; see line {lines[0]} of {where}" + (f": {shown}" if shown else "")
        repair = "repair the data and create it again" if place.file else "when that is put right create it again"
        return JobFailed(
            f"{message}; {repair}, failed jobs are not reused",
            code=code,
            param=error.param if error else None,
            lines=lines,
            path=None if file is None else str(file.path),
            excerpt=shown,
            job_id=job.id,
            job=self._job,
        )

    async def _rows_of(self, file_id: str) -> list[MetricRow]:
        import openai

        try:
            return rows_from_file(await self._api.file_content(file_id))
        except (openai.APIStatusError, RagtuneError) as error:
            # The events hold the same numbers, so a lost or odd file is no reason to hand out nothing.
            logger.warning("result file %s cannot be read: %s", file_id, error)
            return []

    def _late(self) -> str:
        if self._was_paused:
            return f"{self._job.id} is paused and goes on after job.resume(); {self._come_back()}"
        where = f" ({self._pace})" if str(self._pace) else ""
        return (
            f"{self._job.id} is {self._job.status}{where} and runs on as long as its server does; {self._come_back()}"
        )

    def _come_back(self) -> str:
        return f"come back with rt.JobMonitor(rt.FineTuneJob.get(client, {self._job.id!r})).wait()"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._job!r})"
