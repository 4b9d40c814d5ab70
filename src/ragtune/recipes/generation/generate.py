"""Ask a model for rows: many calls at once, each paid for once, and nothing lost when it ends early."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._checked import checked
from ragtune._warn import warn
from ragtune.errors import BudgetExceeded, DatasetError
from ragtune.facts import Fact, FactSet, Wording
from ragtune.facts.fact import wordings_of
from ragtune.facts.faults import is_cut
from ragtune.facts.paid_chat import PaidChat
from ragtune.recipes.generation.checks import HALVED, NOTHING, PROSE, REPEATED, Checks
from ragtune.recipes.generation.diversity import Diversity, diversity
from ragtune.recipes.generation.prompts import KINDS, prompt_of
from ragtune.recipes.generation.replies import pairs_in, texts_in
from ragtune.recipes.generation.units import units_of
from ragtune.recipes.options import known, require_whole
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from ragtune.catalog import Catalog
    from ragtune.facts.paid_chat import ChatClient
    from ragtune.recipes.generation.prompts import Unit, What

__all__ = ["Generated", "generate"]

ANSWER_TOKENS = 600


@dataclass(frozen=True, kw_only=True)
class _Written:
    """What one call gave: what passed the checks, and why the rest did not."""

    unit: Unit
    kept: tuple[tuple[str, str], ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    prose: str | None = None


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What a model wrote and what became of it.

    Attributes:
        facts: the given facts with what was made for them, or facts that were found in passages.
        made: how many wordings, distractors or facts are new.
        left_out: how many were not taken, by reason.
        calls: how many requests were paid for in this run.
        remembered: how many answers came from the cache.
        spent_usd: what the requests cost; None where the price is unknown.
        spent_tokens: their tokens, questions and answers together.
        diversity: how far the new texts differ from each other.
        stopped: why it ended before its end, or None. Another call with the same cache goes on there.
    """

    facts: FactSet
    made: int
    left_out: Mapping[str, int]
    calls: int
    remembered: int
    spent_usd: float | None
    spent_tokens: int
    diversity: Diversity
    stopped: str | None = None

    def __str__(self) -> str:
        cost = "price unknown" if self.spent_usd is None else f"${self.spent_usd:.4f}"
        lines = [
            f"{self.made:,} made, {sum(self.left_out.values()):,} left out; {self.calls:,} calls, {self.remembered:,} "
            f"remembered, {self.spent_tokens:,} tokens, {cost}",
            *(f"  left out: {number:,} {reason}" for reason, number in self.left_out.items()),
            f"  they compress {self.diversity.compression:.1f} times; {self.diversity.opening_share:.0%} begin with "
            f"{self.diversity.opening!r}",
        ]
        return "\n".join(lines if self.stopped is None else [*lines, f"  stopped: {self.stopped}"])


@checked("client", "source", "what")
def generate(
    client: ChatClient,
    source: FactSet | Iterable[object],
    *,
    what: What,
    model: str,
    cache: str | Path,
    per_unit: int = 3,
    judge: bool = True,
    max_cost_usd: float | None = None,
    max_tokens: int | None = None,
    concurrency: int = 4,
    request: Mapping[str, object] | None = None,
    catalogue: Catalog | None = None,
) -> Generated:
    """Let a model write what rules cannot: wordings, facts from passages, what follows from them, wrong answers.

    Each row is checked before it is taken. A pair's answer must stand in its passage, or a second question to the model
    says that it follows; a wording must have the fact's answer and not tell it; a wrong answer must not be right. The
    cache holds every request and its answer from the moment it came: a run that was interrupted, killed or out of
    budget goes on there, and nothing is paid for twice.

    Args:
        client: such as `openai.OpenAI`, for any server that answers chats.
        source: facts; for `pairs` and `implications` also passages: texts, `Passage`s, or mappings with `text`.
        what: `wordings` adds rewordings to facts, `distractors` wrong answers; `pairs` finds facts in passages,
            `implications` facts that follow from them.
        model: name of the client's model.
        cache: file of all requests and answers, by content.
        per_unit: so many for each fact or passage.
        judge: whether the model is asked again where no rule is sure. Without it, wordings and wrong answers are taken
            when no rule speaks against them, and implications never.
        max_cost_usd: no request is sent that might bring the price above it; what was made so far is returned.
        max_tokens: the same for tokens.
        concurrency: so many facts or passages are worked on at once.
        request: further arguments of each request, for example `{"temperature": 1.0}`.
        catalogue: prices; None takes those that ship.

    Raises:
        DatasetError: the model writes prose and not one row, there is nothing to write about, no price is known for
            `max_cost_usd`, the cache cannot be written or is another file, or `request` is no JSON.
        SpecError: a budget is negative, infinite or no number.
    """
    known(what, KINDS, "what")
    require_whole("per_unit", per_unit, low=1, high=50)
    require_whole("concurrency", concurrency, low=1, high=256)
    if not hasattr(client, "chat"):
        raise DatasetError(f"client={client!r:.60} must be a client with chat completions, such as openai.OpenAI()")
    units = units_of(what, source)
    chat = PaidChat(
        client=client,
        model=model,
        cache=Path(cache),
        max_cost_usd=max_cost_usd,
        max_tokens=max_tokens,
        answer_tokens=ANSWER_TOKENS,
        catalogue=catalogue,
        request=request or {},
        what="rows",
    )
    work = _Work(what=what, per_unit=per_unit, chat=chat, checks=Checks(chat=chat, judge=judge))
    written, stopped = _all(work, units, concurrency=concurrency, cache=chat.cache)
    facts = source if isinstance(source, FactSet) else FactSet(facts=())
    return _told(what, facts=facts, written=written, chat=chat, stopped=stopped)


