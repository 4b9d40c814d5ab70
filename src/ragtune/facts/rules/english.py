"""Rules for English: each knows one form of question and abstains from every other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ragtune.facts.rules.english_words import (
    BE,
    DETERMINERS,
    MEASURES,
    PARTICIPLE,
    PAST,
    PREPOSITION,
    PRESENT,
    UNFINISHED,
    participle_of,
)
from ragtune.facts.rules.proposal import Proposal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ragtune.facts.fact import Fact

__all__ = ["propose"]

_BLANK = "___"
_VERBAL = (
    r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|may|might|that|which|who|when|whenever|where|because|if|"
    r"states|says)"
)
# A noun phrase of at most seven words, in which no verb can hide.
_WORD = rf"(?!{_VERBAL}\b)[\w'’-]+"
_NOUN = rf"(?:{_WORD} ){{0,6}}?(?:{_WORD})"
_ADVERB = r"(?:(?:\w+ly|also|often|most|best|now|first) )?"
_STATES = r"(?:responsible|capable|able|common|present|necessary|essential|important)"
_PREDICATE = rf"(?:{PARTICIPLE}|{_STATES}|{PREPOSITION})"
_CALLED = r"(?:called|known as|referred to as|termed)"
_OFTEN = r"(?:(?:better|best|also|more|commonly|usually|often|generally|sometimes) )*"
_FUNCTION = r"(?:The|A|An|These|Those|Any|Some|All)"
_PLACED = r"(?:under|in|at|on|near|inside) (?:the |an? )?[^,;:]+"
_KIND_OF = r"(?:type|kind|sort|form|part|group|class)s? of\b"
_NOT_DO = rf"(?!(?:{BE}|{PREPOSITION}|of|do|does|did|can|have)\b)"

_subject_be = re.compile(rf"(?:Which|What) (?P<noun>{_NOUN}) (?P<rest>(?P<be>{BE}) {_ADVERB}{_PREDICATE} .+)").fullmatch
# The verb ends in s, so the thing is one; a noun in s before it may be many, and the verb no verb.
_subject_verb = re.compile(rf"(?:Which|What) (?P<noun>{_NOUN}(?<!s)) (?P<rest>{PRESENT} {DETERMINERS} .+)").fullmatch
_bare = re.compile(
    rf"What (?P<rest>(?:(?:is|was) {_ADVERB}{PARTICIPLE} {PREPOSITION}|{PRESENT} {DETERMINERS}) .+)"
).fullmatch
# An article or a capital begins what was made: else the word behind the verb may be anything.
_agent = re.compile(rf"(?P<wh>Who|What) (?P<verb>{PAST}) (?P<object>(?:{DETERMINERS} |[A-Z])[^,;:]+)").fullmatch
_called = re.compile(
    rf"What (?P<be>{BE}) (?P<noun>(?!(?:it|this|that|these|those|they)\b).+?) {_OFTEN}(?:called|known as)"
).fullmatch
_called_what = re.compile(rf"(?P<noun>{_FUNCTION} .+?),? (?P<be>{BE}) {_CALLED} what").fullmatch
_what_is = re.compile(rf"What (?P<be>{BE}) (?P<noun>(?:the|[\w'’-]+(?: [\w'’-]+)?['’]s) .+)").fullmatch
_with_place = re.compile(
    rf"(?P<prep>{PREPOSITION}) (?:which|what) (?P<noun>{_NOUN}) (?P<be>{BE}) "
    rf"(?P<subject>{_NOUN}(?<!the)(?<! a)(?<! an)) (?P<rest>{PARTICIPLE}(?: .+)?)",
    re.IGNORECASE,
).fullmatch
_measured = re.compile(rf"How (?P<how>{'|'.join(MEASURES)}) (?P<be>{BE}) (?P<noun>.+)").fullmatch
_many_there = re.compile(rf"How many (?P<noun>[\w'’ -]+?) {BE} (?:there )?(?P<rest>(?:{PREPOSITION}|of) .+)").fullmatch
_many_have = re.compile(r"How many (?P<noun>[\w'’ -]+?) (?P<do>do|does) (?P<owner>[\w'’ -]+) have").fullmatch
_many_do = re.compile(
    rf"How many (?P<noun>\w+s) (?P<rest>{_NOT_DO}[a-z]+ (?:{PREPOSITION}|up|out|off|down) .+)"
).fullmatch
_why = re.compile(rf"Why (?P<rest>(?:{BE}|do|does|did|can|must|should) .+)").fullmatch
_where = re.compile(rf"Where (?P<rest>(?:{BE}|do|does|did|can) .+)").fullmatch
_where_found = re.compile(rf"(?:Which|What) {_NOUN} (?P<be>{BE}) (?P<verb>{PARTICIPLE}) (?P<place>{_PLACED})").fullmatch
_is_place = re.compile(rf"[A-Z]|the |{PREPOSITION} ").match
_unfinished = re.compile(rf".*\b{UNFINISHED}").fullmatch
_clause = re.compile(
    r"\b(?:that|which|who|when|while|because|after|before|during|if|how|than|to|and|as|besides|instead|by)\b|\d{4}"
).search
_participle = re.compile(rf"\b{PARTICIPLE}\b").search
_of_or_in = re.compile(rf" (?:of|{PREPOSITION}) ").split


def propose(question: str, fact: Fact) -> Iterator[Proposal]:
    """Every wording that a rule is sure of."""
    asked = question.removesuffix("?").rstrip()
    for rule in _RULES:
        yield from rule(asked, fact)


def _reworded(rule: str, text: str) -> Proposal:
    return Proposal(question=text, rule=rule, language="en")


def _ended(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _completed(text: str) -> Proposal:
    return _reworded("statement-cloze", f"Complete the sentence: {_ended(text[0].upper() + text[1:])}")


def _reversed(text: str, answer: str) -> Proposal:
    bare = re.sub(r"^(?:the|an?) ", "", answer, flags=re.IGNORECASE)
    # With its article and without.
    return Proposal(
        question=text, rule="reverse", language="en", kind="reversed", answers=tuple(dict.fromkeys((answer, bare)))
    )


def _subject(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`Which metal is mined under Harrow Fell?`"""
    found = _subject_be(asked) or _subject_verb(asked)
    if found and not _unfinished(asked):
        noun, rest = found["noun"], found["rest"]
        # "The kind of stones that are ... is": what is many there are the stones, and what is asked for is one kind.
        several = found.groupdict().get("be") in ("are", "were") and not re.match(_KIND_OF, noun)
        be = "are" if several else "is"
        yield _reworded("name-the", _ended(f"Name the {noun} that {rest}"))
        yield _completed(f"the {noun} that {rest} {be} {_BLANK}")
    elif found := _bare(asked):
        yield _reworded("name-what", _ended(f"Name what {found['rest']}"))


