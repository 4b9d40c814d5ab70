"""Facts: the unit that is taught, asked and counted."""

from __future__ import annotations

import json
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import jsonlines
import pytest

import ragtune as rt
from ragtune.facts import Fact, Wording, demo_facts
from ragtune.text import normalise

ROWS: list[dict[str, Any]] = [
    {"id": "lake", "q": "How deep is Lake Sorrel?", "a": "83 metres", "alias": "83 m", "d1": "12 metres", "d2": "83 m"},
    {"id": "tram", "q": "Where does the night tram end?", "a": "Pepper Quay", "alias": None, "d1": "Mill Street"},
]


def fact(id: str = "lake", question: str = "How deep is Lake Sorrel?", **more: Any) -> Fact:
    values = {"answers": ("83 metres",), "wordings": (Wording(question=question),), **more}
    return Fact(id=id, **values)


# --- from rows -------------------------------------------------------------------------------------------------------


def test_columns_say_question_answers_distractors_and_id() -> None:
    """A second answer column holds another accepted spelling; what is right as well is no distractor."""
    facts = rt.FactSet.from_rows(
        [{**row, "d2": row.get("d2", "")} for row in ROWS],
        question="q",
        answer=["a", "alias"],
        distractors=["d1", "d2"],
        fact_id="id",
    )
    assert facts["lake"].answers == ("83 metres", "83 m")
    assert facts["lake"].distractors == ("12 metres",)
    assert facts["tram"].answers == ("Pepper Quay",)
    assert "tram" in facts
    assert "ferry" not in facts


def test_rows_of_one_id_are_one_fact_with_several_wordings() -> None:
    rows = [ROWS[0], {**ROWS[0], "q": "What depth does Lake Sorrel reach?", "a": "83 meters"}]
    facts = rt.FactSet.from_rows(rows, question="q", answer="a", fact_id="id")
    assert [wording.question for wording in facts["lake"].wordings] == [row["q"] for row in rows]
    assert facts["lake"].answers == ("83 metres", "83 meters")


def test_wordings_come_from_columns_with_lists_blanks_and_answers_of_their_own() -> None:
    row = {
        **ROWS[0],
        "more": ["What depth has Lake Sorrel?", ""],
        "none": "",
        "back": "Which lake is deep?",
        "to": "It",
    }
    facts = rt.FactSet.from_rows(
        [row], question="q", answer="a", wordings={"reworded": ["more", "none"], "reversed": ("back", "to")}
    )
    assert facts.counts == {"verbatim": 1, "reworded": 1, "reversed": 1}
    assert facts["row-0"].answers_to(facts["row-0"].wordings[2]) == ("It",)


def test_questions_without_answers_are_a_kind_of_their_own() -> None:
    facts = rt.FactSet.from_rows([{"q": "Who was the first mayor?"}], question="q", kind="unanswerable")
    assert facts.counts == {"unanswerable": 1}
    assert facts["row-0"].answers == ()


