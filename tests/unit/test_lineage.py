"""Where a record comes from: the manifest names it, and the same inputs give the same bytes on every machine."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ragtune as rt

WORDS = "ä ö ü ß é ñ 中 文 🦆 İ ı ﬁ \u2028".split(" ")


def rows() -> list[dict[str, str]]:
    return [
        {"q": f"What is {WORDS[n % 13]} number {n}?", "a": f"It is {3 * n}." if n % 5 else "", "page": str(n // 4)}
        for n in range(60)
    ]


def record(prefix: str, row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": f"{prefix}{row['q']}", "completion": row["a"]}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_says_everything_that_led_to_a_file(tmp_path: Path) -> None:
    """Source, steps with their counts, template, seed, versions, and the sha256 of every file beside it."""
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in [*rows(), rows()[1]]))
    dataset = (
        rt.DatasetBuilder.from_jsonl(source)
        .filter(lambda row: row["a"], reason="no answer")
        .deduplicate(question="q", answer="a")
        .drop_columns("page")
        .chat(system="Be brief.", user="{q}", assistant="{a}")
        .build(tmp_path / "out", validation=0.1, test=0.1, seed=11, group_by="page")
    )
    manifest = json.loads((tmp_path / "out/manifest.json").read_bytes())
    assert manifest == dataset.manifest
    assert manifest["source"] == {
        "kind": "jsonl",
        "file": "rows.jsonl",
        "sha256": digest(source),
        "bytes": source.stat().st_size,
    }
    assert manifest["steps"] == [
        {"filter": "no answer", "dropped": {"no answer": 12}},
        {"deduplicate": ["q", "a"], "exactly": ["a"], "dropped": {"duplicate": 1, "duplicate once normalised": 0}},
        {"drop_columns": ["page"]},
        {"template": {"format": "chat", "system": "Be brief.", "user": "{q}", "assistant": "{a}"}},
    ]
    assert manifest["split"]["seed"] == 11
    assert manifest["split"]["group_by"] == ["page"]
    assert {"python", "ragtune", "orjson"} <= manifest["versions"].keys()
    told = [*manifest["files"].values(), *manifest["row_maps"].values()]
    beside = {path.name for path in dataset.folder.iterdir()} - {"manifest.json", "report.json"}
    assert {item["name"]: item["sha256"] for item in told} == {name: digest(dataset.folder / name) for name in beside}
    assert sum(item["rows"] for item in manifest["files"].values()) == manifest["rows"]["kept"] == 48


def test_each_record_leads_back_to_its_row(tmp_path: Path) -> None:
    """Line n of the row map is the number of the row that record n was made of, through filters and splits."""
    builder = rt.DatasetBuilder.from_rows(rows()).filter(lambda row: row["a"], reason="no answer")
    dataset = builder.chat(user="{q}", assistant="{a}").build(tmp_path / "out", validation=0.2, seed=3)
    for split in (dataset.train, dataset.validation):
        numbers = (dataset.folder / f"{split.name}.rows.txt").read_text().split()
        told = [(record.messages[0].text, record.messages[1].text) for record in split]
        assert told == [(rows()[int(number)]["q"], rows()[int(number)]["a"]) for number in numbers]


def test_rows_from_memory_can_say_where_they_come_from(tmp_path: Path) -> None:
    """A query, a URL, a sentence; it is nobody else's to know."""
    query = "SELECT q, a FROM faq WHERE checked"
    for number, builder in enumerate(
        [
            rt.DatasetBuilder.from_rows(rows()[1:5], query=query),
            rt.DatasetBuilder.from_pandas(pd.DataFrame(rows()[1:5]), query=query),
        ]
    ):
        dataset = builder.chat(user="{q}", assistant="{a}").build(tmp_path / str(number))
        assert dataset.manifest["source"]["query"] == query


PROGRAM = """
import functools, sys
sys.path.insert(0, {tests!r})
from test_lineage import record, rows
import ragtune as rt

builder = rt.DatasetBuilder.from_jsonl({source!r}).filter(lambda row: row["a"], reason="no answer")
split = dict(validation=0.1, test=0.1, seed=5, group_by="page")
builder.chat(user="{{q}}", assistant="{{a}}").build("template", **split)
builder.records(functools.partial(record, "Q: ")).build("function", **split)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "surroundings",
    [
        {
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "TZ": "Pacific/Kiritimati",
            "PYTHONHASHSEED": "1",
        },
        {"LC_ALL": "C.UTF-8", "TZ": "America/St_Johns", "PYTHONHASHSEED": "4294967295", "OMP_NUM_THREADS": "2"},
    ],
)
def test_the_same_inputs_give_the_same_bytes_everywhere(tmp_path: Path, surroundings: dict[str, str]) -> None:
    """Every file, manifest included, whatever the locale, time zone, hash seed and folder are."""
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    program = PROGRAM.format(tests=str(Path(__file__).parent), source=str(source))
    found = []
    for name, environment in (("here", {"PYTHONHASHSEED": "7"}), ("elsewhere", surroundings)):
        folder = tmp_path / name
        folder.mkdir()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
        subprocess.run([sys.executable, "-c", program], cwd=folder, env={**inherited, **environment}, check=True)
        found.append({str(path.relative_to(folder)): digest(path) for path in folder.rglob("*.*") if path.is_file()})
    assert found[0] == found[1]
    assert len(found[0]) == 16


def test_a_function_without_a_name_shows_no_address(tmp_path: Path) -> None:
    """A partial prints where it is in memory, which no second run repeats."""
    dataset = rt.DatasetBuilder.from_rows(rows()[1:5]).records(functools.partial(record, "Q: ")).build(tmp_path / "out")
    assert dataset.manifest["steps"] == [{"records": "partial"}]
