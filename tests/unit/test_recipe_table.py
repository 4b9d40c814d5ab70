"""`[recipe]` of a recipe file and `ragtune recipes`: rows made of facts, and nothing of what the evaluation asks."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import jsonschema
import pytest
from typer.testing import CliRunner, Result

import ragtune as rt
from ragtune.cli import app
from ragtune.recipe_file import RecipeFile, Stages

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """\
[data]
rows = "faq.csv"
[facts]
question = "Question"
answer = "Answer"
"""
ONE = """\
[recipe]
name = "qa_multi"
wordings = 4
"""
TWO = """\
[[recipe]]
name = "qa_multi"
wordings = 4
[[recipe]]
name = "replay"
"""
TAIL = """\
[model]
base = "tiny-random"
"""
EVALUATION = "[evaluation]\n"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Twelve facts, each with other words for its question."""
    lines = [f"How deep is lake {n}?,{n} metres,Tell me the depth of lake {n}." for n in range(12)]
    (tmp_path / "faq.csv").write_text("\n".join(["Question,Answer,Other", *lines]) + "\n")
    return tmp_path


def loaded(desk: Path, text: str, name: str = "ragtune.toml") -> RecipeFile:
    (desk / name).write_text(text, encoding="utf-8")
    return RecipeFile.load(desk / name)


def asked_in(dataset: rt.Dataset) -> set[str]:
    return {record.messages[-2].text for record in dataset.train if isinstance(record, rt.ChatRecord)}


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_a_recipe_makes_the_rows_and_several_come_in_their_order(desk: Path) -> None:
    dataset = loaded(desk, HEAD + TWO + TAIL).build()
    made = rt.Recipe("qa_multi", wordings=4) + rt.Recipe("replay")
    assert rt.Recipe.from_dict(dataset.manifest["source"]["recipe"]) == made
    assert dataset.manifest["recipes"]["qa_multi/1"]["verbatim"] == 12
    assert [*dataset.manifest["recipes"]] == ["qa_multi/1", "replay/1"]


def test_both_ways_of_writing_say_the_same(desk: Path) -> None:
    yaml = (
        "data: {rows: faq.csv}\nfacts: {question: Question, answer: Answer}\nmodel: {base: tiny-random}\n"
        "recipe:\n  - name: qa_multi\n    wordings: 4\n"
    )
    read = [loaded(desk, HEAD + ONE + TAIL), loaded(desk, yaml, "ragtune.yaml")]
    assert read[0].model_dump() == read[1].model_dump()


def test_what_the_evaluation_asks_in_other_words_is_in_no_row(desk: Path) -> None:
    """Without an evaluation the same wording is trained: it is the first that the rules know."""
    wording = "What is the depth of lake 3?"
    assert wording in asked_in(loaded(desk, HEAD + ONE + TAIL).build())
    file = loaded(desk, HEAD + ONE + TAIL + EVALUATION)
    dataset = file.build(overwrite=True)
    assert wording not in asked_in(dataset)
    facts = file.asked(dataset)
    assert facts.counts == {"verbatim": 12, "reworded": 12}
    asked = {item.question for fact in facts for item in fact.wordings if item.kind == "reworded"}
    assert wording in asked
    assert not asked & asked_in(dataset)


def test_other_words_of_the_rows_are_asked_and_not_trained(desk: Path) -> None:
    told = HEAD + 'wordings = { reworded = ["Other"] }\n' + ONE + TAIL
    wording = "Tell me the depth of lake 3."
    assert wording in asked_in(loaded(desk, told).build())
    file = loaded(desk, told + EVALUATION)
    dataset = file.build(overwrite=True)
    assert wording not in asked_in(dataset)
    assert wording in {item.question for fact in file.asked(dataset) for item in fact.wordings}


def test_other_words_of_a_file_of_facts_are_not_trained(desk: Path) -> None:
    facts = rt.FactSet.from_rows(
        [{"q": "How deep is lake 3?", "a": "3 metres", "other": "What is the depth of lake 3?"}],
        question="q",
        answer="a",
        wordings={"reworded": ["other"]},
    )
    facts.to_jsonl(desk / "facts.jsonl")
    file = loaded(desk, HEAD + ONE + TAIL + '[evaluation]\nfacts = "facts.jsonl"\n')
    dataset = file.build()
    assert {"How deep is lake 3?", "What is the depth of lake 2?"} <= asked_in(dataset)
    assert "What is the depth of lake 3?" not in asked_in(dataset)
    assert file.asked(dataset).counts == {"verbatim": 1, "reworded": 1}


def test_only_facts_of_the_split_are_asked(desk: Path) -> None:
    text = HEAD.replace("[facts]", "validation = 0.25\n[facts]") + ONE + TAIL + '[evaluation]\nsplit = "validation"\n'
    file = loaded(desk, text)
    dataset = file.build()
    trained = asked_in(dataset)
    asked = {fact.wordings[0].question for fact in file.asked(dataset)}
    assert len(asked) == 3
    assert not asked & trained


