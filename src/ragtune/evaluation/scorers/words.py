"""Scorers that compare words: exact and contained answers, token F1, JSON, and saying that one does not know."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ragtune.evaluation.scorers.spellings import spelled, worth_spelling
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.evaluation.scorers.context import Context

__all__ = ["contains", "exact", "f1", "json_valid", "refusal"]

# Several scorers look at one text; and an accepted answer comes back for every arm and wording.
_form = lru_cache(maxsize=256)(normalise)
_ARTICLES = frozenset({"a", "an", "the"})
_plus = re.compile(r"(?<=[^\W\d_])(?:\+\+|\+(?![\w+]))").sub
_article = re.compile(r"^(?:an?|the) ")
_ignorance = re.compile(
    r"\b(?:i|we) (?:do not|don t|cannot|can t|can not|could not|couldn t) (?:\w+ )?"
    r"(?:know|say|tell|answer|find|determine|recall|provide|confirm|verify)\b"
    r"|\bi (?:am|m) (?:not (?:sure|certain|aware|able)|unable|unsure)\b"
    r"|\bi have no (?:\w+ )?(?:information|idea|record|knowledge)\b"
    r"|\b(?:is|are|was|were) (?:not|n t) (?:\w+ )?(?:mentioned|specified|stated|known|given|provided|in my sources)\b"
    r"|\b(?:isn t|aren t|wasn t) (?:\w+ )?(?:mentioned|specified|stated|known|given|provided)\b"
    r"|\bnot (?:found )?in (?:my|the) (?:sources|passages|context|documents)\b"
    r"|\bno (?:such )?(?:information|answer|passage|source)s? (?:is|are|was|were|about|on|in|available|found)\b"
    r"|\b(?:do not|does not|don t|doesn t) (?:say|mention|specify|contain|state|tell)\b"
    r"|\bnobody knows\b|\bthere is no (?:\w+ )?(?:information|answer|record|source)\b"
    r"|^(?:unknown|unanswerable|no answer)$"
    r"|\bbilmiyor(?:um|uz)\b|\bemin değil(?:im|iz)\b"
    # In the normal form ı is i.
    r"|\b(?:bilgi(?:m|miz)?|kayit) (?:yok|bulunmuyor|bulunamadi|bulamadim)\b"
    r"|\b(?:belirtilmemiş|bilinmiyor|yanitlayamiyorum|cevaplayamiyorum)\w*\b"
)


# One of these stands in whatever the pattern finds, and a search for them takes a tenth of its time.
_HINTS = ("not", "n t ", "no ", "un", "nobody", "bil", "emin", "kayit", "belirt", "yanit", "cevap")


def refusal(context: Context) -> bool:
    """Whether the answer says that it does not know (English and Turkish), or the server marked it as a refusal."""
    if context.refused:
        return True
    form = _form(context.text)
    return any(hint in form for hint in _HINTS) and _ignorance.search(form) is not None


def exact(context: Context) -> bool:
    """Whether the answer is one of the accepted ones and nothing else, in `ragtune.text.normalise`'s form.

    Leading articles and the spelling of numbers, dates and units make no difference. Where no answer is accepted, right
    is who says that he does not know.
    """
    if not context.answers:
        return refusal(context)
    said = _bare(_form(context.text))
    return any(said == _accepted(answer) or spelled(said) == spelled(_accepted(answer)) for answer in context.answers)


def contains(context: Context) -> bool:
    """Whether an accepted answer stands in what was said, at word boundaries, in `ragtune.text.normalise`'s form.

    `83 m` is found in "eighty-three metres": numbers, English dates and units have one spelling each. The order of
    words is kept, and nothing tells "it is 83 m" from "it is not 83 m". It favours whoever copies a passage, since a
    whole passage holds the answer too. Where no answer is accepted, right is who says that he does not know.
    """
    return found_in(context.text, context.answers) if context.answers else refusal(context)


def found_in(text: str, answers: tuple[str, ...]) -> bool:
    """Whether one of the answers stands in a text, at word boundaries."""
    said = f" {_form(_glued(text))} "
    for answer in answers:
        wanted = _accepted(_glued(answer))
        if wanted and f" {wanted} " in said:
            return True
        if worth_spelling(wanted) and f" {spelled(wanted)} " in f" {spelled(said.strip())} ":
            return True
    return False


def _glued(text: str) -> str:
    """A text whose names that end with a plus are one word, so that `C` is not found in `C++`, nor `A` in `A+`."""
    return _plus(lambda found: "plus" * len(found[0]) + " ", text) if "+" in text else text


def f1(context: Context) -> float:
    """The harmonic mean of how many words of the answer are wanted and how many wanted words are there, 0 to 1.

    The best of the accepted answers counts; words are those of `ragtune.text.normalise`, articles left out. Where no
    answer is accepted, 1 for who says that he does not know.
    """
    if not context.answers:
        return float(refusal(context))
    said = _words(_form(context.text))
    return max(_overlap(said, _wanted(answer)) for answer in context.answers)


def json_valid(context: Context) -> bool:
    """Whether the answer is one JSON value and nothing else."""
    try:
        # Python reads NaN and Infinity as well, which are no JSON.
        json.loads(context.text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return False
    return True


def _no_json(constant: str) -> None:
    raise ValueError(constant)


@lru_cache(maxsize=4096)
def _accepted(answer: str) -> str:
    return _bare(normalise(answer))


def _bare(form: str) -> str:
    return _article.sub("", form) or form


@lru_cache(maxsize=4096)
def _wanted(answer: str) -> tuple[str, ...]:
    return tuple(_words(normalise(answer)))


def _words(form: str) -> list[str]:
    words = form.split()
    # An answer may be an article alone, as the letter A is.
    return [word for word in words if word not in _ARTICLES] or words


def _overlap(said: Sequence[str], wanted: Sequence[str]) -> float:
    left: dict[str, int] = {}
    for word in wanted:
        left[word] = left.get(word, 0) + 1
    shared = 0
    for word in said:
        if left.get(word):
            left[word] -= 1
            shared += 1
    return 2 * shared / (len(said) + len(wanted)) if shared else 0.0
