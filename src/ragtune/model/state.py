"""How one model is asked: what is looked up before its first use, what is sent, and what is kept of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune.job.whereabouts import recalled
from ragtune.model.answer import Answer
from ragtune.model.arguments import brings_system_prompt, final_name, question_of, request_body
from ragtune.model.expiry import warn_of_end
from ragtune.model.keeping import kept
from ragtune.model.origin import tell_where, telling_where
from ragtune.model.response import conversation_of
from ragtune.model.stream import CHAT, RESPONSES, AsyncAnswerStream
from ragtune.model.system_prompt import TRAINED, SystemPrompt
from ragtune.plan import Plan, plan_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.feedback import FeedbackStore
    from ragtune.journal import JournalArgument
    from ragtune.model.trained_prompt import TrainedPrompt

__all__ = ["ModelState"]


class ModelState:
    """What both faces of a model share.

    Args:
        api: its server, in the dialect that is spoken there.
        name: its name there.
        trained_with: the system prompt that it was trained with.
        journal: what knows the job that made it.

    Attributes:
        warned_of_end: whether somebody was told that it ends soon, or need not be.
    """

    def __init__(self, api: Api, name: str, *, trained_with: TrainedPrompt, journal: JournalArgument) -> None:
        self.api = api
        self.name = name
        self.trained_with = trained_with
        self.journal = journal
        self.warned_of_end = False
        # Whether the journal was asked for the dialect that its job was made in.
        self._came_back = False

    async def before_use(self) -> None:
        """Take up the dialect of the model's job, and warn of its end, each once."""
        if not self._came_back:
            # Before the journal is read: of many questions at once, one reads it.
            self._came_back = True
            run = await recalled(self.api, self.journal, model=final_name(self.name))
            # What the caller says of the server stands above what the journal remembers.
            if run is not None and self.api.given is None:
                self.api = self.api.speaking(run.dialect)
        if not self.warned_of_end:
            # Before the server is asked: of many questions at once, one asks and warns.
            self.warned_of_end = True
            await warn_of_end(self.api, self.name)

    async def system(self) -> str | None:
        """Return the system prompt that goes with each question."""
        return await self.trained_with.look_up(self.api)

    async def chat(
        self, messages: Sequence[Json], *, system: SystemPrompt, log: FeedbackStore | None, parameters: Json
    ) -> Answer:
        """Ask with messages, the system prompt before them."""
        await self.before_use()
        whole = await self.trained_with.before(self.api, messages, system)
        request = self._request(messages=whole, **parameters)
        answer = Answer.from_wire(await telling_where(self.api, self.journal, self.name, self.api.chat(request)))
        return await kept(self.api, log, answer, parameters, sent=whole)

    async def plan_of_chat(self, messages: Sequence[Json], *, system: SystemPrompt, parameters: Json) -> Plan:
        """Return what `chat` would send."""
        # A plan sends nothing, so the account is not asked for the prompt either.
        told = self.trained_with.text if system is TRAINED else system
        whole = await self.trained_with.before(self.api, messages, told)
        request = self._request(messages=whole, **parameters)
        return await plan_of(self.api, lambda api: api.chat(request))

    def stream(
        self, prompt: str | Sequence[Json], *, system: SystemPrompt, log: FeedbackStore | None, parameters: Json
    ) -> AsyncAnswerStream:
        """Ask, and get the answer in pieces."""

        async def request() -> Json:
            await self.before_use()
            asked = question_of(prompt) if isinstance(prompt, str) else prompt
            messages = await self.trained_with.before(self.api, asked, system)
            # Without this option the chunks carry no token counts.
            options = {"stream_options": {"include_usage": True}} | parameters
            return self._request(messages=messages, **options)

        async def ended(answer: Answer) -> None:
            await kept(self.api, log, answer, parameters, sent=answer.sent)

        return AsyncAnswerStream(self.api, request, ended, failed=self._tell_where, kind=CHAT)

    async def complete(self, prompt: str, *, parameters: Json) -> Answer:
        """Let the model go on with a text."""
        await self.before_use()
        request = self._request(prompt=prompt, **parameters)
        return Answer.from_wire(await telling_where(self.api, self.journal, self.name, self.api.complete(request)))

    async def respond(
        self, given: str | list[Json], *, system: SystemPrompt, log: FeedbackStore | None, parameters: Json
    ) -> Answer:
        """Ask through the Responses API."""
        await self.before_use()
        request = await self._response_request(given, system, parameters)
        reply = await telling_where(self.api, self.journal, self.name, self.api.respond(request))
        answer = Answer.from_response(reply)
        return await kept(self.api, log, answer, parameters, sent=conversation_of(request))

    async def plan_of_response(self, given: str | list[Json], *, system: SystemPrompt, parameters: Json) -> Plan:
        """Return what `respond` would send."""
        told = self.trained_with.text if system is TRAINED and not brings_system_prompt(given) else system
        request = await self._response_request(given, told, parameters)
        return await plan_of(self.api, lambda api: api.respond(request))

    def stream_response(
        self, given: str | list[Json], *, system: SystemPrompt, log: FeedbackStore | None, parameters: Json
    ) -> AsyncAnswerStream:
        """Ask through the Responses API, and get the answer in pieces."""

        async def request() -> Json:
            await self.before_use()
            return await self._response_request(given, system, parameters)

        async def ended(answer: Answer) -> None:
            await kept(self.api, log, answer, parameters, sent=answer.sent)

        return AsyncAnswerStream(self.api, request, ended, failed=self._tell_where, kind=RESPONSES)

    async def _tell_where(self, error: Exception) -> None:
        await tell_where(self.api, self.journal, self.name, error)

    async def _response_request(self, given: str | list[Json], system: SystemPrompt, parameters: Json) -> Json:
        if system is TRAINED:
            system = None if brings_system_prompt(given) else await self.system()
        # Left out and not sent as "", which is the caller's word for no prompt.
        return self._request(input=given, instructions=system or None, **parameters)

    def _request(self, **parameters: object) -> Json:
        return request_body(self.name, parameters)
