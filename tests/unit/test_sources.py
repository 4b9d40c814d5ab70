"""A row is what the source's own library shows for it."""

from __future__ import annotations

import datetime
import decimal
import io
import json
from typing import TYPE_CHECKING, Any

import datasets as hf
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import ragtune as rt
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def rows_of(builder: rt.DatasetBuilder) -> list[dict[str, Any]]:
    """The rows as a function given to `records` sees them."""
    return [dict(row) for batch in builder._source.read() for row in batch.rows()]


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 3), (10, 20, 30)).save(file, "PNG")
    return file.getvalue()


MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5)
# Every feature type that shows itself without a library of its own, with values that it takes.
FEATURES: dict[str, tuple[Any, list[Any]]] = {
    **{
        kind: (hf.Value(kind), [1, 0, None])
        for kind in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    **{kind: (hf.Value(kind), [1.5, None]) for kind in ("float16", "float32", "float64")},
    **{kind: (hf.Value(kind), ["text", "", None]) for kind in ("string", "large_string", "string_view")},
    **{kind: (hf.Value(kind), [b"\x00\xff", None]) for kind in ("binary", "large_binary")},
    "date32": (hf.Value("date32"), [MOMENT.date(), None]),
    "date64": (hf.Value("date64"), [MOMENT, None]),
    **{f"timestamp[{unit}]": (hf.Value(f"timestamp[{unit}]"), [MOMENT, None]) for unit in ("s", "ms", "us")},
    "timestamp[us, tz=UTC]": (hf.Value("timestamp[us, tz=UTC]"), [MOMENT, None]),
    "time32[s]": (hf.Value("time32[s]"), [MOMENT.time(), None]),
    "time64[us]": (hf.Value("time64[us]"), [MOMENT.time(), None]),
    "duration[ms]": (hf.Value("duration[ms]"), [datetime.timedelta(seconds=3), None]),
    "decimal128(9, 2)": (hf.Value("decimal128(9, 2)"), [decimal.Decimal("1.10"), None]),
    "decimal256(40, 2)": (hf.Value("decimal256(40, 2)"), [decimal.Decimal("1.10"), None]),
    "ClassLabel": (hf.ClassLabel(names=["no", "yes"]), [1, 0, None]),
    "List": (hf.List(hf.Value("string")), [["a", None], [], None]),
    "List of 2": (hf.List(hf.Value("int64"), length=2), [[1, 2], [3, 4]]),
    "LargeList": (hf.LargeList(hf.Value("string")), [["a"], None]),
    "struct": ({"a": hf.Value("string"), "b": hf.Value("int64")}, [{"a": "x", "b": None}, {"a": None, "b": 1}]),
    "list of structs": (hf.List({"a": hf.Value("string")}), [[{"a": "x"}, {"a": None}], []]),
    "Translation": (hf.Translation(languages=["de", "en"]), [{"de": "Wehr", "en": "weir"}]),
    "TranslationVariableLanguages": (
        hf.TranslationVariableLanguages(languages=["de", "en"]),
        [{"de": "Wehr", "en": ["weir", "dam"]}],
    ),
    "Array2D": (hf.Array2D(shape=(1, 2), dtype="int32"), [[[1, 2]]]),
    "Array3D": (hf.Array3D(shape=(1, 1, 2), dtype="float32"), [[[[1.5, 2.5]]]]),
    "Array4D": (hf.Array4D(shape=(1, 1, 1, 2), dtype="int8"), [[[[[1, 2]]]]]),
    "Array5D": (hf.Array5D(shape=(1, 1, 1, 1, 2), dtype="int8"), [[[[[[1, 2]]]]]]),
    "Json": (hf.Json(), ["by the lake", 5, {"a": None}, [1, "x"], None]),
    "List of Json": (hf.List(hf.Json()), [[{"b": 0}, {"c": None}], []]),
    "struct with Json": ({"role": hf.Value("string"), "content": hf.Json()}, [{"role": "user", "content": ["x"]}]),
    "Image": (hf.Image(), [{"bytes": picture(), "path": None}, None]),
    "Image as stored": (hf.Image(decode=False), [{"bytes": picture(), "path": None}]),
    "List of Image": (hf.List(hf.Image()), [[{"bytes": picture(), "path": None}]]),
}
# Each decodes with a library of its own, which nobody here has; what is stored is shown all the same.
UNDECODED: dict[str, tuple[Any, list[Any]]] = {
    "Audio": (hf.Audio(decode=False), [{"bytes": b"RIFF", "path": None}]),
    "Video": (hf.Video(decode=False), [{"bytes": b"\x00", "path": None}]),
    "Pdf": (hf.Pdf(decode=False), [{"bytes": b"%PDF", "path": None}]),
}


def plain(value: Any) -> Any:
    """Images have no equality that looks inside."""
    if isinstance(value, Image.Image):
        return value.size, value.mode, value.tobytes()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return list(map(plain, value)) if isinstance(value, list) else value


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*FEATURES, *UNDECODED])
def test_every_feature_is_what_datasets_shows(tmp_path: Path, kind: str) -> None:
    """Through a dataset in memory, a stream of it, and the Parquet file that it writes."""
    feature, values = {**FEATURES, **UNDECODED}[kind]
    # To encode audio takes a library, too.
    stored = hf.Dataset.from_dict({"v": values}) if kind in UNDECODED else None
    features = hf.Features({"v": feature})
    dataset = stored.cast(features) if stored else hf.Dataset.from_dict({"v": values}, features=features)
    shown = [plain(row) for row in dataset]
    assert list(map(plain, rows_of(rt.DatasetBuilder.from_dataset(dataset)))) == shown
    streamed = dataset.to_iterable_dataset()
    assert list(map(plain, rows_of(rt.DatasetBuilder.from_dataset(streamed)))) == list(map(plain, streamed))
    dataset.to_parquet(tmp_path / "rows.parquet")
    again = hf.Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache"))
    assert list(map(plain, rows_of(rt.DatasetBuilder.from_parquet(tmp_path / "rows.parquet")))) == list(
        map(plain, again)
    )


