"""Retrieval: BM25, any callable, the prompt that passages make, and retrievers that fail."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ragtune as rt
from ragtune.facts import Fact, Wording, demo_facts
from ragtune.retrieval import OpenBook, Passage, contradicting, hit_rate, nothing_found, passages_of
from ragtune.text import normalise

LAKE = "Divers measured 83 metres at the sunken mill in Lake Sorrel."
TRAM = "The night tram turns round at Pepper Quay at half past two."
ROWS = [
    {"support": LAKE, "n": "a"},
    {"support": TRAM, "n": "b"},
    {"support": "", "n": "c"},
    {"support": LAKE, "n": "d"},
]


# --- BM25 ------------------------------------------------------------------------------------------------------------


def test_the_passage_that_shares_most_words_comes_first() -> None:
    retriever = rt.BM25(ROWS, text="support", id="n")
    assert len(retriever) == 2  # a blank passage and a repetition are none
    assert [passage.id for passage in retriever("Where does the night tram end?")] == ["b", "a"]
    assert retriever("How deep is Lake Sorrel?", k=1)[0].text == LAKE
    assert retriever("xyzzy") == ()
    assert retriever("?!") == ()
    assert rt.BM25(["İstanbul güzel", "x y"])("istanbul", k=1)[0].text == "İstanbul güzel"


def test_scores_are_those_of_the_formula() -> None:
    """Lucene's BM25 with k1 = 1.5, b = 0.75, worked out by hand for one word."""
    texts = ["fog fog pier", "pier", "tide tide tide tide"]
    (first, second) = rt.BM25(texts)("pier")
    idf, mean = log(1 + (3 - 2 + 0.5) / (2 + 0.5)), 8 / 3
    for passage, length in ((first, 1), (second, 3)):
        assert passage.score == pytest.approx(idf / (1 + 1.5 * (1 - 0.75 + 0.75 * length / mean)), rel=1e-5)


def test_equal_scores_keep_the_order_of_the_source() -> None:
    texts = [f"pier number {word}" for word in "one two three four five six".split()]
    assert [passage.id for passage in rt.BM25(texts)("pier", k=4)] == ["row-0", "row-1", "row-2", "row-3"]


def test_scripts_without_spaces_are_searched() -> None:
    retriever = rt.BM25(["磨坊在湖底。", "夜间电车终点在胡椒码头。", "รถรางกลางคืนสิ้นสุดที่ท่าเรือ"])
    assert retriever("电车的终点在哪里？", k=1)[0].id == "row-1"
    assert retriever("รถราง", k=1)[0].id == "row-2"


def test_a_folder_of_texts_is_cut_into_passages(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/lake.md").write_text(f"{LAKE}\n\n{'The mill is old. ' * 70}\n\nShort.", encoding="utf-8")
    (tmp_path / "tram.txt").write_text("\ufeff" + TRAM, encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    retriever = rt.BM25(tmp_path)
    assert retriever("night tram", k=1) == (
        Passage(text=TRAM, id="tram.txt#1", score=retriever("night tram")[0].score),
    )
    assert [passage.id for passage in retriever.passages] == [
        "deep/lake.md#1",
        "deep/lake.md#2",
        "deep/lake.md#3",
        "tram.txt#1",
    ]
    assert all(len(passage.text.split()) <= 201 for passage in retriever.passages)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ([], {}, r"there is no passage in \[\]"),
        ([{"a": "x"}], {}, r"row 0 has no column 'text'; its columns are 'a'; name one with text="),
        ([{"text": 5}], {}, r"row 0, column 'text': 5 is int, not text"),
        ([None], {}, r"row 0: None is neither a row nor a text nor a Passage"),
        ("no/such/folder", {}, r"no/such/folder' does not exist; give a folder of documents"),
        ("a long text " * 99, {}, r"'a long text .* does not exist; .* or texts in a list"),
        ("two\0", {}, "does not exist"),
        ([LAKE], {"k": 0}, "k=0 must be at least 1 passage"),
    ],
)
def test_what_holds_no_passages_is_refused(source: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(rt.DatasetError, match=message):
        rt.BM25(source, **options)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "good.txt").write_text(TRAM, encoding="utf-8")
    with pytest.raises(rt.DatasetError, match=r"bad\.txt is not UTF-8 .*\nunreadable='skip' passes over such files"):
        rt.BM25(tmp_path)
    with pytest.warns(UserWarning, match=r"left out: .*bad\.txt"):
        assert [passage.text for passage in rt.BM25(tmp_path, unreadable="skip").passages] == [TRAM]


