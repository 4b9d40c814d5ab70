"""The sums of the advisor, as functions of numbers: a question's price, a refresh, the break-even, the price of error.

Written out on the page *When to tune*, where they are worked by hand. US dollars and tokens throughout; None is
unknown, and so is whatever depends on it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragtune.advice.assumptions import Assumptions, Prices

__all__ = ["break_even", "context_at_par", "question_usd", "refresh_usd", "tuned_question_usd", "wrong_answer_limit"]

_MILLION = 1_000_000


def question_usd(context: float, prices: Prices, assumed: Assumptions) -> float | None:
    """One question of the model that reads `context` tokens of passages."""
    if prices.input_usd_per_million is None or prices.output_usd_per_million is None:
        return None
    # Only the instructions are the same in every prompt, so nothing else of it can be cached.
    cached = assumed.system_tokens * assumed.cached_share
    if cached and prices.cached_input_usd_per_million is None:
        return None
    if prices.embedding_usd_per_million is None:
        return None
    tokens = (
        prices.embedding_usd_per_million * assumed.question_tokens
        + prices.input_usd_per_million * (assumed.question_tokens + context + assumed.system_tokens - cached)
        + (prices.cached_input_usd_per_million or 0.0) * cached
        + prices.output_usd_per_million * (assumed.answer_tokens + assumed.reasoning_tokens)
    )
    # The discount is the model's: a search is not made cheaper by sending questions in a batch.
    return assumed.retrieval_usd_per_question + tokens / _MILLION * (1 - assumed.batch_discount)


def tuned_question_usd(
    retrieval: float | None, prices: Prices, assumed: Assumptions, *, context: float = 0.0
) -> float | None:
    """One question of the tuned model; `retrieval` is what those cost that are passed on to it."""
    if prices.tuned_input_usd_per_million is None or prices.tuned_output_usd_per_million is None:
        return None
    if retrieval is None and assumed.routed_share:
        return None
    tokens = (
        prices.tuned_input_usd_per_million * (assumed.question_tokens + context + assumed.tuned_system_tokens)
        + prices.tuned_output_usd_per_million * assumed.answer_tokens
    )
    routed = assumed.routed_share * retrieval if retrieval is not None else 0.0
    return tokens / _MILLION * (1 - assumed.batch_discount) + routed


def refresh_usd(tokens: float, prices: Prices, assumed: Assumptions) -> float | None:
    """Rows made from `tokens` of documents, a training on them, its evaluation and its review."""
    rows = tokens * assumed.augmentation
    trained = _product(prices.training_usd_per_million, rows * assumed.epochs)
    read, written = _product(prices.input_usd_per_million, tokens), _product(prices.output_usd_per_million, rows)
    if trained is None or read is None or written is None:
        return None
    return (trained + read + written) / _MILLION + assumed.evaluation_usd + assumed.review_usd


def _product(price: float | None, tokens: float) -> float | None:
    return None if price is None else price * tokens


def break_even(fixed: float | None, saved_per_question: float | None) -> float | None:
    """Questions per month from which on the tuned way is cheaper; infinite where more questions never make it so."""
    if fixed is None or saved_per_question is None:
        return None
    return max(fixed / saved_per_question, 0.0) if saved_per_question > 0 else math.inf


def context_at_par(prices: Prices, assumed: Assumptions) -> float | None:
    """Tokens of passages at which a question costs the same both ways; below it retrieval is the cheaper one."""
    empty, tuned = question_usd(0.0, prices, assumed), tuned_question_usd(0.0, prices, assumed)
    if empty is None or tuned is None or not prices.input_usd_per_million or assumed.routed_share >= 1:
        return None
    per_token = prices.input_usd_per_million / _MILLION * (1 - assumed.batch_discount)
    return max((tuned / (1 - assumed.routed_share) - empty) / per_token, 0.0) if per_token else None


def wrong_answer_limit(saved_per_question: float | None, right: float | None, tuned: float | None) -> float | None:
    """What a wrong answer may cost before the cheaper tuned model becomes the dearer one.

    Infinite where the tuned model is right at least as often and not dearer; 0 where nothing speaks for it.
    """
    if saved_per_question is None or right is None or tuned is None:
        return None
    if tuned >= right:
        return math.inf if saved_per_question >= 0 else 0.0
    return max(saved_per_question / (right - tuned), 0.0)
