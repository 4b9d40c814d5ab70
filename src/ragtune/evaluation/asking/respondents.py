"""Those to whom prompts go, whatever an answerer is in the end: a model, its likelihoods, a function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ragtune._api.fields import number, object_of
from ragtune._keys import redact
from ragtune._sync import run
from ragtune.errors import EmptyAnswer, RagtuneError, Unsupported
from ragtune.evaluation.asking.prices import Price, known_price
from ragtune.evaluation.asking.question import Returned, Shown
from ragtune.model import Answer, AsyncTunedModel, Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from ragtune._api.ports import Port
    from ragtune.evaluation.asking.calls import Calls
    from ragtune.evaluation.asking.question import Prompt

__all__ = ["BlockingModelRespondent", "FunctionRespondent", "LikelihoodRespondent", "ModelRespondent", "Respondent"]
__all__ += ["reply_of"]

# How a request travels changes no answer, and headers hold keys.
_OF_THE_REQUEST = frozenset(("extra_headers", "extra_query", "timeout"))


class Respondent(Protocol):
    """Somebody to whom prompts go."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What makes answers to equal prompts equal."""

    @property
    def price(self) -> Price | None:
        """What asking costs, None where that is not known."""

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of an answer, None where there is no limit."""

    async def conditions(self) -> Mapping[str, str]:
        """Return what else its answers depend on, beside the prompt."""

    async def prompt(self, shown: Shown) -> Prompt:
        """Return what is sent."""

    async def answer(self, prompt: Prompt, shown: Shown) -> Returned:
        """Send it."""


def _server(port: Port) -> str:
    """Whose answers they are. A server of ragtune's own has another port at each start and stays the same account."""
    url = urlsplit(port.base_url)
    return port.base_url if port.heard.server is None else f"{url.scheme}://{url.hostname}{url.path}"


class ModelRespondent:
    """A model behind a client."""

    def __init__(
        self,
        model: AsyncTunedModel,
        *,
        parameters: Mapping[str, object],
        max_tokens: int | None,
        price: Price | None,
        system_of: AsyncTunedModel | None = None,
    ) -> None:
        self.model = model
        self.max_tokens = max_tokens
        self.price = known_price(model.name) if price is None else price
        limit = {} if max_tokens is None else {"max_tokens": max_tokens}
        # What the caller gives comes last and stands above ours.
        self.parameters = {"temperature": 0.0, **limit, **parameters}
        self.identity = {"server": _server(model._state.api.port), "model": model.name}
        self._system_of = system_of or model

    async def conditions(self) -> dict[str, str]:
        """Return the parameters, and the system prompt where it can be told."""
        import openai

        told = {name: _plain(value) for name, value in self.parameters.items() if name not in _OF_THE_REQUEST}
        parameters = redact(json.dumps(told, sort_keys=True, ensure_ascii=False, default=str))
        try:
            return {"parameters": parameters, "system": await self.system() or ""}
        except (openai.OpenAIError, RagtuneError):
            # Whoever asks hears of it; a log with all its answers is read without a server.
            return {"parameters": parameters}

    async def system(self) -> str | None:
        """Return the system prompt that goes with each question."""
        return await self._system_of.system()

    async def prompt(self, shown: Shown) -> Prompt:
        """Return the messages, the trained system prompt first."""
        system = await self.system()
        question = {"role": "user", "content": shown.text}
        # No empty message: a model that learned without a system prompt saw none.
        return [{"role": "system", "content": system}, question] if system else [question]

    async def answer(self, prompt: Prompt, shown: Shown) -> Returned:
        """Ask."""
        return reply_of(await self.chat(prompt, **self.parameters))

    async def chat(self, prompt: Prompt, **parameters: object) -> Answer:
        """Send messages with parameters of their own."""
        assert not isinstance(prompt, str)
        return await self.model.chat(prompt, system=None, log=None, **parameters)  # the prompt is whole already

    async def complete(self, text: str) -> Answer:
        """Have a text echoed with the log-probabilities of its tokens."""
        # Nothing is written: the server only reads the text and tells how likely each of its tokens was.
        return await self.model.complete(text, max_tokens=0, echo=True, logprobs=0, temperature=0.0)


class BlockingModelRespondent(ModelRespondent):
    """A model behind a synchronous client, asked from an event loop: in a thread."""

    def __init__(self, model: AsyncTunedModel, *, call: Calls, **settings: Any) -> None:
        super().__init__(model, **settings)
        self._call = call

    async def system(self) -> str | None:
        """Return the system prompt that goes with each question."""
        # Both named: within a lambda, `super()` finds no first argument.
        system: str | None = await self._call(lambda: run(super(BlockingModelRespondent, self).system()))
        return system

    async def chat(self, prompt: Prompt, **parameters: object) -> Answer:
        """Send messages with parameters of their own."""
        said: Answer = await self._call(lambda: run(super(BlockingModelRespondent, self).chat(prompt, **parameters)))
        return said

    async def complete(self, text: str) -> Answer:
        """Have a text echoed with the log-probabilities of its tokens."""
        said: Answer = await self._call(lambda: run(super(BlockingModelRespondent, self).complete(text)))
        return said