def test_every_feature_of_datasets_is_looked_at() -> None:
    """A version that brings a new one is noticed."""
    from datasets.features.features import _FEATURE_TYPES

    tried = {type(feature).__name__ for feature, _ in (*FEATURES.values(), *UNDECODED.values())}
    # Scientific formats, each read by a library of its own.
    assert set(_FEATURE_TYPES) - tried <= {"Mesh", "Nifti", "BioSequence", "BioStructure"}


ARROW: dict[str, tuple[pa.DataType, list[Any]]] = {
    **{str(kind): (kind, [1, None]) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(kind): (kind, [1, None]) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    **{str(kind): (kind, [1.5, None]) for kind in (pa.float16(), pa.float32(), pa.float64())},
    **{str(kind): (kind, ["a", None]) for kind in (pa.string(), pa.large_string(), pa.string_view())},
    **{str(kind): (kind, [b"a", None]) for kind in (pa.binary(), pa.large_binary(), pa.binary(1), pa.binary_view())},
    "null": (pa.null(), [None, None]),
    "bool": (pa.bool_(), [True, None]),
    "date32": (pa.date32(), [MOMENT.date(), None]),
    "date64": (pa.date64(), [MOMENT.date(), None]),
    **{f"timestamp {unit}": (pa.timestamp(unit), [MOMENT, None]) for unit in ("ms", "us", "ns")},
    "timestamp with zone": (pa.timestamp("us", "Europe/Berlin"), [MOMENT, None]),
    "time32": (pa.time32("ms"), [MOMENT.time(), None]),
    "time64": (pa.time64("us"), [MOMENT.time(), None]),
    "duration": (pa.duration("us"), [datetime.timedelta(1), None]),
    "interval": (pa.month_day_nano_interval(), [(1, 2, 3), None]),
    **{
        str(kind): (kind, [decimal.Decimal("1.10"), None])
        for kind in (pa.decimal32(5, 2), pa.decimal64(9, 2), pa.decimal128(20, 2), pa.decimal256(40, 2))
    },
    "list": (pa.list_(pa.string()), [["a", None], None]),
    "large list": (pa.large_list(pa.string()), [["a"], None]),
    "list view": (pa.list_view(pa.int64()), [[1], None]),
    "large list view": (pa.large_list_view(pa.int64()), [[1], None]),
    "fixed list": (pa.list_(pa.int64(), 2), [[1, 2], [3, 4]]),
    "struct": (pa.struct({"a": pa.string(), "b": pa.list_(pa.struct({"c": pa.int64()}))}), [{"a": "x", "b": [{}]}]),
    "map": (pa.map_(pa.string(), pa.int64()), [[("a", 1)], None]),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), ["a", None, "a"]),
    "json": (pa.json_(), ['{"a": 1}', None]),
    "uuid": (pa.uuid(), [b"0123456789abcdef", None]),
}
_NOT_IN_PARQUET = {"interval", "list view", "large list view"}


@pytest.mark.parametrize("kind", ARROW)
def test_every_arrow_type_is_what_its_library_shows(tmp_path: Path, kind: str) -> None:
    """Parquet as pyarrow reads it, a dataset over the same table as `datasets` shows it."""
    type_, values = ARROW[kind]
    table = pa.table({"v": pa.array(values, type_)})
    if kind not in _NOT_IN_PARQUET:
        pq.write_table(table, tmp_path / "rows.parquet")
        expected = pq.read_table(tmp_path / "rows.parquet").to_pylist()
        assert rows_of(rt.DatasetBuilder.from_parquet(tmp_path / "rows.parquet")) == expected
    try:
        dataset = hf.Dataset(table)
    except (ValueError, NotImplementedError, TypeError, pa.ArrowException):
        # A type that datasets does not take.
        return
    assert rows_of(rt.DatasetBuilder.from_dataset(dataset)) == list(dataset)


