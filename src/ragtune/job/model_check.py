"""Whether the model of a job that has succeeded is there: not yet, not any more, or nobody can say.

A server may need minutes until a new model answers to its name, and a model may have been deleted since. The first is
worth waiting for, the second is not; the job itself looks alike in both cases.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ragtune._api.errors import transient
from ragtune._api.times import http_date
from ragtune._retry import patiently
from ragtune.errors import ModelExpired, ModelNotReady, NoTunedModel

if TYPE_CHECKING:
    from collections.abc import Callable

    import openai

    from ragtune._api import Api
    from ragtune.job.details import JobDetails

__all__ = ["APPEARS_WITHIN_S", "is_gone", "require_model"]

logger = logging.getLogger("ragtune")

# How long a model may take to answer to its name after its job succeeded.
APPEARS_WITHIN_S = 300.0
# How long to listen to a server that says nothing.
SILENCE_S = 30.0
# The embedded backend says so itself, and then there is nothing to wait for, however young the model was.
DELETED_HEADER = "x-ragtune-deleted-at"


async def is_gone(api: Api, job: JobDetails) -> bool:
    """Whether the server says that the model of a succeeded job is not there, and it is too late for it to appear."""
    import openai

    if job.status != "succeeded" or job.fine_tuned_model is None:
        return False
    try:
        await api.model(job.fine_tuned_model)
    # Its maker shut it down: it will not come back, however young the job is.
    except ModelExpired:
        return True
    except openai.NotFoundError as error:
        return _names_model(error) and _too_late(error, job, now=api.port.now())
    except openai.APIStatusError as error:
        logger.info("whether %s is still there cannot be asked: %s", job.fine_tuned_model, error.status_code)
    return False


async def require_model(
    api: Api,
    job: JobDetails,
    name: str,
    *,
    window_s: float = 0.0,
    waits: Callable[[], object] | None = None,
) -> None:
    """Return once the server answers to a model's name, or when it cannot tell.

    Args:
        api: the account.
        job: the job that made the model.
        name: the model.
        window_s: seconds to wait for a model that may still appear.
        waits: called before each further look.

    Raises:
        NoTunedModel: it is not there any more.
        ModelNotReady: it is not there yet.
        ModelExpired: its base was shut down.
    """
    import openai

    def may_come(error: BaseException) -> bool:
        if transient(error):
            return True
        if not isinstance(error, openai.NotFoundError) or _too_late(error, job, now=api.port.now()):
            return False
        if waits is not None:
            waits()
        return True

    try:
        await patiently(
            api,
            lambda: api.look("models.retrieve", model=name, timeout_s=SILENCE_S),
            window_s=window_s,
            retry_on=may_come,
            until=api.port.monotonic() + window_s,
        )
    except openai.NotFoundError as error:
        if _names_model(error):
            if _too_late(error, job, now=api.port.now()):
                raise NoTunedModel(_gone(job, name)) from error
            raise ModelNotReady(_not_yet(job, name, waited_s=window_s)) from error
        # The job did succeed; whether such a server lists its models is another matter.
        logger.warning("%s succeeded but the server does not list %s (404)", job.id, name)
    except openai.APIStatusError as error:
        logger.warning("%s succeeded but the server does not list %s (%s)", job.id, name, error.status_code)


def _names_model(error: openai.NotFoundError) -> bool:
    # A server that has no such route answers 404 as well, which says nothing of the model.
    return error.code == "model_not_found" or error.param == "model"


def _too_late(error: openai.NotFoundError, job: JobDetails, *, now: float) -> bool:
    if DELETED_HEADER in error.response.headers:
        return True
    # Without an end nobody can say how old the model is, so it may still come.
    if job.finished_at is None:
        return False
    age_s = _server_time(error, now) - job.finished_at.timestamp()
    return age_s > APPEARS_WITHIN_S


def _server_time(error: openai.NotFoundError, now: float) -> float:
    """The server's own clock at its answer: ours may be minutes off."""
    told = http_date(error.response.headers.get("date"))
    return now if told is None else told.timestamp()


def _gone(job: JobDetails, name: str) -> str:
    return (
        f"{name} is not on the account any more: {job.id} made it, and it was deleted since. Create it again with the "
        "same call to rt.FineTuneJob.create, which does not reuse a job whose model is gone (new=True makes another "
        "job in any case)"
    )


def _not_yet(job: JobDetails, name: str, *, waited_s: float) -> str:
    when = f" in {waited_s:.0f} s" if waited_s else ""
    return (
        f"{job.id} succeeded but the server did not answer to {name}{when}: a new model can take minutes, so wait "
        f"with rt.JobMonitor(rt.FineTuneJob.get(client, {job.id!r})).wait(); if it was deleted, create another with "
        "rt.FineTuneJob.create(client, dataset, spec, new=True)"
    )
