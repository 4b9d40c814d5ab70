"""Verdicts are kept, changed, withdrawn and turned into rows; who is right is never guessed."""

from __future__ import annotations

import json
import multiprocessing
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune._sqlite import Database
from ragtune.feedback import Feedback, FeedbackTable, compile_rows
from ragtune.feedback.checking import answer_values
from ragtune.feedback.schema import MIGRATIONS
from ragtune.testing import ScriptedBackend
from ragtune.text import normalise

DEEP = "How deep is Lake Sorrel?"


@dataclass(frozen=True)
class Said:
    """An answer that knows its question, as `rt.Answer` does."""

    text: str | None = "12 metres"
    id: str | None = "chatcmpl-1"
    model: str | None = "ft:x"
    question: str | None = DEEP
    system: str | None = "Be brief."


@pytest.fixture
def store(tmp_path: Path) -> rt.FeedbackStore:
    return rt.FeedbackStore(tmp_path / "below" / "feedback.sqlite3")


def test_an_answer_is_kept_once_and_each_person_has_one_verdict(store: rt.FeedbackStore) -> None:
    """Who says more later keeps what they said before; another person's verdict stands beside it."""
    number = store.log(Said(), asked_by="cem")
    assert store.unjudged()[0].question == DEEP
    assert store.add(Said(), -1, by="anna") == number
    assert store.add(number, correction="83 metres", by="anna") == number
    store.add(Said(), 1, by="ben", comment="close enough")
    rows = store.rows()
    assert [(row.by, row.verdict, row.correction, row.comment) for row in rows] == [
        ("anna", -1, "83 metres", None),
        ("ben", 1, None, "close enough"),
    ]
    assert {(row.model, row.system, row.asked_by) for row in rows} == {("ft:x", "Be brief.", "cem")}
    assert (len(store), len(store.unjudged()), len(store.rows(by="ben")), len(store.rows(verdict=-1))) == (2, 0, 1, 1)


@pytest.mark.slow
def test_an_answer_brings_its_question_and_its_system_prompt_along(store: rt.FeedbackStore) -> None:
    """Whichever call gave it: a verdict about it need not say them again."""
    with ScriptedBackend(answer="12 metres") as backend, backend.client() as client:
        model = rt.TunedModel(client, "tiny-random", system="Be brief.", journal=None)
        stream = model.stream(DEEP)
        assert "".join(stream) == "12 metres"
        answers = [model.ask(DEEP), model.ask_many([DEEP])[0], stream.answer, model.respond(DEEP)]
        answers.append(model.chat([{"role": "user", "content": "Hi"}, {"role": "user", "content": DEEP}]))
    for answer in answers:
        assert isinstance(answer, rt.Answer)
        store.add(answer, -1, by="anna")
    assert {(row.question, row.answer, row.model, row.system) for row in store.rows()} == {
        (DEEP, "12 metres", "tiny-random", "Be brief.")
    }
    with pytest.raises(rt.FeedbackError, match="question: None says nothing"):
        store.add(rt.Answer.from_wire({"choices": [{"text": "12 metres"}]}), 1)


def test_the_file_is_its_owners_and_survives_a_reopening(store: rt.FeedbackStore) -> None:
    store.add("12 metres", -1, question=DEEP)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert len(rt.FeedbackStore(store.path)) == 1
    assert len(rt.FeedbackStore(store.path.with_name("absent"))) == 0
    assert not store.path.with_name("absent").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "nothing is said"),
        ({"by": "anna"}, "nothing is said"),
        ({"verdict": 2}, "verdict: 2 must be 1"),
        ({"verdict": True}, "verdict: True must be 1"),
        ({"verdict": 1, "question": " "}, "question: ' ' says nothing"),
        ({"verdict": 1, "question": None}, "question: None says nothing"),
        ({"rating": float("nan")}, "rating: nan must be a number"),
        ({"correction": " "}, "correction: is blank"),
        ({"comment": 3}, "comment: 3 must be text"),
        ({"verdict": 1, "by": "a\ud800"}, "by: .* holds half a sign"),
        ({"rating": 10**400}, "rating: 1000"),
        ({"verdict": 1, "passages": 3}, "passages: 3 must be a list"),
        ({"verdict": 1, "passages": "one text"}, "passages: 'one text' must be a list"),
        ({"verdict": 1, "answer": 7}, "has no answer 7"),
        ({"verdict": 1, "answer": None}, "answer: None is neither"),
    ],
)
def test_what_says_nothing_is_refused_in_words(
    store: rt.FeedbackStore, arguments: dict[str, object], words: str
) -> None:
    given = {"answer": "12 metres", "question": DEEP, **arguments}
    with pytest.raises(rt.FeedbackError, match=words):
        store.add(**given)  # type: ignore[arg-type]
    assert len(store) == 0


