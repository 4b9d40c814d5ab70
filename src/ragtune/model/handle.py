"""The synchronous face of a model: each method is one step of the asynchronous code beneath it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from ragtune._api import Api, synchronous
from ragtune._checked import checked
from ragtune._sync import run
from ragtune.job.state import state_of
from ragtune.journal import USERS
from ragtune.model.core import AsyncTunedModel
from ragtune.model.stream import AnswerStream
from ragtune.model.system_prompt import TRAINED, SystemPrompt

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import openai

    from ragtune._api.calls import Json
    from ragtune.dialects import Dialect
    from ragtune.feedback import FeedbackStore
    from ragtune.job import FineTuneJob
    from ragtune.journal import JournalArgument
    from ragtune.model.answer import Answer
    from ragtune.model.answer_list import AnswerList
    from ragtune.model.expiry import Expiry
    from ragtune.plan import Plan


@checked("name", "prompt", "prompts", "messages", "job")
class TunedModel:
    """A model to ask, with the system prompt that it was trained with.

    Args:
        client: an `openai.OpenAI`.
        name: the model's name; a base model's name works too, for comparison.
        system: system prompt for every question, None or "" for none. `TRAINED`, the default, is the one it was trained
            with, from the journal or its job's metadata; where neither tells, a warning says so once.
        fingerprint: fingerprint of the dataset it was trained on, if you know it.
        dialect: name or `Dialect` of the server, as in `FineTuneJob.create`; default: the one that its job was made in,
            by the journal, else by base URL.
        journal: a `Journal`, the path of one, or None for none; default: the user's.

    Raises:
        ModelNotReady: `name` is None, empty or a job's id: there is no model yet.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        with LocalBackend("runs") as backend:
            model = rt.TunedModel(backend.client(), "tiny-random", system="Answer briefly.")
            answer = model.ask("Why do winds turn?", max_tokens=8)
            print(answer.finish_reason, answer.usage.completion_tokens, answer.model)
            #> length 8 tiny-random
        ```
    """

    def __init__(
        self,
        client: openai.OpenAI | Api,
        name: str,
        *,
        system: SystemPrompt = TRAINED,
        fingerprint: str | None = None,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> None:
        self._model = AsyncTunedModel(
            synchronous(client), name, system=system, fingerprint=fingerprint, dialect=dialect, journal=journal
        )

    @classmethod
    def _around(cls, model: AsyncTunedModel) -> TunedModel:
        """Return the face of a model that another room made."""
        # Past `__init__`, which would make another model of a client.
        face = cls.__new__(cls)
        face._model = model
        return face

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._model.name

    @property
    def base(self) -> str:
        """The base model beneath it, or its own name."""
        return self._model.base

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the dataset it was trained on, None while that is not known."""
        return self._model.fingerprint

    @classmethod
    def latest(
        cls,
        client: openai.OpenAI | Api,
        *,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> TunedModel:
        """Return the newest tuned model that is still on the account.

        Args:
            client: an `openai.OpenAI`.
            dialect: as in `FineTuneJob.create`; default: what the journal knows, else by base URL.
            journal: as in `FineTuneJob.create`.

        Raises:
            ModelNotReady: there is none yet, and a job is going on.
            NoTunedModel: there is none.
        """
        return cls._around(run(AsyncTunedModel.latest(synchronous(client), dialect=dialect, journal=journal)))

    @classmethod
    def from_job(cls, job: FineTuneJob) -> TunedModel:
        """Return the model that a job made, after one look whether the server has it.

        Raises:
            ModelNotReady: the job has not succeeded, or its model does not answer to its name yet.
            NoTunedModel: the model was deleted since.
        """
        return cls._around(run(AsyncTunedModel._from_state(state_of(job, "TunedModel.from_job"))))

    def system(self) -> str | None:
        """Return the system prompt that goes with each question; the account is asked for it the first time."""
        return run(self._model.system())

    @overload
    def ask(
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
    def ask(
        self,
        prompt: str,
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: Literal[True],
        **parameters: object,
    ) -> Plan: ...
    def ask(
        self,
        prompt: str,
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: bool = False,
        **parameters: object,
    ) -> Answer | Plan:
        """Ask one question.

        Args:
            prompt: the question.
            system: another system prompt for this question, None or "" for none; default: the model's own.
            temperature: 0 to 2; 0.0 (default) takes the likeliest words, None leaves it to the server.
            log: a store that keeps question and answer, to be judged later; who asked is the request's `user`. Where it
                cannot be written, a warning says so, and the answer comes all the same.
            dry_run: return the `Plan` instead of an answer.
            parameters: any other parameter of a chat completion, for example `max_tokens` or `logprobs`.

        Raises:
            ModelExpired: the model was shut down.
        """
        if dry_run:
            # Called in two places: which of both comes back the code beneath tells by a literal True or False.
            plan: Plan = run(
                self._model.ask(prompt, system=system, temperature=temperature, log=log, dry_run=True, **parameters)
            )
            return plan
        answer: Answer = run(
            self._model.ask(prompt, system=system, temperature=temperature, log=log, dry_run=False, **parameters)
        )
        return answer

    def ask_many(
        self,
        prompts: Iterable[str],
        *,
        concurrency: int = 8,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        **parameters: object,
    ) -> AnswerList:
        """Ask several questions at a time.

        Args:
            prompts: the questions.
            concurrency: how many are under way at once, at least 1.
            system: as in `ask`.
            temperature: as in `ask`.
            log: as in `ask`.
            parameters: as in `ask`.

        Returns:
            A list in the order of the questions, for each its answer or the error that it met; in a notebook a table.
        """
        return run(
            self._model.ask_many(
                prompts, concurrency=concurrency, system=system, temperature=temperature, log=log, **parameters
            )
        )

    def chat(
        self,
        messages: Iterable[Json],
        *,
        system: SystemPrompt = TRAINED,
        log: FeedbackStore | None = None,
        **parameters: object,
    ) -> Answer:
        """Ask with messages of your own.

        Args:
            messages: dicts with `role` and `content`, as OpenAI's chat completions take them.
            system: the system prompt before them; default: the one it was trained with, unless the messages hold one
                of their own; None or "" for none.
            log: as in `ask`; the question is kept with the system prompt and the turns before it.
            parameters: any other parameter of a chat completion.

        Raises:
            ValueError: the messages hold a system prompt, and `system` is another.
        """
        return run(self._model.chat(messages, system=system, log=log, **parameters))

    def stream(
        self,
        prompt: str | Sequence[Json],
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        **parameters: object,
    ) -> AnswerStream:
        """Ask, and get the answer in pieces as they come.

        Args:
            prompt: the question, or messages as in `chat`.
            system: as in `ask` or `chat`.
            temperature: as in `ask`.
            log: as in `ask`; an answer that was not read to its end is not kept.
            parameters: as in `ask`.
        """
        return AnswerStream(self._model.stream(prompt, system=system, temperature=temperature, log=log, **parameters))

    def complete(self, prompt: str, **parameters: object) -> Answer:
        """Let the model go on with a text (legacy completions; no system prompt).

        Args:
            prompt: the text to go on with.
            parameters: any other parameter of a completion, for example `max_tokens`, `temperature` or `stop`. Without
                `temperature` the server takes its own, most likely 1, where `ask` sends 0.
        """
        return run(self._model.complete(prompt, **parameters))

    @overload
    def respond(
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
    def respond(
        self,
        prompt: str | Sequence[Json],
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: Literal[True],
        **parameters: object,
    ) -> Plan: ...
    def respond(
        self,
        prompt: str | Sequence[Json],
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        dry_run: bool = False,
        **parameters: object,
    ) -> Answer | Plan:
        """Ask one question through the Responses API, which newer servers and programs speak.

        Args:
            prompt: the question, or a list of messages and other input items as OpenAI's Responses API takes them.
            system: another system prompt, None for none; it goes as the request's `instructions`. Items that hold a
                system prompt of their own keep that one.
            temperature: as in `ask`.
            log: as in `ask`.
            dry_run: return the `Plan` instead of an answer.
            parameters: any other parameter of a response, for example `max_output_tokens`, `store`, or
                `previous_response_id=answer.id`, which goes on from an earlier answer that the server keeps.

        Raises:
            ModelExpired: the model was shut down.
            TypeError: a parameter that only chat completions have; the message says what it is called here.
        """
        if dry_run:
            plan: Plan = run(
                self._model.respond(prompt, system=system, temperature=temperature, log=log, dry_run=True, **parameters)
            )
            return plan
        answer: Answer = run(
            self._model.respond(prompt, system=system, temperature=temperature, log=log, dry_run=False, **parameters)
        )
        return answer

    def stream_response(
        self,
        prompt: str | Sequence[Json],
        *,
        system: SystemPrompt = TRAINED,
        temperature: float | None = 0.0,
        log: FeedbackStore | None = None,
        **parameters: object,
    ) -> AnswerStream:
        """Ask through the Responses API, and get the answer in pieces as they come.

        Args:
            prompt: as in `respond`.
            system: as in `respond`.
            temperature: as in `ask`.
            log: as in `ask`; an answer that was not read to its end is not kept.
            parameters: as in `respond`.

        Raises:
            TypeError: as in `respond`.
        """
        return AnswerStream(
            self._model.stream_response(prompt, system=system, temperature=temperature, log=log, **parameters)
        )

    def expiry(self) -> Expiry:
        """Return when the model stops answering: by the server if it says, else by the catalogue.

        The first use of a model that ends within 60 days warns with `ExpiryWarning`.
        """
        return run(self._model.expiry())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a small JSON file that `load` reads: name, base, system prompt and dataset fingerprint, no key."""
        return run(self._model.save(path))

    @classmethod
    def load(
        cls,
        client: openai.OpenAI | Api,
        path: str | os.PathLike[str],
        *,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> TunedModel:
        """Return the model that was saved in `path`; the server is not asked.

        Args:
            client: an `openai.OpenAI`.
            path: the file.
            dialect: as in `FineTuneJob.create`; default: the one that was saved with the model.
            journal: as in `FineTuneJob.create`; default: the one that was saved with the model.

        Raises:
            RagtuneError: the file is missing or is no saved model.
        """
        return cls._around(run(AsyncTunedModel.load(synchronous(client), path, dialect=dialect, journal=journal)))

    def __repr__(self) -> str:
        return repr(self._model).removeprefix("Async")
