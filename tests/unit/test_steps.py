"""Steps of a builder: rows changed, renamed, cut, drawn by lot, settled by their age, added."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import datasets as hf
import numpy as np
import pandas as pd
import pytest

import ragtune as rt
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS: list[dict[str, Any]] = [{"q": f"Question {n}?", "a": f"Answer {n}.", "n": n} for n in range(30)]


def questions(builder: rt.DatasetBuilder, count: int = 100) -> list[str]:
    records = builder.chat(user="{q}", assistant="{a}").preview(count)
    return [record.to_dict()["messages"][0]["content"] for record in records]


def test_steps_see_what_the_steps_before_them_made(tmp_path: Path) -> None:
    """A filter before `map` sees the source's row, one behind it the new one; the manifest keeps the order."""

    def louder(row: dict[str, Any]) -> dict[str, Any]:
        row["q"] = row["q"].upper()
        return row

    builder = (
        rt.DatasetBuilder.from_rows(ROWS)
        .filter(lambda row: row["q"] != "Question 3?", reason="before")
        .map(louder)
        .filter(lambda row: row["q"] != "QUESTION 4?", reason="behind")
        .rename({"q": "Frage", "a": "Antwort"})
        .drop_columns("n")
        .chat(user="{Frage}", assistant="{Antwort}")
    )
    built = builder.build(tmp_path / "out", validation=0.1, group_by="Frage")
    assert dict(built.report.dropped) == {"before": 1, "behind": 1}
    names = [next(iter(step)) for step in built.manifest["steps"]]
    assert names == ["filter", "map", "filter", "rename", "drop_columns", "template"]
    numbers = [int(line) for split in built.splits for line in rows_of(split.path)]
    assert sorted(numbers) == [n for n in range(30) if n not in (3, 4)]
    assert ROWS[0]["q"] == "Question 0?"


def rows_of(path: Any) -> list[str]:
    return list(path.with_suffix(".rows.txt").read_text().split())


@pytest.mark.parametrize("source", ["rows", "dataset", "pandas"])
def test_columns_get_other_names_in_every_kind_of_source(source: str) -> None:
    made = {
        "rows": lambda: rt.DatasetBuilder.from_rows(ROWS),
        "dataset": lambda: rt.DatasetBuilder.from_dataset(hf.Dataset.from_list(ROWS)),
        "pandas": lambda: rt.DatasetBuilder.from_pandas(pd.DataFrame(ROWS)),
    }[source]()
    swapped = made.rename({"q": "a", "a": "q"}).filter(lambda row: row["a"] != "Question 1?", reason="r")
    assert questions(swapped, 2) == ["Answer 0.", "Answer 2."]
    with pytest.raises(
        DatasetError, match="rename names column 'x', which is not there; the columns are 'q', 'a', 'n'"
    ):
        questions(made.rename({"x": "y"}))
    with pytest.raises(DatasetError, match="gives 'q' the name 'a', which another column has"):
        questions(made.rename({"q": "a"}))
    with pytest.raises(DatasetError, match="gives two columns one name"):
        made.rename({"q": "x", "a": "x"})


