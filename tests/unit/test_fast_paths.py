"""Fast ways to do what a slower, plainer way defines."""

from __future__ import annotations

import json
import sys
from itertools import accumulate, combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import datasets as hf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.dataset import normalise
from ragtune.dataset.leakage.grouping import WISH, Grouping, groups
from ragtune.dataset.leakage.proof import begins_of, shared_texts
from ragtune.dataset.leakage.shingles import shingle
from ragtune.dataset.leakage.text_hashes import joined, number
from ragtune.dataset.leakage.texts import Texts
from ragtune.dataset.render.batches import Batch
from ragtune.dataset.sources.memory_map import release
from ragtune.text import count_words

MIXED = st.text(
    st.sampled_from("aZ_9 .-\t\n\0\u2013\u2019\u00a0\u00e9\u00df\u0130\u0131\u0307\u01f0\u03c2\u212a\u4e2d\u0301\u200b")
)


@pytest.mark.slow
@given(st.lists(st.tuples(MIXED | st.text(), st.sampled_from("xyz"), st.booleans()), max_size=12))
def test_facts_are_the_texts_that_count_numbered_by_their_normal_forms(said: list[tuple[str, str, bool]]) -> None:
    """Questions that are not empty and texts of five words, row by row; rows by themselves join to the same."""
    texts = [text for text, _, _ in said]
    fields = [field for _, field, _ in said]
    per_row = [2] * (len(said) // 2) + [0] + [1] * (len(said) % 2)
    facts = number(
        Texts(
            texts=texts,
            fields=fields,
            asked=[asked for *_, asked in said],
            learned=[False] * len(said),
            per_row=per_row,
        )
    )
    words = [normalise(text).split() for text in texts]
    counted = [
        index
        for index, (text, _, asked) in enumerate(said)
        if (asked and words[index]) or count_words(normalise(text)) >= 5
    ]
    assert [facts.names[field] for field in facts.fields] == [fields[index] for index in counted]
    forms = [tuple(words[index]) for index in counted]
    assert len({*zip(forms, facts.texts.tolist(), strict=True)}) == len(set(forms)) == len({*facts.texts.tolist()})
    assert facts.runs_per_fact.tolist() == [max(len(form) - 12, 0) for form in forms]
    ends = list(accumulate(per_row))
    rows = [sum(end - count <= index < end for index in counted) for end, count in zip(ends, per_row, strict=True)]
    assert facts.per_row.tolist() == rows
    again = joined(list(facts.rows()))
    assert (again.texts.tolist(), again.runs.tolist()) == (facts.texts.tolist(), facts.runs.tolist())
    assert (again.per_row.tolist(), again.fields.tolist()) == (facts.per_row.tolist(), facts.fields.tolist())


def test_the_fast_paths_know_turkish_capitals() -> None:
    """What is equal in normal form is found in two splits by its first letters, and by its words."""
    texts = ["İSTANBUL NEREDE VE IŞIK NE?", "istanbul nerede ve ışık ne"]
    sides, tied = np.array([0, 1], dtype=np.uint8), np.ones(2, dtype=np.bool_)
    assert shared_texts([texts], sides, begins_of(texts), tied) == 1
    one, other = (shingle([text], 3) for text in texts)
    assert (one.texts.tolist(), one.hashes.tolist()) == (other.texts.tolist(), other.hashes.tolist())


pairs = st.lists(st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 9), st.integers(0, 19)), max_size=60)


@pytest.mark.slow
@given(pairs, pairs, st.sampled_from([1, 7, 1000]))
def test_rows_that_share_keys_form_groups_in_memory_and_on_disk(
    keys: list[tuple[int, int]], wishes: list[tuple[int, int]], piece: int
) -> None:
    """The same groups and counts as by the plain way, whatever goes to disk."""
    group = list(range(20))
    for some in (keys, wishes):
        for (key, row), (other, there) in combinations(some, 2):
            if key % 2**61 == other % 2**61 and group[row] != group[there]:
                first, second = sorted((group[row], group[there]))
                group = [first if own == second else own for own in group]
    with TemporaryDirectory() as folder, Path(folder, "a").open("w+b") as one, Path(folder, "b").open("w+b") as two:
        groupings = Grouping(one, piece=piece), Grouping(two, piece=piece)
        for grouping, some in zip(groupings, (keys, wishes), strict=True):
            for key, row in some:
                grouping.add(np.array([(key << 3) % 2**64 | WISH], np.uint64), np.array([row], np.int64))
        found = groups(20, *groupings)
        assert found.first_rows.tolist() == group
        assert found.keys == tuple(len({key % 2**61 for key, _ in some}) for some in (keys, wishes))


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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_of_a_mapped_dataset_are_given_back_and_read_again(tmp_path: Path) -> None:
    """The file's pages are no longer resident, its values are still there."""
    path = tmp_path / "rows.arrow"
    texts = [f"{number}" * 1_000 for number in range(1_000)]
    hf.Dataset.from_dict({"q": texts}).save_to_disk(str(tmp_path / "saved"))
    (path,) = (tmp_path / "saved").glob("*.arrow")
    dataset = hf.load_from_disk(str(tmp_path / "saved"))

    def resident() -> int:
        lines = iter(Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines())
        return sum(
            int(next(line for line in lines if line.startswith("Rss:")).split()[1])
            for line in lines
            if line.endswith(str(path))
        )

    assert dataset["q"][:] == texts
    before = resident()
    release([str(path)])
    assert resident() < before / 10
    assert dataset["q"][:] == texts


@pytest.mark.parametrize("validation", [0.0, 0.3])
def test_tokens_counted_on_the_way_are_those_of_the_file(tmp_path: Path, validation: float) -> None:
    """For every record kind; columns in system prompts count, reference fields do not."""
    rows = [{"q": f"What is {n}?", "a": f"It is {n}, surely", "s": f"Say {n}", "good": n % 2 == 0} for n in range(20)]
    source = rt.DatasetBuilder.from_rows(rows)
    builders = {
        "chat": source.chat(system="Be kind. {s}", user="{q}", assistant="{a}!"),
        "constant": source.chat(system="Be kind.", user="{q}", assistant="yes"),
        "completion": source.completion(prompt="", completion=" {a}"),
        "preference": source.preference(prompt="{q}", preferred="{a}", rejected="{s} {q}", system="x"),
        "unpaired": source.unpaired(prompt="{q}", completion="{a}", label="good"),
        "reinforcement": source.reinforcement(user="{q}", reference={"a": "{a}"}),
        "function": source.records(lambda row: {"prompt": row["q"], "completion": row["a"]}),
    }
    for name, builder in builders.items():
        folder = tmp_path / name
        built = builder.build(folder, validation=validation, count="o200k_base")
        (folder / "train.jsonl").rename(folder / "elsewhere.jsonl")
        on_the_way = built.token_counts("o200k_base")
        assert on_the_way == rt.Dataset.from_files(folder / "elsewhere.jsonl").token_counts("o200k_base"), name