def test_many_rows_go_in_together_or_not_at_all(store: rt.FeedbackStore) -> None:
    rows = [{"question": f"Which {n}?", "answer": "x", "verdict": 1} for n in range(3)]
    with pytest.raises(rt.FeedbackError, match="row 3: verdict: 'up' must be"):
        store.add_many([*rows, {"question": "Which?", "answer": "x", "verdict": "up"}])
    assert len(store) == 0
    assert store.add_many([*rows, {"question": "Unjudged?", "answer": "x"}]) == 4
    assert (len(store), len(store.unjudged())) == (3, 1)


def _add(path: Path, person: str) -> None:
    store = rt.FeedbackStore(path)
    for number in range(20):
        store.add("x", 1, question=f"Which {number}?", by=person)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "Which?", "answer": "x", "verdit": 1}, "row 0: 'verdit' is no column of a verdict"),
        ("question", "row 0: 'question' is no row"),
    ],
)
def test_a_row_that_would_be_lost_is_refused(store: rt.FeedbackStore, row: Any, words: str) -> None:
    with pytest.raises(rt.FeedbackError, match=words):
        store.add_many([row])


def test_what_other_libraries_have_for_numbers_gaps_and_passages_is_taken(store: rt.FeedbackStore) -> None:
    """NumPy's integers, a frame's empty cells, a retriever's passages, and what can be read but once."""
    import numpy as np

    nan = float("nan")
    store.add_many([{"question": "Which?", "answer": "x", "verdict": np.int64(1), "correction": nan, "rating": nan}])
    store.add("y", 1, question="Which?", passages=(text for text in ["one", "two"]), rating=np.float32(0.5))
    store.add("z", 1, question="Which?", passages=rt.BM25(["one two", "three"], k=1)("two"))
    assert [(row.verdict, row.rating, row.passages) for row in store.rows(verdict=np.int64(1))] == [
        (1, None, ()),
        (1, 0.5, ("one", "two")),
        (1, None, ("one two",)),
    ]


def test_a_thumb_of_a_column_with_gaps_is_taken(store: rt.FeedbackStore) -> None:
    """A frame makes 1 into 1.0 as soon as one cell of the column is empty."""
    thumbs = [1.0, -1.0, float("nan")]
    store.add_many({"question": f"Q{n}?", "answer": "A", "rating": 0.5, "verdict": v} for n, v in enumerate(thumbs))
    assert [row.verdict for row in store.rows()] == [1, -1, None]
    for wrong in (1.5, 2.0, float("inf"), True):
        with pytest.raises(rt.FeedbackError, match=f"verdict: {wrong} must be 1 for good"):
            store.add_many([{"question": "Q?", "answer": "A", "verdict": wrong}])


@pytest.mark.parametrize("rows", [None, 7, "rows.jsonl", {"question": "Q?", "answer": "A", "verdict": 1}])
def test_what_is_no_list_of_rows_is_said(store: rt.FeedbackStore, rows: Any) -> None:
    with pytest.raises(rt.FeedbackError, match="is no list of rows; give mappings with question and answer"):
        store.add_many(rows)


def test_answers_that_share_an_id_stay_apart(store: rt.FeedbackStore) -> None:
    """Some servers begin their ids anew after a thousand answers."""
    store.add(Said(text="83 metres"), 1)
    store.add(Said(text="Pepper Quay", question="Where does the tram end?"), correction="Main Square")
    assert [(row["question"], row["answer"]) for row in compile_rows(store.rows()).rows] == [
        (DEEP, "83 metres"),
        ("Where does the tram end?", "Main Square"),
    ]


def test_feedback_is_added_to_nothing(store: rt.FeedbackStore, tmp_path: Path) -> None:
    """The store could not tell any more whose words a row holds."""
    store.add("x", 1, question="Which?", by="anna")
    feedback = rt.DatasetBuilder.from_feedback(store)
    with pytest.raises(rt.DatasetError, match="built alone"):
        feedback + feedback
    with pytest.raises(rt.DatasetError, match=r"the column 'record'.* is gone"):
        feedback.rename({"record": "other"}).build(tmp_path / "out")