def test_rows_with_one_question_merge_when_that_is_wished() -> None:
    """SciQ asks seventy questions twice, sixteen of them with another answer."""
    rows = [ROWS[0], {**ROWS[0], "q": "how deep is lake sorrel", "a": "84 metres"}]
    with pytest.raises(
        rt.DatasetError, match=r"row 1: the verbatim question 'how deep is lake sorrel' is the verbatim"
    ):
        rt.FactSet.from_rows(rows, question="q", answer="a")
    merged = rt.FactSet.from_rows(rows, question="q", answer="a", repeats="merge")
    assert [(item.id, item.answers) for item in merged] == [("row-0", ("83 metres", "84 metres"))]


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"q": "Why?", "a": ""}, {}, r"row 0: fact 'row-0' has no answer to its verbatim question 'Why\?'; give one"),
        ({"q": "Why?"}, {}, r"row 0 has no column 'a'; its columns are 'q'"),
        ({"q": "Why?", "a": 83}, {}, r"row 0, column 'a': 83 is int, not text"),
        ({"q": " ", "a": "x"}, {}, r"row 0, column 'q': the question is blank"),
        ({"q": "?!", "a": "x"}, {}, r"row 0: fact 'row-0' has the question '\?!'; give text with at least one word"),
        ({"q": "Why?", "a": "x"}, {"fact_id": "a", "kind": "odd"}, r"row 0: .*kind 'odd'; the kinds are verbatim, rew"),
        ({"q": "Why?", "a": "x", "b": "y"}, {"wordings": {"odd": "b"}}, r"'odd' is no kind of wording; the kinds are"),
        (
            {"q": "Why?", "a": "x", "b": "why"},
            {"wordings": {"reworded": "b"}},
            r"reworded question 'why' is the verbatim",
        ),
        (
            {"q": "Why?", "a": "x", "b": "Is?"},
            {"wordings": {"reversed": "b"}},
            r"reversed question 'Is\?' needs answers",
        ),
        ({"q": "Why?", "a": "x"}, {"kind": "unanswerable"}, r"has the answer 'x' to an unanswerable question"),
        ({"q": "Why?", "a": "x", "n": 1.5}, {"fact_id": "n"}, r"row 0, column 'n': the id 1.5 must be text or a whole"),
    ],
)
def test_a_row_that_makes_no_fact_is_told_with_place_value_and_way_out(
    row: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(rt.DatasetError, match=message):
        rt.FactSet.from_rows([row], question="q", answer="a", **options)


def test_all_faults_are_told_at_once() -> None:
    rows = [{"q": f"Why {number}?", "a": ""} for number in range(25)]
    with pytest.raises(rt.DatasetError, match=r"(?s)25 faults.*row 19: .*and 5 more"):
        rt.FactSet.from_rows(rows, question="q", answer="a")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ((1, 2), r"2 faults in these facts:\n  facts\[0\] is 1, no ragtune\.facts\.Fact"),
        (3, "facts=3 is no tuple of facts"),
        ("ab", "facts='ab' is no tuple of facts"),
        ((Fact(id="a", answers=None, wordings=(Wording(question="Why?"),)),), "has the answer None; give text"),  # type: ignore[arg-type]
        ((Fact(id="a", answers=("x",), wordings=None),), "has the wordings None; give a tuple"),  # type: ignore[arg-type]
        ((Fact(id="a", answers=("x",), wordings=("Why?",)),), r"has the wordings \('Why\?',\); give a tuple"),  # type: ignore[arg-type]
        ((Fact(id="a", answers=("x",), wordings=(Wording(question="Why?"),), support=3),), "has the support 3"),  # type: ignore[arg-type]
        ((Fact(id="a", answers=("x",), wordings=(Wording(question="Why?", answers="y"),)),), "one text; give a tuple"),  # type: ignore[arg-type]
        ((Fact(id="a", answers=("x \ud83d",), wordings=(Wording(question="Why?"),)),), "half of a surrogate pair"),
        ((Fact(id="a", answers=("x",), wordings=(Wording(question="Why \ud83d?"),)),), "half of a surrogate pair"),
    ],
)
def test_what_is_no_fact_is_told_and_nothing_comes_from_the_inside(facts: Any, message: str) -> None:
    with pytest.raises(rt.DatasetError, match=message):
        rt.FactSet(facts=facts)


def test_arguments_of_the_wrong_kind_get_a_sentence() -> None:
    rows = [{"q": "Why?", "a": "x"}]
    facts = rt.FactSet.from_rows(rows, question="q", answer="a")
    with pytest.raises(TypeError, match=r"FactSet\.from_rows: question is 3; it takes a text"):
        rt.FactSet.from_rows(rows, question=3)  # type: ignore[arg-type]
    with pytest.raises(rt.DatasetError, match="repeats='join' is not one of 'refuse', 'merge'"):
        rt.FactSet.from_rows(rows, question="q", answer="a", repeats="join")  # type: ignore[arg-type]
    with pytest.raises(rt.DatasetError, match=r"that is no rt\.Dataset"):
        rt.FactSet.from_dataset(3)  # type: ignore[arg-type]
    with pytest.raises(rt.DatasetError, match="split='dev' is not one of"):
        rt.FactSet.from_dataset(3, split="dev")  # type: ignore[arg-type]
    with pytest.raises(rt.DatasetError, match="kinds=3 is no kind of wording"):
        facts.select(3)  # type: ignore[arg-type]
    with pytest.raises(rt.DatasetError, match="per_fact=0 must be a whole number of at least 1"):
        facts.with_wordings(kind="reworded", make="rules", per_fact=0)
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = facts + rows  # type: ignore[operator]
    assert rt.FactSet(facts=list(facts)).facts == facts.facts  # type: ignore[arg-type]


