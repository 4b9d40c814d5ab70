"""The job that a model comes from: the newest one whose model still answers, why a job has none, and whose it is."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from ragtune.errors import ModelExpired, ModelNotReady, NoTunedModel
from ragtune.job import JobDetails
from ragtune.job.state import JobState
from ragtune.job.whereabouts import forget_model, recalled, whereabouts
from ragtune.model.arguments import final_name

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.dialects import Dialect
    from ragtune.journal import JournalArgument

__all__ = ["newest", "not_ready", "tell_where", "telling_where"]

logger = logging.getLogger("ragtune")


async def newest(api: Api, journal: JournalArgument) -> JobState:
    """Return the newest job whose model is still on the account.

    Raises:
        ModelNotReady: there is none yet, and a job is going on.
        NoTunedModel: there is none.
    """
    import openai

    going_on: list[JobDetails] = []
    # The list comes newest first, so the first that answers is the newest; the pages behind it are never fetched.
    async with aclosing(api.jobs()) as jobs:
        async for body in jobs:
            job = JobDetails.from_wire(body)
            if job.status != "succeeded" or job.fine_tuned_model is None:
                # Kept for the message: who asks too early is told which job to wait for.
                going_on += [] if job.is_final else [job]
                continue
            try:
                await api.model(job.fine_tuned_model)
            except (openai.NotFoundError, ModelExpired):
                logger.info("%s (%s) is not on the account any more", job.fine_tuned_model, job.id)
                # So that no later run takes up a job whose model is gone.
                await forget_model(api, job.fine_tuned_model, journal)
                continue
            return JobState(api=api.of_job(job.id), details=job, journal=journal)
    if going_on:
        raise ModelNotReady(not_ready(going_on[0], api.dialect))
    message = (
        f"this account ({api.place}) holds no finished fine-tune; create one with "
        "rt.FineTuneJob.create(client, dataset, spec)"
    )
    raise NoTunedModel(message)


async def telling_where(api: Api, journal: JournalArgument, name: str, answer: Awaitable[Json]) -> Json:
    """Wait for an answer; on a model that is not there the error says where it may be."""
    try:
        return await answer
    except Exception as error:
        await tell_where(api, journal, name, error)
        raise


async def tell_where(api: Api, journal: JournalArgument, name: str, error: Exception) -> None:
    """Note on an error about a model that is not there whose account it is on, as far as the journal knows."""
    import openai

    if isinstance(error, openai.NotFoundError):
        run = await recalled(api, journal, model=final_name(name))
        error.add_note(await whereabouts(api, run))


def not_ready(job: JobDetails, dialect: Dialect) -> str:
    """Say why a job has no model to ask, and what to do."""
    if job.status == "succeeded":
        way = dialect.serving or (
            "some servers fill the name in minutes later, others want the model deployed first; look at "
            "job.refresh().details.raw"
        )
        weights = f" (its weights: {dialect.weights})" if dialect.weights else ""
        return f"job {job.id} succeeded but its server ({dialect.name}) names no tuned model: {way}{weights}"
    if job.is_final:
        return f"job {job.id} {job.status}, so there is no model; look at job.details.error"
    return (
        f"job {job.id} is {job.status}, so there is no model yet; wait for it with "
        f"rt.JobMonitor(rt.FineTuneJob.get(client, {job.id!r})).wait()"
    )
