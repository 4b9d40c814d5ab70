"""What can be found out about a model when it is registered: its server, its system prompt, its job, its end."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from ragtune import catalog
from ragtune._api.errors import UnreadableReplyError
from ragtune.job.whereabouts import recalled
from ragtune.model import Expiry
from ragtune.model.arguments import final_name
from ragtune.model.expiry import from_catalog
from ragtune.registry.version import ModelVersion

if TYPE_CHECKING:
    from ragtune.journal import Run
    from ragtune.model import AsyncTunedModel

__all__ = ["described", "named"]

logger = logging.getLogger("ragtune")


async def described(model: AsyncTunedModel) -> ModelVersion:
    """Return what server and journal know of a model."""
    api = model._state.api
    # The journal knows a job by its finished model, whose checkpoint this may be.
    run = await recalled(api, model._state.journal, model=final_name(model.name))
    # Before the rest is read: only this look-up decides what is in doubt, and may find the fingerprint.
    system = await model.system()
    version = ModelVersion(
        name=model.name,
        base=model.base,
        server=api.place,
        account=await api.account(),
        system=system,
        system_known=not model._state.trained_with.in_doubt,
        fingerprint=model.fingerprint,
        expiry=await _expiry(model),
        added_at=dt.datetime.fromtimestamp(api.port.now(), tz=dt.UTC),
    )
    return version if run is None else _with_run(version, run)


def named(name: str, now: dt.datetime) -> ModelVersion:
    """Return what the name alone tells of a model."""
    return ModelVersion(name=name, base=catalog.base_of(name), expiry=from_catalog(name), added_at=now)


async def _expiry(model: AsyncTunedModel) -> Expiry:
    import openai

    try:
        return await model.expiry()
    except (openai.APIError, UnreadableReplyError) as error:
        logger.info("when %s ends cannot be asked: %s", model.name, type(error).__name__)
        # The catalogue's dates are OpenAI's and bind no other server.
        return from_catalog(model.name) if model._state.api.dialect.catalog_dates else Expiry(kind="unknown")


def _with_run(version: ModelVersion, run: Run) -> ModelVersion:
    known = "estimated" if run.billed_usd is None else "billed"
    return replace(
        version,
        job_id=run.job_id,
        training_file=run.training_file,
        cost_usd=run.cost_usd,
        cost_source=None if run.cost_usd is None else known,
    )