def _passive(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`Who painted the ceiling of the Customs House?`"""
    found = _agent(asked)
    if found is None or _clause(found["object"]) or _unfinished(asked):
        return
    thing, verb = found["object"], found["verb"]
    head = _of_or_in(thing)[0].split()[-1]
    # Glass, campus and basis are one thing each, and so is what a genitive belongs to.
    be = "were" if head.endswith("s") and not head.endswith(("ss", "us", "is", "'s", "’s")) else "was"
    by = "By whom" if found["wh"] == "Who" else "By what"
    yield _reworded("passive", f"{by} {be} {thing} {participle_of(verb)}?")
    yield _completed(f"{_BLANK} {verb} {thing}")
    what = "What" if re.match(DETERMINERS, thing) else "Who or what"
    yield _reversed(f"{what} was {participle_of(verb)} by {fact.answers[0]}?", thing)


def _names(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`What is the cat of the harbour master called?` and `The cat ... is called what?`"""
    found = _called(asked) or _called_what(asked)
    if found is None:
        return
    noun, be = found["noun"], found["be"]
    if re.match(_FUNCTION, noun):
        noun = noun[0].lower() + noun[1:]
    yield _reworded("by-what-name", f"By what name {be} {noun} known?")
    yield _completed(f"{noun} {be} called {_BLANK}")
    yield _reversed(f'What {be} called "{fact.answers[0]}"?', noun)


def _definition(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`What is the motto of the fire brigade?`"""
    found = _what_is(asked)
    # A participle may be the verb of the question, and a name would be asked for its name.
    if found is None or _unfinished(asked) or _participle(found["noun"]) or " name" in found["noun"]:
        return
    noun, be = found["noun"], found["be"]
    # One states a figure, and names a thing.
    verb = "State" if any(sign.isdigit() for sign in fact.answers[0]) else "Name"
    yield _reworded("name-the", _ended(f"{verb} {noun}"))
    yield _completed(f"{noun} {be} {_BLANK}")


def _with_preposition(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`On which day are debts forgiven in Quillhaven?`"""
    if found := _with_place(asked):
        prep = found["prep"].lower()
        yield _reworded(
            "name-the", f"Name the {found['noun']} {prep} which {found['subject']} {found['be']} {found['rest']}."
        )


def _measure(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`How deep is Lake Sorrel?`"""
    found = _measured(asked)
    if found is None or _unfinished(asked):
        return
    noun, be, how = found["noun"], found["be"], found["how"]
    yield _reworded("measure", f"What {'was' if be in ('was', 'were') else 'is'} the {MEASURES[how]} of {noun}?")
    # "It is ninety degrees hot" is no English.
    if how != "hot":
        yield _completed(f"{noun} {be} {_BLANK} {how}")
        # A figure with its unit alone: "what is about ninety years old?" may be asked of many things.
        if re.fullmatch(r"[\d.,]+ \w+", fact.answers[0]):
            yield _reversed(f"What {be} {fact.answers[0]} {how}?", noun)


def _number(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`How many steps lead up to the tower?`"""
    if found := _many_there(asked):
        yield _reworded("number-of", f"State the number of {found['noun']} {found['rest']}.")
    elif found := _many_have(asked):
        has = "has" if found["do"] == "does" else "have"
        yield _reworded("number-of", f"State the number of {found['noun']} that {found['owner']} {has}.")
    elif found := _many_do(asked):
        yield _reworded("number-of", f"State the number of {found['noun']} that {found['rest']}.")
        # "Twelve gulls" fills the gap with the noun in it.
        told = found["noun"] in fact.answers[0]
        yield _completed(f"{_BLANK} {found['rest']}" if told else f"{_BLANK} {found['noun']} {found['rest']}")


def _place_and_reason(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`Where does the night tram end?` and `Why is the bridge closed?`"""
    if found := _why(asked):
        yield _reworded("reason", f"For what reason {found['rest']}?")
    # "Where does it come from" would end in a preposition that stands at its beginning already.
    elif (found := _where(asked)) and not re.search(r"\b(?:from|to|at|in|on)$", asked) and _is_place(fact.answers[0]):
        yield _reworded("place", f"In what place {found['rest']}?")


def _where_it_is(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`Which metal is mined under Harrow Fell?`, asked for the hill."""
    found = _where_found(asked)
    if found and not _clause(found["place"]) and re.match(r"\w+ (?:the|an?|[A-Z])", found["place"]):
        place = found["place"]
        asked_back = f"Where {found['be']} {fact.answers[0]} {found['verb']}?"
        yield Proposal(
            question=asked_back,
            rule="reverse",
            language="en",
            kind="reversed",
            # With its preposition and without: people answer both ways.
            answers=(place, place.split(" ", 1)[1]),
        )


_RULES: tuple[Callable[[str, Fact], Iterator[Proposal]], ...] = (
    _subject,
    _passive,
    _names,
    _definition,
    _with_preposition,
    _measure,
    _number,
    _place_and_reason,
    _where_it_is,
)