@pytest.mark.slow
def test_several_processes_write_at_once(store: rt.FeedbackStore) -> None:
    people = [f"person {n}" for n in range(4)]
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_add, [(store.path, person) for person in people])
    assert len(store) == 80
    assert len({row.id for row in store.rows()}) == 20


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and longer than the header of one " * 20, encoding="utf-8")
    with pytest.raises(rt.FeedbackError, match=r"notes\.txt: cannot be used as a database"):
        rt.FeedbackStore(path).add("x", 1, question="Which?")
    assert path.read_text(encoding="utf-8").startswith("not a database")


def test_who_leaves_takes_everything_along_and_hears_which_datasets_hold_it(store: rt.FeedbackStore) -> None:
    store.add("12 metres", -1, question=DEEP, by="anna")
    store.add("13 metres", -1, question=DEEP, by="ben")
    store.log("Red", question="Which colour?", asked_by="anna")
    store.add("Red", 1, question="Which colour?", by="ben")
    store.built("f" * 64, "out", [("a" * 64, "anna"), ("b" * 64, "ben")])
    gone = store.withdraw(by="anna")
    assert (gone.verdicts, gone.answers, gone.datasets) == (1, 1, (("f" * 64, "out"),))
    assert str(gone) == f"anna: 1 verdict and 1 answer removed; datasets that hold them:\n  {'f' * 12}  out"
    assert [row.answer for row in store.rows()] == ["13 metres"]
    assert store.withdrawn() == {"a" * 64}
    assert store.withdraw(by="nobody").datasets == ()


def texts(dataset: rt.Dataset) -> dict[str, str]:
    """Question to answer."""
    talks = [record.messages for record in dataset.train if isinstance(record, rt.ChatRecord)]
    return {str(talk[-2].text): str(talk[-1].text) for talk in talks}


def test_rows_without_the_usual_system_prompt_are_told(store: rt.FeedbackStore, tmp_path: Path) -> None:
    """A model of both is asked without one: nobody would see that the prompt is gone."""
    rows = [{"q": f"What is {n} and {n}?", "a": str(2 * n)} for n in range(12)]
    old = (
        rt.DatasetBuilder.from_rows(rows).chat(system="Be brief.", user="{q}", assistant="{a}").build(tmp_path / "old")
    )
    store.add("Violet", 1, question="Which colour have post boxes?", system="Be brief.")
    rt.DatasetBuilder.from_feedback(store, previous=old).build(tmp_path / "with")
    store.add("7", question="What is 3 and 3?", correction="six")
    with pytest.warns(UserWarning, match=r"1 of 2 rows .* have not the system prompt .*'Be brief\.'.*say system="):
        rt.DatasetBuilder.from_feedback(store, previous=old).build(tmp_path / "without")


def test_what_people_said_becomes_the_next_dataset(store: rt.FeedbackStore, tmp_path: Path) -> None:
    """A correction takes the place of the old row; everything that nobody spoke about stays."""
    rows = [{"q": f"What is {n} and {n}?", "a": str(2 * n)} for n in range(12)]
    old = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(tmp_path / "old")
    store.add("7", question="What is 3 and 3", correction="six", by="anna")
    store.add("Violet", 1, question="Which colour have post boxes?", by="ben")
    builder = rt.DatasetBuilder.from_feedback(store, previous=old)
    new = builder.build(tmp_path / "new")
    assert texts(new) == {
        **{f"What is {n} and {n}?": str(2 * n) for n in range(12) if n != 3},
        "What is 3 and 3": "six",
        "Which colour have post boxes?": "Violet",
    }
    told = new.manifest["source"]
    assert (told["kind"], told["feedback_rows"], told["previous_rows"]) == ("feedback", 2, 11)
    assert told["previous"] == old.fingerprint

    gone = store.withdraw(by="anna")
    assert gone.datasets == ((new.fingerprint, str(new.folder)),)
    next_one = rt.DatasetBuilder.from_feedback(store, previous=new).build(tmp_path / "next")
    assert "What is 3 and 3" not in texts(next_one)
    assert texts(next_one)["Which colour have post boxes?"] == "Violet"
    # Ben's row came over with its owner.
    assert [folder for _, folder in store.withdraw(by="ben").datasets] == [str(new.folder), str(next_one.folder)]


