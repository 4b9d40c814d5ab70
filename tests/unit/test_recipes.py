"""Recipes: facts become rows that know their fact, wording and recipe, and nothing held out is among them."""

from __future__ import annotations

import pickle
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ragtune as rt
from ragtune.errors import BudgetExceeded
from ragtune.evaluation.scorers.context import Context
from ragtune.evaluation.scorers.words import refusal
from ragtune.facts import Fact, Wording, demo_facts
from ragtune.recipes import RECIPES, RecipeRow, hold_out
from ragtune.recipes.open_book import prompt
from ragtune.recipes.passages import Passages, without_boilerplate
from ragtune.text import normalise

MODEL = "gpt-4o-mini-2024-07-18"
ALONE = [name for name in RECIPES if name not in ("sum", "order")]


def rows(recipe: rt.Recipe, facts: rt.FactSet | None = None, **options: Any) -> list[RecipeRow]:
    return list(recipe.rows(demo_facts() if facts is None else facts, **options))


def recipe(name: str) -> rt.Recipe:
    parts = [rt.Recipe("qa_multi"), rt.Recipe("document_rows", copies=2)]
    return rt.Recipe(name, recipes=parts) if name in ("sum", "order") else rt.Recipe(name)


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_facts_and_options_give_the_same_rows(name: str) -> None:
    """Also after a journey: pickled, and told to a file and back."""
    first = rows(recipe(name))
    assert first
    assert rows(pickle.loads(pickle.dumps(recipe(name)))) == first
    assert rows(rt.Recipe.from_dict(recipe(name).to_dict())) == first
    assert {row.recipe for row in first} <= {f"{name}/1" for name in RECIPES}


@pytest.mark.parametrize("name", ALONE)
def test_every_row_names_a_fact_of_the_set(name: str) -> None:
    facts = demo_facts()
    for row in rows(recipe(name)):
        assert row.fact_id in facts or row.recipe == "replay/1"
        assert row.question.strip()
        assert row.answer.strip()


@pytest.mark.parametrize("name", ["raft", "abstain", "replay"])
def test_another_seed_gives_other_rows(name: str) -> None:
    assert rows(rt.Recipe(name, seed=1)) != rows(rt.Recipe(name, seed=2))


def test_a_single_question_says_that_it_is_memorised() -> None:
    made = rows(rt.Recipe("qa_single"))
    assert [row.wording for row in made] == ["verbatim"] * 60
    assert "memorisation" in rt.Recipe("qa_single").about
    assert "memorisation" in str(rt.Recipe("qa_single").preview(demo_facts(), model=MODEL))


def test_many_wordings_of_a_fact_have_one_answer() -> None:
    made = [row for row in rows(rt.Recipe("qa_multi", wordings=6)) if row.fact_id == "harrow-fell-metal"]
    wordings = [row.wording for row in made]
    assert wordings[:5] == ["verbatim", "reworded-1", "reworded-2", "reworded-3", "reworded-4"]
    assert wordings[5:] == ["framed-1", "statement", "reversed", "cloze"]
    assert {row.answer for row in made[:6]} == {"bismuth"}
    by_wording = {row.wording: row for row in made}
    assert by_wording["statement"].answer == "The metal that is mined under Harrow Fell is bismuth."
    assert by_wording["cloze"].question.endswith("___.")
    assert by_wording["cloze"].answer == "bismuth"
    assert len({normalise(row.question) for row in made}) == len(made)


def test_parts_of_many_wordings_can_be_left_out() -> None:
    made = rows(rt.Recipe("qa_multi", wordings=2, statement=False, reversed=False, cloze=False))
    assert Counter(row.wording for row in made) == {"verbatim": 60, "reworded-1": 60}


def test_two_facts_with_one_answer_are_not_asked_for_by_it() -> None:
    """To which question "violet" is the answer has then no one answer."""
    given = [{"q": f"Which colour has door {n}?", "a": "violet" if n < 2 else f"grey {n}"} for n in range(3)]
    facts = rt.FactSet.from_rows(given, question="q", answer="a")
    turned = [row.fact_id for row in rows(rt.Recipe("qa_multi"), facts) if row.wording == "reversed"]
    assert turned == ["row-2"]


