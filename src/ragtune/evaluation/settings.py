"""How an evaluation goes, checked before anybody is asked."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._progress import visible
from ragtune.errors import EvaluationError
from ragtune.facts import KINDS, FactSet

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ragtune.facts import Kind


TIMEOUT_S = 120.0
MAX_TOKENS = 256
_OWN = tuple(
    "answerers facts scorers log kinds max_cost_usd prices concurrency timeout_s max_tokens seed progress probe".split()
)
# What the evaluation itself says with each question.
_SAID = frozenset({"model", "messages", "prompt", "system", "stream", "dry_run"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an evaluation goes; see `ragtune.evaluate` for what each is."""

    answerers: Mapping[str, object]
    facts: FactSet
    log: Path
    kinds: tuple[Kind, ...]
    concurrency: int
    timeout_s: float
    max_tokens: int | None
    max_cost_usd: float | None
    seed: int
    progress: bool
    probe: bool
    parameters: Mapping[str, object]


def checked_settings(
    *,
    answerers: object,
    facts: FactSet,
    kinds: Kind | Sequence[Kind] | None,
    log: str | os.PathLike[str] | None,
    concurrency: int,
    timeout_s: float,
    max_tokens: int | None,
    max_cost_usd: float | None,
    seed: int,
    progress: bool | None,
    probe: bool,
    parameters: Mapping[str, object],
    own: Sequence[str] = _OWN,
) -> Settings:
    """Check everything that can be checked before anybody is asked.

    Args:
        answerers: see `ragtune.evaluate`, as for all others.
        own: the arguments of whoever was called; a parameter that looks like one was meant for it.

    Raises:
        EvaluationError: something cannot be.
    """
    _check_parameters(parameters, own)
    return Settings(
        answerers=_checked_answerers(answerers),
        facts=facts,
        kinds=_checked_kinds(facts, kinds),
        concurrency=at_least("concurrency", concurrency, least=1),
        timeout_s=checked_seconds(timeout_s),
        max_tokens=None if max_tokens is None else at_least("max_tokens", max_tokens, least=1),
        max_cost_usd=checked_limit(max_cost_usd),
        seed=at_least("seed", seed, least=0),
        progress=visible() if progress is None else progress,
        probe=probe,
        parameters=parameters,
        log=Path(tempfile.mkdtemp(prefix="ragtune-evaluation-"), "eval.jsonl") if log is None else Path(log),
    )


def at_least(name: str, value: int, *, least: int) -> int:
    """Return a whole number that is not too small.

    Raises:
        EvaluationError: it is.
    """
    if value < least:
        raise EvaluationError(f"{name}={value!r} must be a whole number of at least {least}")
    return int(value)


def checked_seconds(timeout_s: float) -> float:
    """Return how long is waited for an answer.

    Raises:
        EvaluationError: not at all.
    """
    if not timeout_s > 0:
        raise EvaluationError(f"timeout_s={timeout_s!r} must be more than 0 seconds")
    return float(timeout_s)


def checked_limit(max_cost_usd: float | None) -> float | None:
    """Return how much may be spent.

    Raises:
        EvaluationError: it is less than nothing, or no finite number.
    """
    if max_cost_usd is not None and not 0 <= max_cost_usd < math.inf:
        raise EvaluationError(f"max_cost_usd={max_cost_usd!r} must be a number from 0 on; None sets no limit")
    return None if max_cost_usd is None else float(max_cost_usd)


def kinds_named(kinds: object) -> tuple[Kind, ...]:
    """Return kinds of wording, each once; a single one may stand for itself.

    Raises:
        EvaluationError: one is unknown.
    """
    if not isinstance(kinds, str | Iterable):
        raise EvaluationError(f"kinds={kinds!r:.60}: give kinds of wording, for example ['verbatim', 'reworded']")
    named = tuple(dict.fromkeys([kinds] if isinstance(kinds, str) else map(_checked_kind, kinds)))
    return tuple(map(_checked_kind, named))


def _checked_kind(kind: object) -> Kind:
    for known in KINDS:
        if kind == known:
            return known
    raise EvaluationError(f"kinds: there is no {kind!r:.60}; there are {', '.join(KINDS)}")


def _checked_answerers(answerers: object) -> Mapping[str, object]:
    if not isinstance(answerers, Mapping) or not answerers:
        message = (
            f"answerers={answerers!r:.60}: give a dict of names and whom to ask, for example rt.arms(base=, tuned=)"
        )
        raise EvaluationError(message)
    for name in answerers:
        if not isinstance(name, str) or not name.strip():
            message = f"answerers: the name {name!r:.60} is no text; names stand on the card, for example 'tuned'"
            raise EvaluationError(message)
    return answerers


def _check_parameters(parameters: Mapping[str, object], own: Sequence[str]) -> None:
    for name in parameters:
        if name in _SAID:
            message = f"{name}=: an evaluation says that itself with each question; who is asked stands in answerers"
            raise EvaluationError(message)
        # `timeout` is a parameter of the client's own.
        # At the usual 0.6 `max_completion_tokens`, which servers take, would be a slip of `max_tokens`.
        near = get_close_matches(name, own, n=1, cutoff=0.75) if name != "timeout" else []
        if near:
            raise EvaluationError(f"{name}=: there is no such argument; there is {near[0]}=")


def _checked_kinds(facts: FactSet, kinds: object) -> tuple[Kind, ...]:
    """The kinds to ask for.

    Raises:
        EvaluationError: there are no facts, or a kind is unknown or missing.
    """
    if not len(facts):
        raise EvaluationError("facts: give an rt.FactSet with at least one fact")
    there = facts.counts
    wanted = tuple(kind for kind in KINDS if kind in there) if kinds is None else kinds_named(kinds)
    for kind in wanted:
        if kind not in there:
            message = f"kinds: no fact has a wording of kind {kind!r}; there are {', '.join(sorted(there))}"
            raise EvaluationError(message)
    if not wanted:
        raise EvaluationError("kinds: there is none, so there is nothing to ask; None asks for all that the facts have")
    return wanted
