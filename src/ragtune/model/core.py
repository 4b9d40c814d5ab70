"""A tuned model to ask: the code itself, asynchronous. `handle` puts the synchronous face before it."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal, overload

from ragtune import catalog
from ragtune._api import asynchronous
from ragtune._checked import checked
from ragtune._saved import read_saved, write_saved
from ragtune.dialects import saved_dialect
from ragtune.errors import ModelNotReady, NoTunedModel
from ragtune.job.model_check import require_model
from ragtune.job.state import JobState, kept_journal, saved_journal, state_of
from ragtune.job.whereabouts import forget_model, remembering
from ragtune.journal import USERS
from ragtune.journal.recorder import Recorder
from ragtune.model.answer_list import AnswerList
from ragtune.model.arguments import (
    check_concurrency,
    check_question,
    check_questions,
    checked_name,
    is_conversation,
    listed,
    question_of,
    refuse_stream,
)
from ragtune.model.expiry import Expiry, expiry_of
from ragtune.model.origin import newest, not_ready
from ragtune.model.response import refuse_slips
from ragtune.model.state import ModelState
from ragtune.model.system_prompt import TRAINED, SystemPrompt
from ragtune.model.trained_prompt import TrainedPrompt

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import openai

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.dialects import Dialect
    from ragtune.feedback import FeedbackStore
    from ragtune.job import AsyncFineTuneJob
    from ragtune.journal import JournalArgument
    from ragtune.model.answer import Answer
    from ragtune.model.stream import AsyncAnswerStream
    from ragtune.plan import Plan

logger = logging.getLogger("ragtune")


@checked("name", "prompt", "prompts", "messages", "job")
class AsyncTunedModel:
    """`TunedModel` over an `openai.AsyncOpenAI`: the same methods, awaited.

    Example:
        ```python
        import asyncio

        import ragtune as rt
        from ragtune.local import LocalBackend

        async def main(backend: LocalBackend) -> None:
            async with backend.async_client() as client:
                answer = await rt.AsyncTunedModel(client, "tiny-random").ask("Why do winds turn?", max_tokens=4)
            print(answer.finish_reason)
            #> length

        with LocalBackend("runs") as backend:
            asyncio.run(main(backend))
        ```
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI | Api,
        name: str,
        *,
        system: SystemPrompt = TRAINED,
        fingerprint: str | None = None,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> None:
        api = asynchronous(client).speaking(dialect)
        # Sealed: a model only looks things up, and asking one makes no journal where there is none.
        recorder = Recorder(journal, sealed=True, heard=api.port.heard)
        trained_with = TrainedPrompt(checked_name(name), given=system, fingerprint=fingerprint, recorder=recorder)
        self._state = ModelState(api, name, trained_with=trained_with, journal=journal)

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._state.name

    @property
    def base(self) -> str:
        """The base model beneath it, or its own name."""
        return catalog.base_of(self.name)

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the dataset it was trained on, None while that is not known."""
        return self._state.trained_with.fingerprint

    @classmethod
    async def latest(
        cls,
        client: openai.AsyncOpenAI | Api,
        *,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> AsyncTunedModel:
        """Return the newest tuned model; see `TunedModel.latest`."""
        api, _ = await remembering(asynchronous(client).speaking(dialect), journal)
        job = await newest(api, journal)
        await job.note_seen()
        return cls._of(job)

    @classmethod
    def _of(cls, job: JobState) -> AsyncTunedModel:
        """Return the model that a job made.

        Raises:
            ModelNotReady: the job has not succeeded, or its server names no model.
        """
        api, name = job.api, job.details.fine_tuned_model
        if name is None:
            raise ModelNotReady(not_ready(job.details, api.dialect))
        if api.dialect.serving is not None:
            # Told and not refused: the name is what one deploys, and the same handle asks it afterwards.
            logger.warning("%s answers once it is deployed: %s", name, api.dialect.serving)
        return cls._trained_by(job, name)

    @classmethod
    def _trained_by(cls, job: JobState, name: str) -> AsyncTunedModel:
        """Return a model of a job, be it the last or a checkpoint, with what the job says of its prompt."""
        model = cls(job.api, name, journal=job.journal)
        model._state.trained_with.learn_from(job.details)
        return model

    @classmethod
    async def from_job(cls, job: AsyncFineTuneJob) -> AsyncTunedModel:
        """Return the model that a job made; see `TunedModel.from_job`."""
        return await cls._from_state(state_of(job, "AsyncTunedModel.from_job"))

    @classmethod
    async def _from_state(cls, job: JobState) -> AsyncTunedModel:
        # A handle keeps what it read last, and the job may have ended since.
        if job.details.fine_tuned_model is None:
            await job.refresh()
        model = cls._of(job)
        try:
            await require_model(job.api, job.details, model.name)
        except NoTunedModel:
            # The journal must hear of it: an equal job would be found there and taken up again, without a model.
            await forget_model(job.api, model.name, job.journal)
            raise
        return model

    async def system(self) -> str | None:
        """Return the system prompt that goes with each question; see `TunedModel.system`."""
        return await self._state.system()

    @overload
    async def ask(
        self,
        prompt: str,
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: Literal[False] = False,
        **parameters: object,
    ) -> Answer: ...
    @overload
    async def ask(
        self,
        prompt: str,
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: Literal[True],
        **parameters: object,
    ) -> Plan: ...
    async def ask(
        self,
        prompt: str,
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: bool = False,
        **parameters: object,
    ) -> Answer | Plan:
        """Ask one question; see `TunedModel.ask`."""
        check_question(prompt)
        refuse_stream("ask", parameters)
        asked = {"temperature": temperature, **parameters}
        if dry_run:
            return await self._state.plan_of_chat(question_of(prompt), system=system, parameters=asked)
        return await self._state.chat(question_of(prompt), system=system, log=log, parameters=asked)

    async def ask_many(
        self,
        prompts: Iterable[str],
        *,
        concurrency: int = 8,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        **parameters: object,
    ) -> AnswerList:
        """Ask several questions at a time; see `TunedModel.ask_many`."""
        questions = check_questions(prompts)
        refuse_stream("ask_many", parameters)
        check_concurrency(concurrency)
        # Looked up once, before the questions fan out.
        prompt_of_all = await self.system() if system is TRAINED else system
        await self._state.before_use()
        asked = {"temperature": temperature, **parameters}

        async def one(prompt: str) -> Answer | Exception:
            try:
                # In here: a question that is no text is an error in its own place, and costs no other its answer.
                check_question(prompt)
                return await self._state.chat(question_of(prompt), system=prompt_of_all, log=log, parameters=asked)
            # Returned and not raised: the other answers are paid for, and go on.
            except Exception as error:
                return error

        async with aclosing(self._state.api.map(one, questions, concurrency=int(concurrency))) as finished:
            answers = {index: answer async for index, answer in finished}
        return AnswerList((answers[index] for index in range(len(questions))), questions=questions)

    async def chat(
        self,
        messages: Iterable[Json],
        *,
        system: SystemPrompt = TRAINED,
        log: FeedbackStore | None = None,
        **parameters: object,
    ) -> Answer:
        """Ask with messages of your own; see `TunedModel.chat`."""
        conversation = listed(messages)
        if not is_conversation(conversation):
            message = "chat takes a list of messages, each with role and content; one question goes to ask(prompt)"
            raise TypeError(message)
        refuse_stream("chat", parameters)
        return await self._state.chat(conversation, system=system, log=log, parameters=parameters)

    def stream(
        self,
        prompt: str | Sequence[Json],
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        **parameters: object,
    ) -> AsyncAnswerStream:
        """Ask, and get the answer in pieces; see `TunedModel.stream`."""
        # Now and not with the request, which is built when the first piece is read: far from the line that is wrong.
        if not is_conversation(prompt):
            check_question(prompt)
        # `stream=True` says what is done anyway; only False contradicts the call.
        if not parameters.pop("stream", True):
            message = "stream gives the answer in pieces; the whole answer comes from ask(prompt) or chat(messages)"
            raise TypeError(message)
        return self._state.stream(prompt, system=system, log=log, parameters={"temperature": temperature, **parameters})

    async def complete(self, prompt: str, **parameters: object) -> Answer:
        """Let the model go on with a text; see `TunedModel.complete`."""
        check_question(prompt)
        refuse_stream("complete", parameters)
        return await self._state.complete(prompt, parameters=parameters)

    @overload
    async def respond(
        self,
        prompt: str | Sequence[Json],
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: Literal[False] = False,
        **parameters: object,
    ) -> Answer: ...
    @overload
    async def respond(
        self,
        prompt: str | Sequence[Json],
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: Literal[True],
        **parameters: object,
    ) -> Plan: ...
    async def respond(
        self,
        prompt: str | Sequence[Json],
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: bool = False,
        **parameters: object,
    ) -> Answer | Plan:
        """Ask through the Responses API; see `TunedModel.respond`."""
        refuse_slips("respond", prompt, parameters)
        given = prompt if isinstance(prompt, str) else list(prompt)
        asked = {"temperature": temperature, **parameters}
        if dry_run:
            return await self._state.plan_of_response(given, system=system, parameters=asked)
        return await self._state.respond(given, system=system, log=log, parameters=asked)

    def stream_response(
        self,
        prompt: str | Sequence[Json],
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        **parameters: object,
    ) -> AsyncAnswerStream:
        """Ask through the Responses API, and get the answer in pieces; see `TunedModel.stream_response`."""
        refuse_slips("stream_response", prompt, parameters)
        given = prompt if isinstance(prompt, str) else list(prompt)
        return self._state.stream_response(
            given, system=system, log=log, parameters={"temperature": temperature, **parameters}
        )

    async def expiry(self) -> Expiry:
        """Return when the model stops answering; see `TunedModel.expiry`."""
        return await expiry_of(self._state.api, self.name)

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a small file that `load` reads."""
        api = self._state.api
        body = {"name": self.name, "base": self.base, "system": await self.system(), "fingerprint": self.fingerprint}
        # With dialect and journal: another program that loads it speaks as this one does, and finds the same runs.
        body |= api.spoken | saved_journal(self._state.journal)
        return await api.port.work(write_saved, path, "model", body)

    @classmethod
    async def load(
        cls,
        client: openai.AsyncOpenAI | Api,
        path: str | os.PathLike[str],
        *,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> AsyncTunedModel:
        """Return the model that was saved in `path`."""
        api = asynchronous(client)
        saved = await api.port.work(read_saved, path, "model")
        api = api.speaking(dialect or saved_dialect(saved))
        return cls(
            api,
            saved["name"],
            system=saved["system"],
            fingerprint=saved["fingerprint"],
            journal=kept_journal(saved, journal),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
