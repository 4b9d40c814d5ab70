"""Proof that the adapter speaks: two models that answer alike to the last digit are one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune._api.fields import number, object_of, objects
from ragtune.errors import BudgetExceeded, EvaluationError
from ragtune.evaluation.asking.question import Shown
from ragtune.evaluation.asking.respondents import ModelRespondent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.evaluation.asking.answerers import Arm
    from ragtune.evaluation.asking.prices import Purse
    from ragtune.evaluation.asking.question import Prompt
    from ragtune.model import Answer

__all__ = ["prove_different"]

MAX_QUESTIONS = 5
PROBE_TOKENS = 16


async def prove_different(base: Arm, tuned: Arm, questions: Sequence[str], purse: Purse) -> str | None:
    """Return by what base and tuned were told apart: `log-probabilities` or `answers`; None where one is no model.

    Both are asked the same at temperature 0, until a question tells them apart.

    Raises:
        EvaluationError: none does, so that what is called tuned is most likely the base.
        BudgetExceeded: the purse does not pay for it.
    """
    first, second = base.respondent, tuned.respondent
    if not isinstance(first, ModelRespondent) or not isinstance(second, ModelRespondent):
        return None
    by = "answers"
    asked = questions[:MAX_QUESTIONS]
    for text in asked:
        # The same prompt to both: different system prompts would tell the same model apart.
        prompt = await second.prompt(Shown(text=text))
        answers = await _paid(first, prompt, purse), await _paid(second, prompt, purse)
        digits = _digits(answers[0]), _digits(answers[1])
        by = "log-probabilities" if all(digits) else "answers"
        told = digits if all(digits) else tuple(_words(answer) for answer in answers)
        if told[0] != told[1]:
            return by
    raise EvaluationError(_alike(first, second, by=by, count=len(asked)))


async def _paid(respondent: ModelRespondent, prompt: Prompt, purse: Purse) -> Answer:
    price = respondent.price
    reserved = 0.0 if price is None or purse.limit_usd is None else price.at_most(prompt, PROBE_TOKENS) or 0.0
    if not purse.reserve(reserved):
        message = (
            f"max_cost_usd={purse.limit_usd:g} does not pay for the probe, which tells base and tuned apart before "
            "they are compared; raise it, or pass probe=False"
        )
        raise BudgetExceeded(message)
    # An error, or a server that counts no tokens: it may have cost the most that it could.
    spent = reserved
    try:
        answer = await _probed(respondent, prompt)
        usage = answer.usage
        if price is not None and usage is not None:
            cost_usd = price.charged(usage.prompt_tokens, usage.completion_tokens)
            spent = reserved if cost_usd is None else cost_usd
        return answer
    finally:
        purse.settle(reserved, spent)


async def _probed(respondent: ModelRespondent, prompt: Prompt) -> Answer:
    import openai

    limit = {} if respondent.max_tokens is None else {"max_tokens": min(PROBE_TOKENS, respondent.max_tokens)}
    try:
        return await respondent.chat(prompt, temperature=0.0, logprobs=True, **limit)
    except (openai.BadRequestError, openai.UnprocessableEntityError):
        # Servers without log-probabilities refuse the parameter or leave it out of the answer.
        return await respondent.chat(prompt, temperature=0.0, **limit)


def _digits(answer: Answer) -> list[tuple[str, float | None]]:
    tokens = objects(object_of(answer.logprobs).get("content"))
    return [(str(token.get("token")), number(token.get("logprob"))) for token in tokens]


def _words(answer: Answer) -> str | None:
    return answer.choices[0].text if answer.choices else None


def _alike(base: ModelRespondent, tuned: ModelRespondent, *, by: str, count: int) -> str:
    names = f"{base.model.name!r} (base) and {tuned.model.name!r} (tuned)"
    if by == "answers":
        said = f"gave the same words to all {count} questions (this server gives no log-probabilities)"
    else:
        said = f"gave the same log-probabilities to all {count} questions, to the last digit"
    if base.identity == tuned.identity:
        cause = "both are the same model on the same server"
    else:
        cause = (
            "most likely the adapter is not applied: the tuned name leads to the base (an alias, a server started "
            "without its adapters, a deployment that was not renewed), or the training changed nothing"
        )
    return f"{names} {said}; {cause}. Look at what the name leads to; probe=False compares them all the same"
