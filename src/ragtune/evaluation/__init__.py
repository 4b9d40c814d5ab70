"""Evaluation: does the knowledge sit in the weights, and what is that worth beside retrieval?"""

from __future__ import annotations

from ragtune.evaluation.asking.answerers import Answerer
from ragtune.evaluation.asking.arms import ByLetter, ByLikelihood, FalsePassage, WithPassages, arms
from ragtune.evaluation.asking.prices import Price
from ragtune.evaluation.card.figures import ArmUsage, Difference, Estimate
from ragtune.evaluation.card.scorecard import Scorecard
from ragtune.evaluation.judgement import Judgement, Verdict
from ragtune.evaluation.judging import judge
from ragtune.evaluation.knowledge import FactKnowledge, ProbeResult
from ragtune.evaluation.probing import probe
from ragtune.evaluation.run import evaluate
from ragtune.evaluation.scorers import Context, Scorer
from ragtune.evaluation.scorers.choice import choice
from ragtune.evaluation.scorers.words import contains, exact, f1, json_valid, refusal
from ragtune.evaluation.scores import ScorerFailure, Unanswered

__all__ = [
    "Answerer",
    "ArmUsage",
    "ByLetter",
    "ByLikelihood",
    "Context",
    "Difference",
    "Estimate",
    "FactKnowledge",
    "FalsePassage",
    "Judgement",
    "Price",
    "ProbeResult",
    "Scorecard",
    "Scorer",
    "ScorerFailure",
    "Unanswered",
    "Verdict",
    "WithPassages",
    "arms",
    "choice",
    "contains",
    "evaluate",
    "exact",
    "f1",
    "json_valid",
    "judge",
    "probe",
    "refusal",
]
