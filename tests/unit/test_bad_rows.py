"""Everything that is wrong is told at once, at its place, and to whom it belongs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ragtune as rt
from ragtune.dataset.bad_rows import BadRowsError
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GOOD: dict[str, Any] = {"q": "Why?", "a": "So."}
BAD: dict[int, dict[str, Any]] = {
    7: {"q": " ", "a": "So."},
    1500: {"q": "Why?", "a": None},
    2100: {"q": "Why?"},
    2101: {"q": "\ud800", "a": "x"},
}


def told(make: Callable[[], rt.DatasetBuilder], folder: Path, **options: Any) -> str:
    with pytest.raises(BadRowsError) as caught:
        make().build(folder / "out", **options)
    assert not (folder / "out").exists()
    return str(caught.value)


@pytest.mark.parametrize("options", [{}, {"validation": 0.2}])
def test_every_bad_row_of_a_template_is_named(tmp_path: Path, options: dict[str, Any]) -> None:
    """Across batches of 1,024 rows, each kind of fault, each row once."""
    rows: list[dict[str, Any]] = [BAD.get(number, GOOD) for number in range(3000)]
    message = told(lambda: rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}"), tmp_path, **options)
    assert message.startswith("4 rows make no record:")
    for number in BAD:
        assert message.count(f"row {number}") == 1


def test_the_first_hundred_are_named_and_all_are_counted(tmp_path: Path) -> None:
    """A layout's and a function's bad rows alike."""
    rows = [{"conversations": [{"from": "nobody", "value": "x"}]} for _ in range(250)]
    message = told(lambda: rt.DatasetBuilder.from_rows(rows, layout="sharegpt"), tmp_path)
    assert message.startswith("250 rows make no record:")
    assert message.endswith("and 150 more")
    assert "row 99:" in message
    assert "row 100:" not in message
    assert "5 rows" in told(lambda: rt.DatasetBuilder.from_rows([{}] * 5).records(lambda row: None), tmp_path)
    squad = [{"context": 1, "question": "q", "answers": []}] * 3
    assert "3 rows" in told(
        lambda: rt.DatasetBuilder.from_rows(squad, layout="squad").chat(user="{question}", assistant="x"), tmp_path
    )


def test_every_bad_line_of_a_file_is_named(tmp_path: Path) -> None:
    """No JSON, a doubled key, another number of fields."""
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([json.dumps(GOOD), "{", json.dumps(GOOD), '{"q": 1, "q": 2}', "x"]))
    message = told(lambda: rt.DatasetBuilder.from_jsonl(path).chat(user="{q}", assistant="{a}"), tmp_path)
    assert [f"jsonl line {number}" in message for number in range(1, 6)] == [False, True, False, True, True]
    path = tmp_path / "rows.csv"
    path.write_text("q,a\n1\n2,3\n4,5,6\n")
    message = told(lambda: rt.DatasetBuilder.from_csv(path).chat(user="{q}", assistant="{a}"), tmp_path)
    assert [f"csv line {number}" in message for number in range(1, 5)] == [False, True, False, True]


def test_a_row_that_a_filter_drops_needs_no_column(tmp_path: Path) -> None:
    """Optional keys belong to the rows that have them."""
    rows: list[dict[str, Any]] = [{"q": "Why?"}, GOOD, {"q": "Who?"}, GOOD]
    builder = rt.DatasetBuilder.from_rows(rows).filter(lambda row: "a" in row, reason="no answer")
    assert len(builder.chat(user="{q}", assistant="{a}").build(tmp_path / "out").train) == 2
    dropped = rt.DatasetBuilder.from_rows([{"q": "Why?"}, {**GOOD, "x": 1}]).drop_columns("x")
    assert len(dropped.chat(user="{q}", assistant="y").build(tmp_path / "two").train) == 2
    with pytest.raises(DatasetError, match=r"drop_columns names column 'z'.*'q', 'a', 'x'"):
        dropped.drop_columns("z").chat(user="{q}", assistant="y").build(tmp_path / "three")


def test_a_name_that_differs_in_spaces_or_capitals_is_pointed_out(tmp_path: Path) -> None:
    """Headers of spreadsheets are written by people."""
    with pytest.raises(DatasetError, match=r"' Answer ' differs in spaces or capitals only"):
        rt.DatasetBuilder.from_rows([{" Answer ": "x"}]).chat(user="?", assistant="{answer}").preview()


def test_braces_of_json_are_explained() -> None:
    """Doubled, they are text."""
    rows = rt.DatasetBuilder.from_rows([{"a": "y"}])
    with pytest.raises(DatasetError, match="double literal braces"):
        rows.chat(user="?", assistant='{"answer": "{a}"}')
    shown = rows.chat(user="?", assistant='{{"answer": "{a}"}}').preview()[0]
    assert isinstance(shown, rt.ChatRecord)
    assert shown.messages[1].text == '{"answer": "y"}'


def lost() -> Iterator[dict[str, Any]]:
    yield GOOD
    raise ConnectionResetError("the database closed the connection")


def test_the_error_of_a_users_own_rows_says_at_which_row(tmp_path: Path) -> None:
    """It is the user's, with a note."""
    with pytest.raises(ConnectionResetError) as caught:
        rt.DatasetBuilder.from_rows(lost).chat(user="{q}", assistant="{a}").preview()
    assert "while row 1 was read" in caught.value.__notes__[0]


