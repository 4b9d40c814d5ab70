"""The two faces of an evaluation: in threads, and in tasks of an event loop."""

from __future__ import annotations

from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any

from ragtune._checked import checked
from ragtune._progress import NoBar, bar
from ragtune._sync import run
from ragtune.errors import BudgetExceeded
from ragtune.evaluation.asking.answerers import Arm, Asking, arm_of
from ragtune.evaluation.asking.arms import BASE, TUNED
from ragtune.evaluation.asking.calls import AsyncCalls, SyncCalls
from ragtune.evaluation.asking.drive import in_tasks, in_threads
from ragtune.evaluation.asking.prices import Purse, check_payable, check_prices
from ragtune.evaluation.asking.proof import prove_different
from ragtune.evaluation.card.scorecard import Scorecard, card_of
from ragtune.evaluation.log import AnswerLog, fingerprint
from ragtune.evaluation.scorers import scorers_named
from ragtune.evaluation.scoring import Scoring
from ragtune.evaluation.session import Evaluation
from ragtune.evaluation.settings import MAX_TOKENS, TIMEOUT_S, Settings, checked_settings
from ragtune.facts import KINDS
from ragtune.facts.fact import wordings_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from ragtune.evaluation.asking.answerers import Answerer
    from ragtune.evaluation.asking.calls import Calls
    from ragtune.evaluation.asking.drive import Drive
    from ragtune.evaluation.asking.prices import Price
    from ragtune.evaluation.scorers import Scorer, ScorerArgument
    from ragtune.facts import FactSet, Kind

__all__ = ["ask_arms", "evaluate", "evaluate_async"]


@checked("answerers", "scorers", "kinds", "prices")
def evaluate(
    answerers: Mapping[str, Answerer],
    facts: FactSet,
    scorers: ScorerArgument = ("contains", "f1"),
    *,
    log: str | os.PathLike[str] | None = None,
    kinds: Kind | Sequence[Kind] | None = None,
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
        max_tokens=max_tokens,
        max_cost_usd=max_cost_usd,
        seed=seed,
        progress=progress,
        probe=probe,
        parameters=parameters,
    )
    calls = SyncCalls()
    try:
        arms = _arms(settings, prices, calls)
        return run(ask_arms(arms, settings, scorers=named, calls=calls, drive=in_threads))
    finally:
        calls.close()


@checked("answerers", "scorers", "kinds", "prices")
async def evaluate_async(
    answerers: Mapping[str, Answerer],
    facts: FactSet,
    scorers: ScorerArgument = ("contains", "f1"),
    *,
    log: str | os.PathLike[str] | None = None,
    kinds: Kind | Sequence[Kind] | None = None,
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
        max_tokens=max_tokens,
        max_cost_usd=max_cost_usd,
        seed=seed,
        progress=progress,
        probe=probe,
        parameters=parameters,
    )
    calls = AsyncCalls()
    return await ask_arms(_arms(settings, prices, calls), settings, scorers=named, calls=calls, drive=in_tasks)


async def ask_arms(
    arms: Mapping[str, Arm], settings: Settings, *, scorers: Mapping[str, Scorer], calls: Calls, drive: Drive
) -> Scorecard:
    """Ask and score; each answer is scored as it comes, so that a scorer that cannot count is found at once.

    Args:
        arms: who is asked.
        settings: how; those whom they name are not looked at.
        scorers: by name.
        calls: how the arms ask.
        drive: `in_threads` or `in_tasks`, as the calls are.

    Raises:
        EvaluationError: a log of other facts or models, or base and tuned that answer alike to the last digit.
        BudgetExceeded: the money is spent; the log keeps what was answered.
    """
    scoring = Scoring(scorers)
    # Before the log is held: a system prompt may have to be looked up on a slow server.
    identities = {name: await arm.identity() for name, arm in arms.items()}
    with _begun(arms, identities, settings=settings, scoring=scoring, calls=calls) as evaluation:
        # Before anything is paid: were both names one model, no answer would be worth its price.
        await _prove(evaluation, settings)
        asked = drive(
            evaluation.questions(),
            evaluation.ask,
            concurrency=settings.concurrency,
            timeout_s=settings.timeout_s,
            late=lambda question: evaluation.late(question, settings.timeout_s),
        )
        with _shown(evaluation, settings) as progress_bar:
            async with aclosing(asked):
                async for _ in asked:
                    evaluation.hand_over()
                    progress_bar.update()
    # What a thread that was given up has written since.
    evaluation.hand_over()
    return card_of(settings.log, scoring.scores(fingerprint(settings.facts)), scorers, seed=settings.seed)


