"""Rules for Turkish: endings are changed only where an apostrophe or a genitive shows what they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ragtune.facts.rules.proposal import Proposal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ragtune.facts.fact import Fact

__all__ = ["propose"]

# Who did it: the past, its passive, and the one who did.
_VERBS = {
    "kurdu": ("kuruldu", "kuran"),
    "yazdı": ("yazıldı", "yazan"),
    "buldu": ("bulundu", "bulan"),
    "yaptı": ("yapıldı", "yapan"),
    "çizdi": ("çizildi", "çizen"),
    "boyadı": ("boyandı", "boyayan"),
    "tasarladı": ("tasarlandı", "tasarlayan"),
    "besteledi": ("bestelendi", "besteleyen"),
    "yönetti": ("yönetildi", "yöneten"),
    "keşfetti": ("keşfedildi", "keşfeden"),
    "icat etti": ("icat edildi", "icat eden"),
    "fethetti": ("fethedildi", "fetheden"),
    "inşa etti": ("inşa edildi", "inşa eden"),
}
_ASKED = {
    "ne zaman": "hangi tarihte",
    "nerede": "hangi yerde",
    "nereden": "hangi yerden",
    "neden": "hangi sebeple",
    "niçin": "hangi sebeple",
}
# What these are of is a thing, though they are people themselves.
_MAKERS = ("mimarı", "yazarı", "kurucusu", "bestecisi", "ressamı", "mucidi", "yönetmeni", "kâşifi", "başkanı")
_POSSESSED = r"\w{2,}[ıiuü]"
# The owner has a genitive, the thing its possessive: only both together are sure.
_owned = re.compile(
    rf"(?P<whole>(?P<owner>.*\w)['’](?:n)?[ıiuü]n (?P<thing>(?:[\w-]+ ){{0,3}}?{_POSSESSED})) "
    r"(?P<asked>nedir|kimdir|neresidir|kaçtır|hangisidir|kaç \w+[dt][ıiuü]r)"
).fullmatch
_who = re.compile(
    rf"(?P<thing>.*\w)(?P<ending>['’](?:[yn])?[ıiuü]) (?:kim|hangi kişi) (?P<verb>{'|'.join(_VERBS)})"
).fullmatch
_word = re.compile(rf"\b(?P<word>{'|'.join(_ASKED)})\b", re.IGNORECASE)


def propose(question: str, fact: Fact) -> Iterator[Proposal]:
    """Every wording that a rule is sure of."""
    asked = question.removesuffix("?").rstrip()
    for rule in _RULES:
        yield from rule(asked, fact)


def _reworded(rule: str, text: str) -> Proposal:
    return Proposal(question=text, rule=rule, language="tr")


def _reversed(text: str, answer: str) -> Proposal:
    # Python's `upper` makes of i the I that is another letter in Turkish.
    first = "İ" if text[0] == "i" else text[0].upper()
    text = f"{first}{text[1:]}"
    return Proposal(question=text, rule="reverse", language="tr", kind="reversed", answers=(answer,))


def _possession(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`Türkiye'nin başkenti neresidir?`"""
    found = _owned(asked)
    if found is None:
        return
    whole, thing = found["whole"], found["thing"]
    vowel = thing[-1]
    # The accusative behind a possessive: -nı, -ni, -nu, -nü after its own vowel.
    yield _reworded("name-the", f"{whole}n{vowel} söyleyin.")
    yield _reworded("statement-cloze", f"Cümleyi tamamlayın: {whole} ___.")
    if found["asked"] != "kimdir" or thing.endswith(_MAKERS):
        yield _reversed(f"{fact.answers[0]} neyin {thing}d{vowel}r?", found["owner"])


def _agent(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`Quillhaven'ı kim kurdu?`"""
    found = _who(asked)
    if found is None:
        return
    thing, verb = found["thing"], found["verb"]
    passive, doing = _VERBS[verb]
    yield _reworded("passive", f"{thing} kim tarafından {passive}?")
    yield _reworded("who-did", f"{thing}{found['ending']} {doing} kimdir?")
    yield _reworded("statement-cloze", f"Cümleyi tamamlayın: {thing}{found['ending']} ___ {verb}.")
    yield _reversed(f"{fact.answers[0]} neyi {verb}?", thing)


def _word_for_word(asked: str, fact: Fact) -> Iterator[Proposal]:
    """`Gece tramvayı nerede durur?`"""
    found = _word.findall(asked)
    # Of what is over one asks for the date; of opening hours nobody does.
    if len(found) == 1 and (found[0].lower() != "ne zaman" or re.search(r"[dt][ıiuü]$", asked)):
        text = _word.sub(lambda word: _cased(_ASKED[word[0].lower()], word[0]), asked)
        yield _reworded("asked-otherwise", f"{text}?")


def _cased(text: str, like: str) -> str:
    return text[0].upper() + text[1:] if like[0].isupper() else text


_RULES: tuple[Callable[[str, Fact], Iterator[Proposal]], ...] = (_possession, _agent, _word_for_word)
