"""The system prompt that a model was trained with: the journal tells it, else the metadata of the job that made it."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from ragtune._warn import warn
from ragtune.errors import JournalError
from ragtune.job import JobDetails
from ragtune.job.metadata import FINGERPRINT, SYSTEM, SYSTEM_TOO_LONG
from ragtune.model.arguments import brings_system_prompt, final_name
from ragtune.model.system_prompt import TRAINED, SystemPrompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.journal.recorder import Recorder

__all__ = ["TrainedPrompt"]

logger = logging.getLogger("ragtune")


class TrainedPrompt:
    """The prompt of one model, looked up once a question needs it.

    Args:
        name: the model's name.
        given: the prompt, where the caller knows better than journal and job.
        fingerprint: of the dataset that it was trained on, as far as the caller knows.
        recorder: reads the journal.

    Attributes:
        text: the prompt; None for none, or while it is not known.
        fingerprint: fingerprint of the dataset, None while it is not known.
        in_doubt: whether it was looked up and nobody could tell it.
    """

    def __init__(self, name: str, *, given: SystemPrompt, fingerprint: str | None, recorder: Recorder) -> None:
        self.text = None if given is TRAINED else given
        self.fingerprint = fingerprint
        self.in_doubt = False
        self._name = name
        self._recorder = recorder
        # The job that made the model, once that is known.
        self._job_id: str | None = None
        # A base model was trained with no prompt of ours; a tuned one may tell through its job.
        self._is_known = given is not TRAINED or not name.startswith("ft:")
        # Why the prompt is not known; told when a question would need it, and once.
        self._doubt: str | None = None

    async def look_up(self, api: Api) -> str | None:
        """Return the prompt; warns once where nobody can tell it."""
        # The journal first: it asks no server, and keeps prompts that are too long for a job's metadata.
        if not self._is_known and not await self._remember(api):
            await self._find_job(api)
        # Once more before the warning: a job that was just looked at may have told which run made it.
        if self._doubt is not None and not await self._remember(api):
            warn(
                f"the system prompt that {self._name} was trained with is not known ({self._doubt}); answers may be "
                'worse without it: give it as TunedModel(client, name, system="..."), or system="" if there was none'
            )
            self._doubt, self.in_doubt = None, True
        return self.text

    async def before(self, api: Api, messages: Sequence[Json], system: SystemPrompt) -> list[Json]:
        """Return messages behind their system prompt; one that they bring along stays.

        Raises:
            ValueError: they bring one along, and another was given.
        """
        if brings_system_prompt(messages):
            if isinstance(system, str) and system:
                message = "the messages hold a system prompt already; leave system= away, or take it out of them"
                raise ValueError(message)
            return list(messages)
        text = await self.look_up(api) if system is TRAINED else system
        return [{"role": "system", "content": text}, *messages] if text else list(messages)

    def learn_from(self, job: JobDetails) -> None:
        """Take what the job that made the model says in its metadata."""
        self._is_known, self._job_id = True, job.id
        self.text = job.metadata.get(SYSTEM)
        self.fingerprint = job.metadata.get(FINGERPRINT)
        if SYSTEM_TOO_LONG in job.metadata:
            self._doubt = f"it has {job.metadata[SYSTEM_TOO_LONG]} characters, more than a job's metadata can keep"
        elif FINGERPRINT not in job.metadata:
            self._doubt = f"its job {job.id} was not created from a dataset of ragtune's"

    async def _remember(self, api: Api) -> bool:
        """Look into the journal, which keeps prompts of any length; whether it knows the model's dataset."""
        try:
            run = await api.port.work(self._recorder.maker_of, final_name(self._name), self._job_id)
        except JournalError as error:
            logger.info("the journal cannot say how %s was trained: %s", self._name, error)
            return False
        # A run without one trained a file that was uploaded before: nothing is known of its prompt.
        if run is None or run.fingerprint is None:
            return False
        self._is_known, self._doubt = True, None
        self.text, self.fingerprint = run.system, run.fingerprint
        return True

    async def _find_job(self, api: Api) -> None:
        """Look for the job that made this model; its metadata says how it was trained."""
        import openai

        self._is_known = True
        try:
            async with aclosing(api.jobs()) as jobs:
                async for body in jobs:
                    # A job names the model that it ended with, and none of its checkpoints.
                    if body.get("fine_tuned_model") == final_name(self._name):
                        self.learn_from(JobDetails.from_wire(body))
                        return
        except openai.APIStatusError as error:
            logger.info("the jobs of this account cannot be listed: %s", error.status_code)
        self._doubt = "no job of this account made it"
