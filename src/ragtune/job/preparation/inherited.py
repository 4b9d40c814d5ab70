"""The system prompt of a tuned model that is trained further, for a job whose own rows have none."""

from __future__ import annotations

import logging
from collections.abc import Mapping  # noqa: TC003 - a field of a dataclass that is read at run time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ragtune._api.fields import object_of
from ragtune.job.metadata import SYSTEM, SYSTEM_TOO_LONG, system_notes

if TYPE_CHECKING:
    from ragtune._api import Api
    from ragtune.journal.recorder import Recorder

__all__ = ["Inherited", "inherited_prompt"]

logger = logging.getLogger("ragtune")


@dataclass(frozen=True, kw_only=True)
class Inherited:
    """What a job takes over from the model that it goes on from.

    Attributes:
        system: the system prompt, or None where there was none or it is not known.
        notes: what the new job's metadata say about it.
    """

    system: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


async def inherited_prompt(api: Api, recorder: Recorder, model: str) -> Inherited:
    """What is known of the prompt that a tuned model is asked with; nothing for a base.

    The journal is asked first, which keeps prompts of any length; then the metadata of the job that made the model.
    """
    # A checkpoint comes from the job of its model, and jobs are known by the name of the finished one.
    name = model.partition(":ckpt-step-")[0]
    if not name.startswith("ft:"):
        return Inherited()
    run = await api.port.work(recorder.maker_of, name, None)
    # A run without a fingerprint had files that ragtune did not make: no prompt there says nothing, so the server is
    # asked.
    if run is not None and run.fingerprint is not None:
        return Inherited(system=run.system, notes=system_notes(run.system))
    metadata = await _metadata_of(api, name)
    # Handed on as they are, so that a job that goes on from this one finds the prompt in its metadata in turn.
    told = {key: value for key, value in metadata.items() if key in (SYSTEM, SYSTEM_TOO_LONG)}
    return Inherited(system=told.get(SYSTEM), notes=told)


async def _metadata_of(api: Api, model: str) -> dict[str, str]:
    import openai

    try:
        async with aclosing(api.jobs()) as jobs:
            async for body in jobs:
                if body.get("fine_tuned_model") == model:
                    found = object_of(body.get("metadata"))
                    return {key: value for key, value in found.items() if isinstance(value, str)}
    # The prompt is a help and no condition: a key that may not list jobs may still train.
    except openai.APIStatusError as error:
        logger.info("the jobs of this account cannot be listed: %s", error.status_code)
    return {}
