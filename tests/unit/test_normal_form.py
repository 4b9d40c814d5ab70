"""The normal form: what is equal, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.dataset import normalise
from ragtune.text import NORMAL_FORM, count_words

EQUAL = [
    ("Latin", "What  is a *Quillhaven*?", "what is a quillhaven"),
    ("Latin", "Straße", "STRASSE"),
    ("Latin", "caf\u00e9", "cafe\u0301"),
    ("Latin", "“Well-known”, she said…", "well known she said"),
    ("Latin", "co\u00adoperate", "cooperate"),
    ("Latin", "2+2", "2 + 2"),
    ("Latin", "İstanbul", "istanbul"),
    ("Latin", "IŞIK", "ışık"),
    ("Latin", "DİYARBAKIR", "Diyarbakır"),
    ("Latin", "I\u0307zmir", "izmir"),
    ("Latin", "\u22127 < 5", "-7 < 5"),
    ("Greek", "ΟΔΟΣ", "οδος"),
    ("Cyrillic", "Что это?", "что это"),
    ("Arabic", "ما هو الرقم ٧؟", "ما هو الرقم 7"),
    ("Arabic", "٣٫٥", "3.5"),
    ("Hebrew", "מה זה?", "מה זה"),
    ("Devanagari", "दिन क्या है?", "दिन क्या है"),
    ("Devanagari", "७ दिन।", "7 दिन"),
    ("Thai", "พืช ใช้ แสง", "พืชใช้แสง"),
    ("Han", "植物，水。", "植物水"),
    ("Han", "Ｃ＋＋ 是什么？", "C++是什么"),
    ("Kana", "が", "か\u3099"),
    ("Hangul", "각", "\u1100\u1161\u11a8"),
    ("Khmer", "តើ\u200bនេះ", "តើនេះ"),
    ("Emoji", "👍\ufe0f", "👍"),
]
DIFFERENT = [
    ("Latin", "2 + 2", "2 * 2"),
    ("Latin", "2 ** 3", "2 * 3"),
    ("Latin", "8 - 3", "8 3"),
    ("Latin", "Is 7 > 5?", "Is 7 < 5?"),
    ("Latin", "-7 < 5", "7 < 5"),
    ("Latin", "a != b", "a = b"),
    ("Latin", "3.5", "35"),
    ("Latin", "3.5", "3 5"),
    ("Latin", "1/2", "1 2"),
    ("Latin", "C++", "C#"),
    ("Latin", "C", "C#"),
    ("Latin", "blood group A-", "blood group A"),
    ("Latin", "5 %", "5"),
    ("Latin", "5 €", "5 $"),
    ("Latin", "x²", "x2"),
    ("Latin", "resume", "résumé"),
    ("Latin", "şık", "sık"),
    ("Latin", "naïve", "naive"),
    ("Greek", "πότε", "ποτέ"),
    ("Cyrillic", "мир", "мір"),
    ("Arabic", "كَتَبَ", "كُتِبَ"),
    ("Hebrew", "שָׁם", "שֵׁם"),
    ("Devanagari", "दिन", "दान"),
    ("Bengali", "কি", "কী"),
    ("Tamil", "கல்", "கால்"),
    ("Thai", "ใกล้", "ไกล"),
    ("Han", "植物", "动物"),
    ("Kana", "か", "が"),
    ("Hangul", "달", "딸"),
    ("Khmer", "កា", "កី"),
    ("Lao", "ກາ", "ກີ"),
    ("Burmese", "ကာ", "ကိ"),
    ("Emoji", "👍", "👎"),
    ("Emoji", "👍🏽", "👍🏻"),
    ("Emoji", "🇩🇪", "🇫🇷"),
    ("Emoji", "🙂", ""),
]


@pytest.mark.parametrize(("script", "one", "other"), EQUAL)
def test_what_says_the_same_is_equal(script: str, one: str, other: str) -> None:
    """Case, encodings, spaces and the punctuation of sentences say nothing."""
    assert normalise(one) == normalise(other), script


@pytest.mark.parametrize(("script", "one", "other"), DIFFERENT)
def test_what_says_something_else_is_not_equal(script: str, one: str, other: str) -> None:
    """Operators, signs of numbers, symbols, marks, vowel signs and emoji stay."""
    assert normalise(one) != normalise(other), script


def test_the_table_holds_ten_scripts_and_the_form_a_version() -> None:
    """Who changes a rule changes the version."""
    assert len({script for script, *_ in EQUAL + DIFFERENT} - {"Emoji"}) >= 10
    assert NORMAL_FORM == 3


@given(st.text())
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    """Nothing is left to do."""
    form = normalise(text)
    assert normalise(form) == form


def test_a_passage_without_spaces_has_words() -> None:
    """Two characters are a word."""
    assert count_words(normalise("磨坊在冬天烧毁了。")) == 4
    assert count_words(normalise("โรงสีไหม้ในฤดูหนาว")) >= 5


def test_facts_that_differ_in_signs_stay_and_each_dropped_pair_is_shown() -> None:
    """Answers are compared as they are, unless said otherwise; questions of signs alone are like no other."""
    facts = [
        *[("What is 2 + 2?", "4"), ("What is 2 * 2?", "4"), ("Did you like it?", "👍"), ("Did you like it?", "👎")],
        *[("?!", "x"), ("...", "x"), ("is it OPEN", "Yes!"), ("Is it open?", "yes"), ("Is  it open", "Yes!")],
    ]
    builder = rt.DatasetBuilder.from_rows([{"q": q, "a": a} for q, a in facts])
    pairs = list(builder.duplicates(question="q", answer="a"))
    assert [(pair.dropped, pair.kept, pair.reason) for pair in pairs] == [(8, 6, "duplicate once normalised")]
    assert (pairs[0].kept_texts["q"], pairs[0].dropped_texts["q"]) == ("is it OPEN", "Is  it open")
    loose = list(builder.duplicates(question="q", answer="a", answers="normalised"))
    assert [(pair.dropped, pair.kept) for pair in loose] == [(7, 6), (8, 6)]
    with pytest.raises(rt.DatasetError, match="'fuzzy' is not one of"):
        builder.deduplicate(question="q", answer="a", answers="fuzzy")  # type: ignore[arg-type]