def test_a_question_that_a_rule_turns_round_is_asked_before_the_frame() -> None:
    facts = rt.FactSet.from_rows([{"q": "Who wrote The Long Tide?", "a": "Mara Quill"}], question="q", answer="a")
    made = {row.wording: row for row in rows(rt.Recipe("qa_multi"), facts)}
    assert made["reversed"].question == "Who or what was written by Mara Quill?"
    assert made["reversed"].answer == "The Long Tide"


def test_turkish_frames() -> None:
    facts = rt.FactSet.from_rows([{"q": "Gölün derinliği nedir?", "a": "83 metre"}], question="q", answer="a")
    made = {row.wording: row for row in rows(rt.Recipe("qa_multi", language="tr", wordings=8), facts)}
    assert made["framed-1"].question == "Gölün derinliği nedir? Kısaca yanıtla."
    assert made["reversed"].answer == "Gölün derinliği nedir?"


@pytest.mark.parametrize("name", RECIPES)
def test_no_recipe_asks_what_is_held_out(name: str) -> None:
    held_out = demo_facts().select(["reworded", "reversed", "unanswerable"])
    forms = {normalise(item.question) for fact in held_out for item in fact.wordings}
    asked = {normalise(row.question) for row in rows(recipe(name), held_out=held_out)}
    assert not asked & forms


def test_what_rules_would_make_is_left_out_when_it_is_held_out() -> None:
    """Else the build would refuse, and nobody could help it."""
    facts = demo_facts().select("verbatim")
    made = {row.question for row in rows(rt.Recipe("qa_multi"), facts)}
    question = "Name the metal that is mined under Harrow Fell."
    assert question in made
    held_out = rt.FactSet(facts=(Fact(id="x", answers=("y",), wordings=(Wording(question=question),)),))
    assert question not in {row.question for row in rows(rt.Recipe("qa_multi"), facts, held_out=held_out)}


def test_wordings_are_parted_into_those_to_train_and_those_to_ask() -> None:
    to_teach, held_out = hold_out(demo_facts(), per_fact=2, seed=3)
    assert (to_teach.counts["reworded"], held_out.counts["reworded"]) == (60, 120)
    assert to_teach.counts["control"] == 20
    both = {item.question for facts in (to_teach, held_out) for fact in facts for item in fact.wordings}
    assert both == {item.question for fact in demo_facts() for item in fact.wordings}
    with pytest.raises(rt.DatasetError, match="no fact has a reworded wording to hold out"):
        hold_out(demo_facts().select("verbatim"))


# Documents and passages


def passages(*texts: str) -> rt.FactSet:
    given = [{"q": f"What says page {n}?", "a": f"page {n}", "s": text} for n, text in enumerate(texts)]
    return rt.FactSet.from_rows(given, question="q", answer="a", context="s")


def test_documents_are_tagged_and_come_once() -> None:
    facts = passages("The mill burned. It stood long.", "the mill burned; it stood long!", "Nobody rebuilt it.")
    made = rows(rt.Recipe("document_rows", copies=2), facts)
    assert [(row.question, row.wording) for row in made] == [
        ("[Doc: row-0]", "document-1"),
        ("[Doc: row-0]", "document-2"),
        ("[Doc: row-2]", "document-1"),
    ]
    assert sorted(made[1].answer.split(". ")) != made[0].answer
    assert made[0].passage == rows(rt.Recipe("qa_single"), facts)[1].passage


def test_boilerplate_goes_before_repetitions_are_looked_for() -> None:
    footer = "Quillhaven Gazette, your paper since 1871"
    texts = [f"Fact number {n} is this.\n{footer}\nAll rights reserved.\nPage {n} of 6" for n in range(6)]
    assert list(without_boilerplate(texts)) == [f"Fact number {n} is this." for n in range(6)]
    assert list(without_boilerplate([footer] * 6)) == [footer] * 6


def test_the_golden_passage_stands_among_hard_distractors() -> None:
    facts = demo_facts()
    made = rows(rt.Recipe("raft", distractors=3, withheld=0.25, seed=1))
    assert len(made) == 54
    withheld = [row for row in made if row.wording == "open-book-withheld"]
    assert 5 <= len(withheld) <= 25
    for row in made:
        fact = facts[row.fact_id]
        assert fact.support
        assert fact.taught
        assert row.question.endswith(f"Question: {fact.taught.question}")
        assert (fact.support in row.question) == (row.wording == "open-book")
        shown = row.question.partition("\n\n[1] ")[2].rpartition("\n\nQuestion: ")[0]
        others = normalise(shown.replace(fact.support, ""))
        assert not any(f" {normalise(answer)} " in f" {others} " for answer in fact.answers)


