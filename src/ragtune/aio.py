"""The network rooms for an `openai.AsyncOpenAI`: the same names with `Async`, the same methods, awaited.

They are the code itself; the classes without `Async` in their name drive it without an event loop.
"""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune._api import asynchronous
from ragtune._checked import checked
from ragtune._keys import read_key
from ragtune.evaluation.judging import judge_async as judge
from ragtune.evaluation.probing import probe_async as probe
from ragtune.evaluation.run import evaluate_async as evaluate
from ragtune.files.upload_once import upload_source
from ragtune.job import AsyncFineTuneJob
from ragtune.job.core import list_jobs
from ragtune.job.state import state_of
from ragtune.journal import USERS
from ragtune.maintenance import AsyncMaintenance
from ragtune.migration.archive import create_archive
from ragtune.migration.golden import record_async as record
from ragtune.migration.replay_job import replay_async as replay
from ragtune.migration.side_by_side import compare_async as compare
from ragtune.model import AsyncAnswerStream, AsyncTunedModel
from ragtune.monitor import AsyncJobMonitor
from ragtune.monitor.many import follow_many
from ragtune.registry import AsyncRegistry

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Iterable

    import openai

    from ragtune._api import Api
    from ragtune.dataset import Dataset, Split
    from ragtune.files import UploadedFile
    from ragtune.journal import JournalArgument

__all__ = [
    "AsyncAnswerStream",
    "AsyncFineTuneJob",
    "AsyncJobMonitor",
    "AsyncMaintenance",
    "AsyncRegistry",
    "AsyncTunedModel",
    "client_from_key_file",
    "compare",
    "create_archive",
    "evaluate",
    "judge",
    "list_jobs",
    "probe",
    "record",
    "replay",
    "upload",
    "watch_many",
]


@checked()
def client_from_key_file(path: str | os.PathLike[str], **options: Any) -> openai.AsyncOpenAI:
    """Make an asynchronous client from a file that holds the API key; see `ragtune.client_from_key_file`."""
    import openai

    return openai.AsyncOpenAI(api_key=read_key(Path(path)), **options)


@checked()
async def upload(
    client: openai.AsyncOpenAI | Api,
    source: Dataset | Split | str | os.PathLike[str],
    *,
    new: bool = False,
    journal: JournalArgument = USERS,
) -> UploadedFile:
    """Upload training data unless it is there; see `ragtune.upload`."""
    return await upload_source(asynchronous(client), source, new=new, journal=journal)


@checked()
async def watch_many(
    jobs: Iterable[AsyncFineTuneJob],
    *,
    timeout_s: float | None = None,
    poll_s: float = 20.0,
    patience_s: float = 300.0,
) -> AsyncGenerator[AsyncFineTuneJob, None]:
    """Watch many jobs with one poller, to be iterated with `async for`; see `ragtune.watch_many`."""
    # By id: a job that was given twice is watched once.
    faces = {state_of(job, "watch_many").id: job for job in jobs}
    states = [job._state for job in faces.values()]
    async with aclosing(follow_many(states, timeout_s=timeout_s, poll_s=poll_s, patience_s=patience_s)) as changes:
        async for state in changes:
            yield faces[state.id]