def test_a_folder_is_searched_as_it_is_read_for_training(tmp_path: Path) -> None:
    """Pages of a PDF have their numbers, and what is hidden or leads out of the folder is passed over."""
    from fpdf import FPDF

    document = FPDF()
    document.set_font("helvetica", size=12)
    for text in (LAKE, TRAM):
        document.add_page()
        document.multi_cell(0, text=text)
    folder = tmp_path / "docs"
    (folder / ".git").mkdir(parents=True)
    document.output(str(folder / "guide.pdf"))
    (folder / ".git/notes.md").write_text("Not for searching.", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("The key is under the mat.", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    retriever = rt.BM25(folder)
    assert [(passage.id, passage.text) for passage in retriever.passages] == [
        ("guide.pdf#p1.1", LAKE),
        ("guide.pdf#p2.1", TRAM),
    ]
    rows = rt.DatasetBuilder.from_documents(folder).rows()
    assert [passage.text for passage in retriever.passages] == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": None}, "BM25: source is None; it takes a text or a path or a list"),
        ({"source": 3}, "BM25: source is 3"),
        ({"source": [LAKE], "k": "5"}, "BM25: k is '5'; it takes a whole number"),
        ({"source": [LAKE], "text": None}, "BM25: text is None"),
    ],
)
def test_arguments_of_the_wrong_kind_get_a_sentence(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        rt.BM25(**given)
    with pytest.raises(TypeError, match="question is 3"):
        rt.BM25([LAKE], k=np.int64(2))(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="retriever is 3; it takes a function"):
        hit_rate(3, demo_facts())  # type: ignore[arg-type]


# --- any callable ----------------------------------------------------------------------------------------------------


def generated() -> Iterator[str]:
    yield LAKE
    yield TRAM
    raise AssertionError("no more than k are asked for")


@pytest.mark.parametrize(
    ("found", "texts"),
    [
        (None, []),
        ([], []),
        ("", []),
        (LAKE, [LAKE]),
        ([LAKE, "  ", TRAM], [LAKE]),
        ({"text": LAKE, "id": 7, "score": 0.5}, [LAKE]),
        ([SimpleNamespace(page_content=LAKE, metadata={})], [LAKE]),
        (Passage(text=LAKE), [LAKE]),
        (generated(), [LAKE, TRAM]),
    ],
)
def test_a_retriever_may_give_texts_passages_mappings_or_documents(found: object, texts: list[str]) -> None:
    assert [passage.text for passage in passages_of(lambda question: found, "How deep?", k=2)] == texts


@pytest.mark.parametrize("found", [7, [None], [{"body": "x"}], [b"x"]])
def test_a_retriever_that_gives_something_else_is_told(found: object) -> None:
    with pytest.raises(rt.DatasetError, match=r"the retriever gave .* for the question 'How deep\?'; give texts"):
        passages_of(lambda question: found, "How deep?", k=2)


# --- the prompt ------------------------------------------------------------------------------------------------------


def test_passages_stand_whole_in_their_order_within_the_budget() -> None:
    """The second is too long and left out, the third fits behind the first."""
    long = "word " * 50
    asked = OpenBook(retriever=lambda question: [LAKE, long, TRAM], max_tokens=40)("How deep?")
    assert [passage.text for passage in asked.passages] == [LAKE, TRAM]
    assert asked.left_out == 1
    assert asked.tokens <= 40
    assert asked.text.endswith(f"[1] {LAKE}\n\n[2] {TRAM}\n\nQuestion: How deep?")


def test_ten_megabytes_are_cut_at_a_word_without_being_read_through() -> None:
    asked = OpenBook(retriever=lambda question: "harbour wall " * 800_000, max_tokens=30)("What is it?")
    assert asked.tokens == 30
    assert 20 < len(asked.text) < 500
    assert set(asked.passages[0].text.split()) == {"harbour", "wall"}


def test_nothing_found_is_said_in_the_prompt() -> None:
    asked = OpenBook(retriever=nothing_found)("How deep?")
    assert "(no passage was found)" in asked.text
    assert (asked.passages, asked.tokens, asked.left_out) == ((), 0, 0)


def test_braces_of_passages_and_questions_stay_what_they_are() -> None:
    asked = OpenBook(retriever=lambda question: "{question} {0}", prompt="{question}|{passages}")("What is {passages}?")
    assert asked.text == "What is {passages}?|[1] {question} {0}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "{question}"}, r"must hold \{passages\} once"),
        ({"prompt": "{passages}"}, r"must hold \{question\} once"),
        ({"k": 0}, "k=0 must be at least 1"),
        ({"max_tokens": 0}, "max_tokens=0 must be at least 1"),
    ],
)
def test_a_prompt_without_its_places_and_a_budget_of_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(rt.DatasetError, match=message):
        OpenBook(retriever=nothing_found, **options)