def test_formats_choose_columns_and_transforms_are_called() -> None:
    """What `dataset[0]` shows; the containers of NumPy and torch are none of a row."""
    dataset = hf.Dataset.from_dict({"q": ["a", "b"], "n": [1, 2]})
    assert rows_of(rt.DatasetBuilder.from_dataset(dataset.with_format(columns=["q"]))) == [{"q": "a"}, {"q": "b"}]
    wanted = [{"q": "a", "n": 1}, {"q": "b", "n": 2}]
    for format in ("numpy", "pandas", "arrow", "python"):
        assert rows_of(rt.DatasetBuilder.from_dataset(dataset.with_format(format))) == wanted
        assert rows_of(rt.DatasetBuilder.from_dataset(dataset.to_iterable_dataset().with_format(format))) == wanted
    loud = dataset.with_transform(lambda batch: {"q": [text.upper() for text in batch["q"]]})
    assert rows_of(rt.DatasetBuilder.from_dataset(loud)) == [{"q": "A"}, {"q": "B"}] == [loud[0], loud[1]]


def test_what_cannot_be_decoded_names_the_column_and_the_way_out() -> None:
    """Only somebody who asks for the column is told."""
    dataset = hf.Dataset.from_dict(
        {"q": ["a"], "i": [{"bytes": b"no picture", "path": None}]},
        features=hf.Features({"q": hf.Value("string"), "i": hf.Image()}),
    )
    builder = rt.DatasetBuilder.from_dataset(dataset)
    assert builder.chat(user="{q}", assistant="x").preview()[0].messages[0].text == "a"
    with pytest.raises(DatasetError, match=r"column 'i'.*cast_column\('i', datasets.Image\(decode=False\)\)"):
        rows_of(builder)


TOOLS = [
    {
        "type": "function",
        "function": {"name": "walk", "parameters": {"type": "object", "properties": {key: {"type": "x"}}}},
    }
    for key in ("steps", "degrees")
]
CHAT = [{"role": "user", "content": "Walk."}, {"role": "assistant", "content": "Done."}]


def written(builder: rt.DatasetBuilder, folder: Path) -> list[Any]:
    path = builder.build(folder).train.path
    assert path is not None
    return list(map(json.loads, path.read_text().splitlines()))


@pytest.mark.parametrize("kind", ["messages", "sharegpt", "dpo", "preference", "functions"])
def test_no_tool_gets_the_parameters_of_another(tmp_path: Path, kind: str) -> None:
    """Arrow fills the structs of a column; a layout takes that out again, at any depth."""
    turns = [{"from": "human", "value": "Walk."}, {"from": "gpt", "value": "Done."}]
    make: dict[str, Callable[[Any], Any]] = {
        "messages": lambda tool: {"messages": CHAT, "tools": [tool]},
        "sharegpt": lambda tool: {"conversations": turns, "tools": [tool]},
        "dpo": lambda tool: {"prompt": "Walk.", "chosen": "a", "rejected": "b", "tools": [tool]},
        "preference": lambda tool: {
            "input": {"messages": CHAT[:1], "tools": [tool]},
            "preferred_output": CHAT[1:],
            "non_preferred_output": [{"role": "assistant", "content": "No."}],
        },
        "functions": lambda tool: {"messages": CHAT, "functions": [tool["function"]]},
    }
    rows = list(map(make[kind], TOOLS))
    layout = "messages" if kind == "functions" else kind
    wanted = written(rt.DatasetBuilder.from_rows(rows, layout=layout), tmp_path / "rows")
    padded = pa.Table.from_pylist(rows)
    pq.write_table(padded, tmp_path / "rows.parquet")
    sources = {
        "parquet": rt.DatasetBuilder.from_parquet(tmp_path / "rows.parquet").layout(layout),
        "dataset": rt.DatasetBuilder.from_dataset(hf.Dataset(padded)).layout(layout),
        "stream": rt.DatasetBuilder.from_dataset(hf.Dataset(padded).to_iterable_dataset()).layout(layout),
        "padded rows": rt.DatasetBuilder.from_rows(padded.to_pylist(), layout=layout),
    }
    for name, builder in sources.items():
        assert written(builder, tmp_path / name) == wanted