def test_a_function_that_makes_no_row_is_told_with_every_such_row(tmp_path: Path) -> None:
    builder = rt.DatasetBuilder.from_rows(ROWS).map(lambda row: row if row["n"] % 10 else None)  # type: ignore[arg-type, return-value]
    with pytest.raises(
        DatasetError, match=r"(?s)3 rows make no record.*row 0: .*map\(\) must return a row.*row 20"
    ) as told:
        builder.chat(user="{q}", assistant="{a}").build(tmp_path / "out")
    assert "got None" in str(told.value)
    with pytest.raises(ZeroDivisionError) as caught:
        questions(rt.DatasetBuilder.from_rows(ROWS).map(lambda row: {"q": 1 // (row["n"] - 5)}))
    assert "in the function given to map() at row 5" in caught.value.__notes__[0]


def test_what_arrow_adds_to_tools_stays_out_behind_a_map(tmp_path: Path) -> None:
    """Two rows with different tools; the function changes something else."""
    tools = [
        {
            "type": "function",
            "function": {"name": name, "parameters": {"type": "object", "properties": {name: {"type": "string"}}}},
        }
        for name in ("land", "sea")
    ]
    rows = [
        {"messages": [{"role": "user", "content": "Go."}, {"role": "assistant", "content": "Yes."}], "tools": [tool]}
        for tool in tools
    ]
    source = hf.Dataset.from_list(rows)
    builder = rt.DatasetBuilder.from_dataset(source).map(lambda row: {**row, "id": 1}).layout("messages")
    assert [record.to_dict()["tools"] for record in builder.preview()] == [[tool] for tool in tools]


def test_the_first_rows_are_taken_and_the_source_is_read_no_further(tmp_path: Path) -> None:
    """Of those that earlier steps leave."""
    read = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal read
        for n in range(100_000):
            read += 1
            yield {"q": f"Question {n}?", "a": f"Answer {n}."}

    builder = rt.DatasetBuilder.from_rows(rows).filter(lambda row: "1" in row["q"], reason="no 1").take(12)
    built = builder.chat(user="{q}", assistant="{a}").build(tmp_path / "out")
    assert len(built.train) == 12
    assert read < 5_000
    assert sum(built.report.dropped.values()) + 12 == built.report.read
    assert "beyond the first 12 rows" in built.report.dropped


def test_a_sample_is_the_same_for_the_same_seed_and_hardly_moves_when_rows_are_added() -> None:
    many = [{"q": f"Question {n}?", "a": "Yes."} for n in range(3_000)]
    drawn = questions(rt.DatasetBuilder.from_rows(many).sample(200, seed=7), 300)
    assert len(drawn) == 200
    assert drawn == questions(rt.DatasetBuilder.from_rows(many).sample(200, seed=7), 300)
    assert drawn == sorted(drawn, key=lambda text: int(text.split()[1][:-1]))
    assert drawn != questions(rt.DatasetBuilder.from_rows(many).sample(200, seed=8), 300)
    grown = [*many, *({"q": f"New {n}?", "a": "Yes."} for n in range(100))]
    again = questions(rt.DatasetBuilder.from_rows(grown).sample(200, seed=7), 300)
    assert len({*drawn} & {*again}) > 180
    quarters = [sum(int(text.split()[1][:-1]) // 750 == part for text in drawn) for part in range(4)]
    assert min(quarters) > 25


@pytest.mark.parametrize(
    ("values", "newest"),
    [
        (["2026-01-05", "2026-02-01", "2025-12-31"], 1),
        (["2026-01-05", "2026-01-05T10:00:00+02:00", "2026-01-04T23:00:00"], 1),
        ([dt.date(2026, 1, 5), dt.datetime(2026, 1, 5, 1), dt.date(2026, 1, 5)], 1),
        ([3, 10, 2.5], 1),
        (["3", "10", "9"], 1),
        ([Decimal("1.5"), 1, 1.25], 0),
        ([None, "", "2020-01-01"], 2),
        ([7, 7, 7], 2),
        ([None, None, float("nan")], 2),
        ([np.datetime64("2026-01-01T00:00:00.5", "ns"), np.datetime64("2026-01-02"), np.datetime64("NaT")], 1),
        ([np.int64(3), 2, np.float32(2.5)], 0),
    ],
)
def test_the_newest_answer_is_kept(values: list[Any], newest: int) -> None:
    """Times and numbers as such and as text; a row without one is the oldest, of equal ones the last is kept."""
    rows = [{"q": f"{'  Is it OPEN' if n else 'is it open?'}", "a": f"{n}", "at": at} for n, at in enumerate(values)]
    other = {"q": "Where?", "a": "here", "at": values[0]}
    builder = rt.DatasetBuilder.from_rows([*rows, other]).keep_newest(per="q", by="at")
    shown = builder.chat(user="{q}", assistant="{a}").preview(9)
    assert [record.to_dict()["messages"][1]["content"] for record in shown] == [str(newest), "here"]


def test_what_is_dropped_as_older_is_counted_and_what_has_no_age_is_refused(tmp_path: Path) -> None:
    rows = [{"q": f"Question {n % 20}?", "a": f"Answer {n}.", "at": n} for n in range(3_000)]
    builder = rt.DatasetBuilder.from_rows(rows).keep_newest(per=["q"], by="at")
    built = builder.chat(user="{q}", assistant="{a}").build(tmp_path / "out")
    assert dict(built.report.dropped) == {"older than another row of the same q": 2_980}
    assert rows_of(built.train.path) == [str(n) for n in range(2_980, 3_000)]
    for bad in ("31.01.2026", True, [1]):
        with pytest.raises(DatasetError, match=r"row 3000, column 'at': .* is neither a time nor a number"):
            questions(rt.DatasetBuilder.from_rows([*rows, {**rows[0], "at": bad}]).keep_newest(per="q", by="at"))
    with pytest.raises(DatasetError, match=r"row 3000.* cannot be compared"):
        questions(rt.DatasetBuilder.from_rows([*rows, {**rows[0], "at": "2026-01-31"}]).keep_newest(per="q", by="at"))
    with pytest.raises(DatasetError, match="keep_newest names column 'when'"):
        questions(rt.DatasetBuilder.from_rows(rows).keep_newest(per="q", by="when"))


def test_two_builders_are_added_each_with_its_own_steps(tmp_path: Path) -> None:
    """Row numbers go on; the manifest names both sources and their steps; what either dropped is counted."""
    other = tmp_path / "other.jsonl"
    other.write_text(
        "".join(json.dumps({"Frage": f"Frage {n}?", "Antwort": f"Antwort {n}."}) + "\n" for n in range(20))
    )
    one = rt.DatasetBuilder.from_rows(ROWS).filter(lambda row: row["n"] != 2, reason="two")
    two = (
        rt.DatasetBuilder.from_jsonl(other)
        .rename({"Frage": "q", "Antwort": "a"})
        .filter(lambda row: row["q"] != "Frage 5?", reason="five")
    )
    both = (one + two).chat(user="{q}", assistant="{a}")
    built = both.build(tmp_path / "out", validation=0.1, seed=3)
    assert dict(built.report.dropped) == {"two": 1, "five": 1}
    assert (built.report.read, built.report.kept) == (50, 48)
    numbers = sorted(int(line) for split in built.splits for line in rows_of(split.path))
    assert numbers == [n for n in range(50) if n not in (2, 35)]
    parts = built.manifest["source"]["parts"]
    assert [part["source"]["kind"] for part in parts] == ["rows", "jsonl"]
    assert [next(iter(step)) for step in parts[1]["steps"]] == ["rename", "filter"]
    assert len(parts[1]["source"]["sha256"]) == 64
    three = (one + two + one).take(60).chat(user="{q}", assistant="{a}")
    assert len(three.preview(100)) == 60
    with pytest.raises(DatasetError, match="differ in their template or layout"):
        one.chat(user="{q}", assistant="{a}") + two
    with pytest.raises(DatasetError, match="add two builders"):
        one + ROWS  # type: ignore[operator]
    with pytest.raises(DatasetError, match="is the source of this build"):
        (one + rt.DatasetBuilder.from_jsonl(other)).chat(user="x", assistant="y").build(
            moved(tmp_path, other), overwrite=True
        )


def moved(folder: Path, other: Path) -> Path:
    """A folder in which the second source would be replaced."""
    target = folder / "beside"
    target.mkdir()
    (target / "train.jsonl").hardlink_to(other)
    return target


def test_layouts_take_a_system_prompt_for_records_that_have_none(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Here."}]
    rows: list[dict[str, Any]] = [{"conversations": turns}, {"conversations": turns, "system": "Its own."}]
    builder = rt.DatasetBuilder.from_rows(rows).layout("sharegpt", system="Be brief.")
    assert [record.to_dict()["messages"][0]["content"] for record in builder.preview()] == ["Be brief.", "Its own."]
    pair = rt.DatasetBuilder.from_rows([{"prompt": "Where?", "chosen": "Here.", "rejected": "There."}])
    (record,) = pair.layout("dpo", system="Be brief.").preview()
    assert record.to_dict()["input"]["messages"][0] == {"role": "system", "content": "Be brief."}
    built = pair.layout("dpo", system="Be brief.").build(tmp_path / "out")
    assert built.system == "Be brief."
    assert built.manifest["steps"] == [{"layout": "dpo", "system": "Be brief."}]
    with pytest.raises(DatasetError, match="hold no system prompt; give it to the template"):
        rt.DatasetBuilder.from_rows(ROWS).layout("squad", system="x")
    with pytest.raises(DatasetError, match="system prompt is empty"):
        pair.layout("dpo", system=" ")


def test_rows_of_several_files_are_named_with_file_and_line(tmp_path: Path) -> None:
    """The number that an editor shows; blank lines and rows over several lines count."""
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text('q,a\n"two\nlines",x\n\nfine,y\n')
        (tmp_path / f"{name}.jsonl").write_text('\n{"q": "x", "a": "y"}\n\n{"q": "z", "a": ""}\n')
    (tmp_path / "c.csv").write_text('q,a\n"two\nlines",x\n\n,y\n')
    (tmp_path / "d.jsonl").write_text('{"q": "x", "a": "y"}\n\n{"q": "z", "a": 3}\n')
    with pytest.raises(DatasetError, match=r"row 5 \(c.csv line 5\): the user text"):
        questions(rt.DatasetBuilder.from_csv(str(tmp_path / "*.csv")))
    jsonl = rt.DatasetBuilder.from_jsonl([tmp_path / "a.jsonl", tmp_path / "d.jsonl"])
    with pytest.raises(DatasetError, match=r"row 3 \(d.jsonl line 3\), column 'a': 3 is int"):
        questions(jsonl.filter(lambda row: row["a"], reason="empty"))
    with pytest.raises(DatasetError, match=r"row 3 \(d.jsonl line 3\): the function given to records"):
        jsonl.records(lambda row: None if row["a"] == 3 else {"prompt": "", "completion": "x"}).preview()
    for name, n in (("a", 0), ("b", 1)):
        (tmp_path / f"{name}.json").write_text(json.dumps([{"q": "x", "a": "y"}, {"q": "x", "a": n or "z"}]))
    with pytest.raises(DatasetError, match=r"row 3 \(b.json row 1\), column 'a'"):
        questions(rt.DatasetBuilder.from_json(str(tmp_path / "*.json")))


def test_more_rows_than_there_are_may_be_taken(tmp_path: Path) -> None:
    rows = [{"q": f"Why {n}?", "a": f"So {n}."} for n in range(3)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    for number, made in enumerate((builder.take(10**30), builder.sample(10**30))):
        assert len(made.build(tmp_path / str(number)).train) == 3


@pytest.mark.slow
def test_builders_are_summed_however_many(tmp_path: Path) -> None:
    """Seven hundred of them, each with one row and a step of its own: as deep as one sum of two."""
    parts = [
        rt.DatasetBuilder.from_rows([{"q": f"Why {n}?"}]).map(lambda row: {**row, "a": row["q"]}) for n in range(700)
    ]
    dataset = sum(parts).chat(user="{q}", assistant="{a}").build(tmp_path / "out")
    assert len(dataset.train) == 700
    assert [record.messages[0].text for record in list(dataset.train)[:2]] == ["Why 0?", "Why 1?"]
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = 1 + parts[0]


def test_a_sum_with_steps_of_its_own_keeps_them_to_itself() -> None:
    one, two, three = (rt.DatasetBuilder.from_rows([{"q": f"Why {n}?"}] * 2) for n in range(3))
    nested = (one + two).take(3) + (three + one)
    assert len(nested.chat(user="{q}", assistant="x {q}").preview(99).records) == 7
