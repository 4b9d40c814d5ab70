"""JSON documents of any size, read value by value."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.dataset.sources.files.json_stream import JsonStream
from ragtune.dataset.sources.readers import read_json
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values, max_size=5), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_a_list_is_read_the_same_in_pieces_of_any_size(
    items: list[Any], piece: int, indent: int | None, ascii_only: bool
) -> None:
    """Wherever a piece ends: in a number, a word, an escape."""
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)
    document = JsonStream(io.StringIO(f" {text}\n"), piece=piece)
    assert document.take("[")
    assert list(document.items()) == items
    assert document.next_sign() == ""


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=6), values, max_size=5), st.integers(1, 40))
def test_an_object_is_read_the_same_in_pieces_of_any_size(given_object: dict[str, Any], piece: int) -> None:
    """Key by key, each value when it is asked for."""
    document = JsonStream(io.StringIO(json.dumps(given_object)), piece=piece)
    assert document.take("{")
    assert {key: document.value() for key in document.names()} == given_object


@given(st.text('[]{},:"1e-. tfn\\u', max_size=12), st.integers(1, 5))
def test_what_json_refuses_is_refused_here(text: str, piece: int) -> None:
    """No text is taken for a list that is none."""
    document = JsonStream(io.StringIO("[" + text), piece=piece)
    assert document.take("[")
    try:
        items = list(document.items())
        whole = document.next_sign() == ""
    except json.JSONDecodeError:
        whole = False
    try:
        expected = json.loads("[" + text)
    except json.JSONDecodeError:
        assert not whole
    else:
        assert whole
        assert items == expected


@pytest.mark.slow
def test_rows_inside_an_object_are_read_piece_by_piece(tmp_path: Path) -> None:
    """Six megabytes of rows are in memory a batch at a time; what stands around them does no harm."""
    path = tmp_path / "rows.json"
    rows = [{"q": f"Question {n}?", "a": f"answer {n} " + "x" * 500} for n in range(10_000)]
    path.write_text(json.dumps({"version": 1.1, "data": rows, "by": {"names": "Ada"}}))
    del rows
    tracemalloc.start()
    try:
        assert sum(map(len, read_json(path))) == 10_000
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"rows": [{"q": "a"}], "more": [1]}', r"the lists \['rows', 'more'\]"),
        ('{"rows": [{"q": "a"},, {"q": "b"}]}', "not JSON.*near character 21"),
        ('[{"q": "a"}] [{"q": "b"}]', "more behind its end.*from_jsonl"),
        ("7", "holds int"),
        ('{"rows": [{"q": "a"}]', "not JSON"),
    ],
)
def test_a_document_that_holds_no_rows_is_named(tmp_path: Path, text: str, named: str) -> None:
    """Nothing is written then."""
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=named):
        rt.DatasetBuilder.from_json(path).chat(user="{q}", assistant="{q}").build(tmp_path / "out")
    assert not (tmp_path / "out").exists()
