"""One question, asked within a limit on what all of them may cost; an error is an answer that is missing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ragtune.evaluation.asking.question import Failure, Returned

if TYPE_CHECKING:
    from ragtune.evaluation.asking.prices import Purse
    from ragtune.evaluation.asking.question import Prompt, Shown
    from ragtune.evaluation.asking.respondents import Respondent

__all__ = ["fault_of", "paid_answer", "timed"]


async def paid_answer(respondent: Respondent, prompt: Prompt, shown: Shown, purse: Purse) -> Returned | None:
    """Return what comes back; None where the money for it is not there, and nothing was sent."""
    price = respondent.price
    reserved = 0.0
    if price is not None and purse.limit_usd is not None:
        reserved = price.at_most(_all_sent(respondent, prompt, shown), respondent.max_tokens) or 0.0
    if not purse.reserve(reserved):
        return None
    spent = 0.0
    try:
        reply = await timed(respondent, prompt, shown)
        # Where the server counts no tokens, it may have been the most that it could be.
        spent = reserved if reply.cost_usd is None else reply.cost_usd
        return reply
    except Exception as error:
        spent = reserved if _may_be_billed(error) else 0.0
        return Returned(text=None, fault=fault_of(error))
    finally:
        purse.settle(reserved, spent)


def _may_be_billed(error: Exception) -> bool:
    import openai

    # Whether the server answered is not known where the connection was lost, or nobody waited any longer; what it
    # refused costs nothing.
    return isinstance(error, openai.APIConnectionError | TimeoutError)


def _all_sent(respondent: Respondent, prompt: Prompt, shown: Shown) -> Prompt:
    # Where no word may be written it is asked by likelihood, and the prompt goes out anew with each option.
    if respondent.max_tokens == 0:
        return [{"content": f"{prompt} {option}"} for option in shown.options]
    return prompt


def fault_of(error: Exception) -> Failure:
    """Return an error as data."""
    # A server's error may be a whole page of HTML, and every question keeps its own in the log.
    return Failure(type=type(error).__name__, message=str(error)[:2000])


async def timed(respondent: Respondent, prompt: Prompt, shown: Shown) -> Returned:
    """Ask, and note how long it took and what it cost."""
    begun = time.perf_counter()
    reply = await respondent.answer(prompt, shown)
    latency_s = time.perf_counter() - begun
    cost_usd = reply.cost_usd
    if respondent.price is not None and cost_usd is None:
        cost_usd = respondent.price.charged(reply.prompt_tokens, reply.completion_tokens)
    return replace(reply, latency_s=latency_s, cost_usd=cost_usd)
