"""What no set of facts may hold, each fault with its place, value, rule and way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune.errors import DatasetError
from ragtune.facts.fact import KINDS, Fact, Wording
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["CUT", "is_cut", "refuse_faults", "refuse_unknown_kinds", "told"]

# A column that was named wrongly makes the same fault in every row.
_TOLD = 20
CUT = "it holds half of a surrogate pair, which no file and no request can; give whole characters"


def refuse_faults(facts: Sequence[Fact], *, places: Sequence[str] = ()) -> None:
    """Refuse facts that no evaluation could count.

    Args:
        facts: all facts of a set.
        places: where each of them stands, for example `facts.jsonl line 3`; empty names them by their ids.

    Raises:
        DatasetError: there are faults; the message tells the first twenty.
    """
    if not isinstance(facts, tuple | list):
        raise DatasetError(f"facts={facts!r:.60} is no tuple of facts; give ragtune.facts.Fact(...), one for each")
    # Told first: what is no fact has no id by which other faults could name it.
    told([_no_fact(place, fact) for place, fact in enumerate(facts) if not isinstance(fact, Fact)])
    where = places or [f"fact {fact.id!r}" for fact in facts]
    faults = [*_faults_of_ids(facts, where)]
    for fact, place in zip(facts, where, strict=True):
        # A fault names its fact itself.
        faults += [f"{place}: {fault}" if places else fault for fault in _faults_of(fact)]
    told([*faults, *_equal_wordings(facts, where)])


def _no_fact(place: int, given: object) -> str:
    return f"facts[{place}] is {given!r:.60}, no ragtune.facts.Fact; FactSet.from_rows makes facts of rows"


def told(faults: Sequence[str]) -> None:
    """Raise what was found, if there is anything.

    Raises:
        DatasetError: there is.
    """
    if len(faults) > 1:
        more = [f"and {len(faults) - _TOLD:,} more"] if len(faults) > _TOLD else []
        raise DatasetError("\n  ".join([f"{len(faults):,} faults in these facts:", *faults[:_TOLD], *more]))
    if faults:
        raise DatasetError(faults[0])


def refuse_unknown_kinds(kinds: Iterable[object]) -> None:
    """Refuse a kind of wording that is none.

    Raises:
        DatasetError: there is one.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise DatasetError(f"{kind!r:.60} is no kind of wording; the kinds are {', '.join(KINDS)}")


def _faults_of_ids(facts: Sequence[Fact], places: Sequence[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for fact, place in zip(facts, places, strict=True):
        if not isinstance(fact.id, str) or not fact.id.strip():
            yield f"{place}: the id {fact.id!r:.60} is no text; give each fact an id of its own"
        elif fact.id in seen:
            yield f"{place}: the id {fact.id!r} stands for {seen[fact.id]} already; give each fact an id of its own"
        else:
            seen[fact.id] = place


def _faults_of(fact: Fact) -> Iterator[str]:
    name = f"fact {fact.id!r:.60}"
    yield from _faults_of_texts(name, "answer", fact.answers)
    yield from _faults_of_texts(name, "distractor", fact.distractors)
    for what, text in (("support", fact.support), ("source", fact.source)):
        if text is not None and (not isinstance(text, str) or is_cut(text)):
            yield f"{name} has the {what} {text!r:.60}; give whole text, or None"
    if not _are_wordings(fact.wordings):
        yield f"{name} has the wordings {fact.wordings!r:.60}; give a tuple of ragtune.facts.Wording(question=...)"
        return
    if not fact.wordings:
        yield f"{name} has no wording; give it at least one question"
    for wording in fact.wordings:
        yield from _faults_of_texts(name, "answer", wording.answers)
        yield from _faults_of_wording(name, fact, wording)


def _are_wordings(given: object) -> bool:
    return isinstance(given, tuple | list) and all(isinstance(one, Wording) for one in given)


def _faults_of_texts(name: str, what: str, texts: object) -> Iterator[str]:
    if isinstance(texts, str):
        # Its letters would each be one.
        yield f"{name} has the {what}s {texts!r:.60}, one text; give a tuple of texts, ({texts!r:.60},)"
        return
    for text in texts if isinstance(texts, tuple | list) else (texts,):
        if not isinstance(text, str) or not text.strip():
            yield f"{name} has the {what} {text!r:.60}; give text that is not blank, or leave it out"
        elif is_cut(text):
            yield f"{name} has the {what} {text!r:.60}; {CUT}"


def is_cut(text: str) -> bool:
    """Whether a text holds half of a surrogate pair."""
    # Most texts are ASCII, which Python knows of each without reading it.
    return not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text)


def _faults_of_wording(name: str, fact: Fact, wording: Wording) -> Iterator[str]:
    question, kind = wording.question, wording.kind
    # A question of signs alone has an empty normal form, in which all such would be one question.
    if not isinstance(question, str) or not normalise(question):
        yield f"{name} has the question {question!r:.60}; give text with at least one word"
    elif is_cut(question):
        yield f"{name} has the question {question!r:.60}; {CUT}"
    if kind not in KINDS:
        yield f"{name} has a wording of kind {kind!r:.60}; the kinds are {', '.join(KINDS)}"
    elif kind == "unanswerable":
        if fact.answers or wording.answers:
            yield (
                f"{name} has the answer {(wording.answers or fact.answers)[0]!r:.60} to an unanswerable "
                f"question; leave its answers empty, or choose another kind"
            )
    # The fact's own answer stands in a reversed question and is no answer to it.
    elif kind == "reversed":
        if not wording.answers:
            yield f"{name}: the reversed question {question!r:.60} needs answers of its own; give them"
    elif not fact.answers:
        yield f"{name} has no answer to its {kind} question {question!r:.60}; give one, or drop the fact"


def _equal_wordings(facts: Sequence[Fact], places: Sequence[str]) -> Iterator[str]:
    seen: dict[str, tuple[str, str]] = {}
    for fact, place in zip(facts, places, strict=True):
        # All faults are told together, so what was found to be no wording above comes by here, too.
        for wording in fact.wordings if _are_wordings(fact.wordings) else ():
            form = normalise(wording.question) if isinstance(wording.question, str) else ""
            if form and form in seen:
                kind, other = seen[form]
                yield (
                    f"{place}: the {wording.kind} question {wording.question!r:.80} is the {kind} question of {other} "
                    f"in normal form; a question counts once: drop one of them, or make both one fact (repeats='merge')"
                )
            elif form:
                seen[form] = (wording.kind, place)
