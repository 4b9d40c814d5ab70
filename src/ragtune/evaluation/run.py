"""The two faces of an evaluation: in threads, and in tasks of an event loop."""

from __future__ import annotations

from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any

from ragtune._progress import bar
from ragtune._sync import run
from ragtune.errors import BudgetExceeded, EvaluationError
from ragtune.evaluation.asking.answerers import Arm, Asking, arm_of
from ragtune.evaluation.asking.arms import BASE, TUNED
from ragtune.evaluation.asking.calls import AsyncCalls, SyncCalls
from ragtune.evaluation.asking.drive import in_tasks, in_threads
from ragtune.evaluation.asking.prices import Purse, check_prices
from ragtune.evaluation.asking.probe import prove_different
from ragtune.evaluation.log import AnswerLog, fingerprint, read_log
from ragtune.evaluation.scorecard import Scorecard
from ragtune.evaluation.scorers import scorers_named
from ragtune.evaluation.session import Evaluation
from ragtune.evaluation.settings import MAX_TOKENS, TIMEOUT_S, Settings, checked_settings
from ragtune.facts import KINDS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from ragtune.evaluation.asking.answerers import Answerer
    from ragtune.evaluation.asking.calls import Calls
    from ragtune.evaluation.asking.prices import Price
    from ragtune.evaluation.scorers import ScorerArgument
    from ragtune.facts import FactSet, Kind

__all__ = ["evaluate", "evaluate_async"]


def evaluate(
    answerers: Mapping[str, Answerer],
    facts: FactSet,
    scorers: ScorerArgument = ("contains", "f1"),
    *,
    log: str | os.PathLike[str] | None = None,
    kinds: Sequence[Kind] | None = None,
    max_cost_usd: float | None = None,
    prices: Mapping[str, Price] | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    max_tokens: int | None = MAX_TOKENS,
    seed: int = 7,
    progress: bool | None = None,
    probe: bool = True,
    **parameters: object,
) -> Scorecard:
    """Ask everybody every question and return the card.

    Every answer is written to the log as it comes. The same call with the same log goes on where an earlier one was
    stopped, asks again only what was not answered, and equal questions to equal models once. A question that fails
    counts as wrong and is listed in `card.errors`.

    Args:
        answerers: who is asked, by name: an `rt.TunedModel`, a pair (client, "model"), or a function of the question
            that returns a text or an `rt.Answer`, synchronous or not. `rt.arms` makes the usual five.
        facts: what is asked for, in all its wordings.
        scorers: names (`contains`, `exact`, `f1`, `rouge_l`, `chrf`, `choice`, `json_valid`, `refusal`) or functions of
            one `ragtune.evaluation.Context` that return a bool, a number or a label; a dict names them. The first is
            the one that the card shows.
        log: JSONL file of all answers; made where it is not there. None takes a temporary one.
        kinds: kinds of wording to ask for; None asks for all that the facts have.
        max_cost_usd: US dollars that this log's answers may cost together; what could go beyond it is not sent.
        prices: `ragtune.evaluation.Price` by name, for those whose price the catalogue does not know.
        concurrency: questions under way at once, at least 1.
        timeout_s: seconds after which a question counts as not answered.
        max_tokens: most tokens of an answer, None for the server's own limit.
        seed: of bootstrap and permutation tests.
        progress: draw a bar. True: always; False: never; None: on a terminal or in a notebook.
        probe: ask `base` and `tuned` a few questions first and refuse to compare them where they are one model.
        parameters: any other parameter of a chat completion; temperature is 0 unless you say otherwise.

    Raises:
        EvaluationError: facts without answers or of unknown kinds, a log of other facts or models, or base and tuned
            that answer alike to the last digit.
        BudgetExceeded: the money is spent; the log keeps what was answered.
        KeyboardInterrupt: Ctrl-C; the log is whole.

    Example:
        ```python
        import ragtune as rt
        from ragtune.facts import Fact, FactSet, Wording

        lake = Fact(id="lake", answers=("83 metres", "83 m"), wordings=(
            Wording(question="How deep is Lake Sorrel?"),
            Wording(question="What is the depth of Lake Sorrel?", kind="reworded"),
        ))
        card = rt.evaluate({"parrot": lambda question: "It is 83 m deep."}, FactSet(facts=(lake,)), log="lake.jsonl")
        print(card["parrot"]["reworded"].mean, card.errors)
        #> 1.0 ()
        ```
    """
    named = scorers_named(scorers)
    settings = checked_settings(
        answerers=answerers,
        facts=facts,
        kinds=kinds,
        log=log,
        concurrency=concurrency,
        timeout_s=timeout_s,
        max_cost_usd=max_cost_usd,
        progress=progress,
        probe=probe,
    )
    call = SyncCalls()
    asking = Asking(
        call=call, asynchronous=False, parameters=parameters, max_tokens=max_tokens, prices=dict(prices or {})
    )
    arms = _arms(answerers, asking, max_cost_usd)
    try:
        with _begun(arms, facts, settings, call) as evaluation:
            run(_prove(evaluation, settings))
            threads = in_threads(
                evaluation.questions(),
                lambda question: run(evaluation.ask(question)),
                concurrency=settings.concurrency,
                timeout_s=settings.timeout_s,
                late=lambda question: evaluation.late(question, settings.timeout_s),
            )
            with closing(threads), _shown(evaluation, settings) as progress_bar:
                for _ in threads:
                    progress_bar.update()
    finally:
        call.close()
    return Scorecard.load(settings.log, scorers=named, seed=seed)


