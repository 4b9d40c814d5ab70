"""Files as people have them: packed, in parts, from spreadsheets, by ids."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import json
import lzma
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import ragtune as rt
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = [{"q": f"Question {n}?", "a": f"Answer, {n}."} for n in range(5)]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = ("q,a\n" + "".join('{q},"{a}"\n'.format(**row) for row in ROWS)).encode()


def rows_of(builder: rt.DatasetBuilder) -> list[dict[str, Any]]:
    return [dict(row) for batch in builder._source.read() for row in batch.rows()]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_packed_text_is_read_as_it_is(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """By how it begins, whatever its name is; damage is told."""
    starts = {
        "rows.jsonl": (JSONL, rt.DatasetBuilder.from_jsonl),
        "rows.json": (json.dumps(ROWS).encode(), rt.DatasetBuilder.from_json),
        "rows.csv": (CSV, rt.DatasetBuilder.from_csv),
    }
    for name, (data, start) in starts.items():
        (tmp_path / name).write_bytes(pack(data))
        assert rows_of(start(tmp_path / name)) == ROWS
        if pack is not bytes:
            (tmp_path / name).write_bytes(pack(data)[:-12])
            with pytest.raises(DatasetError, match="packed data is damaged"):
                rows_of(start(tmp_path / name))


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"PAR1", b"\x28\xb5\x2f\xfd", b"ARROW1", b"\xd0\xcf\x11\xe0"])
def test_other_binary_files_are_named(tmp_path: Path, start: bytes) -> None:
    """With the way in, and without advice about encodings."""
    (tmp_path / "rows").write_bytes(start + b"\x93" * 40)
    for begin in (rt.DatasetBuilder.from_jsonl, rt.DatasetBuilder.from_json, rt.DatasetBuilder.from_csv):
        with pytest.raises(DatasetError, match=r"(unpack|read|save)") as caught:
            rows_of(begin(tmp_path / "rows"))
        assert "iconv" not in str(caught.value)


def test_several_files_are_one_source(tmp_path: Path) -> None:
    """In the order of the list, or of their names; the manifest has the sha256 of each."""
    for part in (2, 0, 1):
        row = {"q": f"Question {part}?", "a": "x"}
        (tmp_path / f"part-{part}.jsonl").write_text(json.dumps(row) + "\n")
    paths = [tmp_path / f"part-{part}.jsonl" for part in range(3)]
    wanted = [f"Question {part}?" for part in range(3)]
    for given in (tmp_path / "part-*.jsonl", str(tmp_path / "part-?.jsonl"), paths):
        assert [row["q"] for row in rows_of(rt.DatasetBuilder.from_jsonl(given))] == wanted
    assert [row["q"] for row in rows_of(rt.DatasetBuilder.from_jsonl(paths[::-1]))] == wanted[::-1]
    built = rt.DatasetBuilder.from_jsonl(paths).chat(user="{q}", assistant="{a}").build(tmp_path / "out")
    assert built.manifest["source"] == {
        "kind": "jsonl",
        "files": [
            {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
            for path in paths
        ],
    }
    refused: dict[str, Any] = {
        "fits the pattern": tmp_path / "none-*.jsonl",
        "is a folder": tmp_path,
        "empty": [],
        "given twice": [paths[0], paths[0]],
        "does not exist": [paths[0], tmp_path / "no.jsonl"],
        "got int": 7,
    }
    for named, wrong in refused.items():
        with pytest.raises(DatasetError, match=named):
            rt.DatasetBuilder.from_jsonl(wrong)


def test_rows_by_their_ids_and_single_conversations(tmp_path: Path) -> None:
    """PubMedQA's file, `to_json(orient="index")` of pandas, a chat that was exported by itself."""
    path = tmp_path / "rows.json"
    many = [{"q": f"Question {n}?", "a": "x"} for n in range(250)]
    for rows in (ROWS, many):
        path.write_text(json.dumps({str(number): row for number, row in enumerate(rows)}))
        assert rows_of(rt.DatasetBuilder.from_json(path)) == rows
        pd.DataFrame(rows).to_json(path, orient="index")
        assert rows_of(rt.DatasetBuilder.from_json(path)) == rows
    one = {"id": "7", "meta": {"x": 1}, "conversations": [{"from": "human", "value": "Hi"}], "source": "web"}
    path.write_text(json.dumps(one))
    assert rows_of(rt.DatasetBuilder.from_json(path)) == [one]
    path.write_text(json.dumps({"version": {"x": 1}, "data": ROWS}))
    assert rows_of(rt.DatasetBuilder.from_json(path)) == ROWS
    path.write_text(json.dumps({**{str(n): row for n, row in enumerate(many)}, "x": [1]}))
    with pytest.raises(DatasetError, match="'x' is no object"):
        rows_of(rt.DatasetBuilder.from_json(path))


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A space behind commas, `sep=;`, empty rows at the end, and fields of any length."""
    path = tmp_path / "rows.csv"
    wanted = [{"q": "Why?", "a": "Yes, so."}, {"q": "", "a": "x"}]
    texts = {
        "plain": 'q,a\nWhy?,"Yes, so."\n,x\n',
        "space": '"q", "a"\n"Why?", "Yes, so."\n"", "x"\n',
        "sep": 'sep=;\r\nq;a\r\nWhy?;"Yes, so."\r\n;x\r\n',
        "empty rows": 'q,a\nWhy?,"Yes, so."\n,x\n,\n\n,\n',
    }
    for text in texts.values():
        path.write_bytes(text.encode())
        assert rows_of(rt.DatasetBuilder.from_csv(path)) == wanted
    path.write_text('q,a\nWhy?, "Yes, so."\n, x\n')
    assert rows_of(rt.DatasetBuilder.from_csv(path, skipinitialspace=True)) == wanted
    with pytest.raises(DatasetError, match="skipinitialspace"):
        rows_of(rt.DatasetBuilder.from_csv(path))
    path.write_text("q,a\n,\n1,2\n")
    assert rows_of(rt.DatasetBuilder.from_csv(path)) == [{"q": "", "a": ""}, {"q": "1", "a": "2"}]
    path.write_text("q;a\n1;2,3\n")
    with pytest.raises(DatasetError, match="delimiter=';'"):
        rows_of(rt.DatasetBuilder.from_csv(path))
    limit = csv.field_size_limit()
    path.write_text(f'q,a\n"{"x" * 200_000}",b\n')
    assert len(rows_of(rt.DatasetBuilder.from_csv(path))[0]["q"]) == 200_000
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("above", [0, 1, 5, 1023, 1024, 2000])
@pytest.mark.parametrize("fault", ['"He said \\"yes\\".",fine\n', '"never closed,fine\n'])
def test_a_fault_in_csv_is_told_at_its_line(tmp_path: Path, above: int, fault: str) -> None:
    """Where the quote opens, not where the row before it ended."""
    path = tmp_path / "rows.csv"
    path.write_text("q,a\n" + "a,b\n" * above + fault + "c,d\n" * 30)
    with pytest.raises(DatasetError, match=rf"line {above + 2} is not CSV"):
        rows_of(rt.DatasetBuilder.from_csv(path))


def test_a_csv_with_another_delimiter_is_told_at_once_and_a_column_with_such_a_name_is_not(tmp_path: Path) -> None:
    (tmp_path / "semi.csv").write_text("Question;Answer\nWhere?;Here.\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"parted by ';': pass delimiter=';'"):
        list(rt.DatasetBuilder.from_csv(tmp_path / "semi.csv").rows())
    (tmp_path / "one.csv").write_text("Question; or not\nWhere?\nHere; or there?\n", encoding="utf-8")
    assert len(list(rt.DatasetBuilder.from_csv(tmp_path / "one.csv").rows())) == 2