@contextmanager
def _begun(
    arms: Mapping[str, Arm],
    identities: Mapping[str, Mapping[str, str]],
    *,
    settings: Settings,
    scoring: Scoring,
    calls: Calls,
) -> Iterator[Evaluation]:
    """An evaluation with its log open; what interrupts it is told how to go on."""
    with AnswerLog(settings.log, facts=fingerprint(settings.facts), arms=identities) as log:
        evaluation = Evaluation(
            arms=arms,
            facts=settings.facts,
            kinds=settings.kinds,
            log=log,
            purse=Purse(settings.max_cost_usd),
            call=calls,
            take=scoring.take,
        )
        evaluation.remember()
        try:
            yield evaluation
        # A note and no other error: who catches KeyboardInterrupt must still see one.
        except (KeyboardInterrupt, Exception) as error:
            count = f"{evaluation.answered} of {evaluation.total} answers"
            error.add_note(f"{settings.log} has {count}; the same call goes on there")
            raise
        _check_spent(evaluation)


def _check_spent(evaluation: Evaluation) -> None:
    purse, never = evaluation.purse, evaluation.never_begun
    if purse.limit_usd is not None and never:
        message = (
            f"the answers in {evaluation.log.path} cost ${purse.spent_usd:.4f}, and the next could go beyond "
            f"max_cost_usd={purse.limit_usd:g}; {never} of {evaluation.total} questions were not asked. The same call "
            "with a higher limit goes on; rt.Scorecard.load(log) shows what is there"
        )
        raise BudgetExceeded(message)


@contextmanager
def _shown(evaluation: Evaluation, settings: Settings) -> Iterator[Any]:
    total, done = evaluation.total, evaluation.answered
    with closing(bar("evaluate", unit="answer", total=total, done=done) if settings.progress else NoBar()) as drawn:
        yield drawn


async def _prove(evaluation: Evaluation, settings: Settings) -> None:
    """Ask base and tuned the probe, unless the log says that they were told apart before."""
    arms = evaluation.arms
    if not settings.probe or evaluation.proof is not None or not {BASE, TUNED} <= set(arms):
        return
    wordings = [wording for wording in wordings_of(evaluation.facts) if wording.kind in settings.kinds]
    # The trained words first: there base and tuned differ most surely, so few questions tell them apart.
    wordings.sort(key=lambda wording: KINDS.index(wording.kind))
    purse, questions = evaluation.purse, [wording.question for wording in wordings]
    before = purse.spent_usd
    by = await prove_different(arms[BASE], arms[TUNED], questions, purse)
    if by is not None:
        evaluation.prove(by, cost_usd=purse.spent_usd - before)


def _arms(settings: Settings, prices: Mapping[str, Price] | None, calls: Calls) -> dict[str, Arm]:
    known = check_prices({} if prices is None else prices, settings.answerers)
    asking = Asking(call=calls, parameters=settings.parameters, max_tokens=settings.max_tokens, prices=known)
    arms = {name: arm_of(name, answerer, asking) for name, answerer in settings.answerers.items()}
    if settings.max_cost_usd is not None:
        for name, arm in arms.items():
            given = f"prices={{{name!r}: ragtune.evaluation.Price(...)}}"
            check_payable(name, arm.respondent, limit_usd=settings.max_cost_usd, way_out=given)
    return arms
