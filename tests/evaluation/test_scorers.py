"""What counts as right."""

from __future__ import annotations

import importlib.util
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragtune.evaluation import Context, choice, contains, exact, f1, json_valid, refusal
from ragtune.evaluation.scorers import scorers_named
from ragtune.evaluation.scorers.spellings import spelled
from ragtune.text import normalise


def said(text: str, *answers: str, options: tuple[str, ...] = ()) -> Context:
    return Context(text=text, answers=answers, question="How deep is it?", options=options)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It is 83 metres deep.", "83 metres"),
        ("It is 83 m deep.", "83 metres"),
        ("About 83m, they say.", "83 metres"),
        ("Eighty-three meters!", "83 metres"),
        ("1,250 people live there", "1250"),
        ("1 250 people live there", "1250"),
        ("two hundred and fifty boats", "250 boats"),
        ("twelve thousand five hundred", "12,500"),
        ("exactly 5.0 kg", "5 kilograms"),
        ("2.50 litres", "2.5 l"),
        ("on May 3rd, 1912", "3 May 1912"),
        ("3 May 1912", "1912-05-03"),
        ("the 3rd of May 1912", "May 3, 1912"),
        ("In 1912, on 3 May.", "1912"),
        ("It happened on 3 May 1912.", "1912"),
        ("five percent of them", "5 %"),
        ("The **Clock Tower**", "the clock tower"),
        ("It was Anna O'Neill.", "anna o'neill"),
        ("80 km/h", "80 kmh"),
        ("C++ of course", "C++"),
        ("İSTANBUL", "i\u0307stanbul"),
        ("İstanbul'da", "istanbul"),
        ("IŞIK", "ışık"),
        ("diyarbakır", "DİYARBAKIR"),
        ("blood group A+ is common", "A+"),
        ("in C++11", "C++"),
        ("vitamin C + zinc", "vitamin C"),
        ("2+2 = 4", "2 + 2"),
    ],
)
def test_one_spelling_is_found_in_another(text: str, answer: str) -> None:
    assert contains(said(text, answer))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It is 83.5 metres deep.", "83"),
        ("It is 830 metres deep.", "83 metres"),
        ("83 mm", "83 m"),
        ("catalogue", "cat"),
        ("one two three", "6"),
        ("-5 degrees", "5 degrees"),
        ("C is a letter", "C++"),
        ("C++ of course", "C"),
        ("It is C++11.", "C"),
        ("C# of course", "C"),
        ("blood group A+", "A"),
        ("blood group A-", "A"),
        ("in 2019 20 ships", "201920"),
        ("4 May 1912", "3 May 1912"),
        ("May 1912", "3 May 1912"),
        ("", "83"),
    ],
)
def test_something_else_is_not_found(text: str, answer: str) -> None:
    assert not contains(said(text, answer))


def test_any_accepted_spelling_will_do() -> None:
    assert contains(said("It ends at the quay", "Pepper Quay", "the quay"))
    assert exact(said("The Pepper Quay.", "harbour", "pepper quay"))
    assert not exact(said("It ends at Pepper Quay", "Pepper Quay"))
    assert exact(said("eighty-three metres", "83 m"))


@given(st.text("ab0 .,-", max_size=12), st.text("ab0 .,-", max_size=4))
def test_contained_means_that_words_follow_each_other(text: str, answer: str) -> None:
    """Without numbers in words, units and dates it is a search for a run of words."""
    words, wanted = normalise(text).split(), normalise(answer).split()
    if wanted[:1] == ["a"] and len(wanted) > 1:
        wanted = wanted[1:]
    run = any(words[place : place + len(wanted)] == wanted for place in range(len(words))) if wanted else False
    if run:
        assert contains(said(text, answer))
    elif not any(sign.isdigit() for sign in answer):
        assert not contains(said(text, answer))


@given(st.integers(0, 999_999_999))
def test_a_number_in_words_is_the_number(number: int) -> None:
    assert spelled(in_words(number)) == str(number)