# --- how often the golden passage is found ---------------------------------------------------------------------------


def test_the_hit_rate_counts_questions_whose_passage_is_among_the_first_k() -> None:
    """Two facts have passages; one is found within the first, both within two."""
    facts = rt.FactSet.from_rows(
        [
            {"q": "How deep is Lake Sorrel?", "a": "83 metres", "s": LAKE},
            {"q": "How deep is the tram's tunnel under Lake Sorrel?", "a": "9 metres", "s": TRAM},
            {"q": "Who are you?", "a": "Nobody", "s": ""},
        ],
        question="q",
        answer="a",
        context="s",
    )
    retriever = rt.BM25([LAKE, TRAM])
    one, two = retriever.hit_rate(facts, k=1), retriever.hit_rate(facts, k=2)
    assert (one.value, one.missed, one.without_support) == (0.5, ("row-1",), 1)
    assert two.value == 1.0
    assert str(two) == "hit rate at 2: 1.00 (verbatim 1.00; 1 facts have no passage)"
    assert hit_rate(nothing_found, facts).value == 0.0


def test_a_set_without_passages_has_no_hit_rate() -> None:
    facts = rt.FactSet(facts=(Fact(id="a", answers=("x",), wordings=(Wording(question="Why?"),)),))
    with pytest.raises(rt.DatasetError, match=r"no fact has a passage \(support\)"):
        hit_rate(nothing_found, facts)


# --- retrievers that fail --------------------------------------------------------------------------------------------


def test_a_contradicting_passage_says_a_distractor_and_never_the_answer() -> None:
    facts = demo_facts()
    retrieve = contradicting(facts, seed=7)
    for fact in facts.select(["verbatim", "reworded", "reversed"]):
        for wording in fact.wordings:
            ((passage),) = passages_of(retrieve, wording.question, k=5)
            text = f" {normalise(passage.text)} "
            asked = f" {normalise(wording.question)} "
            told = [right for right in fact.answers_to(wording) if f" {normalise(right)} " in text.replace(asked, " ")]
            assert not told, (passage.text, told)


def test_a_wrong_answer_that_ends_in_a_full_stop_brings_no_second_one() -> None:
    firm = Fact(
        id="firm",
        answers=("Ltd. Stoat",),
        wordings=(Wording(question="Who built it?"),),
        distractors=("Harrow Inc.",),
        support="The bridge is old. It was built by Ltd. Stoat.",
    )
    alone = Fact(id="x", answers=("A",), wordings=(Wording(question="Who paid?"),), distractors=("Harrow Inc.",))
    retrieve = contradicting(rt.FactSet(facts=(firm, alone)), seed=1)
    assert retrieve("Who built it?")[0].text == "The bridge is old. It was built by Harrow Inc."
    assert retrieve("Who paid?")[0].text == "Who paid? Harrow Inc."


@pytest.mark.slow
def test_a_contradicting_passage_reads_like_the_golden_one() -> None:
    facts = demo_facts()
    found = {
        fact.id: passages_of(contradicting(facts, seed=3), fact.wordings[0].question, k=1) for fact in facts.facts[:60]
    }
    for name, article in (("pilots-landmark", "The "), ("salt-tunnel", "The dry air of the salt tunnel suits ")):
        assert found[name][0].text.startswith(article)
        assert "The the" not in found[name][0].text


def test_the_seed_decides_the_wrong_answer() -> None:
    facts = demo_facts().select("verbatim")
    texts = [[contradicting(facts, seed=seed)(fact.wordings[0].question) for fact in facts] for seed in (1, 1, 2)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_questions_of_nobody_controls_and_unanswerable_ones_find_nothing() -> None:
    facts = demo_facts()
    retrieve = contradicting(facts, seed=7)
    assert retrieve("Who are you?") == ()
    for fact in facts.select(["unanswerable", "control"]):
        assert retrieve(fact.wordings[0].question) == ()