class LikelihoodRespondent:
    """Asks a model how likely each option is."""

    max_tokens = 0

    def __init__(self, behind: ModelRespondent) -> None:
        self._behind = behind
        self.identity: Mapping[str, str] = behind.identity
        self.price: Price | None = behind.price

    async def conditions(self) -> dict[str, str]:
        """Return nothing: an echo takes neither parameters nor a system prompt."""
        return {}

    async def prompt(self, shown: Shown) -> Prompt:
        """Return what stands before the options."""
        return shown.text

    async def answer(self, prompt: Prompt, shown: Shown) -> Returned:
        """Return the likeliest option.

        Raises:
            Unsupported: the server gives no log-probabilities of a prompt.
            ValueError: the fact has nothing to choose from.
        """
        if not shown.options:
            raise ValueError("the fact has no distractors, so there is nothing to choose from")
        begin, found, tokens = len(str(prompt)), {}, 0
        for option in shown.options:
            # With a space, as a text goes on: most vocabularies hold it in the word that follows.
            said = await self._behind.complete(f"{prompt} {option}")
            tokens += (said.usage.prompt_tokens or 0) if said.usage else 0
            found[option] = _log_likelihood(said, begin, self._behind.model.name)
        # By byte, since each further token makes a text less likely: the shortest option would win. By token would
        # depend on the tokenizer.
        best = max(found, key=lambda option: found[option] / max(1, len(option.encode())))
        return Returned(text=best, prompt_tokens=tokens, completion_tokens=0, details={"log_likelihoods": found})


def _log_likelihood(answer: Answer, begin: int, model: str) -> float:
    told = object_of(answer.logprobs)
    offsets, logprobs = told.get("text_offset"), told.get("token_logprobs")
    echoed = bool(answer.choices) and len(answer.choices[0].text or "") > begin
    if not echoed or not isinstance(offsets, list) or not isinstance(logprobs, list):
        reason = f"{model} came back without log-probabilities of its prompt; ask by letter (ByLetter)"
        raise Unsupported("this server", "choosing by likelihood", reason)
    # A token that begins before the option and reaches into it belongs to the option's first word.
    ends = [*offsets[1:], None]
    scored = [
        number(logprob)
        for logprob, end in zip(logprobs, ends, strict=False)
        if end is None or (number(end) or 0) > begin
    ]
    return float(sum(logprob for logprob in scored if logprob is not None))


class FunctionRespondent:
    """A function of the question's text."""

    max_tokens = None

    def __init__(self, name: str, function: Callable[[str], object], *, call: Calls, price: Price | None) -> None:
        self._function = function
        self._call = call
        self.price = price
        self.identity = {"function": name}

    async def conditions(self) -> dict[str, str]:
        """Return nothing: what a function does cannot be told."""
        return {}

    async def prompt(self, shown: Shown) -> Prompt:
        """Return the text."""
        return shown.text

    async def answer(self, prompt: Prompt, shown: Shown) -> Returned:
        """Call it.

        Raises:
            TypeError: it returned neither a text nor an `Answer`.
        """
        said = await self._call(self._function, prompt)
        if isinstance(said, Answer):
            return reply_of(said)
        if isinstance(said, str):
            return reply_of(Answer(choices=(Choice(index=0, text=said),)))
        message = f"it returned {type(said).__name__ if said is not None else None}; an answer is a str or an rt.Answer"
        raise TypeError(message)


def reply_of(answer: Answer) -> Returned:
    """Return what an answer says; one without a text is a refusal, or an error.

    Raises:
        EmptyAnswer: it has no text and is no refusal.
    """
    usage = answer.usage
    counted = Returned(
        text=None,
        finish_reason=answer.finish_reason,
        prompt_tokens=None if usage is None else usage.prompt_tokens,
        completion_tokens=None if usage is None else usage.completion_tokens,
    )
    refusal = answer.choices[0].refusal if answer.choices else None
    # Some servers say only by the reason of its end that they withheld a text.
    if refusal is not None or answer.finish_reason == "content_filter":
        said = refusal or (answer.choices[0].text or "")
        return replace(counted, text=said, refused=True)
    return replace(counted, text=_text(answer))


def _text(answer: Answer) -> str:
    try:
        return answer.text
    except EmptyAnswer:
        # An empty answer is one: some servers send null for it.
        if answer.choices and answer.finish_reason in ("stop", "length") and not answer.choices[0].tool_calls:
            return ""
        raise


def _plain(value: object) -> object:
    """A value in which whole numbers are spelled in one way: 0 is asked as 0.0 is."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
