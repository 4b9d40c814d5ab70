"""Watching a job: the code itself, asynchronous. `handle` puts the synchronous face before it."""

from __future__ import annotations

import logging
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, NoReturn

from ragtune._retry import patiently
from ragtune.errors import JobCancelled, JobFailed, RagtuneError, WaitTimeout
from ragtune.job import AsyncFineTuneJob
from ragtune.job.core import api_of
from ragtune.job.presence import APPEARS_WITHIN_S, require_model
from ragtune.model import AsyncTunedModel
from ragtune.monitor.events import EventReader, JobEvent
from ragtune.monitor.metrics import merged, row_from, rows_from_file
from ragtune.monitor.progress import ProgressBar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import openai

    from ragtune._api import Api
    from ragtune.job import JobTable
    from ragtune.monitor.metrics import MetricRow, Metrics

logger = logging.getLogger("ragtune")

_DATA_FAULTS = frozenset({"invalid_training_file", "invalid_validation_file", "invalid_n_examples"})
SHORTEST_PAUSE_S = 0.5


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
        self._api: Api = api_of(job)
        self._poll_s = poll_s
        self._patience_s = patience_s

    @property
    def job(self) -> AsyncFineTuneJob:
        """The job that is watched."""
        return self._job

    async def events(self, *, after: str | None = None) -> AsyncGenerator[JobEvent, None]:
        """Iterate the events; see `JobMonitor.events`."""
        async with aclosing(self._follow(after=after, deadline=None)) as events:
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
        deadline = None if timeout_s is None else self._api.port.monotonic() + timeout_s
        try:
            with ProgressBar(self._job.id, progress) as bar:
                async with aclosing(self._follow(after=None, deadline=deadline)) as events:
                    async for event in events:
                        bar.show(event)
                        if on_event is not None:
                            on_event(event)
                bar.end(self._job.status)
                if on_end is not None:
                    on_end(self._job)
                return await self._model(deadline, bar)
        except KeyboardInterrupt as stop:
            # As its argument too: a bare KeyboardInterrupt prints no message.
            stop.args = (f"waiting ended, {self._job.id} runs on as long as its server does; {self._come_back()}",)
            raise

    async def metrics(self) -> Metrics:
        """Return the measured steps; see `JobMonitor.metrics`."""
        await patiently(self._api, self._job.refresh, window_s=self._patience_s)
        events = await patiently(self._api, EventReader(self._api, self._job.id).new, window_s=self._patience_s)
        rows = [row for event in events if (row := row_from(event.data, event.created_at)) is not None]
        for file_id in self._job.details.result_files:
            rows += await self._rows_of(file_id)
        return merged(rows)

    @classmethod
    async def table(
        cls, client: openai.AsyncOpenAI | Api, *, limit: int | None = 20, status: str | None = None
    ) -> JobTable[AsyncFineTuneJob]:
        """List the account's jobs as a table; see `JobMonitor.table`."""
        return await AsyncFineTuneJob.list(client, limit=limit, status=status)

    async def _follow(self, *, after: str | None, deadline: float | None) -> AsyncGenerator[JobEvent, None]:
        reader = EventReader(self._api, self._job.id, after=after)
        pause = SHORTEST_PAUSE_S
        while True:
            # State first, events after it: what happened before the end is then read before we stop.
            await patiently(self._api, self._job.refresh, window_s=self._patience_s)
            fresh = await patiently(self._api, reader.new, window_s=self._patience_s)
            for event in fresh:
                yield event
            if self._job.details.is_final:
                return
            pause = SHORTEST_PAUSE_S if fresh else min(1.5 * pause, self._poll_s)
            await self._pause(min(pause, self._poll_s), deadline)

    async def _pause(self, seconds: float, deadline: float | None) -> None:
        left = seconds if deadline is None else min(seconds, deadline - self._api.port.monotonic())
        if left <= 0:
            message = (
                f"{self._job.id} is {self._job.status} and runs on as long as its server does; {self._come_back()}"
            )
            raise WaitTimeout(message)
        await self._api.port.sleep(left)

    async def _model(self, deadline: float | None, bar: ProgressBar) -> AsyncTunedModel:
        """Return the finished job's model once the server answers to its name, or say what became of the job."""
        job = self._job.details
        if job.status == "cancelled":
            message = f"{job.id} was cancelled; create it again with the same call, cancelled jobs are not reused"
            raise JobCancelled(message)
        if job.status == "failed":
            self._raise_failed()
        model = AsyncTunedModel._of(self._api, job)
        left = APPEARS_WITHIN_S if deadline is None else deadline - self._api.port.monotonic()
        window_s = max(0.0, min(left, APPEARS_WITHIN_S))

        def waits() -> None:
            bar.end(f"{job.status}, its model does not answer yet")
            logger.info("%s succeeded, %s does not answer yet; it is waited for", job.id, model.name)

        await require_model(self._api, job, model.name, window_s=window_s, waits=waits)
        return model

    def _raise_failed(self) -> NoReturn:
        job = self._job.details
        error = job.error
        code, said = (error.code, error.message) if error else (None, None)
        line = _line_in(said or "")
        where = f" (line {line} of the training file)" if line else ""
        message = f"{job.id} failed{where}: {said or 'the server gives no reason'}" + (f" [{code}]" if code else "")
        bad_data = code in _DATA_FAULTS or (error is not None and error.param in ("training_file", "validation_file"))
        repair = "repair the data and create it again" if bad_data else "when that is put right create it again"
        raise JobFailed(
            f"{message}; {repair}, failed jobs are not reused",
            code=code,
            param=error.param if error else None,
            line=line,
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

    def _come_back(self) -> str:
        return f"come back with rt.JobMonitor(rt.FineTuneJob.get(client, {self._job.id!r})).wait()"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._job!r})"


def _line_in(message: str) -> int | None:
    """Return the line that a server's message points at: "Example 100", "Line 3", "Flagged lines: 4, 13"."""
    found = re.search(r"\b(?:example|line|lines:)\s+(\d+)", message, re.IGNORECASE)
    return int(found[1]) if found else None