def in_words(number: int) -> str:
    """The slow way: groups of three, the largest first."""
    small = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen""".split()
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()

    def group(part: int, scale: str = "") -> list[str]:
        words = [small[part // 100], "hundred"] if part >= 100 else []
        rest = part % 100
        if rest >= 20:
            words += [tens[rest // 10 - 2], *([small[rest % 10]] if rest % 10 else [])]
        elif rest:
            words.append(small[rest])
        return [*words, scale] if words and scale else words

    words = group(number // 1_000_000, "million") + group(number // 1000 % 1000, "thousand") + group(number % 1000)
    return " ".join(words) or "zero"


SAID = st.lists(st.sampled_from("red blue the deep a lake".split()), max_size=8)


@given(SAID, st.lists(st.sampled_from("red blue deep".split()), min_size=1, max_size=4))
def test_f1_by_its_definition(said_words: list[str], wanted: list[str]) -> None:
    """Rajpurkar et al. (SQuAD, 2016): the harmonic mean of precision and recall over the bags of words."""
    kept = [word for word in said_words if word not in ("a", "the")] or said_words
    shared = sum((Counter(kept) & Counter(wanted)).values())
    expected = 0.0
    if shared:
        precision, recall = shared / len(kept), shared / len(wanted)
        expected = 2 * precision * recall / (precision + recall)
    assert f1(said(" ".join(said_words), " ".join(wanted))) == pytest.approx(expected)


def test_f1_takes_the_best_of_the_accepted_answers() -> None:
    assert f1(said("83 metres", "very deep", "83 metres deep")) == pytest.approx(0.8)


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "I do not know the answer to that.",
        "I'm not sure about this.",
        "The passages do not mention it.",
        "There is no information about lake Nowhere.",
        "This isn't specified in the context.",
        "Unknown",
        "I cannot determine the depth.",
        "Bilmiyorum.",
        "Kaynaklarda belirtilmemiş.",
    ],
)
def test_who_says_that_he_does_not_know_refuses(text: str) -> None:
    assert refusal(said(text))
    # Where nobody can answer, that is right.
    assert contains(said(text))
    assert exact(said(text))
    assert f1(said(text)) == 1.0


@pytest.mark.parametrize(
    "text", ["It is 83 metres deep.", "Nobody lives there but Anna.", "No.", "Knowledge is power.", ""]
)
def test_who_answers_does_not_refuse(text: str) -> None:
    assert not refusal(said(text))


def test_a_refusal_that_the_server_marked_counts() -> None:
    assert refusal(Context(text="Sorry.", answers=(), question="?", refused=True))


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"a": 1}', True),
        ("[1, 2]", True),
        ("{a: 1}", False),
        ("", False),
        ("Sure: {}", False),
        ('{"a": NaN}', False),
        ("[" * 100_000, False),
    ],
)
def test_json_is_valid_or_not(text: str, valid: bool) -> None:
    assert json_valid(said(text)) is valid


OPTIONS = ("a volcano", "a lake", "a mill")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("B", True),
        ("B)", True),
        ("(B) a lake", True),
        ("The answer is B.", True),
        ("Answer: B", True),
        ("A lake.", True),
        ("A volcano", False),
        ("It is a lake, I think", True),
        ("A", False),
        ("a lake or a mill", False),
        ("E", False),
        ("no idea", False),
    ],
)
def test_a_choice_by_letter_or_by_words(text: str, right: bool) -> None:
    assert choice(said(text, "a lake", options=OPTIONS)) is right


def test_without_options_there_is_no_choice() -> None:
    assert choice(said("B", "a lake")) is None


@pytest.mark.skipif(not all(map(importlib.util.find_spec, ("rouge_score", "sacrebleu"))), reason="needs the extra")
def test_rouge_and_chrf_come_from_their_libraries() -> None:
    """ROUGE-L of `police killed the gunman` against `police kill the gunman` is 0.75 (Lin 2004, section 3.1)."""
    named = scorers_named(("rouge_l", "chrf"))
    context = said("police kill the gunman", "police killed the gunman")
    assert named["rouge_l"](context) == pytest.approx(0.75)
    assert named["chrf"](said("83 metres", "83 metres")) == pytest.approx(1.0)
    assert named["chrf"](said("", "83 metres")) == 0.0
