"""What is told of a job while it is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import openai

    from ragtune.job import FineTuneJob
    from ragtune.monitor import JobEvent

__all__ = ["told_from_now"]


def told_from_now(client: openai.OpenAI, job: FineTuneJob, say: Callable[[str], object]) -> Callable[[JobEvent], None]:
    """For `JobMonitor.wait(on_event=)`: a job that was found again has told before what happened until now.

    Args:
        client: of the job's server.
        job: the job, as `FineTuneJob.create` returned it.
        say: told what happens, in the server's words.
    """
    from ragtune.maintenance import Maintenance

    known = {event.id for event in Maintenance(client).events(job.id, limit=None)} if job.reused else set()

    def tell(event: JobEvent) -> None:
        if event.id not in known:
            say(event.message)

    return tell
