"""What files share, and rows that say the same again."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.dataset import normalise
from ragtune.dataset.leakage.shingles import shingle
from ragtune.errors import DatasetError
from ragtune.text import count_words

PASSAGE = "the quick brown fox jumps over the lazy dog and then it runs far away"


def runs(text: str, size: int) -> list[tuple[str, ...]]:
    words = normalise(text).split()
    return [tuple(words[index : index + size]) for index in range(len(words) - size + 1)]


@pytest.mark.slow
@given(
    st.lists(
        st.text(st.sampled_from("aB\0 é'İß_1ﬁ\u0300\n\u2028\u00a0،กเ植\ud800-+*#.,:!=€👍\u200d\ufe0f７ᾳ"), max_size=30),
        max_size=8,
    ),
    st.integers(1, 4),
)
def test_runs_of_words_have_equal_numbers_exactly_when_they_are_equal(texts: list[str], size: int) -> None:
    """The fast way finds the same words and runs as the plain one, in the same order, in any text."""
    numbers = shingle(texts, size)
    plain = [runs(text, size) for text in texts]
    assert numbers.words.tolist() == [count_words(normalise(text)) for text in texts]
    assert numbers.offsets.tolist() == [sum(map(len, plain[:index])) for index in range(len(texts) + 1)]
    flat = [run for text in plain for run in text]
    assert len({*zip(flat, numbers.hashes.tolist(), strict=True)}) == len(set(flat)) == len({*numbers.hashes.tolist()})
    whole = [normalise(text) for text in texts]
    assert len({*zip(whole, numbers.texts.tolist(), strict=True)}) == len(set(whole)) == len({*numbers.texts.tolist()})


def lines(path: Path, pairs: list[tuple[str, str]]) -> Path:
    records = [
        {
            "messages": [
                {"role": "system", "content": PASSAGE},
                {"role": "user", "content": q},
                {"role": "assistant", "content": a},
            ]
        }
        for q, a in pairs
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_finished_files_tell_what_they_share(tmp_path: Path) -> None:
    """A question as it is and once normalised, an answer of five words, a run of thirteen words inside another text."""
    train = lines(
        tmp_path / "t.jsonl", [("Why?", "because it is so, always"), ("How?", f"{PASSAGE} today"), ("x", "y")]
    )
    held = lines(
        tmp_path / "v.jsonl",
        [("why", "Because it is so: always!"), ("How?", f"Well, {PASSAGE}"), ("Who?", "y"), ("Who?", "me")],
    )
    overlap = rt.Dataset.from_files(train, validation=held).overlap()
    found = {item.field: item for item in overlap.fields}
    assert list(found) == ["assistant", "user"]
    user, assistant = found["user"], found["assistant"]
    assert (user.file, user.other, user.texts, user.exact, user.normalised) == ("validation", "train", 4, 1, 2)
    assert (assistant.texts, assistant.exact, assistant.normalised) == (2, 0, 1)
    assert (assistant.runs, assistant.shared_runs) == (4, 3)
    assert (overlap.exact, overlap.normalised) == (1, 3)
    assert "validation in train" in overlap._repr_html_()
    assert overlap.to_dict()["fields"][0]["field"] == "assistant"


def test_a_question_that_two_preference_files_share_is_found(tmp_path: Path) -> None:
    """The question of a pair stands one level deeper than that of a chat, and is compared under the same name."""

    def pairs(name: str, *questions: str) -> Path:
        records = [
            {
                "input": {"messages": [{"role": "user", "content": question}]},
                "preferred_output": [{"role": "assistant", "content": f"the right words about {name} number {n}"}],
                "non_preferred_output": [{"role": "assistant", "content": f"the wrong words about {name} number {n}"}],
            }
            for n, question in enumerate(questions)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    held = pairs("v", "Who keeps the lighthouse?", "who PAINTED it", "Why?")
    overlap = rt.Dataset.from_files(
        pairs("t", "Who keeps the lighthouse?", "Who painted it?"), validation=held
    ).overlap()
    assert {item.field: (item.texts, item.exact, item.normalised) for item in overlap.fields} == {
        "user": (3, 1, 2),
        "preferred_output": (3, 0, 0),
        "non_preferred_output": (3, 0, 0),
    }


def test_two_datasets_are_compared_file_by_file(tmp_path: Path) -> None:
    """A test set that was made elsewhere; damaged lines are passed over."""
    one = lines(tmp_path / "one.jsonl", [(f"Question {n}?", "x") for n in range(10)])
    two = lines(tmp_path / "two.jsonl", [(f"question {n}", "x") for n in range(8, 20)])
    with two.open("a") as file:
        file.write("{damaged\n[]\n")
    overlap = rt.Dataset.from_files(one).overlap(rt.Dataset.from_files(two))
    assert [(item.file, item.other, item.exact, item.normalised) for item in overlap.fields] == [
        ("train", "other train", 0, 2)
    ]


def test_the_constant_words_of_a_template_are_no_overlap(tmp_path: Path) -> None:
    """Thirteen words that every record begins with say nothing about a leak."""
    rows = [{"q": f"number {n}", "a": f"{n}"} for n in range(30)]
    template = f"{PASSAGE}: {{q}}"
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user=template, assistant="{a}").build(tmp_path / "out", test=0.2)
    constant = len(runs(PASSAGE, 13))
    (user,) = dataset.overlap().fields
    every = {run for record in dataset.test for run in runs(record.to_dict()["messages"][0]["content"], 13)}
    assert user.runs == len(every) - constant
    assert user.normalised == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("held_out", "questions", "supports"), [("validation", (12, 12), (1, 10)), ("test", (7, 8), (2, 16))]
)
def test_sciqs_own_files_share_what_is_known(
    shared: Path, held_out: str, questions: tuple[int, int], supports: tuple[int, int]
) -> None:
    """12 validation and 7 test questions, 1 and 2 supports stand in train as they are."""
    builder = {name: rt.DatasetBuilder.from_jsonl(shared / f"data/sciq/{name}.jsonl") for name in ("train", held_out)}
    overlap = builder[held_out].overlap(builder["train"], columns=("question", "support"))
    found = {item.field: (item.exact, item.normalised) for item in overlap.fields}
    assert found == {"question": questions, "support": supports}


words = st.sampled_from(["Why?", "why", " WHY ", "How?", "no", "No!", "yes", ""])


@pytest.mark.slow
@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=30))
def test_dropping_duplicates_twice_is_dropping_them_once(rows: list[tuple[str, str, str]]) -> None:
    """The first of each fact stays, in order; a second pass finds nothing."""
    source = [{"q": f"x{q}", "a": f"y{a}", "c": c, "row": str(row)} for row, (q, a, c) in enumerate(rows)]
    once = rt.DatasetBuilder.from_rows(source).deduplicate(question="q", answer="a", context="c", answers="normalised")

    def kept(builder: rt.DatasetBuilder) -> tuple[list[str], list[int]]:
        with TemporaryDirectory() as folder:
            left = builder.completion(prompt="", completion="{row}").build(folder)
            rows = [record.to_dict()["completion"] for record in left.train]
        return rows, [sum(step["dropped"].values()) for step in left.manifest["steps"] if "dropped" in step]

    seen: dict[tuple[str, ...], str] = {}
    for row in source:
        seen.setdefault(tuple(normalise(row[name]) for name in "qac"), row["row"])
    assert kept(once) == (list(seen.values()), [len(source) - len(seen)])
    twice = once.deduplicate(question="q", answer="a", context="c", answers="normalised")
    assert kept(twice) == (list(seen.values()), [len(source) - len(seen), 0])


def test_dropped_duplicates_are_counted_exactly_and_normalised(tmp_path: Path) -> None:
    """The manifest has the numbers of each step, the report those of each reason; a preview disturbs nothing."""
    rows = [{"q": f"What is {n}?", "a": f"{n}", "n": str(n)} for n in range(12)]
    rows += [rows[0], rows[1], {**rows[0], "q": "what is  0"}, {**rows[0], "a": "another answer"}]
    builder = (
        rt.DatasetBuilder.from_rows(rows)
        .filter(lambda row: row["n"] != "5", reason="five")
        .deduplicate(question="q", answer="a")
        .chat(user="{q}", assistant="{a}")
    )
    builder.preview(3)
    dataset = builder.build(tmp_path / "out")
    assert dict(dataset.report.dropped) == {"five": 1, "duplicate": 2, "duplicate once normalised": 1}
    assert dataset.manifest["steps"][:2] == [
        {"filter": "five", "dropped": {"five": 1}},
        {"deduplicate": ["q", "a"], "exactly": ["a"], "dropped": {"duplicate": 2, "duplicate once normalised": 1}},
    ]
    with pytest.raises(DatasetError, match="'b'"):
        rt.DatasetBuilder.from_rows(rows).deduplicate(question="q", answer="b").chat(
            user="{q}", assistant="x"
        ).preview()


def test_an_audit_counts_a_row_that_stands_there_twice() -> None:
    rows = [{"q": "A?", "a": "x", "s": "p"}, {"q": "B?", "a": "y", "s": "p"}, {"q": "A?", "a": "X", "s": "p"}]
    audit = rt.DatasetBuilder.from_rows([*rows, rows[0]]).audit(question="q", answer="a", context="s")
    assert (audit.exact.duplicates, audit.normalised.duplicates) == (1, 2)


@pytest.mark.slow
def test_sciqs_train_file_loses_its_duplicates(shared: Path, tmp_path: Path) -> None:
    """As many as the audit counts."""
    builder = rt.DatasetBuilder.from_jsonl(shared / "data/sciq/train.jsonl")
    audit = builder.audit(question="question", answer="correct_answer", context="support")
    columns = {"question": "question", "answer": "correct_answer", "context": "support"}
    left = builder.deduplicate(**columns, answers="normalised")
    counted = left.chat(user="{question}", assistant="{correct_answer}").build(tmp_path / "out").manifest["rows"]
    dropped = counted["dropped"]
    assert (dropped["duplicate"], sum(dropped.values())) == (audit.exact.duplicates, audit.normalised.duplicates)
    assert counted["kept"] == 11_679 - audit.normalised.duplicates


def test_the_manifest_names_the_commit_that_the_hub_gave(tmp_path: Path) -> None:
    """`datasets` keeps the address of each file that it fetched; a branch name alone would not find the rows again."""
    rows = datasets.Dataset.from_list([{"q": f"{n}?", "a": f"{n}"} for n in range(12)])
    commit = "2c94ad3e1aafab77146f384e23536f97a4849815"
    for commits, expected in (((commit,), commit), ((), None), ((commit, commit[::-1]), None)):
        urls = [f"hf://datasets/allenai/sciq@{name}/data/train.parquet" for name in commits]
        rows.info.download_checksums = {url: {"num_bytes": 1, "checksum": None} for url in urls}
        builder = rt.DatasetBuilder.from_dataset(rows).chat(user="{q}", assistant="{a}")
        manifest = builder.build(tmp_path / "out", overwrite=True).manifest
        assert manifest["source"].get("resolved_revision") == expected