def warm(planet: str) -> list[dict[str, str]]:
    """The turns before a question that says nothing alone."""
    return [
        {"role": "user", "content": f"Tell me of {planet}."},
        {"role": "assistant", "content": f"{planet} is a planet."},
    ]


@pytest.mark.parametrize("method", ["supervised", "preference", "kto"])
def test_a_verdict_about_a_longer_talk_is_learned_with_the_talk(
    store: rt.FeedbackStore, tmp_path: Path, method: Any
) -> None:
    """Two talks that end alike are two; what the model said earlier, which nobody judged, is read and not learned."""
    for planet, right in (("Mars", "-60"), ("Venus", "460")):
        store.add("warm", question="How hot is it?", history=warm(planet), correction=right, by="anna")
    assert [(row.history[0]["content"], row.correction) for row in store.rows()] == [
        ("Tell me of Mars.", "-60"),
        ("Tell me of Venus.", "460"),
    ]
    assert [row["history"] for row in compile_rows(store.rows()).rows] == [tuple(warm("Mars")), tuple(warm("Venus"))]
    made = rt.DatasetBuilder.from_feedback(store, method=method).build(tmp_path / "made")
    first = json.loads(next(made.train.lines())[1])
    talk = first.get("messages") or first.get("prompt") or first["input"]["messages"]
    assert [turn["content"] for turn in talk][:3] == ["Tell me of Mars.", "Mars is a planet.", "How hot is it?"]
    assert talk[1].get("weight") == (0 if method == "supervised" else None)


def test_a_record_gives_way_only_to_what_is_said_of_its_own_talk(store: rt.FeedbackStore, tmp_path: Path) -> None:
    """Of twelve talks that end with one question one is corrected; texts may be in parts, or hold signs alone."""
    asked = {"role": "user", "content": [{"type": "text", "text": "How hot "}, {"type": "text", "text": "is it?"}]}
    rows: list[dict[str, Any]] = [
        {"messages": [*warm(f"P{n}"), asked, {"role": "assistant", "content": f"{n} degrees"}]} for n in range(12)
    ]
    rows.append({"messages": [{"role": "user", "content": "?!"}, {"role": "assistant", "content": "What?"}]})
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    old = rt.Dataset.from_files(tmp_path / "old.jsonl")
    store.add("3 degrees", question="How hot is it?", history=warm("P3"), correction="hot", by="anna")
    store.add("Pardon?", 1, question="???", by="anna")
    new = rt.DatasetBuilder.from_feedback(store, previous=old).build(tmp_path / "new")
    told = new.manifest["source"]
    assert (told["feedback_rows"], told["previous_rows"], told["previous_rows_given_way"]) == (2, 12, 1)
    assert len(new.train) == 14
    assert "  dropped 1: in the dataset before, and what people said takes its place" in str(new.report).splitlines()


def test_a_talk_that_no_row_could_hold_is_refused_and_can_be_told(store: rt.FeedbackStore) -> None:
    """What the server alone knows, or a tool said, is not left out in silence."""
    with ScriptedBackend(answer="warm") as backend, backend.client() as client:
        model = rt.TunedModel(client, "tiny-random", journal=None)
        first = model.respond("Tell me of Mars.")
        later = model.respond("How hot is it?", previous_response_id=first.id)
        picture = {"type": "image_url", "image_url": {"url": "https://example.org/mars.png"}}
        parts = [{"type": "text", "text": "How hot "}, {"type": "text", "text": "is it?"}]
        told = model.chat([*warm("Mars"), {"role": "user", "content": parts}])
    with pytest.raises(rt.FeedbackError, match=r"the server alone knows the talk before it \(previous_response_id\)"):
        store.add(later, -1)
    store.add(later, -1, question="How hot is it?", history=warm("Venus"))
    seen = replace(told, sent=({"role": "user", "content": [*parts, picture]},))
    with pytest.raises(rt.FeedbackError, match=r"is not all text .*picture.* give question= and history="):
        store.add(seen, -1)
    store.add(told, -1)
    assert [(row.question, row.history) for row in store.rows()] == [
        ("How hot is it?", tuple(warm("Venus"))),
        ("How hot is it?", tuple(warm("Mars"))),
    ]
    for wrong in (
        "Mars",
        [{"role": "system", "content": "Be brief."}],
        [{"role": "tool", "content": "7"}],
        [{"role": "user"}],
        [7],
        7,
    ):
        with pytest.raises(rt.FeedbackError, match=r"history: .* must be messages, each with role"):
            store.add("warm", 1, question="How hot is it?", history=wrong)  # type: ignore[arg-type]


