"""What a split gives back is what went in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import ragtune as rt

if TYPE_CHECKING:
    from pathlib import Path

PARTS = [{"type": "text", "text": "See."}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {key: {"type": "x"}}}},
    }
    for key in ("a", "b")
]


def chat(question: Any, **further: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "A."}],
        **further,
    }


@pytest.mark.parametrize(
    "rows",
    [
        [chat("One?"), chat("Two?")],
        [chat(PARTS), chat("Plain?")],
        [chat("One?", tools=[TOOLS[0]]), chat("Two?", tools=[TOOLS[1]]), chat("Three?")],
        [chat("One?"), chat("Two?", parallel_tool_calls=True, tools=TOOLS)],
        [
            {"messages": [{"role": "user", "content": "?"}], "answer": value}
            for value in ("5", 5, 2**63 - 1, None, {"a": 1}, [1, "x"], True, "text", 1.5)
        ],
        [
            {"messages": [{"role": "user", "content": "?"}], "n": 2**53 + 1},
            {"messages": [{"role": "user", "content": "!"}], "b": 1},
        ],
    ],
)
def test_the_rows_of_a_split_are_its_records(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """Through `datasets` and through pandas; a key that a record lacks is None."""
    train = rt.DatasetBuilder.from_rows(rows).records(dict).build(tmp_path / "out").train
    keys = dict.fromkeys(key for row in rows for key in row)
    wanted = [{key: row.get(key) for key in keys} for row in rows]
    assert list(train.to_hf()) == wanted
    assert train.to_pandas().to_dict("records") == wanted


def test_a_number_that_datasets_cannot_hold_is_refused(tmp_path: Path) -> None:
    """It would come back as text; pandas has it whole."""
    rows = [{"messages": [{"role": "user", "content": "?"}], "n": 2**100}]
    train = rt.DatasetBuilder.from_rows(rows).records(dict).build(tmp_path / "out").train
    with pytest.raises(rt.DatasetError, match=r"'n'.*to_pandas"):
        train.to_hf()
    assert train.to_pandas()["n"][0] == 2**100
