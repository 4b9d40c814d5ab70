"""Texts that are nearly the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.dataset import near_duplicates, normalise
from ragtune.errors import DatasetError

pytest.importorskip("rensa", reason="needs the extra dedup")

WORDS = [f"word{number}" for number in range(400)]


def passage(seed: int, changed: int = 0) -> str:
    """Forty words, the last of which are others."""
    words = random.Random(seed).choices(WORDS, k=40)
    return " ".join(words[: 40 - changed] + [f"new{index}" for index in range(changed)])


def jaccard(one: str, other: str) -> float:
    runs = []
    for text in (one, other):
        words = normalise(text).split()
        runs.append({tuple(words[index : index + 3]) for index in range(len(words) - 2)})
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


@given(st.lists(st.text(st.sampled_from("ab "), max_size=20), max_size=12), st.sampled_from([0.3, 0.8, 1.0]))
def test_every_pair_that_is_named_is_as_similar_as_said(texts: list[str], threshold: float) -> None:
    """No false alarm, no pair twice, no text with itself."""
    found = near_duplicates(texts, threshold=threshold)
    assert len({(pair.first, pair.second) for pair in found}) == len(found)
    for pair in found:
        assert pair.first < pair.second
        assert pair.similarity == pytest.approx(jaccard(texts[pair.first], texts[pair.second]))
        assert pair.similarity >= threshold
    seen: set[str] = set()
    for text in map(normalise, texts):
        repeated = text in seen and len(text.split()) >= 3
        seen.add(text)
        assert not repeated or any(normalise(texts[pair.second]) == text for pair in found)


@pytest.mark.slow
def test_sciqs_near_duplicates_are_found(shared: Path) -> None:
    """Of 120 pairs of distinct supports that share four fifths of their runs, and 91 repeated ones, few fail."""
    rows = map(orjson.loads, (shared / "data/sciq/train.jsonl").read_bytes().split(b"\n")[:-1])
    supports = [row["support"] for row in rows if row["support"]]
    found = near_duplicates(supports)
    assert 208 <= len(found) <= 211
    assert sum(pair.similarity == 1.0 for pair in found) >= 91


def test_rows_with_nearly_the_same_passage_stay_together_when_asked(tmp_path: Path) -> None:
    """Two words of forty differ; without the request such rows are apart for some seed."""
    rows = [{"q": f"Question {n}?", "a": passage(n // 2, changed=n % 2)} for n in range(40)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    by_function = rt.DatasetBuilder.from_rows(rows).records(
        lambda row: {"messages": [{"role": "user", "content": row["q"]}, {"role": "assistant", "content": row["a"]}]}
    )

    def apart(builder: rt.DatasetBuilder, near: bool) -> int:
        count = 0
        for seed in range(4):
            folder = tmp_path / f"{id(builder)}-{near}-{seed}"
            dataset = builder.build(folder, test=0.3, seed=seed, near_duplicates=near)
            sides = {
                split.name: {int(n) // 2 for n in (folder / f"{split.name}.rows.txt").read_text().split()}
                for split in dataset.splits
            }
            count += len(sides["train"] & sides["test"])
            assert dataset.manifest["split"]["near_duplicates"] is near
        return count

    assert apart(builder, near=False) > 0
    assert apart(builder, near=True) == 0
    assert apart(by_function, near=True) == 0


def test_the_manifest_says_what_the_splits_share_by_field(tmp_path: Path) -> None:
    """Nothing exactly, nothing normalised; the runs of words are counted."""
    rows = [{"q": f"Question {n}?", "a": passage(n // 2, changed=n % 2)} for n in range(40)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "a", validation=0.2, test=0.2)
    overlap = dataset.manifest["overlap"]
    assert overlap["in_more_than_one_split"] == 0
    assert [(item["file"], item["other"], item["field"]) for item in overlap["fields"]] == [
        ("validation", "train", "a"),
        ("validation", "train", "q"),
        ("test", "train", "a"),
        ("test", "train", "q"),
        ("test", "validation", "a"),
        ("test", "validation", "q"),
    ]
    assert sum(item["exact"] + item["normalised"] for item in overlap["fields"]) == 0
    assert sum(item["shared_runs"] for item in overlap["fields"]) > 0
    speakers = {"a": "assistant", "q": "user"}
    by_speaker = [{**item, "field": speakers[item["field"]]} for item in overlap["fields"]]
    assert dataset.overlap().to_dict()["fields"] == by_speaker


@pytest.mark.parametrize("threshold", [0, 2, -0.5, float("nan"), True, "0.8"])
def test_a_threshold_that_is_no_share_is_refused(threshold: Any) -> None:
    with pytest.raises(DatasetError, match=r"must be a share in \(0, 1\]"):
        near_duplicates(["a b c d"], threshold=threshold)
