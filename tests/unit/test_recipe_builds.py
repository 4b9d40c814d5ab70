"""Datasets that recipes make: lineage in row map and manifest, splits by fact, and no leak."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune.data import demo_file
from ragtune.dataset.leakage.grouping import SplitPlan
from ragtune.dataset.render import arrow
from ragtune.dataset.render.batches import RowBatch
from ragtune.dataset.render.rows import Selection
from ragtune.facts import demo_facts
from ragtune.recipes import hold_out

RECIPE = rt.Recipe("qa_multi", wordings=3) + rt.Recipe("document_rows") + rt.Recipe("raft", distractors=2)
COLUMNS: dict[str, Any] = {
    "question": "question",
    "answer": "correct_answer",
    "context": "support",
    "distractors": ["distractor1", "distractor2", "distractor3"],
}


def chat(builder: rt.DatasetBuilder) -> rt.DatasetBuilder:
    return builder.chat(user="{question}", assistant="{answer}")


def row_map(dataset: rt.Dataset, split: str = "train") -> list[tuple[str, list[str]]]:
    """Fact, and wording with recipe, of each record."""
    lines = (dataset.folder / f"{split}.rows.txt").read_text(encoding="utf-8").splitlines()
    told = [line.partition(" ")[2].rpartition(" [") for line in lines]
    return [(json.loads(fact), json.loads(f"[{origin}")) for fact, _, origin in told]


def test_every_record_knows_its_fact_wording_and_recipe(tmp_path: Path) -> None:
    dataset = chat(rt.DatasetBuilder.from_facts(demo_facts(), RECIPE)).build(tmp_path / "out")
    rows = list(RECIPE.rows(demo_facts()))
    assert row_map(dataset) == [(row.fact_id, [row.wording, row.recipe]) for row in rows]
    told = dataset.manifest["recipes"]
    assert sum(sum(wordings.values()) for wordings in told.values()) == len(rows)
    assert told["document_rows/1"] == {"document-1": 54}
    assert rt.Recipe.from_dict(dataset.manifest["source"]["recipe"]) == RECIPE
    assert len(dataset.manifest["source"]["facts_sha256"]) == 64
    assert rt.Dataset.load(tmp_path / "out").manifest["recipes"] == told


def test_the_rows_of_a_fact_and_of_its_passage_stay_on_one_side(tmp_path: Path) -> None:
    """Without being told: the rows know their facts."""
    dataset = chat(rt.DatasetBuilder.from_facts(demo_facts(), RECIPE)).build(tmp_path / "out", validation=0.2, seed=7)
    sides = [{fact for fact, _ in row_map(dataset, split.name)} for split in dataset.splits]
    assert len(sides) == 2
    assert not sides[0] & sides[1]
    assert dataset.manifest["overlap"]["facts"] == 60
    assert dataset.manifest["overlap"]["facts_in_more_than_one_split"] == 0


def test_two_facts_of_one_passage_stay_on_one_side(tmp_path: Path) -> None:
    given = [
        {"q": f"What is number {n} called?", "a": f"name {n}", "s": f"Page {n // 2} tells a lot about names."}
        for n in range(40)
    ]
    builder = rt.DatasetBuilder.from_rows(given).recipe(rt.Recipe("qa_single"), question="q", answer="a", context="s")
    dataset = chat(builder).build(tmp_path / "out", validation=0.25, seed=1)
    numbers = [{int(fact.removeprefix("row-")) // 2 for fact, _ in row_map(dataset, s.name)} for s in dataset.splits]
    assert len(numbers) == 2
    assert not numbers[0] & numbers[1]


def test_rows_of_a_builder_become_facts_after_its_filters(tmp_path: Path) -> None:
    builder = (
        rt.DatasetBuilder.from_jsonl(demo_file())
        .filter(lambda row: row["support"], reason="no support")
        .recipe(rt.Recipe("qa_multi", wordings=2), **COLUMNS)
    )
    dataset = chat(builder).build(tmp_path / "out")
    facts = {fact for fact, _ in row_map(dataset)}
    assert len(facts) == 54
    # Ids are the numbers of rows in the source, whatever a filter dropped.
    dropped = [n for n, line in enumerate(demo_file().read_text().splitlines()) if not json.loads(line)["support"]]
    assert not facts & {f"row-{n}" for n in dropped}
    source = dataset.manifest["source"]["parts"][0]
    assert source["steps"] == [{"filter": "no support"}]
    assert "quillhaven.jsonl" in json.dumps(source["source"])


def test_facts_of_such_a_dataset_are_read_back(tmp_path: Path) -> None:
    """Every trained question counts as taught, whatever recipe made it."""
    dataset = chat(rt.DatasetBuilder.from_facts(demo_facts(), RECIPE)).build(tmp_path / "out")
    facts = rt.FactSet.from_dataset(dataset)
    assert len(facts) == 60
    assert facts.counts == {"verbatim": 180, "reversed": 60}
    assert facts["lake-depth"].answers == ("83 metres",)
    with pytest.raises(rt.DatasetError, match="made by a recipe"):
        rt.FactSet.from_dataset(dataset, rows=[{"a": "b"}], answer="a")


def test_a_build_that_would_leak_is_refused_by_the_fact(tmp_path: Path) -> None:
    """A passage may hold what an evaluation asks."""
    held_out = demo_facts().select("reworded")
    question = held_out["lake-depth"].wordings[0].question
    given = [{"question": "What do guides ask?", "answer": "depths", "support": f"Guides ask: {question}"}]
    builder = rt.DatasetBuilder.from_rows(given).recipe(
        rt.Recipe("document_rows"), context="support", held_out=held_out
    )
    with pytest.raises(rt.DatasetError, match=r"row 0, .*held-out reworded question .* of fact 'lake-depth'"):
        chat(builder).build(tmp_path / "out")


def test_what_is_held_out_stays_out_and_the_build_passes(tmp_path: Path) -> None:
    to_teach, held_out = hold_out(demo_facts(), per_fact=1, seed=5)
    builder = rt.DatasetBuilder.from_facts(to_teach, rt.Recipe("qa_multi", wordings=20), held_out=held_out)
    dataset = chat(builder).build(tmp_path / "out", held_out=demo_facts().select("control"))
    assert dataset.manifest["source"]["held_out"] == 60


def test_recipes_of_two_sources_are_added(tmp_path: Path) -> None:
    one = rt.DatasetBuilder.from_facts(demo_facts().select("verbatim"), rt.Recipe("qa_single"))
    two = rt.DatasetBuilder.from_rows([{"question": "Why?", "answer": "So."}]).recipe(rt.Recipe("qa_single"))
    dataset = chat(one + two).build(tmp_path / "out")
    assert dataset.manifest["recipes"] == {"qa_single/1": {"verbatim": 61}}
    plain = chat(one + rt.DatasetBuilder.from_rows([{"question": "Why?", "answer": "So."}])).build(tmp_path / "plain")
    assert "recipes" not in plain.manifest


def test_completions_of_documents(tmp_path: Path) -> None:
    builder = rt.DatasetBuilder.from_facts(demo_facts(), rt.Recipe("document_rows"))
    dataset = builder.completion(prompt="{question}", completion=" {answer}").build(tmp_path / "out")
    assert dataset.format == "completion"
    first: Any = next(iter(dataset.train))
    assert first.prompt == "[Doc: coat-of-arms]"


def test_private_data_of_facts_is_masked(tmp_path: Path) -> None:
    given = [{"question": "Who answers?", "answer": "anna@acme.com"}]
    builder = rt.DatasetBuilder.from_rows(given).mask_private().recipe(rt.Recipe("qa_multi", wordings=1))
    dataset = chat(builder).build(tmp_path / "out")
    assert "anna@acme.com" not in dataset.train.path.read_text()


def test_where_a_recipe_has_no_place_it_says_so(tmp_path: Path) -> None:
    ready = chat(rt.DatasetBuilder.from_rows([{"question": "Why?", "answer": "So."}]))
    with pytest.raises(rt.DatasetError, match="has a template already"):
        ready.recipe(rt.Recipe("qa_single"))
    with pytest.raises(rt.DatasetError, match=r"recipe='qa_single' must be a Recipe"):
        rt.DatasetBuilder.from_rows([]).recipe("qa_single")  # type: ignore[arg-type]
    with pytest.raises(rt.DatasetError, match="'frage'"):
        chat(
            rt.DatasetBuilder.from_rows([{"answer": "So."}]).recipe(rt.Recipe("qa_single"), question="frage")
        ).preview()
    empty = rt.DatasetBuilder.from_rows([{"question": "Why?", "answer": "So."}]).filter(lambda row: False, reason="r")
    with pytest.raises(rt.DatasetError, match="no fact to make rows of"):
        chat(empty.recipe(rt.Recipe("qa_single"))).build(tmp_path / "out")


def test_lineage_travels_between_processes() -> None:
    """What an engine makes elsewhere comes back as Arrow, with wording and recipe of each row."""
    row = next(rt.Recipe("qa_single").rows(demo_facts())).to_dict()
    builder = chat(rt.DatasetBuilder.from_facts(demo_facts(), rt.Recipe("qa_single")))
    build_batch = builder._build_batch(SplitPlan(fact_id="fact_id"))
    rows = Selection(RowBatch([row]), range(1))
    made = arrow.read_made(pickle.loads(pickle.dumps(build_batch))(arrow.of_rows(rows)))
    assert made.origins == [("verbatim", "qa_single/1")]
    assert made.counts.origins == {("verbatim", "qa_single/1"): 1}