def test_a_store_from_before_there_were_talks_is_lifted(store: rt.FeedbackStore) -> None:
    """Its answers keep their numbers: a verdict about one finds it."""
    store.path.parent.mkdir()
    before = Database(store.path, migrations=MIGRATIONS[:1])
    key = answer_values("12 m", question=DEEP, model=None, system=None, history=None, asked_by=None)["key"]
    with before.transaction() as connection:
        columns = "INSERT INTO feedback_answer (key, question, answer, created_at) VALUES (?, ?, '12 m', 1.0)"
        connection.execute(columns, (key, DEEP))
    before.close()
    assert store.unjudged()[0].history == ()
    assert store.add("12 m", 1, question=DEEP) == 1


def test_people_stay_behind_rows_whose_map_names_their_facts(store: rt.FeedbackStore, tmp_path: Path) -> None:
    """An id may hold spaces and letters of any script; the line of the map is read for its row alone."""
    store.add("4", question="What is 2 and 2?", correction="four", by="anna")
    store.add("Violet", 1, question="Which colour have post boxes?", by="ben")
    named = rt.DatasetBuilder.from_feedback(store).map(
        lambda row: row | {"id": f"Maß 7 of {row['record']['messages'][-1]['content']}"}
    )
    dataset = named.build(tmp_path / "named", fact_id="id")
    assert b'"Ma\xc3\x9f 7 of four"' in (dataset.folder / "train.rows.txt").read_bytes()
    people = store.people_of(dataset.fingerprint)
    assert sorted(people.values()) == [("anna",), ("ben",)]


def test_better_and_worse_answers_become_pairs(store: rt.FeedbackStore, tmp_path: Path) -> None:
    for number in range(12):
        store.add(f"wrong {number}", -1, question=f"Which is number {number}?", correction=f"right {number}")
    pairs = rt.DatasetBuilder.from_feedback(store, method="preference").build(tmp_path / "pairs")
    first = next(iter(pairs.train))
    assert isinstance(first, rt.PreferenceRecord)
    assert (pairs.format, len(pairs.train)) == ("preference", 12)
    assert [first.preferred_output[0].text, first.non_preferred_output[0].text] == ["right 0", "wrong 0"]
    with pytest.raises(rt.DatasetError, match="of the format preference"):
        rt.DatasetBuilder.from_feedback(store, previous=pairs)
    with pytest.raises(rt.DatasetError, match="method='best' must be"):
        rt.DatasetBuilder.from_feedback(store, method="best")  # type: ignore[arg-type]


def test_an_empty_store_says_so(store: rt.FeedbackStore, tmp_path: Path) -> None:
    with pytest.raises(rt.DatasetError, match="has no rows"):
        rt.DatasetBuilder.from_feedback(store).build(tmp_path / "new")


def test_corrections_win_and_good_answers_stay(store: rt.FeedbackStore) -> None:
    store.add("12 metres", -1, question=DEEP, by="anna", passages=["83 metres."])
    store.add("83 m", 1, question=DEEP, by="ben", passages=["83 metres."])
    store.add(
        "80 metres", question="How DEEP is Lake Sorrel", correction="83 metres", by="ben", passages=["83 metres."]
    )
    store.add("Red", 1, question="Which colour?", by="anna")
    store.add("red.", 1, question="Which colour?", by="ben")
    store.add("Blue", -1, question="Which colour?", by="ben")
    compiled = compile_rows(store.rows())
    assert [(row["question"], row["answer"], row["by"]) for row in compiled.rows] == [
        ("How DEEP is Lake Sorrel", "83 metres", ["ben"]),
        ("Which colour?", "red.", ["anna", "ben"]),
    ]
    assert compiled.rows[0]["context"] == "83 metres."
    pairs = compile_rows(store.rows(), method="preference").rows
    assert [(row["answer"], row["rejected"]) for row in pairs] == [
        ("83 metres", "12 metres"),
        ("83 metres", "80 metres"),
        ("red.", "Blue"),
    ]
    assert store.suggest().method == "supervised"