def built_anew(file: RecipeFile) -> list[bool]:
    return [done.anew for done in Stages(file=file).run(until="build")]


def test_another_recipe_or_other_held_out_words_build_anew(desk: Path) -> None:
    assert [built_anew(loaded(desk, HEAD + ONE + TAIL)) for _ in range(2)] == [[True], [False]]
    assert built_anew(loaded(desk, HEAD + ONE.replace("4", "3") + TAIL)) == [True]
    assert built_anew(loaded(desk, HEAD + ONE.replace("4", "3") + TAIL + EVALUATION)) == [True]
    # How many facts are asked changes no row.
    assert built_anew(loaded(desk, HEAD + ONE.replace("4", "3") + TAIL + EVALUATION + "questions = 3\n")) == [False]


def test_a_path_of_an_option_starts_at_the_file_and_what_is_in_it_counts(desk: Path) -> None:
    (desk / "small.jsonl").write_text('{"question": "How are you?", "answer": "Well, thank you."}\n')
    file = loaded(desk, HEAD + '[recipe]\nname = "replay"\npath = "small.jsonl"\n' + TAIL)
    assert built_anew(file) == [True]
    assert "Well, thank you." in (desk / "ragtune-out/data/train.jsonl").read_text()
    (desk / "small.jsonl").write_text('{"question": "How are you?", "answer": "Fine."}\n')
    assert built_anew(file) == [True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + ONE.replace("wordings", "wordigns") + TAIL, "line 6, column 2: recipe 'qa_multi': option 'wordigns'"),
        (HEAD + TWO.replace("replay", "repaly") + TAIL, "line 9, column 3: recipe 'repaly' is unknown, did you mean"),
        (HEAD + ONE.replace('name = "qa_multi"\n', "") + TAIL, "line 6, column 2: recipe.0.name is missing"),
        (HEAD + ONE + "version = 7\n" + TAIL, "recipe 'qa_multi' has no version 7"),
        (HEAD + TAIL, "[facts] is what a recipe makes rows of; add a table [recipe]"),
        (HEAD.replace("answer =", "anser =") + ONE + TAIL, "line 5, column 1: there is no key 'facts.anser'; did you"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place_and_way_out(desk: Path, text: str, says: str) -> None:
    with pytest.raises(rt.SpecError) as refusal:
        loaded(desk, text)
    assert says in str(refusal.value)


def test_a_column_that_is_not_there_is_answered_with_those_that_are(desk: Path) -> None:
    loaded(desk, HEAD.replace('"Answer"', '"Antwort"') + ONE + TAIL)
    done = run("run", desk / "ragtune.toml", "--until", "build")
    assert (done.exit_code, "the columns are 'Question', 'Answer', 'Other'" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("recipe", [ONE, TWO])
def test_the_schema_takes_one_recipe_and_several(recipe: str) -> None:
    schema = RecipeFile.schema_of()
    jsonschema.validate(tomllib.loads(HEAD + recipe + TAIL), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(HEAD + recipe.replace("name", "nmae") + TAIL), schema)


def test_the_list_names_each_recipe_with_what_it_buys() -> None:
    told = json.loads(run("recipes", "--json").stdout)
    assert {one["name"] for one in told} == {*rt.recipes.RECIPES} - {"sum"}
    assert len(run("recipes").stdout.splitlines()) == len(told)


def test_a_preview_says_rows_tokens_and_price_and_leaves_out_what_is_held_out(desk: Path) -> None:
    columns = ("--question", "Question", "--answer", "Answer", "--json")
    recipe = ("--recipe", "qa_multi:wordings=2,cloze=false", "--recipe", "replay")
    told = json.loads(run("recipes", "preview", desk / "faq.csv", *recipe, *columns).stdout)
    assert (told["wordings"]["verbatim"], told["wordings"]["reworded-1"]) == (12, 12)
    assert told["cost"]["usd"] > 0
    facts = rt.FactSet.from_rows([{"q": "What is the depth of lake 3?", "a": "3 metres"}], question="q", answer="a")
    facts.to_jsonl(desk / "facts.jsonl")
    held = ("--held-out", desk / "facts.jsonl")
    told = json.loads(run("recipes", "preview", desk / "faq.csv", *recipe, *columns, *held).stdout)
    assert told["wordings"]["reworded-1"] < 12


@pytest.mark.parametrize(
    ("recipe", "code", "says"),
    [("qa_mutli", 1, "did you mean 'qa_multi'"), ("qa_multi:wordings", 2, "write NAME:OPTION=VALUE")],
)
def test_a_recipe_that_is_none_is_refused(desk: Path, recipe: str, code: int, says: str) -> None:
    columns = ("--question", "Question", "--answer", "Answer")
    done = run("recipes", "preview", desk / "faq.csv", "--recipe", recipe, *columns)
    assert (done.exit_code, says in " ".join(done.stderr.split())) == (code, True), done.stderr
