"""How an evaluation goes, checked before anybody is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._progress import visible
from ragtune.errors import EvaluationError
from ragtune.facts import KINDS, FactSet

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from ragtune.facts import Kind


TIMEOUT_S = 120.0
MAX_TOKENS = 256


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an evaluation goes; see `ragtune.evaluate` for what each is."""

    log: Path
    kinds: tuple[Kind, ...]
    concurrency: int
    timeout_s: float
    max_cost_usd: float | None
    progress: bool
    probe: bool


def checked_settings(
    *,
    answerers: object,
    facts: FactSet,
    kinds: Sequence[Kind] | None,
    log: str | os.PathLike[str] | None,
    concurrency: int,
    timeout_s: float,
    max_cost_usd: float | None,
    progress: bool | None,
    probe: bool,
) -> Settings:
    """Check everything that can be checked before anybody is asked.

    Raises:
        EvaluationError: something cannot be.
    """
    if not isinstance(answerers, Mapping) or not answerers:
        message = f"answerers={answerers!r}: give a dict of names and whom to ask, for example rt.arms(base=, tuned=)"
        raise EvaluationError(message)
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise EvaluationError(f"concurrency={concurrency!r} must be a whole number of at least 1")
    if not timeout_s > 0:
        raise EvaluationError(f"timeout_s={timeout_s!r} must be more than 0 seconds")
    if max_cost_usd is not None and not max_cost_usd >= 0:
        raise EvaluationError(f"max_cost_usd={max_cost_usd!r} must not be below 0; None sets no limit")
    return Settings(
        log=Path(tempfile.mkdtemp(prefix="ragtune-evaluation-"), "eval.jsonl") if log is None else Path(log),
        kinds=_checked_kinds(facts, kinds),
        concurrency=concurrency,
        timeout_s=timeout_s,
        max_cost_usd=max_cost_usd,
        progress=visible() if progress is None else progress,
        probe=probe,
    )


def _checked_kinds(facts: FactSet, kinds: Iterable[Kind] | None) -> tuple[Kind, ...]:
    """The kinds to ask for.

    Raises:
        EvaluationError: there are no facts, or a kind is unknown or missing.
    """
    if not isinstance(facts, FactSet) or not len(facts):
        raise EvaluationError("facts: give an rt.FactSet with at least one fact")
    there = {wording.kind for fact in facts for wording in fact.wordings}
    wanted = tuple(kind for kind in KINDS if kind in there) if kinds is None else tuple(dict.fromkeys(kinds))
    for kind in wanted:
        if kind not in KINDS:
            raise EvaluationError(f"kinds: there is no {kind!r}; there are {', '.join(KINDS)}")
        if kind not in there:
            message = f"kinds: no fact has a wording of kind {kind!r}; there are {', '.join(sorted(there))}"
            raise EvaluationError(message)
    if not wanted:
        raise EvaluationError("kinds: there is none, so there is nothing to ask; None asks for all that the facts have")
    return wanted
