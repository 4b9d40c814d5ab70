"""The network rooms for an `openai.AsyncOpenAI`: the same names with `Async`, the same methods, awaited.

They are the code itself; the classes without `Async` in their name drive it without an event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune._api import asynchronous
from ragtune.files import upload_source
from ragtune.job import AsyncFineTuneJob, JobTable
from ragtune.maintenance import AsyncMaintenance
from ragtune.model import AsyncAnswerStream, AsyncTunedModel
from ragtune.monitor import AsyncJobMonitor

if TYPE_CHECKING:
    import os

    import openai

    from ragtune._api import Api
    from ragtune.dataset import Dataset, Split
    from ragtune.files import UploadedFile

__all__ = [
    "AsyncAnswerStream",
    "AsyncFineTuneJob",
    "AsyncJobMonitor",
    "AsyncMaintenance",
    "AsyncTunedModel",
    "list_jobs",
    "upload",
]


async def upload(
    client: openai.AsyncOpenAI | Api, source: Dataset | Split | str | os.PathLike[str], *, new: bool = False
) -> UploadedFile:
    """Upload training data unless it is there; see `ragtune.upload`."""
    return await upload_source(asynchronous(client), source, new=new)


async def list_jobs(
    client: openai.AsyncOpenAI | Api,
    *,
    limit: int | None = 20,
    status: str | None = None,
    metadata: dict[str, str] | None = None,
) -> JobTable[AsyncFineTuneJob]:
    """List the account's jobs, newest first; see `ragtune.list_jobs`."""
    return await AsyncFineTuneJob.list(client, limit=limit, status=status, metadata=metadata)