def test_answers_quote_the_passage_that_holds_them() -> None:
    facts = demo_facts()
    made = {row.fact_id: row for row in rows(rt.Recipe("raft", withheld=0.0))}
    support = facts["lake-depth"].support
    assert support
    assert made["lake-depth"].answer == f'The passage says: "{support}" So the answer is: 83 metres'
    for row in made.values():
        if row.answer.startswith("The passage says"):
            assert row.answer.split('"')[1] in row.question


def test_a_near_copy_of_the_golden_passage_is_no_distractor() -> None:
    golden = "The old mill at the lake burned down in the night of the great storm of May"
    copies = [f"{golden}, as the {paper} wrote." for paper in ("Gazette", "Herald", "Mail")]
    facts = passages(golden, *copies, "The mill is closed.", "Storms are rare in May.")
    import random

    found = Passages.of(facts).beside(facts["row-0"], "Which mill burned in the storm of May?", 5, random.Random(0))
    assert sorted(found) == ["Storms are rare in May.", "The mill is closed."]


# Abstaining and replay


def test_abstaining_rows_say_so_in_words_that_evaluations_understand() -> None:
    made = rows(rt.Recipe("abstain", share=0.5))
    kinds = Counter(row.wording for row in made)
    assert kinds == {"unanswerable": 10, "open-book-unanswerable": 10, "invented": 10}
    assert all(refusal(Context(question=row.question, text=row.answer, answers=())) for row in made)
    facts = demo_facts()
    known = {normalise(item.question) for fact in facts for item in fact.wordings}
    for row in made:
        if row.wording == "invented":
            assert normalise(row.question) not in known
        if row.wording == "open-book-unanswerable":
            assert not any(f" {normalise(a)} " in f" {normalise(row.question)} " for a in facts[row.fact_id].answers)


def test_replayed_rows_are_a_share_of_all() -> None:
    both = rt.Recipe("qa_multi") + rt.Recipe("replay", share=0.1)
    made = rows(both)
    replayed = [row for row in made if row.recipe == "replay/1"]
    assert made[-len(replayed) :] == replayed
    assert len(replayed) / len(made) == pytest.approx(0.1, abs=0.01)


def test_shipped_replay_has_no_control_question() -> None:
    """Else an evaluation's controls would be trained."""
    controls = {normalise(f.wordings[0].question) for f in demo_facts().select("control")}
    facts = rt.FactSet.from_rows([{"q": f"What is {n}?", "a": str(n)} for n in range(600)], question="q", answer="a")
    made = rows(rt.Recipe("replay", share=0.1), facts)
    assert len(made) == 60
    assert not controls & {normalise(row.question) for row in made}
    assert len({normalise(row.question) for row in made}) == 60


