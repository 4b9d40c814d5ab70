"""ROUGE-L and chrF through the libraries that define them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from ragtune._extras import require
from ragtune.evaluation.scorers.words import refusal

if TYPE_CHECKING:
    from ragtune.evaluation.scorers.context import Context

require("evaluation", "rouge_score", "sacrebleu", reason="scoring with rouge_l or chrf")

__all__ = ["chrf", "rouge_l"]


def rouge_l(context: Context) -> float:
    """ROUGE-L F-measure of the best of the accepted answers, 0 to 1 (rouge-score, without stemming)."""
    if not context.answers:
        return float(refusal(context))
    score: float = _rouge().score_multi(list(context.answers), context.text)["rougeL"].fmeasure
    return score


def chrf(context: Context) -> float:
    """chrF of the best of the accepted answers, 0 to 1 (sacrebleu's 0 to 100, divided)."""
    if not context.answers:
        return float(refusal(context))
    score: float = _chrf().sentence_score(context.text, list(context.answers)).score
    return score / 100


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    # The stemmer knows English alone.
    return RougeScorer(["rougeL"], use_stemmer=False)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
