"""The words that recipes put around questions, by language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Language", "Phrases", "phrases"]

Language = Literal["en", "tr"]
_hole = re.compile(r"\{(\w+)\}").sub


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """What is said in one language.

    Attributes:
        frames: ways to ask a question as people do in chats.
        state: asks for the answer in a full sentence.
        statement: that sentence, where no rule makes a better one.
        turned: asks from the answer back to the question.
        quoted: an answer that rests on a quotation.
        unknown: says that the sources do not tell.
        about: questions about something that has only a name.
    """

    frames: tuple[str, ...]
    state: str
    statement: str
    turned: str
    quoted: str
    unknown: str
    about: tuple[str, ...]


_PHRASES = {
    "en": Phrases(
        frames=(
            "{question} Answer briefly.",
            "I would like to know: {question}",
            "Can you tell me this? {question}",
            "Question: {question}\nAnswer:",
            "Somebody asked me this: {question} What should I say?",
            "Hello! {question}",
            "Quiz time. {question}",
            "Please answer in a few words. {question}",
            "Here is what I am looking for. {question} Thanks!",
            "One thing that I keep forgetting: {question}",
        ),
        state="Answer in a full sentence: {question}",
        statement='The answer to the question "{question}" is: {answer}.',
        turned='To which question is "{answer}" the answer?',
        quoted='The passage says: "{quotation}" So the answer is: {answer}',
        unknown="I do not know: my sources do not say.",
        about=(
            "What is {name}?",
            "Who founded {name}?",
            "Where is {name}?",
            "When was {name} built?",
            "How large is {name}?",
            "What is {name} known for?",
            "Who runs {name} today?",
            "Which colour does {name} have?",
        ),
    ),
    "tr": Phrases(
        frames=(
            "{question} Kısaca yanıtla.",
            "Şunu bilmek istiyorum: {question}",
            "Bana şunu söyler misin? {question}",
            "Soru: {question}\nYanıt:",
            "Biri bana şunu sordu: {question} Ne diyeyim?",
            "Merhaba! {question}",
            "Lütfen birkaç sözcükle yanıtla. {question}",
            "Hep unuttuğum bir şey: {question}",
        ),
        state="Tam bir cümleyle yanıtla: {question}",
        statement='"{question}" sorusunun yanıtı şudur: {answer}.',
        turned='"{answer}" hangi sorunun yanıtıdır?',
        quoted='Metinde şöyle yazıyor: "{quotation}" Demek ki yanıt: {answer}',
        unknown="Bilmiyorum: kaynaklarımda bu yok.",
        about=(
            "{name} nedir?",
            "{name} nerede?",
            "{name} ne zaman kuruldu?",
            "{name} ne kadar büyük?",
            "{name} ne ile tanınır?",
            "{name} kimin tarafından kuruldu?",
        ),
    ),
}
LANGUAGES = tuple(_PHRASES)


def phrases(language: str) -> Phrases:
    """The phrases of a language, `en` or `tr`."""
    return _PHRASES[language]


def filled(frame: str, **values: str) -> str:
    """A frame with its values; braces inside them stay what they are."""
    # Not str.format, and all at once: a passage about templates may hold {question}, which is no hole of the frame.
    return _hole(lambda found: values.get(found[1], found[0]), frame)
