"""One group of documents: its figures, what both ways would cost a month, and what that says."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ragtune.advice.sums import (
    break_even,
    context_at_par,
    question_usd,
    refresh_usd,
    tuned_question_usd,
    wrong_answer_limit,
)

if TYPE_CHECKING:
    from ragtune.advice.assumptions import Assumptions, Prices
    from ragtune.advice.corpus import GroupFacts

__all__ = ["GroupAdvice", "Verdict", "judge_group"]

Verdict = Literal["keep", "tune", "both", "do not tune"]


@dataclass(frozen=True, kw_only=True)
class GroupAdvice:
    """One group of documents; None is unknown, infinite is never.

    Attributes:
        group: its name, `all` where the corpus has one group.
        verdict: `keep` in retrieval, `tune`, `both` (tuned on rows with passages, and retrieval stays), or
            `do not tune`, where something stands against it whatever the volume.
        why: the reason in words.
        sensitivity: what would change the verdict, in words.
        documents: in the newest snapshot.
        tokens: of all of them, counted on some and taken by length for the others.
        static_share: unchanged in all snapshots, of the documents; or for long by their dates, of those that have one.
        changed_per_month: share of the documents that change in a month.
        growth_per_month: documents more per month.
        repeated_share: of the documents: their text stands there before, to the letter.
        near_share: of the documents: nearly the same as another one; None where there were too many to compare, or
            the extra `dedup` is not installed.
        questions_per_month: that touch this group.
        context_tokens: of the passages before a question.
        embedded_tokens_per_month: of changed and new documents (processing).
        stored_bytes: of vectors and texts (storage).
        retrieved_tokens_per_month: that passages bring into prompts.
        retrieval_usd: of one question with passages.
        tuned_usd: of one question to the tuned model alone.
        upkeep_usd_per_month: embedding and storage.
        refresh_usd: one set of rows, training, evaluation and review.
        refreshes_per_month: that keep the stale share within what you tolerate.
        break_even_questions: per month, from which on the tuned model is cheaper.
        months_to_recover: until the first training has paid for itself, wrong answers aside.
        months_to_shutdown: of the tuned model.
        wrong_answer_limit_usd: what a wrong answer may cost before the tuned model becomes the dearer one.
        context_at_par: tokens of passages at which a question costs the same both ways.
        keep_usd_per_month: retrieval as it is, wrong answers included.
        tune_usd_per_month: the tuned model alone.
        both_usd_per_month: the tuned model with passages.

    Example:
        ```python
        import ragtune as rt

        group = rt.advise(["Moss grows in damp shade."] * 4, queries_per_month=1_000).groups[0]
        print(group.verdict, group.repeated_share, group.break_even_questions)
        #> do not tune 0.75 None
        ```
    """

    group: str
    verdict: Verdict
    why: str
    sensitivity: tuple[str, ...]
    documents: int
    tokens: float
    static_share: float | None
    changed_per_month: float | None
    growth_per_month: float | None
    repeated_share: float
    near_share: float | None
    questions_per_month: float
    context_tokens: float
    embedded_tokens_per_month: float | None
    stored_bytes: float
    retrieved_tokens_per_month: float
    retrieval_usd: float | None
    tuned_usd: float | None
    upkeep_usd_per_month: float | None
    refresh_usd: float | None
    refreshes_per_month: float | None
    break_even_questions: float | None
    months_to_recover: float | None
    months_to_shutdown: float | None
    wrong_answer_limit_usd: float | None
    context_at_par: float | None
    keep_usd_per_month: float | None
    tune_usd_per_month: float | None
    both_usd_per_month: float | None


def judge_group(
    name: str,
    facts: GroupFacts,
    *,
    questions: float,
    prices: Prices,
    assumed: Assumptions,
    months_to_shutdown: float | None,
) -> GroupAdvice:
    """All sums of a group, and the verdict that follows."""
    figures = _figures(
        name, facts, questions=questions, prices=prices, assumed=assumed, months_to_shutdown=months_to_shutdown
    )
    verdict, why = _verdict(figures, assumed)
    judged = replace(figures, verdict=verdict, why=why)
    return replace(judged, sensitivity=tuple(_sensitivity(judged, assumed)))


def _figures(
    name: str,
    facts: GroupFacts,
    *,
    questions: float,
    prices: Prices,
    assumed: Assumptions,
    months_to_shutdown: float | None,
) -> GroupAdvice:
    sizes = _sizes(facts, assumed)
    upkeep = _upkeep(sizes.embedded, sizes.stored, prices)
    retrieval = question_usd(sizes.context, prices, assumed)
    tuned = tuned_question_usd(retrieval, prices, assumed)
    both = tuned_question_usd(retrieval, prices, _all_with_passages(assumed), context=sizes.context)
    refresh = refresh_usd(facts.tokens, prices, assumed)
    # A training is due when the share of documents that changed since the last one has grown to what may be stale.
    refreshes = None if sizes.changed is None else sizes.changed / assumed.stale_share
    fixed = _total(_times(refresh, refreshes), assumed.hosting_usd_per_month)
    saved = None if retrieval is None or tuned is None else retrieval - tuned
    monthly = _total(_times(saved, questions), upkeep, _times(fixed, -1.0))
    return GroupAdvice(
        group=name,
        # Until it is judged, which takes the figures themselves.
        verdict="keep",
        why="",
        sensitivity=(),
        documents=facts.documents,
        tokens=facts.tokens,
        static_share=facts.static_share,
        changed_per_month=sizes.changed,
        growth_per_month=facts.growth_per_month,
        repeated_share=facts.repeated / facts.documents,
        near_share=None if facts.near is None else facts.near / facts.documents,
        questions_per_month=questions,
        context_tokens=sizes.context,
        embedded_tokens_per_month=sizes.embedded,
        stored_bytes=sizes.stored,
        retrieved_tokens_per_month=questions * sizes.context,
        retrieval_usd=retrieval,
        tuned_usd=tuned,
        upkeep_usd_per_month=upkeep,
        refresh_usd=refresh,
        refreshes_per_month=refreshes,
        break_even_questions=break_even(_total(fixed, _times(upkeep, -1.0)), saved),
        months_to_recover=None if monthly is None or refresh is None else _months(refresh, monthly),
        months_to_shutdown=months_to_shutdown,
        wrong_answer_limit_usd=wrong_answer_limit(saved, assumed.retrieval_accuracy, assumed.tuned_accuracy),
        context_at_par=context_at_par(prices, assumed),
        keep_usd_per_month=_total(_answers(questions, retrieval, assumed.retrieval_accuracy, assumed), upkeep),
        tune_usd_per_month=_total(_answers(questions, tuned, assumed.tuned_accuracy, assumed), fixed),
        both_usd_per_month=_total(_answers(questions, both, assumed.both_accuracy, assumed), fixed, upkeep),
    )


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """How much of a group a question brings along, a month changes and embeds, and an index keeps."""

    context: float
    changed: float | None
    embedded: float | None
    stored: float


def _sizes(facts: GroupFacts, assumed: Assumptions) -> _Sizes:
    length = facts.tokens / facts.documents
    # A document that is shorter than a chunk is a passage by itself.
    context = assumed.passages * min(length, assumed.chunk_tokens)
    changed = facts.changed_per_month if assumed.changed_per_month is None else assumed.changed_per_month
    # Documents that go are not embedded: growth below zero costs nothing.
    embedded = None if changed is None else (changed * facts.documents + max(facts.growth_per_month or 0, 0)) * length
    # Four bytes a number: vectors are kept as float32.
    vectors = facts.documents * math.ceil(max(length, 1) / assumed.chunk_tokens) * assumed.vector_dimensions * 4
    return _Sizes(context=context, changed=changed, embedded=embedded, stored=vectors + facts.characters)


def _all_with_passages(assumed: Assumptions) -> Assumptions:
    """With passages in every prompt no question is passed on."""
    return replace(assumed, routed_share=0.0)


def _upkeep(embedded: float | None, stored: float, prices: Prices) -> float | None:
    embedding = _times(prices.embedding_usd_per_million, None if embedded is None else embedded / 1e6)
    return _total(embedding, _times(prices.storage_usd_per_gb_month, stored / 1e9))


def _answers(questions: float, usd: float | None, right: float | None, assumed: Assumptions) -> float | None:
    """A month of answers, what the wrong ones cost included."""
    if usd is None or right is None:
        return None
    return questions * (usd + assumed.wrong_answer_usd * (1 - right))


def _months(refresh: float, monthly: float) -> float:
    return refresh / monthly if monthly > 0 else math.inf


def _times(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first * second


def _total(*parts: float | None) -> float | None:
    return None if None in parts else sum(part for part in parts if part is not None)


def _verdict(own: GroupAdvice, assumed: Assumptions) -> tuple[Verdict, str]:
    ways = {"keep": own.keep_usd_per_month, "tune": own.tune_usd_per_month, "both": own.both_usd_per_month}
    if own.retrieval_usd is None or own.tuned_usd is None:
        # Nobody is told to train on a guess: all that is unknown speaks for staying.
        return "keep", "a price is unknown, so nothing speaks for a training yet"
    saved = own.retrieval_usd - own.tuned_usd
    right, tuned, both = assumed.retrieval_accuracy, assumed.tuned_accuracy, assumed.both_accuracy
    if right is None or tuned is None:
        return "keep", "how often either is right is unknown: measure it with rt.evaluate"
    if saved <= 0 and tuned <= right and (both is None or both <= right or _gain_too_dear(own)):
        return (
            "do not tune",
            f"with passages of {own.context_tokens:,.0f} tokens a question costs ${own.retrieval_usd * 1e6:,.0f} per "
            f"million with retrieval and ${own.tuned_usd * 1e6:,.0f} tuned, and retrieval is right more often "
            f"({right:.0%} against {tuned:.0%})",
        )
    if own.changed_per_month is None:
        return "keep", "how often these documents change is unknown: give updated=, or Snapshots of several days"
    if own.refreshes_per_month is not None and own.refreshes_per_month > assumed.most_refreshes_per_month:
        return (
            "do not tune",
            f"{own.changed_per_month:.1%} of these documents change in a month: to keep no more than "
            f"{assumed.stale_share:.0%} stale takes {own.refreshes_per_month:,.1f} trainings a month",
        )
    known = {name: usd for name, usd in ways.items() if usd is not None}
    if "keep" not in known:
        return "keep", "what retrieval costs in a month is unknown, so nothing speaks for a training yet"
    best = min(known, key=lambda name: known[name])
    if best == "keep":
        return "keep", _why_cheapest("retrieval", "keep", known)
    # As dear as before, a training never pays for itself.
    recovered = (own.refresh_usd or 0.0) / (known["keep"] - known[best]) if known["keep"] > known[best] else math.inf
    if own.months_to_shutdown is not None and recovered >= own.months_to_shutdown:
        return (
            "do not tune",
            f"the tuned model stops answering in {own.months_to_shutdown:,.1f} months, before the training has paid "
            f"for itself ({recovered:,.1f} months)",
        )
    if best == "tune":
        return "tune", _why_cheapest("the tuned model alone", "tune", known)
    return "both", _why_cheapest("the tuned model with passages", "both", known)


def _gain_too_dear(own: GroupAdvice) -> bool:
    keep, both = own.keep_usd_per_month, own.both_usd_per_month
    return keep is None or both is None or both >= keep


def _why_cheapest(words: str, name: str, known: dict[str, float]) -> str:
    others = ", ".join(f"{other} ${usd:,.2f}" for other, usd in known.items() if other != name)
    return f"{words} is the cheapest with its wrong answers: ${known[name]:,.2f} a month ({others})"


def _sensitivity(own: GroupAdvice, assumed: Assumptions) -> list[str]:
    """What would turn the verdict, one number at a time."""
    found = []
    if own.context_at_par is not None:
        found.append(
            f"passages of {own.context_at_par:,.0f} tokens cost the same both ways (here {own.context_tokens:,.0f}); "
            "longer ones speak for the weights"
        )
    if own.break_even_questions is not None and math.isfinite(own.break_even_questions):
        found.append(
            f"from {own.break_even_questions:,.0f} questions a month the tuned model is cheaper, wrong answers aside "
            f"(here {own.questions_per_month:,.0f})"
        )
    limit = own.wrong_answer_limit_usd
    if limit == 0:
        found.append("no price of a wrong answer speaks for the weights: a question costs no less there")
    elif limit is not None and math.isfinite(limit):
        found.append(
            f"a wrong answer may cost at most ${limit:.6f}, refreshes and hosting aside (taken: "
            f"${assumed.wrong_answer_usd:.6f})"
        )
    if None not in (own.retrieval_usd, own.tuned_usd, assumed.retrieval_accuracy) and assumed.wrong_answer_usd:
        saved = (own.retrieval_usd or 0.0) - (own.tuned_usd or 0.0)
        needed = (assumed.retrieval_accuracy or 0.0) - saved / assumed.wrong_answer_usd
        if 0 < needed <= 1 and assumed.tuned_accuracy is not None:
            found.append(
                f"the tuned model would have to be right {needed:.1%} of the time, refreshes and hosting aside (taken: "
                f"{assumed.tuned_accuracy:.1%})"
            )
    if own.refreshes_per_month is not None and own.refreshes_per_month > assumed.most_refreshes_per_month:
        most = assumed.most_refreshes_per_month * assumed.stale_share
        found.append(f"at most {most:.1%} of the documents may change in a month (here {own.changed_per_month:.1%})")
    return found
