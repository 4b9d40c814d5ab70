"""Fast ways to do what a slower, plainer way defines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.dataset import normalise
from ragtune.dataset.batches import Batch
from ragtune.dataset.splits import normal_bytes

MIXED = st.text(st.sampled_from("aZ_9 .-\t\n\u2013\u2019\u00a0\u00e9\u00df\u0130\u01f0\u03c2\u212a\u4e2d\u0301\u200b"))


@given(MIXED | st.text())
def test_the_bytes_of_a_normal_form_are_those_of_normalise(text: str) -> None:
    assert normal_bytes(text) == normalise(text).encode("utf-8", "surrogatepass")


def test_a_view_of_a_row_is_the_row_and_converts_only_what_is_read() -> None:
    batch = Batch(("a", "b"), 2, {"a": [1, 2]})
    first, second = batch.views()
    assert (first["a"], second["a"], len(first), "c" in first) == (1, 2, 2, False)
    whole = Batch(("a", "b"), 1, {"a": [1], "b": ["x"]})
    assert list(whole.views()) == list(whole.rows()) == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize("system", [None, "100 % sure: {{yes}} \u2028", "You are {name}."])
def test_a_template_writes_the_same_bytes_as_records_made_one_by_one(tmp_path: Path, system: str | None) -> None:
    rows = [{"name": f"n\u2028{n}\u0085", "q": f'"q" %s {n}\n', "a": f"\\ {n} \u00a9"} for n in range(12)]
    made = rt.DatasetBuilder.from_rows(rows).chat(system=system, user="{q}", assistant="50 % {a} of {name}")

    def record(row: dict[str, str]) -> dict[str, object]:
        turns = [("user", row["q"]), ("assistant", f"50 % {row['a']} of {row['name']}")]
        if system is not None:
            turns.insert(0, ("system", system.format(**row)))
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    one_by_one = rt.DatasetBuilder.from_rows(rows).records(record)  # type: ignore[arg-type]
    first, second = made.build(tmp_path / "a").train, one_by_one.build(tmp_path / "b").train
    assert first.sha256 == second.sha256
    assert first.path is not None
    assert [json.loads(line) for line in first.path.read_bytes().splitlines()] == [record(row) for row in rows]
