"""Whose a job or a model is by the journal, for whoever asks another account for it."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from ragtune.errors import JournalError
from ragtune.journal.best_effort import note
from ragtune.journal.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune._api import Api
    from ragtune.journal import JournalArgument, Run

__all__ = ["forget_model", "recalled", "remembering", "whereabouts"]

logger = logging.getLogger("ragtune")


async def recalled(api: Api, journal: JournalArgument, *, job: str | None = None, model: str = "") -> Run | None:
    """Return the run that made a job or a model, as far as the journal knows; one that fails must stop no look."""
    # Sealed: a look writes nothing, and makes no journal where there is none.
    recorder = Recorder(journal, sealed=True, heard=api.port.heard)
    try:
        if job is not None:
            return await api.port.work(recorder.run_of, job)
        return await api.port.work(recorder.maker_of, model, None)
    except JournalError as error:
        logger.info("the journal cannot be asked: %s", error)
        return None


async def remembering(api: Api, journal: JournalArgument) -> tuple[Api, Mapping[str, Run]]:
    """Return the same calls, which read each job in its own dialect, and what the journal knows of each."""
    try:
        runs = await api.port.work(Recorder(journal, sealed=True, heard=api.port.heard).by_job)
    except JournalError as error:
        logger.info("the journal cannot be asked: %s", error)
        return api, {}
    # What the caller says of a server stands above what the journal remembers.
    if api.given is not None:
        return api, runs
    return api.remembering({job: run.dialect for job, run in runs.items() if run.dialect is not None}), runs


async def forget_model(api: Api, model: str, journal: JournalArgument) -> None:
    """Write down that a tuned model is not on its account any more."""
    write = partial(Recorder(journal, heard=api.port.heard).lose_model, model, api.port.now())
    await note(api.port, f"{model} was deleted", write)


async def whereabouts(api: Api, run: Run | None) -> str:
    """Return where something was looked for in vain, and where the journal knows it to be."""
    import openai

    here = f"this client speaks to {api.place}"
    if run is None:
        return here
    with suppress(openai.OpenAIError):  # what is told beside an error must not take its place
        if run.account == await api.account():
            return f"{here}, where run {run.id} of the journal made it"
    return f"by the journal run {run.id} made it, of {run.place}; {here}"