async def evaluate_async(
    answerers: Mapping[str, Answerer],
    facts: FactSet,
    scorers: ScorerArgument = ("contains", "f1"),
    *,
    log: str | os.PathLike[str] | None = None,
    kinds: Sequence[Kind] | None = None,
    max_cost_usd: float | None = None,
    prices: Mapping[str, Price] | None = None,
    concurrency: int = 8,
    timeout_s: float = TIMEOUT_S,
    max_tokens: int | None = MAX_TOKENS,
    seed: int = 7,
    progress: bool | None = None,
    probe: bool = True,
    **parameters: object,
) -> Scorecard:
    """Ask everybody every question; see `ragtune.evaluate`. Takes asynchronous clients and models as well."""
    named = scorers_named(scorers)
    settings = checked_settings(
        answerers=answerers,
        facts=facts,
        kinds=kinds,
        log=log,
        concurrency=concurrency,
        timeout_s=timeout_s,
        max_cost_usd=max_cost_usd,
        progress=progress,
        probe=probe,
    )
    call = AsyncCalls()
    asking = Asking(
        call=call, asynchronous=True, parameters=parameters, max_tokens=max_tokens, prices=dict(prices or {})
    )
    arms = _arms(answerers, asking, max_cost_usd)
    with _begun(arms, facts, settings, call) as evaluation:
        await _prove(evaluation, settings)
        tasks = in_tasks(
            evaluation.questions(),
            evaluation.ask,
            concurrency=settings.concurrency,
            timeout_s=settings.timeout_s,
            late=lambda question: evaluation.late(question, settings.timeout_s),
        )
        with _shown(evaluation, settings) as progress_bar:
            async with aclosing(tasks):
                async for _ in tasks:
                    progress_bar.update()
    return Scorecard.load(settings.log, scorers=named, seed=seed)


@contextmanager
def _begun(arms: Mapping[str, Arm], facts: FactSet, settings: Settings, call: Calls) -> Iterator[Evaluation]:
    """An evaluation with its log open; what interrupts it is told how to go on."""
    identities = {name: arm.identity for name, arm in arms.items()}
    with AnswerLog(settings.log, facts=fingerprint(facts), arms=identities) as log:
        evaluation = Evaluation(
            arms=arms, facts=facts, kinds=settings.kinds, log=log, purse=Purse(settings.max_cost_usd), call=call
        )
        evaluation.remember()
        try:
            yield evaluation
        except (KeyboardInterrupt, Exception) as error:
            count = f"{evaluation.answered} of {evaluation.total} answers"
            error.add_note(f"{settings.log} has {count}; the same call goes on there")
            raise
        _check_spent(evaluation)


def _check_spent(evaluation: Evaluation) -> None:
    purse = evaluation.purse
    if purse.limit_usd is None:
        return
    # A question without an answer was asked; one that never began has no line.
    lines = (line for _, line in read_log(evaluation.log.path) if line["type"] == "answer")
    begun = {(line["arm"], line["fact"], line["wording"]) for line in lines}
    never = sum(place not in begun for place in evaluation.places())
    if never:
        message = (
            f"the answers in {evaluation.log.path} cost ${purse.spent_usd:.4f}, and the next could go beyond "
            f"max_cost_usd={purse.limit_usd:g}; {never} of {evaluation.total} questions were not asked. The same call "
            "with a higher limit goes on; rt.Scorecard.load(log) shows what is there"
        )
        raise BudgetExceeded(message)


@contextmanager
def _shown(evaluation: Evaluation, settings: Settings) -> Iterator[Any]:
    if not settings.progress:
        yield _NoBar()
        return
    drawn = bar("evaluate", unit="answer", total=evaluation.total, done=evaluation.answered)
    with closing(drawn):
        yield drawn


class _NoBar:
    def update(self) -> None:
        """Show nothing."""


async def _prove(evaluation: Evaluation, settings: Settings) -> None:
    """Ask base and tuned the probe, unless the log says that they were told apart before."""
    arms = evaluation.arms
    if not settings.probe or evaluation.proof is not None or not {BASE, TUNED} <= set(arms):
        return
    wordings = [wording for fact in evaluation.facts for wording in fact.wordings if wording.kind in settings.kinds]
    wordings.sort(key=lambda wording: KINDS.index(wording.kind))
    by = await prove_different(arms[BASE], arms[TUNED], [wording.question for wording in wordings])
    if by is not None:
        evaluation._end += evaluation.log.append({"type": "probe", "by": by})


def _arms(answerers: Mapping[str, Answerer], asking: Asking, max_cost_usd: float | None) -> dict[str, Arm]:
    check_prices(asking.prices, answerers)
    arms = {name: arm_of(name, answerer, asking) for name, answerer in answerers.items()}
    for name, arm in arms.items() if max_cost_usd is not None else ():
        respondent = arm.respondent
        if respondent.price is None or respondent.price.at_most("", respondent.max_tokens) is None:
            unknown = "its price is not known" if respondent.price is None else "its answers have no longest length"
            message = (
                f"max_cost_usd={max_cost_usd:g} cannot be kept for {name!r}: {unknown}; give prices={{{name!r}: "
                "ragtune.evaluation.Price(...)}}" + (", or max_tokens=" if respondent.price is not None else "")
            )
            raise EvaluationError(message)
    return arms
