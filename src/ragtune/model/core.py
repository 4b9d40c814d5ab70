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
from ragtune.job.whereabouts import forget_model, recalled, remembering
from ragtune.journal import USERS
from ragtune.journal.recorder import Recorder
from ragtune.model.answer import Answer
from ragtune.model.answer_list import AnswerList
from ragtune.model.arguments import (
    brings_system_prompt,
    check_concurrency,
    check_question,
    check_questions,
    checked_name,
    final_name,
    is_conversation,
    listed,
    question_of,
    refuse_stream,
    request_body,
)
from ragtune.model.expiry import Expiry, expiry_of, warn_of_end
from ragtune.model.keeping import kept
from ragtune.model.origin import newest, not_ready, telling_where
from ragtune.model.response import conversation_of, refuse_slips
from ragtune.model.stream import RESPONSES, AsyncAnswerStream
from ragtune.model.system_prompt import TRAINED, SystemPrompt
from ragtune.model.trained_prompt import TrainedPrompt
from ragtune.plan import Plan, plan_of

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
        self._api = asynchronous(client).speaking(dialect)
        self._journal = journal
        self._name = checked_name(name)
        recorder = Recorder(journal, sealed=True, heard=self._api.port.heard)
        self._trained_with = TrainedPrompt(name, given=system, fingerprint=fingerprint, recorder=recorder)
        self._warned_of_end = False
        # Whether the journal was asked for the dialect that its job was made in.
        self._came_back = False

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._name

    @property
    def base(self) -> str:
        """The base model beneath it, or its own name."""
        return catalog.base_of(self._name)

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the dataset it was trained on, None while that is not known."""
        return self._trained_with.fingerprint

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
        state = await newest(api, journal)
        await state.note_seen()
        return cls._of(state)

    @classmethod
    def _of(cls, state: JobState) -> AsyncTunedModel:
        """Return the model that a job made.

        Raises:
            ModelNotReady: the job has not succeeded, or its server names no model.
        """
        api, job = state.api, state.details
        if job.fine_tuned_model is None:
            raise ModelNotReady(not_ready(job, api.dialect))
        if api.dialect.serving is not None:
            logger.warning("%s answers once it is deployed: %s", job.fine_tuned_model, api.dialect.serving)
        model = cls(api, job.fine_tuned_model, journal=state.journal)
        model._trained_with.learn_from(job)
        return model

    @classmethod
    async def from_job(cls, job: AsyncFineTuneJob) -> AsyncTunedModel:
        """Return the model that a job made; see `TunedModel.from_job`."""
        return await cls._from_state(state_of(job, "AsyncTunedModel.from_job"))

    @classmethod
    async def _from_state(cls, state: JobState) -> AsyncTunedModel:
        if state.details.fine_tuned_model is None:
            await state.refresh()
        model = cls._of(state)
        try:
            await require_model(state.api, state.details, model.name)
        except NoTunedModel:
            await forget_model(state.api, model.name, state.journal)
            raise
        return model

    async def system(self) -> str | None:
        """Return the system prompt that goes with each question; see `TunedModel.system`."""
        return await self._trained_with.look_up(self._api)

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
        if dry_run and system is TRAINED:
            # A plan sends nothing, so the account is not asked for the prompt either.
            system = self._trained_with.text
        if not dry_run:
            await self._before_use()
        messages = await self._trained_with.before(self._api, question_of(prompt), system)
        if dry_run:
            request = self._request(messages=messages, temperature=temperature, **parameters)
            return await plan_of(self._api, lambda api: api.chat(request))
        return await self._answer(messages, log, temperature=temperature, **parameters)

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
        await self._before_use()

        async def one(prompt: str) -> Answer | Exception:
            try:
                check_question(prompt)
                messages = await self._trained_with.before(self._api, question_of(prompt), prompt_of_all)
                return await self._answer(messages, log, temperature=temperature, **parameters)
            except Exception as error:
                return error

        async with aclosing(self._api.map(one, questions, concurrency=int(concurrency))) as finished:
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
        await self._before_use()
        return await self._answer(await self._trained_with.before(self._api, conversation, system), log, **parameters)

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
        if not is_conversation(prompt):
            check_question(prompt)
        if not parameters.pop("stream", True):
            message = "stream gives the answer in pieces; the whole answer comes from ask(prompt) or chat(messages)"
            raise TypeError(message)

        async def request() -> Json:
            await self._before_use()
            asked = question_of(prompt) if isinstance(prompt, str) else prompt
            messages = await self._trained_with.before(self._api, asked, system)
            # Without this option the chunks carry no token counts.
            options = {"stream_options": {"include_usage": True}} | parameters
            return self._request(messages=messages, temperature=temperature, **options)

        async def ended(answer: Answer) -> None:
            await kept(self._api, log, answer, parameters, sent=answer.sent)

        return AsyncAnswerStream(self._api, request, ended)

    async def complete(self, prompt: str, **parameters: object) -> Answer:
        """Let the model go on with a text; see `TunedModel.complete`."""
        check_question(prompt)
        refuse_stream("complete", parameters)
        await self._before_use()
        request = self._request(prompt=prompt, **parameters)
        return Answer.from_wire(await telling_where(self._api, self._journal, self._name, self._api.complete(request)))

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
        if dry_run:
            told = self._trained_with.text if system is TRAINED and not brings_system_prompt(given) else system
            planned = await self._response_request(given, told, temperature=temperature, **parameters)
            return await plan_of(self._api, lambda api: api.respond(planned))
        await self._before_use()
        request = await self._response_request(given, system, temperature=temperature, **parameters)
        answer = Answer.from_response(await self._api.respond(request))
        return await kept(self._api, log, answer, parameters, sent=conversation_of(request))

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

        async def request() -> Json:
            await self._before_use()
            return await self._response_request(given, system, temperature=temperature, **parameters)

        async def ended(answer: Answer) -> None:
            await kept(self._api, log, answer, parameters, sent=answer.sent)

        return AsyncAnswerStream(self._api, request, ended, kind=RESPONSES)

    async def expiry(self) -> Expiry:
        """Return when the model stops answering; see `TunedModel.expiry`."""
        return await expiry_of(self._api, self._name)

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a small file that `load` reads."""
        body = {"name": self._name, "base": self.base, "system": await self.system(), "fingerprint": self.fingerprint}
        body |= self._api.spoken | saved_journal(self._journal)
        return await self._api.port.work(write_saved, path, "model", body)

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

    async def _before_use(self) -> None:
        if not self._came_back:
            self._came_back = True
            run = await recalled(self._api, self._journal, model=final_name(self._name))
            if run is not None and self._api.given is None:
                self._api = self._api.speaking(run.dialect)
        if not self._warned_of_end:
            # Before the server is asked: of many questions at once, one asks and warns.
            self._warned_of_end = True
            await warn_of_end(self._api, self._name)

    async def _answer(self, messages: Sequence[Json], log: FeedbackStore | None, **parameters: object) -> Answer:
        asked = self._request(messages=messages, **parameters)
        answer = Answer.from_wire(await telling_where(self._api, self._journal, self._name, self._api.chat(asked)))
        return await kept(self._api, log, answer, parameters, sent=messages)

    async def _response_request(self, given: str | list[Json], system: SystemPrompt, **parameters: object) -> Json:
        if system is TRAINED:
            system = None if brings_system_prompt(given) else await self.system()
        return self._request(input=given, instructions=system or None, **parameters)

    def _request(self, **parameters: object) -> Json:
        return request_body(self._name, parameters)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r})"
