"""Whoever can be asked: a tuned model, a client with a model's name, a function; with what stands around a question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Union

from ragtune.errors import EvaluationError
from ragtune.evaluation.asking.question import Shown
from ragtune.evaluation.asking.respondents import (
    BlockingModelRespondent,
    FunctionRespondent,
    LikelihoodRespondent,
    ModelRespondent,
)
from ragtune.model import Answer, AsyncTunedModel, TunedModel

if TYPE_CHECKING:
    import openai

    from ragtune.evaluation.asking.calls import Calls
    from ragtune.evaluation.asking.prices import Price
    from ragtune.evaluation.asking.question import Question
    from ragtune.evaluation.asking.respondents import Respondent

__all__ = ["Answerer", "Arm", "Around", "Asking", "arm_of", "usable_model"]

Said = str | Answer
# What `rt.evaluate` takes as one arm.
Answerer = Union[
    TunedModel,
    AsyncTunedModel,
    tuple["openai.OpenAI | openai.AsyncOpenAI", str],
    Callable[[str], Said | Awaitable[Said]],
    "Around",
]


class Around(Protocol):
    """An answerer with something around its question, for example passages before it."""

    @property
    def answerer(self) -> Answerer:
        """Who is asked in the end."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What tells its prompts from others, for the log."""

    async def show(self, shown: Shown, question: Question, call: Calls) -> Shown:
        """Return what is shown instead."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One answerer of an evaluation, ready to be asked.

    Attributes:
        name: its name on the card.
        respondent: to whom prompts go.
        around: what stands around the question, innermost first.
    """

    name: str
    respondent: Respondent
    around: tuple[Around, ...] = ()

    async def identity(self) -> dict[str, str]:
        """Return what tells it from another arm of the same name."""
        merged = {**self.respondent.identity, **await self.respondent.conditions()}
        for layer in self.around:
            merged |= layer.identity
        return merged

    async def shown(self, question: Question, call: Calls) -> Shown:
        """Return the question with all that stands around it."""
        shown = Shown(text=question.wording.question)
        for layer in self.around:
            shown = await layer.show(shown, question, call)
        return shown


def usable_model(answerer: object) -> TunedModel | AsyncTunedModel | None:
    """Return the model of a handle or of a pair of client and name, None for everything else."""
    if isinstance(answerer, TunedModel | AsyncTunedModel):
        return answerer
    if isinstance(answerer, tuple) and len(answerer) == 2 and isinstance(answerer[1], str):
        import openai

        if isinstance(answerer[0], openai.AsyncOpenAI):
            return AsyncTunedModel(answerer[0], answerer[1])
        return TunedModel(answerer[0], answerer[1])
    return None


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What all arms of an evaluation share.

    Attributes:
        call: how foreign functions are called.
        parameters: of each question to a model.
        max_tokens: most tokens of an answer, None for the server's own limit.
        prices: by name of the arm.
    """

    call: Calls
    parameters: Mapping[str, object]
    max_tokens: int | None
    prices: Mapping[str, Price]


def arm_of(name: str, answerer: object, asking: Asking) -> Arm:
    """Return an arm that can be asked.

    Raises:
        EvaluationError: the answerer is none, or needs an event loop where there is none.
    """
    around: list[Around] = []
    system_of = None
    while (inner := getattr(answerer, "answerer", None)) is not None:
        # The innermost comes first: each layer stands around what those within it show.
        around.insert(0, answerer)  # type: ignore[arg-type]  # whatever has an answerer stands around it
        system_of = getattr(answerer, "system_of", system_of)
        answerer = inner
    # A layer that only lends a system prompt shows nothing else.
    layers = tuple(layer for layer in around if hasattr(layer, "show"))
    respondent = _respondent(name, answerer, asking=asking, system_of=system_of)
    if any(getattr(layer, "by_likelihood", False) for layer in layers):
        if not isinstance(respondent, ModelRespondent):
            message = f"answerers[{name!r}] is chosen by likelihood, which only a model tells, not a function"
            raise EvaluationError(message)
        respondent = LikelihoodRespondent(respondent)
    return Arm(name=name, respondent=respondent, around=layers)


def _respondent(name: str, answerer: object, *, asking: Asking, system_of: object) -> Respondent:
    price = asking.prices.get(name)
    try:
        model = usable_model(answerer)
    # What is wrong with a pair is told by the handle that is made of it; here the arm is named.
    except TypeError as error:
        message = f"answerers[{name!r}]: {error}"
        raise EvaluationError(message) from error
    if model is not None:
        return _model_respondent(name, model, asking=asking, price=price, system_of=system_of)
    if callable(answerer):
        return FunctionRespondent(name, answerer, call=asking.call, price=price)
    message = (
        f"answerers[{name!r}] is a {type(answerer).__name__}; it must be an rt.TunedModel, a pair (client, 'model') or "
        "a function of the question that returns a text"
    )
    raise EvaluationError(message)


def _model_respondent(
    name: str, model: TunedModel | AsyncTunedModel, *, asking: Asking, price: Price | None, system_of: object
) -> Respondent:
    lender = usable_model(system_of)
    settings: dict[str, Any] = {
        "parameters": asking.parameters,
        "max_tokens": asking.max_tokens,
        "price": price,
        "system_of": lender._model if isinstance(lender, TunedModel) else lender,
    }
    if isinstance(model, AsyncTunedModel):
        if not asking.call.asynchronous:
            message = (
                f"answerers[{name!r}] has an asynchronous client; write `await ragtune.aio.evaluate(...)`, or give an "
                "rt.TunedModel over an openai.OpenAI"
            )
            raise EvaluationError(message)
        return ModelRespondent(model, **settings)
    if asking.call.asynchronous:
        return BlockingModelRespondent(model._model, call=asking.call, **settings)
    return ModelRespondent(model._model, **settings)
