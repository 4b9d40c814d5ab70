"""A build that knows facts: their wordings stay together, and what an evaluation holds out stays out."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune.dataset.leakage.grouping import SplitPlan
from ragtune.dataset.leakage.held_out import HeldOut
from ragtune.dataset.render import arrow
from ragtune.dataset.render.batches import RowBatch
from ragtune.dataset.render.rows import Selection
from ragtune.facts import demo_facts


def wordings() -> list[dict[str, Any]]:
    """Every question of the demo that is trained or reworded, a row each."""
    return [
        {"id": fact.id, "question": wording.question, "answer": fact.answers[0]}
        for fact in demo_facts().select(["verbatim", "reworded"])
        for wording in fact.wordings
    ]


def builder(rows: list[dict[str, Any]]) -> rt.DatasetBuilder:
    return rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}")


def ids(dataset: rt.Dataset, split: str) -> set[str]:
    return {fact.id for fact in rt.FactSet.from_dataset(dataset, split=split)}  # type: ignore[arg-type]


def test_wordings_of_one_fact_never_stand_on_both_sides(tmp_path: Path) -> None:
    """Four wordings share no text, so only their id holds them together."""
    dataset = builder(wordings()).build(tmp_path / "out", validation=0.2, test=0.1, seed=7, fact_id="id")
    sides = [ids(dataset, split.name) for split in dataset.splits]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 60
    assert dataset.manifest["split"]["fact_id"] == "id"
    assert dataset.manifest["overlap"]["facts"] == 60
    assert dataset.manifest["overlap"]["facts_in_more_than_one_split"] == 0
    assert "facts in more than one split" in dataset.report.to_html()


def test_without_an_id_they_do(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    rows = wordings()
    builder(rows).build(tmp_path / "out", validation=0.2, seed=7)
    sides = [
        {rows[int(number)]["id"] for number in (tmp_path / f"out/{name}.rows.txt").read_text().split()}
        for name in ("train", "validation")
    ]
    assert len(sides[0] & sides[1]) > 20


def test_the_row_map_names_the_fact_of_each_record(tmp_path: Path) -> None:
    rows = [{"id": n, "question": f"Why {n}?", "answer": "So."} for n in (17, 4)]
    rows.append({"id": 'with "signs"\u2028\n', "question": "Why not?", "answer": "So."})
    dataset = builder(rows).build(tmp_path / "out", fact_id="id")
    assert (tmp_path / "out/train.rows.txt").read_bytes().split(b"\n")[:2] == [b'0 "17"', b'1 "4"']
    facts = rt.FactSet.from_dataset(rt.Dataset.load(tmp_path / "out"))
    assert [fact.id for fact in facts] == ["17", "4", 'with "signs"\u2028\n']
    assert dataset.manifest["split"]["fact_id"] == "id"


def test_records_of_one_fact_are_its_wordings(tmp_path: Path) -> None:
    dataset = builder(wordings()).build(tmp_path / "out", fact_id="id")
    facts = rt.FactSet.from_dataset(dataset)
    assert len(facts) == 60
    assert all(len(fact.wordings) == 4 for fact in facts)


def test_facts_and_other_columns_hold_together_side_by_side(tmp_path: Path) -> None:
    """`fact_id` ties rows beside `group_by`, not instead of it."""
    rows = [
        {"id": f"fact-{n // 2}", "page": f"page-{n // 8}", "question": f"Why is that so, number {n}?", "answer": "So."}
        for n in range(64)
    ]
    dataset = builder(rows).build(tmp_path / "out", validation=0.25, seed=3, fact_id="id", group_by="page")
    assert len(dataset.validation) == 16
    for split in dataset.splits:
        pages = {int(fact.id.removeprefix("fact-")) // 4 for fact in rt.FactSet.from_dataset(dataset, split=split.name)}  # type: ignore[arg-type]
        assert len(pages) == len(split) // 8


@pytest.mark.parametrize("value", ["", None, 1.5, True, ["a"]])
def test_a_row_without_the_id_of_its_fact_is_refused(tmp_path: Path, value: object) -> None:
    rows = [{"id": value, "question": "Why?", "answer": "So."}]
    with pytest.raises(rt.DatasetError, match=r"row 0, column 'id': the fact's id .* must be text or a whole number"):
        builder(rows).build(tmp_path / "out", fact_id="id")


def test_ids_may_be_whole_numbers_of_numpy(tmp_path: Path) -> None:
    import numpy as np

    rows = [{"id": np.int64(17), "question": "Why?", "answer": "So."}]
    builder(rows).build(tmp_path / "out", fact_id="id")
    assert (tmp_path / "out/train.rows.txt").read_text() == '0 "17"\n'


def test_a_column_of_ids_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(rt.DatasetError, match="names column 'fact', which is not there"):
        builder(wordings()).build(tmp_path / "out", fact_id="fact")


@pytest.mark.parametrize(
    "text",
    [
        "What depth does Lake Sorrel reach?",
        "what depth does LAKE SORREL reach",
        "Hello! What depth does Lake Sorrel reach? Please tell me.",
    ],
)
def test_a_held_out_question_in_a_row_is_refused_by_the_name_of_its_fact(tmp_path: Path, text: str) -> None:
    """In normal form, alone or inside a longer text."""
    rows = [{"question": "How deep is Lake Sorrel?", "answer": "83 metres"}, {"question": text, "answer": "83 metres"}]
    held_out = demo_facts().select("reworded")
    with pytest.raises(
        rt.DatasetError, match=r"row 1, question: it holds the held-out reworded .* of fact 'lake-depth'"
    ):
        builder(rows).build(tmp_path / "out", held_out=held_out)
    assert not (tmp_path / "out").exists()
    builder(rows[:1]).build(tmp_path / "out", held_out=held_out)


def test_a_held_out_question_in_an_answer_is_refused_as_well(tmp_path: Path) -> None:
    rows = [{"question": "Ask me.", "answer": "What depth does Lake Sorrel reach?"}]
    with pytest.raises(rt.DatasetError, match=r"row 0, answer: it holds the held-out reworded"):
        builder(rows).build(tmp_path / "out", validation=0.0, held_out=demo_facts().select("reworded"))


def test_words_that_only_begin_alike_are_no_held_out_question(tmp_path: Path) -> None:
    rows = [
        {"question": "What depth does Lake Sorrel have?", "answer": "What"},
        {"question": "Some ask: what depth does Lake Sorrel", "answer": "Why"},
    ]
    facts = rt.FactSet.from_rows([{"q": "Why not", "a": "So"}], question="q", answer="a")
    builder(rows).build(tmp_path / "out", held_out=demo_facts().select("reworded") + facts)


def test_a_held_out_question_of_one_word_is_found(tmp_path: Path) -> None:
    facts = rt.FactSet.from_rows([{"q": "Depth?", "a": "83"}], question="q", answer="a")
    with pytest.raises(rt.DatasetError, match=r"held-out verbatim question 'Depth\?' of fact 'row-0'"):
        builder([{"question": "The depth", "answer": "x"}]).build(tmp_path / "out", held_out=facts)


def test_ids_travel_between_processes() -> None:
    """What an engine makes elsewhere comes back as Arrow, with the fact of each row."""
    rows = Selection(RowBatch([{"id": 7, "question": "Why?", "answer": "So."}]), range(1))
    build_batch = replace(builder([])._build_batch(SplitPlan(fact_id="id")), held_out=HeldOut.of(demo_facts()))
    made = arrow.read_made(pickle.loads(pickle.dumps(build_batch))(arrow.of_rows(rows)))
    assert (made.fact_ids, made.numbers) == (["7"], [0])