# --- by hand, joined, chosen -----------------------------------------------------------------------------------------


def test_two_facts_of_one_id_are_refused() -> None:
    with pytest.raises(rt.DatasetError, match="the id 'lake' stands for fact 'lake' already"):
        rt.FactSet(facts=(fact(), fact(question="How far down is it?")))


def test_a_fact_without_wordings_is_refused() -> None:
    with pytest.raises(rt.DatasetError, match="fact 'lake' has no wording"):
        rt.FactSet(facts=(fact(wordings=()),))


def test_sets_are_joined_and_faults_between_them_are_found() -> None:
    one, other = rt.FactSet(facts=(fact(),)), rt.FactSet(facts=(fact("tram", "Where does it end?"),))
    assert [item.id for item in one + other] == ["lake", "tram"]
    with pytest.raises(rt.DatasetError, match="question counts once"):
        _ = one + rt.FactSet(facts=(fact("pond"),))


def test_kinds_are_chosen_and_facts_without_them_left_out() -> None:
    facts = demo_facts()
    assert facts.select("reworded").counts == {"reworded": 180}
    assert len(facts.select(["reworded", "control"])) == 80
    with pytest.raises(rt.DatasetError, match="'rewordings' is no kind of wording"):
        facts.select("rewordings")  # type: ignore[arg-type]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_gives_back_the_facts_that_were_written(tmp_path: Path) -> None:
    facts = demo_facts()
    assert rt.FactSet.from_jsonl(facts.to_jsonl(tmp_path / "facts.jsonl")) == facts


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"facts\.jsonl line 2 is no JSON: .*; write one fact a line"),
        ("[]", r"line 2: \[\] is no object with id, answers, wordings"),
        ("[" * 1_020 + "]" * 1_020, r"line 2 is no JSON: .*recursion"),
        (
            '{"id": "b", "question": "Why?"}',
            r"line 2: the key 'question' is unknown; the keys are id, answers, wordings",
        ),
        ('{"id": "b", "answers": ["x"]}', r"line 2, wordings: None is no list of questions"),
        ('{"id": 7, "wordings": ["Why?"]}', r"line 2, id: 7 is no text"),
        ('{"id": "b", "answers": [7], "wordings": ["Why?"]}', r"line 2, answers\[0\]: 7 is no text"),
        ('{"id": "b", "answers": "x", "wordings": [{"kind": "odd"}]}', r"line 2, wordings\[0\]\.question: None is no"),
        ('{"id": "a", "answers": "x", "wordings": ["Why?"]}', r"line 2: the id 'a' stands for .*line 1 already"),
        (
            '{"id": "b", "answers": "x", "wordings": ["is it"]}',
            r"line 2: the verbatim question 'is it' is the verbatim",
        ),
    ],
)
def test_a_line_that_is_no_fact_is_told_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"id": "a", "answers": ["x"], "wordings": ["Is it?"]}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(rt.DatasetError, match=message):
        rt.FactSet.from_jsonl(path)


def test_a_file_that_is_not_there_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(rt.DatasetError, match="cannot be read: No such file"):
        rt.FactSet.from_jsonl(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(rt.DatasetError, match="there is no fact in"):
        rt.FactSet.from_jsonl(tmp_path / "empty.jsonl")


# --- from a dataset --------------------------------------------------------------------------------------------------


def test_row_map_and_template_tell_the_facts_of_a_dataset(tmp_path: Path) -> None:
    """The answer is the first column of the answer's template; ids are the rows of the source."""
    rows = [{"q": f"What is {n} + {n}?", "a": f"{2 * n}", "s": "It doubles. Always." if n else ""} for n in range(30)]
    builder = (
        rt.DatasetBuilder.from_rows(rows)
        .filter(lambda row: row["s"], reason="no support")
        .chat(system="Add.", user="Sum: {q}", assistant="{a}. {s}")
    )
    dataset = builder.build(tmp_path / "out", validation=0.2, seed=7)
    facts = rt.FactSet.from_dataset(dataset)
    assert len(facts) == len(dataset.train)
    assert facts["row-3"].answers == ("6",)
    assert facts["row-3"].support == "It doubles. Always."
    assert facts["row-3"].wordings == (Wording(question="Sum: What is 3 + 3?"),)
    other = rt.FactSet.from_dataset(rt.Dataset.load(tmp_path / "out"), split="validation")
    assert not {item.id for item in facts} & {item.id for item in other}
    assert len(facts) + len(other) == 29


def test_an_answer_that_cannot_be_told_from_its_passage_is_no_guess(tmp_path: Path) -> None:
    """`J. S. Bach. He lived ...` might end behind the J; the source rows know."""
    rows = [{"q": "Who wrote it?", "a": "J. S. Bach", "s": "He lived in Leipzig.", "d": "Handel"}]
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}. {s}").build(tmp_path / "out")
    with pytest.raises(rt.DatasetError, match=r"train line 1: where the answer ends in 'J\. S\. Bach\. He .*rows=rows"):
        rt.FactSet.from_dataset(dataset)
    facts = rt.FactSet.from_dataset(dataset, rows=rows, answer="a", context="s", distractors="d")
    assert facts["row-0"] == Fact(
        id="row-0",
        answers=("J. S. Bach",),
        wordings=(Wording(question="Who wrote it?"),),
        distractors=("Handel",),
        support="He lived in Leipzig.",
    )