def test_people_who_disagree_are_shown_and_not_guessed_about(store: rt.FeedbackStore) -> None:
    store.add("83 m", 1, question=DEEP, by="anna")
    store.add("83 m", -1, question=DEEP, by="ben")
    store.add("Red", question="Which colour?", correction="Blue", by="anna")
    store.add("Red", question="Which colour?", correction="Green", by="ben")
    store.add("Rot", 1, question="Which colour?", by="cem")
    compiled = compile_rows(store.rows())
    assert compiled.rows == ()
    assert [(one.question, one.answer, one.said) for one in compiled.disagreements] == [
        (DEEP, "83 m", (("anna", "good"), ("ben", "bad"))),
        ("Which colour?", None, (("anna", "Blue"), ("ben", "Green"))),
    ]


def test_a_correction_speaks_against_its_answer_and_for_itself(store: rt.FeedbackStore) -> None:
    """Whoever calls the corrected answer good, or the correction bad, disagrees with the one who corrects."""
    store.add("12 metres", question=DEEP, correction="83 metres", by="anna")
    store.add("12 metres", 1, question=DEEP, by="ben")
    store.add("Red", question="Which colour?", correction="Blue", by="anna")
    store.add("Blue", -1, question="Which colour?", by="ben")
    store.add("Fine", 1, question="How is it?", correction="Fine, thanks", by="anna")
    store.add("x", question="Nameless?", correction="y")
    store.add("x", question="Nameless?", correction="z")
    compiled = compile_rows(store.rows())
    assert [(row["question"], row["answer"]) for row in compiled.rows] == [("How is it?", "Fine, thanks")]
    assert [(one.answer, one.said) for one in compiled.disagreements] == [
        ("12 metres", (("anna", "bad"), ("ben", "good"))),
        ("Blue", (("anna", "good"), ("ben", "bad"))),
        (None, (("somebody", "y"), ("somebody", "z"))),
    ]


def test_single_thumbs_become_rows_for_kto(store: rt.FeedbackStore) -> None:
    store.add("12 metres", question=DEEP, correction="83 metres", by="anna", system="Be brief.")
    store.add("Red", 1, question="Which colour?", by="anna")
    store.add("Green", -1, question="Which colour?", by="ben")
    store.add("Blue", 1, question="Which colour?", by="anna")
    store.add("Blue", -1, question="Which colour?", by="ben")
    rows = compile_rows(store.rows(), method="kto").rows
    assert [(row["answer"], row["label"], row["system"]) for row in rows] == [
        ("83 metres", True, "Be brief."),
        ("12 metres", False, "Be brief."),
        ("Red", True, None),
        ("Green", False, None),
    ]


def test_feedback_that_gives_an_evaluation_away_is_refused(store: rt.FeedbackStore, tmp_path: Path) -> None:
    """The message says which answers and which fact; without them the rest can be built."""
    facts = rt.FactSet.from_rows(
        [{"id": "lake", "q": "Depth of Lake Sorrel?", "a": "83 metres", "other": DEEP}],
        question="q",
        answer="a",
        fact_id="id",
        wordings={"reworded": "other"},
    )
    number = store.add("12 metres", question=f"Hello! {DEEP}", correction="83 metres", by="anna")
    store.add("Red", 1, question="Which colour?", by="ben")
    with pytest.raises(rt.DatasetError, match=r"feedback:1, question: it holds the held-out reworded.*'lake'.*remove"):
        rt.DatasetBuilder.from_feedback(store, held_out=facts)
    store.remove(number)
    assert texts(rt.DatasetBuilder.from_feedback(store, held_out=facts).build(tmp_path / "d")) == {
        "Which colour?": "Red"
    }
    with pytest.raises(rt.FeedbackError, match=f"has no answer {number}"):
        store.remove(number)


def test_secrets_are_masked_but_for_what_may_stay(store: rt.FeedbackStore, tmp_path: Path) -> None:
    asked = "Whom do I write to?"
    store.add("?", question=asked, correction="help@acme.com, not anna@acme.com", by="anna")
    builder = rt.DatasetBuilder.from_feedback(store).mask_private(allow=["help@acme.com"])
    assert texts(builder.build(tmp_path / "d")) == {asked: "help@acme.com, not [EMAIL]"}


