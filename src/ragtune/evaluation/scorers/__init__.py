"""Scorers: functions of one answer that say how good it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

from ragtune.errors import EvaluationError
from ragtune.evaluation.scorers.context import Context, Scorer

__all__ = ["Context", "Scorer", "ScorerArgument", "scorers_named"]

ScorerArgument = Sequence[str | Scorer] | Mapping[str, Scorer]
_WORDS, _OVERLAP, _CHOICE = (f"ragtune.evaluation.scorers.{module}" for module in ("words", "overlap", "choice"))
# Loaded by name: ROUGE-L and chrF need an extra, which only whoever scores by them has to have.
_HOME = {
    "contains": _WORDS,
    "exact": _WORDS,
    "f1": _WORDS,
    "json_valid": _WORDS,
    "refusal": _WORDS,
    "rouge_l": _OVERLAP,
    "chrf": _OVERLAP,
    "choice": _CHOICE,
}


def scorers_named(scorers: object) -> dict[str, Scorer]:
    """Return scorers by name: those that ship by their names, functions by theirs.

    Raises:
        EvaluationError: there is no scorer of a name, two have one name, or there are none.
        MissingExtraError: one needs a library that is not installed.
    """
    if isinstance(scorers, str) or not isinstance(scorers, Mapping | Sequence):
        message = f"scorers={scorers!r}: give a list of them, for example ('contains', 'f1')"
        raise EvaluationError(message)
    pairs = list(scorers.items()) if isinstance(scorers, Mapping) else [(_name(given), given) for given in scorers]
    found: dict[str, Scorer] = {}
    for name, given in pairs:
        # A label has a column of its own, called NAME=LABEL, and a name that begins with a blank is one of the card's
        # own.
        if not isinstance(name, str) or not name or name != name.strip() or "=" in name:
            message = f"scorers: {name!r:.60} is no name; give text without spaces at its ends and without '='"
            raise EvaluationError(message)
        if name in found:
            message = f"scorers: {name!r} is there twice; name them apart with a dict, {{'name': function}}"
            raise EvaluationError(message)
        scorer = _shipped(given) if isinstance(given, str) else given
        if not callable(scorer):
            message = f"scorers: {name!r} is {scorer!r}; a scorer is a function of one Context"
            raise EvaluationError(message)
        found[name] = scorer
    if not found:
        raise EvaluationError("scorers: there are none; give at least one, for example 'contains'")
    return found


def _name(scorer: object) -> str:
    return scorer if isinstance(scorer, str) else getattr(scorer, "__name__", type(scorer).__name__)


def _shipped(name: str) -> Scorer:
    if name not in _HOME:
        message = f"scorers: there is no {name!r}; there are {', '.join(_HOME)}, and any function of one Context"
        raise EvaluationError(message)
    scorer: Callable[[Context], bool | float | str | None] = getattr(import_module(_HOME[name]), name)
    return scorer