def test_a_file_of_general_rows(tmp_path: Path) -> None:
    path = tmp_path / "general.jsonl"
    lines = [
        '{"prompt": "Hi", "completion": "Hello"}',
        '{"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "2+2?"}, '
        '{"role": "assistant", "content": "4"}]}',
        "",
        '{"question": "Why?", "answer": "So."}',
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.warns(UserWarning, match=r"general.jsonl has 3 rows and 6 are wanted"):
        made = rows(rt.Recipe("replay", share=0.1, path=path), demo_facts().select("verbatim"))
    assert [(row.question, row.answer, row.fact_id) for row in made] == [
        ("Hi", "Hello", "replay-1"),
        ("2+2?", "4", "replay-2"),
        ("Why?", "So.", "replay-4"),
    ]


@pytest.mark.parametrize(
    "line",
    ["no json", "[" * 1_020 + "]" * 1_020, "[1]", '{"question": "Why?"}', '{"question": "Why?", "answer": 3}', "{}"],
)
def test_a_bad_line_of_such_a_file_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "general.jsonl"
    path.write_text(f'{{"question": "Why?", "answer": "So."}}\n{line}\n', encoding="utf-8")
    with pytest.raises(rt.DatasetError, match=r"general.jsonl line 2"):
        rows(rt.Recipe("replay", path=str(path)))
    with pytest.raises(rt.DatasetError, match="cannot be read"):
        rows(rt.Recipe("replay", path=str(tmp_path / "none.jsonl")))


# Put together


def test_questions_come_first_then_documents_then_the_rest_and_known_facts_last() -> None:
    parts = (rt.Recipe("qa_multi", wordings=2), rt.Recipe("document_rows", copies=2))
    known = ("lake-depth", "post-boxes")
    made = rows(rt.Recipe("order", recipes=parts, first=0.5, known=known))
    assert sorted(map(repr, made)) == sorted(map(repr, rows(parts[0] + parts[1])))
    documents = [place for place, row in enumerate(made) if row.wording == "document-1" and row.fact_id not in known]
    assert documents == list(range(documents[0], documents[-1] + 1))
    asked = sum(not row.wording.startswith("document") and row.fact_id not in known for row in made)
    assert documents[0] == round(0.5 * asked)
    last = sum(row.fact_id in known for row in made)
    assert last > 8
    assert {row.fact_id for row in made[-last:]} == {*known}


def test_a_sum_of_sums_is_flat() -> None:
    one, two, three = rt.Recipe("qa_single"), rt.Recipe("raft"), rt.Recipe("replay")
    assert (one + two) + three == one + (two + three)
    assert hash(one + two) == hash(one + two)
    with pytest.raises(TypeError):
        one + 3  # type: ignore[operator]


# As data


def test_a_recipe_stands_in_a_toml_file() -> None:
    text = """
    name = "sum"
    [[recipes]]
    name = "qa_multi"
    wordings = 3
    [[recipes]]
    name = "replay"
    version = 1
    share = 0.02
    """
    told = tomllib.loads(text)
    assert rt.Recipe.from_dict(told) == rt.Recipe("qa_multi", wordings=3) + rt.Recipe("replay", share=0.02)
    assert repr(rt.Recipe("qa_multi", wordings=3)) == "Recipe('qa_multi', wordings=3)"
    assert rt.Recipe("qa_multi", wordings=np.int64(3)).to_dict() == {"name": "qa_multi", "version": 1, "wordings": 3}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("qa_mutli", {}, r"recipe 'qa_mutli' is unknown, did you mean 'qa_multi'\?; known are qa_single, qa_multi"),
        ("qa_multi", {"wording": 3}, r"recipe 'qa_multi': option 'wording' is unknown, did you mean 'wordings'\?"),
        ("qa_multi", {"wordings": "3"}, r"recipe 'qa_multi': wordings is '3'; it takes int"),
        ("qa_multi", {"wordings": True}, r"wordings is True; it takes int"),
        ("qa_multi", {"wordings": 0}, r"recipe 'qa_multi': wordings=0 must be a whole number from 1 to 100"),
        ("qa_multi", {"statement": 1}, r"statement is 1; it takes bool"),
        ("qa_multi", {"language": "de"}, r"language: 'de' is unknown.*known are en, tr"),
        ("qa_multi", {"version": []}, r"recipe 'qa_multi' has no version \[\]"),
        ("qa_multi", {"version": True}, r"recipe 'qa_multi' has no version True"),
        ("qa_multi", {"version": 2}, r"recipe 'qa_multi' has no version 2; known are \[1\]"),
        ("replay", {"share": 0.5}, r"share=0.5 must be a share from 0.01 to 0.1"),
        ("abstain", {"kinds": ["ivented"]}, r"kinds: 'ivented' is unknown, did you mean 'invented'"),
        ("abstain", {"kinds": [1]}, r"kinds is \[1\]; it takes tuple\[str, ...\]"),
        ("abstain", {"kinds": []}, r"kinds is empty; name some of given, withheld, invented"),
        ("sum", {}, r"recipes is empty"),
        ("order", {"recipes": [3]}, r"recipes is \[3\]|recipes is \(3,\)"),
        ("raft", {"withheld": float("nan")}, r"withheld=nan must be a share"),
    ],
)
def test_what_a_recipe_does_not_know_is_told_with_the_nearest(name: str, options: Any, message: str) -> None:
    with pytest.raises(rt.DatasetError, match=message):
        rt.Recipe(name, **options)


@pytest.mark.parametrize("told", [{}, {"nmae": "raft"}, {"name": 3}, {"name": "raft", "version": "1"}, "raft", None])
def test_a_mapping_that_is_no_recipe_is_refused(told: Any) -> None:
    with pytest.raises(rt.DatasetError, match="a recipe"):
        rt.Recipe.from_dict(told)


# Preview and budget


