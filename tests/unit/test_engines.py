"""Records are made by one pure function over batches; whatever runs it, the files are the same."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.dataset.leakage.grouping import SplitPlan
from ragtune.dataset.render import arrow
from ragtune.dataset.render.batches import ArrowBatch, RowBatch
from ragtune.dataset.render.filters import Filter
from ragtune.dataset.render.pipeline import BuildBatch
from ragtune.dataset.render.rendered import Made
from ragtune.dataset.render.rows import Selection
from ragtune.dataset.render.templates import chat_template
from ragtune.errors import DatasetError, MissingExtraError


def has_answer(row: Mapping[str, Any]) -> bool:
    return bool(row["a"])


def build_batch(*, split: bool = True) -> BuildBatch:
    return BuildBatch(
        template=chat_template(system="Be brief.", user="{q}", assistant="{a} {d}"),
        steps={3: Filter(keep=has_answer, reason="no answer")},
        hidden=(),
        scanner=None,
        plan=SplitPlan(validation=0.1 if split else 0.0, group_by=(("d",),) if split else ()),
    )


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.fixed_dictionaries({"q": texts.map("q{}".format), "a": st.just("") | texts.map("a{}".format), "d": texts})


@pytest.mark.slow
@given(st.lists(values, min_size=1, max_size=20), st.integers(0, 1 << 40), st.booleans(), st.booleans())
def test_the_pure_function_gives_what_the_build_in_this_process_gives(
    rows: list[dict[str, str]], first: int, columnar: bool, split: bool
) -> None:
    """From a table to a table, pickled on the way, and straight: the same lines, numbers, keys and drops."""
    batch = ArrowBatch(pa.Table.from_pylist(rows)) if columnar else RowBatch(rows)
    numbers = range(first, first + len(rows))
    function = pickle.loads(pickle.dumps(build_batch(split=split)))
    table = function(arrow.of_rows(Selection(batch, numbers)))
    assert arrow.first_row(table) == first
    made = build_batch(split=split).make(Selection(batch, numbers))
    # Whoever sends rows has counted them.
    assert made.counts.read == len(rows)
    sent = replace(made, counts=replace(made.counts, read=0))
    assert plain(arrow.read_made(table)) == plain(sent)


def plain(made: Made) -> dict[str, Any]:
    """Its fields as plain values; a batch without a record has no facts to tell."""
    facts = made.facts if made.numbers else None
    return {
        "numbers": list(made.numbers),
        "data": made.data,
        "counts": made.counts,
        "facts": [getattr(facts, name).tolist() for name in ("per_row", "texts", "runs") if facts],
        "group_keys": [list(keys) for keys in made.group_keys if keys],
    }


def test_an_error_travels_in_the_table() -> None:
    """So that the first one in the order of the rows is raised, by every engine in the same words."""
    rows = Selection(RowBatch([{"q": "Why?", "a": "So.", "d": ""}, {"q": " ", "a": "So.", "d": ""}]), range(7, 9))
    table = build_batch()(arrow.of_rows(rows))
    with pytest.raises(DatasetError, match="row 8: the user text"):
        arrow.read_made(table)


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    builder = rt.DatasetBuilder.from_rows([{"q": "a", "a": "b"}]).chat(user="{q}", assistant="{a}")
    with pytest.raises(DatasetError, match="engine='spark' is not one of in_process, ray"):
        builder.build(tmp_path / "out", engine="spark")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_without_ray_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read or written."""
    monkeypatch.setattr("ragtune._extras.find_spec", lambda name: None)
    builder = rt.DatasetBuilder.from_rows([{"q": "a", "a": "b"}]).chat(user="{q}", assistant="{a}")
    with pytest.raises(MissingExtraError, match=r"ragtune\[ray\]"):
        builder.build(tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()


# Ray


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """A real Ray on this machine, small and quiet, that tells nobody."""
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        object_store_memory=100 << 20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
    )
    yield
    ray.shutdown()


# Ray Data sets its own deprecated options when it is first used.
quiet = pytest.mark.filterwarnings("ignore:.use_(push_based_shuffle|polars|arrow_tensor_v2). is deprecated")


def rows() -> list[dict[str, Any]]:
    return [
        {"q": f"What is {n % 2900} times three?", "a": f"It is {3 * n}." if n % 7 else "", "d": f"page {n // 9}"}
        for n in range(3_000)
    ]


def from_rows(folder: Path) -> rt.DatasetBuilder:
    return rt.DatasetBuilder.from_rows(rows()).filter(has_answer, reason="no answer").chat(user="{q}", assistant="{a}")


def from_parquet(folder: Path) -> rt.DatasetBuilder:
    pq.write_table(pa.Table.from_pylist(rows()), folder / "rows.parquet")
    builder = rt.DatasetBuilder.from_parquet(folder / "rows.parquet")
    return builder.filter(has_answer, reason="no answer").chat(system="Be brief.", user="{q}", assistant="{a}")


def from_a_function_after_duplicates(folder: Path) -> rt.DatasetBuilder:
    """What drops repetitions remembers rows; the filter behind it does not."""
    start = 5

    def record(row: Mapping[str, Any]) -> dict[str, Any]:
        return {"prompt": f"{row['q']} ->", "completion": f" {row['a']}"}

    return (
        rt.DatasetBuilder.from_rows(rows() + rows()[:200])
        .deduplicate(question="q", answer="a")
        .filter(lambda row: len(row["a"]) > start, reason="short")
        .records(record)
    )


@quiet
@pytest.mark.slow
@pytest.mark.parametrize("made", [from_rows, from_parquet, from_a_function_after_duplicates])
@pytest.mark.parametrize("split", [{}, {"validation": 0.1, "test": 0.1, "seed": 3, "group_by": "d"}])
def test_ray_writes_the_same_bytes(
    ray: None, tmp_path: Path, made: Callable[[Path], rt.DatasetBuilder], split: dict[str, Any]
) -> None:
    """Every file of the dataset has the same sha256 in process and on a real Ray, the numbers of the rows included."""
    builder = made(tmp_path)
    here = builder.build(tmp_path / "here", **split)
    there = builder.build(tmp_path / "there", engine="ray", **split)
    assert there.fingerprint == here.fingerprint
    files = sorted(path.name for path in here.folder.iterdir())
    assert files == sorted(path.name for path in there.folder.iterdir())
    for name in files:
        if name != "manifest.json":
            assert (there.folder / name).read_bytes() == (here.folder / name).read_bytes(), name
    assert {**there.manifest, "versions": None} == {**here.manifest, "versions": None}


@quiet
@pytest.mark.slow
def test_ray_raises_the_same_error(ray: None, tmp_path: Path) -> None:
    """The first bad row in the order of the rows, in the same words, and nothing is left behind."""
    bad = [{**row, "a": "" if number in (2_500, 1_500) else "yes"} for number, row in enumerate(rows())]
    builder = rt.DatasetBuilder.from_rows(bad).chat(user="{q}", assistant="{a}")
    messages = []
    for engine in ("in_process", "ray"):
        with pytest.raises(DatasetError, match="row 1500") as caught:
            builder.build(tmp_path / "out", engine=engine)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert not (tmp_path / "out").exists()