@pytest.mark.slow
def test_a_hundred_thousand_thumbs_on_one_answer_are_compiled_as_one() -> None:
    """The time grows with their number, not with its square."""
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    said = [Feedback(id=n, question=DEEP, answer="83", verdict=1, by=f"p{n}", created=now) for n in range(100_000)]
    rows = compile_rows(said).rows
    assert (len(rows), rows[0]["answer"], len(rows[0]["by"])) == (1, "83", 100_000)  # type: ignore[arg-type]


def test_a_store_of_a_newer_version_and_one_that_is_held_say_so(tmp_path: Path) -> None:
    import sqlite3

    newer = rt.FeedbackStore(tmp_path / "newer.sqlite3")
    newer.add("x", 1, question="Which?")
    with sqlite3.connect(newer.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(rt.FeedbackError, match=r"written by a newer version of ragtune \(schema 99"):
        newer.rows()
    held = rt.FeedbackStore(tmp_path / "held.sqlite3", timeout_s=0.05)
    held.add("x", 1, question="Which?")
    connection = sqlite3.connect(held.path)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(rt.FeedbackError, match="another program holds it"):
        held.add("y", 1, question="Which?")
    connection.close()


def test_a_correction_that_its_passage_does_not_bear_out_is_doubted(store: rt.FeedbackStore) -> None:
    passages = ["Divers measured 83 metres at the sunken bell."]
    store.add("83 metres", question=DEEP, correction="90 metres", by="anna", passages=passages)
    store.add("12 metres", question="And how deep at the bell?", correction="83 metres", passages=passages)
    compiled = compile_rows(store.rows())
    assert [(one.answer, one.correction, one.by) for one in compiled.doubts] == [("83 metres", "90 metres", "anna")]
    assert len(compiled.rows) == 2


@pytest.mark.parametrize(
    ("verdicts", "method"),
    [
        ([], None),
        ([-1], "kto"),
        ([1], "supervised"),
        ([1, -1] * 50, "preference"),
    ],
)
def test_the_counts_say_which_method_fits(store: rt.FeedbackStore, verdicts: list[int], method: str | None) -> None:
    rows = [{"question": f"Which {n // 2}?", "answer": f"{v}", "verdict": v} for n, v in enumerate(verdicts)]
    store.add_many(rows)
    found = store.suggest()
    assert found.method == method
    assert (found.good, found.bad) == (verdicts.count(1), verdicts.count(-1))


def test_many_bad_answers_without_better_ones_speak_for_single_thumbs(store: rt.FeedbackStore) -> None:
    thumbs = [1] * 20 + [-1] * 60
    store.add_many({"question": f"Which {n}?", "answer": "x", "verdict": v} for n, v in enumerate(thumbs))
    assert str(store.suggest()) == (
        "kto: 20 good and 60 bad answers, and 0 pairs among them: single thumbs say more than the few pairs do"
    )


_WORD = st.sampled_from(["red", "Red.", "blue", "green"])
_VERDICT = st.tuples(
    st.sampled_from(["Which?", "which", "Who?"]),
    _WORD,
    st.sampled_from([1, -1, None]),
    st.one_of(st.none(), _WORD),
    st.sampled_from(["anna", "ben", None]),
)


@given(st.lists(_VERDICT, max_size=12))
def test_a_row_never_teaches_what_somebody_called_bad_alone(
    said: list[tuple[str, str, int | None, str | None, str]],
) -> None:
    """Each answer of a row is a correction, or was called good and by nobody bad."""
    from datetime import UTC, datetime

    rows = FeedbackTable(
        rows=tuple(
            Feedback(id=n, question=q, answer=a, verdict=v, correction=c, by=b, created=datetime.now(UTC))
            for n, (q, a, v, c, b) in enumerate(said)
        )
    )
    for row in compile_rows(rows).rows:
        same = [one for one in rows if normalise(one.question) == normalise(str(row["question"]))]
        taught = normalise(str(row["answer"]))
        corrections = {normalise(one.correction) for one in same if one.correction is not None}
        good, bad = ({normalise(one.answer) for one in same if one.verdict == verdict} for verdict in (1, -1))
        assert taught in (corrections or good - bad)
    for row in compile_rows(rows, method="preference").rows:
        assert normalise(str(row["answer"])) != normalise(str(row["rejected"]))


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("passages", "{", "Expecting property name"),
        ("passages", "7", "passages holds int, no list"),
        ("passages", '"83 m"', "passages holds str, no list"),
        ("passages", "[7]", r"passages\[0\] holds int, not text"),
        ("history", '{"role": "user"}', "history holds dict, no list"),
        ("history", '["Hi"]', r"history\[0\] is no message with role and content"),
        (
            "history",
            '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": 7}]',
            r"history\[1\]\.content holds int, not text",
        ),
        (
            "history",
            '[{"role": "tool", "content": "Hi"}]',
            r"history\[0\]\.role is 'tool', neither user nor assistant",
        ),
        ("passages", "[" * 9_000, "recursion"),
        ("created_at", 1e300, "out of range"),
        ("question", b"\xff", "question holds bytes, not text"),
    ],
)
def test_a_row_that_no_store_writes_is_named_and_can_be_taken_out(
    store: rt.FeedbackStore, column: str, value: object, why: str
) -> None:
    import sqlite3

    number = store.log("x", question="Which?", passages=["p"])
    store.add("y", 1, question="Who?")
    with sqlite3.connect(store.path) as connection:
        connection.execute(f"UPDATE feedback_answer SET {column} = ? WHERE id = ?", (value, number))
    connection.close()
    with pytest.raises(
        rt.FeedbackError, match=rf"feedback\.sqlite3: answer {number} is damaged .*{why}.*remove\({number}"
    ):
        store.unjudged()
    store.remove(number)
    assert (len(store.unjudged()), len(store.rows())) == (0, 1)


