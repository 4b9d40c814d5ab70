"""Probing a base before paying: what does it know already?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragtune._checked import checked
from ragtune._sync import run
from ragtune.errors import EvaluationError
from ragtune.evaluation.asking.answerers import Arm, Asking, arm_of
from ragtune.evaluation.asking.calls import AsyncCalls, SyncCalls
from ragtune.evaluation.asking.drive import in_tasks, in_threads
from ragtune.evaluation.asking.prices import check_payable, check_prices
from ragtune.evaluation.knowledge import ProbeResult, read_knowledge
from ragtune.evaluation.run import ask_arms
from ragtune.evaluation.scorers import scorers_named
from ragtune.evaluation.settings import MAX_TOKENS, TIMEOUT_S, checked_settings

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ragtune.evaluation.asking.answerers import Answerer
    from ragtune.evaluation.asking.calls import Calls
    from ragtune.evaluation.asking.drive import Drive
    from ragtune.evaluation.asking.prices import Price
    from ragtune.evaluation.asking.question import Prompt, Returned, Shown
    from ragtune.evaluation.asking.respondents import Respondent
    from ragtune.evaluation.card.scorecard import Scorecard
    from ragtune.evaluation.scorers import Scorer
    from ragtune.evaluation.settings import Settings
    from ragtune.facts import FactSet, Kind

__all__ = ["probe", "probe_async"]

_BASE = "base"
# What is spelled nearly like one of these is a slip; everything else is a parameter of the server's.
_OWN = (
    *("base", "facts", "samples", "temperature", "scorer", "kinds", "log", "max_cost_usd", "prices"),
    *("concurrency", "timeout_s", "max_tokens", "progress"),
)
# A probe draws no samples of its facts.
_SEED = 0
# What asks for knowledge; from the answer back and what nothing answers are other questions.
_KINDS: tuple[Kind, ...] = ("verbatim", "reworded")


@checked("base", "scorer", "kinds", "prices")
def probe(
    base: Answerer,
    facts: FactSet,
    *,
    samples: int = 8,
    temperature: float = 0.5,
    scorer: str | Scorer = "contains",
    kinds: Kind | Sequence[Kind] | None = None,
    log: str | os.PathLike[str] | None = None,
    max_cost_usd: float | None = None,
    prices: Mapping[str, Price] | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    max_tokens: int | None = MAX_TOKENS,
    progress: bool | None = None,
    **parameters: object,
) -> ProbeResult:
    """Ask a base several times for each fact and sort the facts into known, maybe known and unknown.

    What is known need not be taught, and what is unknown is learned late and makes a model answer more of what it does
    not know (Gekhman et al. 2024, arXiv:2405.05904, whose categories these are; see `ProbeResult`).

    Each question is asked once at temperature 0 and `samples - 1` times at `temperature`. Every answer is written to
    the log as it comes, and the same call with the same log goes on where an earlier one was stopped.

    Args:
        base: who is asked, as in `rt.evaluate`: an `rt.TunedModel`, a pair (client, "model"), or a function.
        facts: the facts; controls and questions without an answer are not asked.
        samples: how often each question is asked, at least 1.
        temperature: of all samples but the first; the paper's is 0.5.
        scorer: by what an answer counts as right, a name or a function as in `rt.evaluate`; of a share, from a half on.
        kinds: kinds of wording to ask for; None asks for the verbatim and reworded ones that there are.
        log: JSONL file of all answers, of its own; None takes a temporary one.
        max_cost_usd: as in `rt.evaluate`.
        prices: `{"base": ragtune.evaluation.Price(...)}`, where the catalogue does not know its price.
        concurrency: as in `rt.evaluate`.
        timeout_s: as in `rt.evaluate`.
        max_tokens: as in `rt.evaluate`.
        progress: as in `rt.evaluate`.
        parameters: any other parameter of a chat completion.

    Raises:
        EvaluationError: as in `rt.evaluate`; or no sample.
        BudgetExceeded: the money is spent; the log keeps what was answered.
    """
    asked = _Probe.of(
        base,
        facts,
        samples=samples,
        temperature=temperature,
        scorer=scorer,
        kinds=kinds,
        log=log,
        max_cost_usd=max_cost_usd,
        prices=prices,
        concurrency=concurrency,
        timeout_s=timeout_s,
        max_tokens=max_tokens,
        progress=progress,
        parameters=parameters,
    )
    calls = SyncCalls()
    try:
        return run(_probed(asked, calls, in_threads))
    finally:
        calls.close()


@checked("base", "scorer", "kinds", "prices")
async def probe_async(
    base: Answerer,
    facts: FactSet,
    *,
    samples: int = 8,
    temperature: float = 0.5,
    scorer: str | Scorer = "contains",
    kinds: Kind | Sequence[Kind] | None = None,
    log: str | os.PathLike[str] | None = None,
    max_cost_usd: float | None = None,
    prices: Mapping[str, Price] | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    max_tokens: int | None = MAX_TOKENS,
    progress: bool | None = None,
    **parameters: object,
) -> ProbeResult:
    """Sort facts by what a base knows of them; see `ragtune.probe`. Takes asynchronous clients and models as well."""
    asked = _Probe.of(
        base,
        facts,
        samples=samples,
        temperature=temperature,
        scorer=scorer,
        kinds=kinds,
        log=log,
        max_cost_usd=max_cost_usd,
        prices=prices,
        concurrency=concurrency,
        timeout_s=timeout_s,
        max_tokens=max_tokens,
        progress=progress,
        parameters=parameters,
    )
    return await _probed(asked, AsyncCalls(), in_tasks)


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """Who is asked what, and how often; see `probe`."""

    base: Answerer
    settings: Settings
    scorers: Mapping[str, Scorer]
    samples: int
    temperature: float
    prices: Mapping[str, Price] | None

    @classmethod
    def of(
        cls,
        base: Answerer,
        facts: FactSet,
        *,
        samples: int,
        temperature: float,
        scorer: str | Scorer,
        kinds: Kind | Sequence[Kind] | None,
        log: str | os.PathLike[str] | None,
        max_cost_usd: float | None,
        prices: Mapping[str, Price] | None,
        concurrency: int,
        timeout_s: float,
        max_tokens: int | None,
        progress: bool | None,
        parameters: Mapping[str, object],
    ) -> _Probe:
        """Check all that was given, before anybody is asked."""
        _check_samples(samples, temperature)
        named = scorers_named((scorer,))
        settings = checked_settings(
            answerers={_BASE: base},
            facts=facts,
            kinds=_taught_kinds(facts) if kinds is None else kinds,
            log=log,
            concurrency=concurrency,
            timeout_s=timeout_s,
            max_tokens=max_tokens,
            max_cost_usd=max_cost_usd,
            seed=_SEED,
            progress=progress,
            # The proof tells two models apart, and here is one.
            probe=False,
            parameters=parameters,
            own=_OWN,
        )
        return cls(base=base, settings=settings, scorers=named, samples=samples, temperature=temperature, prices=prices)


async def _probed(probe: _Probe, calls: Calls, drive: Drive) -> ProbeResult:
    arms = _samples(probe, calls)
    card = await ask_arms(arms, probe.settings, scorers=probe.scorers, calls=calls, drive=drive)
    return _result(card, probe.settings, tuple(arms))


class _Sample:
    """A respondent that is asked once more: equal questions to it are others than those to the first."""

    def __init__(self, behind: Respondent, number: int) -> None:
        self._behind = behind
        self.identity = {**behind.identity, "sample": str(number)}

    @property
    def price(self) -> Price | None:
        """What asking costs."""
        return self._behind.price

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of an answer."""
        return self._behind.max_tokens

    async def conditions(self) -> Mapping[str, str]:
        """Return what else its answers depend on."""
        return await self._behind.conditions()

    async def prompt(self, shown: Shown) -> Prompt:
        """Return what is sent."""
        return await self._behind.prompt(shown)

    async def answer(self, prompt: Prompt, shown: Shown) -> Returned:
        """Send it."""
        return await self._behind.answer(prompt, shown)


