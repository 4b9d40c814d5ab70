"""What lies on an account, read once: its jobs, its models, its files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ragtune._api import gather
from ragtune._api.errors import NO_SUCH_LIST
from ragtune._api.fields import text
from ragtune.files import UploadedFile
from ragtune.job import JobDetails
from ragtune.maintenance.tables import ListedModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from ragtune._api import Api
    from ragtune._api.calls import Json

__all__ = ["CHECKPOINT", "AccountListing", "read_account"]

CHECKPOINT = ":ckpt-step-"


@dataclass(frozen=True, kw_only=True)
class AccountListing:
    """An account at one moment.

    Attributes:
        jobs: all jobs, newest first.
        models: all models that the key may use; None where the server has no such list.
        files: all files; None where the server has no such list.
    """

    jobs: tuple[JobDetails, ...]
    models: tuple[ListedModel, ...] | None
    files: tuple[UploadedFile, ...] | None

    @cached_property
    def model_names(self) -> frozenset[str]:
        """The names of all models; where they are not listed, of all that jobs made: unknown is not gone."""
        if self.models is None:
            return frozenset(job.fine_tuned_model for job in self.jobs if job.fine_tuned_model is not None)
        return frozenset(model.id for model in self.models)

    @cached_property
    def readers(self) -> Mapping[str, tuple[JobDetails, ...]]:
        """The jobs that were given a file to read, by its id."""
        found: dict[str, tuple[JobDetails, ...]] = {}
        for job in self.jobs:
            for file_id in dict.fromkeys((job.training_file, job.validation_file)):
                if file_id is not None:
                    found[file_id] = (*found.get(file_id, ()), job)
        return found

    @cached_property
    def writers(self) -> Mapping[str, JobDetails]:
        """The job that wrote a file of results, by the file's id."""
        return {file_id: job for job in self.jobs for file_id in job.result_files}


async def read_account(api: Api) -> AccountListing:
    """Read three lists to the end of their pages; no job, model or file is asked for by itself."""
    # Without its jobs nobody can say what a file is for: a server that lists none is an error, and not an empty
    # account.
    jobs, models, files = await gather(api.jobs()), await _listed(api.models()), await _listed(api.files())
    return AccountListing(
        # What has no id can be neither asked for nor deleted.
        jobs=tuple(JobDetails.from_wire(body) for body in jobs if text(body.get("id"))),
        models=None if models is None else tuple(ListedModel.from_wire(body) for body in models),
        files=None if files is None else tuple(UploadedFile.from_wire(one) for one in files if text(one.get("id"))),
    )


async def _listed(items: AsyncGenerator[Json, None]) -> list[Json] | None:
    """What a list holds; None where the server has no such list."""
    import openai

    try:
        return await gather(items)
    except openai.APIStatusError as error:
        if error.status_code not in NO_SUCH_LIST:
            raise
        return None