def test_a_null_that_somebody_wrote_stays(tmp_path: Path) -> None:
    """`"default": null` in JSONL is a default; in a table it is a struct without that key."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": None, "enum": [1, None]}}}
    row = {"messages": CHAT, "tools": [{"type": "function", "function": {"name": "walk", "parameters": schema}}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (record,) = written(rt.DatasetBuilder.from_jsonl(tmp_path / "rows.jsonl").layout("messages"), tmp_path / "out")
    assert record["tools"] == row["tools"]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """In every source that can have them, with the name."""
    (tmp_path / "rows.csv").write_text("q,a,a\nWhere?,here,there\n")
    pq.write_table(pa.Table.from_arrays([["q"], ["x"], ["y"]], names=["q", "a", "a"]), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text('{"q": "x", "a": "y"}\n{"q": "x", "a": "y", "a": "z"}\n')
    (tmp_path / "deep.jsonl").write_text('{"q": "x", "a": {"b": "y", "b": "z"}}\n')
    (tmp_path / "rows.json").write_text('[{"q": "x", "a": "y", "a": "z"}]')
    builders: list[Callable[[], rt.DatasetBuilder]] = [
        lambda: rt.DatasetBuilder.from_csv(tmp_path / "rows.csv"),
        lambda: rt.DatasetBuilder.from_parquet(tmp_path / "rows.parquet"),
        lambda: rt.DatasetBuilder.from_jsonl(tmp_path / "rows.jsonl"),
        lambda: rt.DatasetBuilder.from_jsonl(tmp_path / "deep.jsonl"),
        lambda: rt.DatasetBuilder.from_json(tmp_path / "rows.json"),
        lambda: rt.DatasetBuilder.from_pandas(pd.DataFrame([["x", "y", "z"]], columns=["q", "a", "a"])),
        lambda: rt.DatasetBuilder.from_pandas(pd.DataFrame([["x", "y"]], columns=["1", 1])),
    ]
    for start in builders:
        with pytest.raises(DatasetError, match=r"'a'|'b'|'1'"):
            rows_of(start())


@pytest.mark.parametrize("given", [pd.Series(["a"]), [{"q": "a"}], {"q": ["a"]}])
def test_what_is_no_data_frame_is_refused(given: Any) -> None:
    """With the method that takes it."""
    with pytest.raises(DatasetError, match=r"DataFrame, got.*(to_frame|from_rows)"):
        rt.DatasetBuilder.from_pandas(given)


def referenced(value: Any) -> rt.DatasetBuilder:
    return rt.DatasetBuilder.from_rows([{"v": value}]).records(
        lambda row: {"messages": [{"role": "user", "content": "?"}], "answer": row["v"]}
    )


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (2**100, str(2**100)),
        ({"n": [-(2**70)]}, f'{{"n":[{-(2**70)}]}}'),
        (2**64 - 1, str(2**64 - 1)),
        (decimal.Decimal("1.10"), "1.1"),
        (decimal.Decimal("12.00"), "12"),
        ([decimal.Decimal(10) ** 30], f"[{10**30}]"),
        (np.int64(3), "3"),
        (np.float32(1.5), "1.5"),
        (np.bool_(True), "true"),
        (np.array([[1, 2]]), "[[1,2]]"),
        (pd.Timestamp("2026-01-02"), '"2026-01-02T00:00:00"'),
        (np.datetime64("2026-01-02T03:04:05.000000006"), '"2026-01-02T03:04:05.000000006"'),
        (MOMENT, '"2026-01-02T03:04:05"'),
        (MOMENT.date(), '"2026-01-02"'),
        (None, "null"),
    ],
)
def test_a_reference_value_is_written_as_it_is(tmp_path: Path, value: Any, wanted: str) -> None:
    """Whole numbers of any size, and the scalars of NumPy and pandas."""
    built = referenced(value).build(tmp_path / "out")
    assert built.train.path is not None
    assert f'"answer":{wanted}}}' in built.train.path.read_text()
    assert json.dumps(next(iter(built.train)).reference["answer"], separators=(",", ":")) == wanted


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        {"a": [float("inf")]},
        decimal.Decimal("1.00000000000000000001"),
        decimal.Decimal("NaN"),
        b"x",
        {1, 2},
        pd.NaT,
        pd.Timedelta(1),
        {1: 2},
    ],
)
def test_a_value_that_json_has_not_is_named(tmp_path: Path, value: Any) -> None:
    """With its row and field, and before a file is there."""
    with pytest.raises(DatasetError, match=r"row 0: .*answer"):
        referenced(value).build(tmp_path / "out")


def test_a_whole_number_of_any_size_comes_out_of_jsonl(tmp_path: Path) -> None:
    """Also inside of lists, and beside a float of the same size."""
    row = {"v": [2**100, {"n": -(2**70)}, 1e30, 2**63, 12345678901234567890.0]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert rows_of(rt.DatasetBuilder.from_jsonl(tmp_path / "rows.jsonl")) == [row]
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    assert rows_of(rt.DatasetBuilder.from_json(tmp_path / "rows.json")) == [row]