def test_damaged_parquet_is_the_files_fault(tmp_path: Path) -> None:
    """Arrow calls it an OSError, as if a disk had failed."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"q": [f"Question {n} " * 50 for n in range(4000)]}), path, row_group_size=1000)
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 400):
        data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"rows\.parquet is (damaged behind row|not a Parquet file)"):
        rt.DatasetBuilder.from_parquet(path).chat(user="{q}", assistant="x").build(tmp_path / "out")


# Not too deep for a parser, and too deep to be shown.
NESTED = '{"manifest": 1, "format": "chat", "files": ' + "[" * 1_010 + "]" * 1_010 + "}"


def damaged(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


FACTS = {"name": "train.jsonl", "sha256": "0", "bytes": 1, "rows": 1}


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / "manifest.json").write_text("{}"), "'manifest' is None"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "holds list"),
        (lambda folder: (folder / "manifest.json").write_text('{"manif'), "is damaged"),
        (lambda folder: (folder / "manifest.json").write_text(NESTED), "is damaged"),
        (lambda folder: damaged(folder, manifest=2), "'manifest' is 2"),
        (lambda folder: damaged(folder, format="banana"), "'format' is 'banana'"),
        (lambda folder: damaged(folder, files=[]), "'files' is"),
        (lambda folder: damaged(folder, files={}), "'files' is"),
        (lambda folder: damaged(folder, files={"train": {"name": "train.jsonl"}}), r"'files\.train' is"),
        (
            lambda folder: damaged(folder, files={"train": {**FACTS, "name": "../x"}}),
            r"'files\.train\.name' is '\.\./x'",
        ),
        (lambda folder: damaged(folder, files={"train": {**FACTS, "rows": "1"}}), r"'files\.train\.rows' is '1'"),
        (lambda folder: damaged(folder, files={"train": FACTS, "dev": FACTS}), r"'files\.dev' is"),
        (lambda folder: damaged(folder, rows=7), "'rows' is 7"),
        (lambda folder: damaged(folder, files={"train": FACTS}), r"train\.jsonl was changed"),
        (lambda folder: (folder / "train.rows.txt").write_text("1\n"), r"train\.rows\.txt was changed"),
        (lambda folder: (folder / "train.rows.txt").unlink(), r"train\.rows\.txt cannot be read"),
    ],
)
def test_a_damaged_dataset_does_not_load(tmp_path: Path, damage: Callable[[Path], object], named: str) -> None:
    """The manifest, each file that it lists, and the maps to the source's rows."""
    rt.DatasetBuilder.from_rows([GOOD]).chat(user="{q}", assistant="{a}").build(tmp_path / "out")
    rt.Dataset.load(tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(DatasetError, match=named):
        rt.Dataset.load(tmp_path / "out")