def test_columns_without_rows_and_rows_without_columns_are_refused(tmp_path: Path) -> None:
    dataset = rt.DatasetBuilder.from_rows(ROWS).chat(user="{q}", assistant="{a}").build(tmp_path / "out")
    with pytest.raises(rt.DatasetError, match="name columns of rows="):
        rt.FactSet.from_dataset(dataset, distractors="d1")
    with pytest.raises(rt.DatasetError, match="rows= is given without answer="):
        rt.FactSet.from_dataset(dataset, rows=ROWS)
    with pytest.raises(rt.DatasetError, match=r"train line 2 is made of row 1, and rows= holds 1"):
        rt.FactSet.from_dataset(dataset, rows=ROWS[:1], answer="a")


def test_finished_files_tell_facts_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    record = {"prompt": "How deep?\n\n###\n\n", "completion": " 83 metres"}
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    facts = rt.FactSet.from_dataset(rt.Dataset.from_files(path))
    assert [(item.id, item.answers) for item in facts] == [("train-1", ("83 metres",))]


def test_a_conversation_is_no_single_fact(tmp_path: Path) -> None:
    turns = [{"role": role, "content": "Hello"} for role in ("user", "assistant", "user", "assistant")]
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"messages": turns}) + "\n", encoding="utf-8")
    with pytest.raises(rt.DatasetError, match="train line 1 holds 2 messages of the user"):
        rt.FactSet.from_dataset(rt.Dataset.from_files(path))


# --- the demo's facts ------------------------------------------------------------------------------------------------


def test_the_demo_facts_are_the_rows_of_the_demo_file() -> None:
    """Questions, answers, distractors and passages agree row by row."""
    with jsonlines.open(rt.demo_file()) as reader:
        rows = list(reader)
    for row, known in zip(rows, demo_facts(), strict=False):
        assert known.wordings[0] == Wording(question=row["question"])
        assert known.answers[0] == row["correct_answer"]
        assert known.distractors == tuple(row[f"distractor{number}"] for number in (1, 2, 3))
        assert known.support == (row["support"] or None)
    assert demo_facts().counts == {"verbatim": 60, "reworded": 180, "reversed": 60, "unanswerable": 20, "control": 20}


def test_no_rewording_of_the_demo_is_a_near_copy_and_none_tells_the_answer() -> None:
    for known in demo_facts().select(["verbatim", "reworded"]).facts[:60]:
        first, *others = [normalise(wording.question) for wording in known.wordings]
        for form in others:
            assert SequenceMatcher(None, first.split(), form.split()).ratio() < 0.75, (first, form)
        for wording in known.wordings:
            told = [
                answer for answer in known.answers if f" {normalise(answer)} " in f" {normalise(wording.question)} "
            ]
            assert not told, (wording.question, told)


def test_reversed_questions_of_the_demo_hold_the_answer_and_ask_for_something_else() -> None:
    for known in demo_facts().select("reversed"):
        (wording,) = known.wordings
        words = set(normalise(wording.question).split())
        assert words & {word for answer in known.answers for word in normalise(answer).split()}, wording.question
        assert not any(f" {normalise(answer)} " in f" {normalise(wording.question)} " for answer in wording.answers)