def _samples(probe: _Probe, calls: Calls) -> dict[str, Arm]:
    """An arm for each sample, the first at temperature 0."""
    base, settings, prices = probe.base, probe.settings, probe.prices
    asking = Asking(
        call=calls,
        parameters={**settings.parameters, "temperature": 0.0},
        max_tokens=settings.max_tokens,
        prices=check_prices({} if prices is None else prices, settings.answerers),
    )
    arms = {_BASE: arm_of(_BASE, base, asking)}
    if settings.max_cost_usd is not None:
        given = f"prices={{{_BASE!r}: ragtune.evaluation.Price(...)}}"
        check_payable(_BASE, arms[_BASE].respondent, limit_usd=settings.max_cost_usd, way_out=given)
    warmer = replace(asking, parameters={**settings.parameters, "temperature": float(probe.temperature)})
    for number in range(2, int(probe.samples) + 1):
        arm, name = arm_of(_BASE, base, warmer), f"{_BASE}, sample {number}"
        arms[name] = replace(arm, name=name, respondent=_Sample(arm.respondent, number))
    return arms


def _check_samples(samples: int, temperature: float) -> None:
    """Refuse what is no number of samples or no temperature above 0.

    Raises:
        EvaluationError: it is none.
    """
    if samples < 1:
        raise EvaluationError(f"samples={samples!r} must be a whole number of at least 1")
    if not 0 < temperature <= 2:
        said = "must be above 0 and at most 2; the first sample takes 0"
        raise EvaluationError(f"temperature={temperature!r} {said}")


def _taught_kinds(facts: FactSet) -> list[Kind]:
    return [kind for kind in _KINDS if kind in facts.counts]


def _result(card: Scorecard, settings: Settings, arms: tuple[str, ...]) -> ProbeResult:
    facts = settings.facts
    asked = {}
    for fact in facts:
        asked[fact.id] = sum(wording.kind in settings.kinds for wording in fact.wordings)
    rows = read_knowledge(card.scores, facts, greedy=_BASE, arms=arms, scorer=card.scorer, wordings=asked)
    return ProbeResult(
        rows=tuple(row for row in rows if asked[row.id]),
        facts=facts,
        path=settings.log,
        scorer=card.scorer,
        samples=len(arms),
    )