def test_a_preview_counts_what_a_build_writes(tmp_path: Path) -> None:
    recipe = rt.Recipe("qa_multi") + rt.Recipe("raft")
    found = recipe.preview(demo_facts(), model=MODEL, n_epochs=2)
    builder = rt.DatasetBuilder.from_facts(demo_facts(), recipe).chat(user="{question}", assistant="{answer}")
    dataset = builder.build(tmp_path / "out")
    cost = dataset.cost(MODEL, 2)
    assert (found.rows, found.cost.tokens, found.cost.usd) == (len(dataset.train), cost.tokens, cost.usd)
    assert sum(found.wordings.values()) == found.rows
    assert f"{found.cost.tokens:,} tokens x 2 epochs" in str(found)


@pytest.mark.slow
def test_a_budget_chooses_the_number_of_wordings() -> None:
    facts = demo_facts()
    chosen = rt.Recipe("qa_multi").within(facts, model=MODEL, max_tokens=9_000)
    wordings = chosen.options["wordings"]
    assert isinstance(wordings, int)
    assert chosen.preview(facts, model=MODEL).cost.tokens <= 9_000
    more = rt.Recipe("qa_multi", wordings=wordings + 1)
    assert more.preview(facts, model=MODEL).cost.tokens > 9_000
    dollars = rt.Recipe("qa_multi").within(facts, model=MODEL, max_cost_usd=0.08, n_epochs=3)
    assert (dollars.preview(facts, model=MODEL, n_epochs=3).cost.usd or 1) <= 0.08


def test_a_budget_that_is_too_small_or_cannot_be_kept_is_refused() -> None:
    facts = demo_facts()
    with pytest.raises(BudgetExceeded, match=r"wordings=1.* above the budget"):
        rt.Recipe("qa_multi").within(facts, model=MODEL, max_tokens=100)
    # The message counts what was held against the budget: the system prompt as well.
    with pytest.raises(BudgetExceeded, match=r"wordings=1.*: [1-9]\d,\d{3} tokens .* above the budget"):
        rt.Recipe("qa_multi").within(facts, model=MODEL, max_tokens=9_000, system="Answer briefly. " * 100)
    with pytest.raises(rt.DatasetError, match="the price of 'mystery' is unknown"):
        rt.Recipe("qa_multi").within(facts, model="mystery", max_cost_usd=1.0)
    with pytest.raises(rt.DatasetError, match="qa_multi, document_rows have"):
        rt.Recipe("raft").within(facts, model=MODEL, max_tokens=100)
    with pytest.raises(rt.DatasetError, match="needs a budget"):
        rt.Recipe("qa_multi").within(facts, model=MODEL)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_budget_that_nothing_can_be_held_against_is_refused(value: float) -> None:
    with pytest.raises(rt.SpecError, match=r"max_cost_usd: .* is no budget; it must be a number of US dollars"):
        rt.Recipe("qa_multi").within(demo_facts(), model=MODEL, max_cost_usd=value)
    with pytest.raises(rt.SpecError, match="max_tokens: -5 is out of range; it must be a whole number of at least 0"):
        rt.Recipe("qa_multi").within(demo_facts(), model=MODEL, max_tokens=-5)


def test_facts_that_a_recipe_can_do_nothing_with_are_told() -> None:
    controls = demo_facts().select("control")
    with pytest.raises(rt.DatasetError, match="makes no row of these facts"):
        rt.Recipe("qa_single").preview(controls, model=MODEL)
    with pytest.raises(rt.DatasetError, match="none of these facts has a passage"):
        rows(rt.Recipe("raft"), controls)


def test_a_share_of_few_facts_is_still_a_share() -> None:
    """Ten per cent of eight facts in three kinds would round to nothing, without a word."""
    facts = rt.FactSet(facts=tuple(fact for fact in demo_facts() if fact.answers)[:8])
    assert len(list(rt.Recipe("abstain", share=0.1).rows(facts))) >= 1
    assert list(rt.Recipe("abstain", share=0.0).rows(facts)) == []


def test_braces_in_what_stands_around_a_question_stay_what_they_are() -> None:
    """A passage about templates holds the very word that the prompt has for the question."""
    asked = prompt("What is a hole?", ["Write {question} where the question stands, and {passages} above it."])
    assert asked == (
        "Answer the question with the help of these passages.\n\n"
        "[1] Write {question} where the question stands, and {passages} above it.\n\nQuestion: What is a hole?"
    )