@dataclass(frozen=True, kw_only=True)
class _Work:
    what: What
    per_unit: int
    chat: PaidChat
    checks: Checks

    def __call__(self, unit: Unit) -> _Written:
        reply = self.chat.ask(prompt_of(self.what, unit, self.per_unit))
        found = self._rows(reply)
        if found is None:
            return _Written(unit=unit, left_out={PROSE: 1}, prose=reply)
        if not found:
            return _Written(unit=unit, left_out={NOTHING: 1})
        # A model that writes more than it was asked for costs no further checks.
        reasons = [(pair, self._reason(unit, pair)) for pair in found[: self.per_unit]]
        return _Written(
            unit=unit,
            kept=tuple(pair for pair, reason in reasons if reason is None),
            left_out=Counter(reason for _, reason in reasons if reason is not None),
        )

    def _rows(self, reply: str) -> list[tuple[str, str]] | None:
        if self.what in ("pairs", "implications"):
            return pairs_in(reply)
        texts = texts_in(reply)
        return None if texts is None else [(text, "") for text in texts]

    def _reason(self, unit: Unit, pair: tuple[str, str]) -> str | None:
        question, answer = pair
        if is_cut(question) or is_cut(answer):
            return HALVED
        if self.what == "wordings":
            return self.checks.of_wording(unit, question)
        if self.what == "distractors":
            return self.checks.of_distractor(unit, question)
        return self.checks.of_pair(self.what, unit, question, answer)


def _all(
    work: _Work, units: Sequence[Unit], *, concurrency: int, cache: Path | None
) -> tuple[list[_Written], str | None]:
    """What came of each unit, in their order, as far as the budget went, and why it stopped."""
    stopped: str | None = None
    with ThreadPoolExecutor(concurrency) as pool:
        begun: list[Future[_Written]] = [pool.submit(work, unit) for unit in units]
        written: list[_Written] = []
        try:
            # In the order of units and not of answers: the same cache gives the same facts in the same order.
            for future in begun:
                # By the end of the budget, below; what was under way then still comes, since it is paid for.
                if future.cancelled():
                    continue
                try:
                    written.append(future.result())
                except BudgetExceeded as error:
                    stopped = stopped or str(error)
                    for waiting in begun:
                        waiting.cancel()
        except BaseException as error:
            # What is under way is paid for and goes into the cache; the rest is not begun.
            pool.shutdown(wait=True, cancel_futures=True)
            error.add_note(f"{cache} keeps what was paid for: the same call goes on there")
            raise
    return written, stopped


def _told(what: What, *, facts: FactSet, written: Sequence[_Written], chat: PaidChat, stopped: str | None) -> Generated:
    left_out = Counter[str]()
    for each in written:
        left_out.update(each.left_out)
    prose = next((each.prose for each in written if each.prose is not None), None)
    # Some prose is left out and counted. Nothing but prose is the wrong model, and an empty set would hide it.
    if prose is not None and left_out[PROSE] == len(written):
        raise DatasetError(
            f"{chat.model!r} wrote prose instead of rows, {len(written):,} times; the first: {prose!r:.200}. Take a "
            f'larger model, or let the server hold it to JSON with request={{"response_format": ...}}; {chat.cache} '
            f"keeps what was paid for"
        )
    made, new = _with(what, facts=facts, written=written, left_out=left_out)
    found = diversity(new)
    for message in (stopped, found.warning):
        if message is not None:
            warn(message)
    return Generated(
        facts=made,
        made=len(new),
        left_out=dict(left_out),
        calls=chat.calls,
        remembered=chat.remembered,
        spent_usd=chat.spent_usd,
        spent_tokens=chat.spent_tokens,
        diversity=found,
        stopped=stopped,
    )


def _with(
    what: What, *, facts: FactSet, written: Sequence[_Written], left_out: Counter[str]
) -> tuple[FactSet, list[str]]:
    """The facts with what is new, and the new texts; repetitions are counted among what is left out."""
    # Of all facts and not of the own one alone: no question may get two answers.
    asked = {normalise(item.question) for item in wordings_of(facts)}

    def fresh(each: _Written) -> Iterator[tuple[str, str]]:
        for question, answer in each.kept:
            form = normalise(question)
            if form in asked:
                left_out[REPEATED] += 1
                continue
            asked.add(form)
            yield question, answer

    if what == "distractors":
        # One wrong answer may stand beside several facts, a year say; only within a fact a second time is too many.
        by_id = {each.unit.id: dict.fromkeys(text for text, _ in each.kept) for each in written}
        further = {fact.id: [text for text in by_id.get(fact.id, ()) if text not in fact.distractors] for fact in facts}
        added = [replace(fact, distractors=(*fact.distractors, *further[fact.id])) for fact in facts]
        return FactSet(facts=tuple(added)), list(chain.from_iterable(further.values()))
    new = {each.unit.id: (each.unit, list(fresh(each))) for each in written}
    texts = [question for question, _ in chain.from_iterable(pairs for _, pairs in new.values())]
    found: list[Fact] = []
    if what == "wordings":
        for fact in facts:
            _, pairs = new.get(fact.id, (None, []))
            reworded = [Wording(question=question, kind="reworded") for question, _ in pairs]
            found.append(replace(fact, wordings=(*fact.wordings, *reworded)) if reworded else fact)
        return FactSet(facts=tuple(found)), texts
    for unit, pairs in new.values():
        found += [
            Fact(
                id=f"{unit.id}-{what[:-1]}-{number}",
                answers=(answer,),
                wordings=(Wording(question=question),),
                support=unit.passage,
                source=unit.id,
            )
            for number, (question, answer) in enumerate(pairs, 1)
        ]
    return FactSet(facts=tuple(found)), texts