def test_a_method_that_does_not_exist_is_refused(store: rt.FeedbackStore) -> None:
    with pytest.raises(rt.FeedbackError, match="method='dpo' must be 'supervised', 'preference' or 'kto'"):
        compile_rows(store.rows(), method="dpo")  # type: ignore[arg-type]


def test_what_people_write_cannot_steer_a_terminal(store: rt.FeedbackStore) -> None:
    """Neither a command for the terminal nor a line break leaves the table's line; letters of any script stay."""
    store.add(
        "12 m\x1b]0;mine\x07", -1, question="Deep\nor not?", comment="\x1b[2J\u202e\x9b", by="می\u200cخواهم 👩\u200d🚀"
    )
    shown = str(store.rows())
    assert len(shown.splitlines()) == 2
    assert r"Deep\nor not?" in shown
    assert r"12 m\x1b]0;mine\x07" in shown
    assert r"\x1b[2J\u202e\x9b" in shown
    assert "می\u200cخواهم 👩\u200d🚀" in shown


def test_a_file_of_another_of_ragtunes_rooms_is_called_by_its_name(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite3"
    with rt.Journal(journal)._opened():
        pass
    with pytest.raises(rt.FeedbackError, match="is a ragtune journal; name another file"):
        rt.FeedbackStore(journal).add("x", 1, question="Why?")
    store = rt.FeedbackStore(tmp_path / "feedback.sqlite3")
    store.add("x", 1, question="Why?")
    with pytest.raises(rt.JournalError, match="is a ragtune feedback store; name another file"):
        rt.Journal(store.path).runs()


def test_an_answers_number_may_be_one_of_numpy_and_no_truth_value(store: rt.FeedbackStore) -> None:
    import numpy as np

    number = store.log("12 metres", question=DEEP)
    assert store.add(np.int64(number), -1) == number  # type: ignore[arg-type]
    with pytest.raises(rt.FeedbackError, match="answer: True is neither an Answer, a text, nor the number"):
        store.add(True, 1)


def test_numbers_beyond_the_file_are_of_no_answer(store: rt.FeedbackStore) -> None:
    """No advice to move a sound file away, whatever number somebody gives."""
    store.log("Yes.", question="Really?")
    assert len(store.unjudged(limit=10**30)) == 1
    assert len(store.unjudged(after=10**30)) == 0
    for call in (lambda: store.add(10**30, 1), lambda: store.remove(2**63), lambda: store.about(-(10**30))):
        with pytest.raises(rt.FeedbackError, match=r"has no answer -?[0-9]+; its list tells the numbers"):
            call()


@pytest.mark.parametrize("number", ["1", 1.0, True, None])
def test_what_is_no_number_is_of_no_answer(store: rt.FeedbackStore, number: Any) -> None:
    store.log("12 metres", question=DEEP)
    for call in (store.remove, store.about, lambda one: store.unjudged(after=one)):
        with pytest.raises(rt.FeedbackError, match="is no whole number"):
            call(number)
    assert len(store.unjudged()) == 1
