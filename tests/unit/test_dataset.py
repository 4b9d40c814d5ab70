"""From rows to a dataset: sources, steps, splits, files, cost."""

from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import datasets
import jsonlines
import numpy as np
import openai
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import ragtune as rt
from ragtune.errors import DatasetError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS = [
    {
        "question": f"What is the {n}th name?",
        "answer": f"name {n}",
        "support": f"It stands on page {n} of the long book.",
    }
    for n in range(30)
]
COLUMNS = list(ROWS[0])


def as_csv(path: Path) -> rt.DatasetBuilder:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(ROWS)
    return rt.DatasetBuilder.from_csv(path)


def as_jsonl(path: Path) -> rt.DatasetBuilder:
    with jsonlines.open(path, "w") as file:
        file.write_all(ROWS)
    return rt.DatasetBuilder.from_jsonl(path)


def as_json(path: Path) -> rt.DatasetBuilder:
    path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8")
    return rt.DatasetBuilder.from_json(path)


def as_json_object(path: Path) -> rt.DatasetBuilder:
    path.write_text(json.dumps({"version": 1, "data": ROWS}), encoding="utf-8")
    return rt.DatasetBuilder.from_json(path)


def as_parquet(path: Path) -> rt.DatasetBuilder:
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return rt.DatasetBuilder.from_parquet(path)


SOURCES: dict[str, Callable[[Path], rt.DatasetBuilder]] = {
    "csv": as_csv,
    "jsonl": as_jsonl,
    "json": as_json,
    "json object": as_json_object,
    "parquet": as_parquet,
    "pandas": lambda path: rt.DatasetBuilder.from_pandas(pd.DataFrame(ROWS)),
    "dataset": lambda path: rt.DatasetBuilder.from_dataset(datasets.Dataset.from_list(ROWS)),
    "iterable dataset": lambda path: rt.DatasetBuilder.from_dataset(
        datasets.Dataset.from_list(ROWS).to_iterable_dataset()
    ),
    "list": lambda path: rt.DatasetBuilder.from_rows(ROWS),
    "generator": lambda path: rt.DatasetBuilder.from_rows(row for row in ROWS),
    "function": lambda path: rt.DatasetBuilder.from_rows(lambda: iter(ROWS)),
}


def with_template(builder: rt.DatasetBuilder) -> rt.DatasetBuilder:
    return (
        builder.filter(lambda row: row["answer"] != "name 3", reason="not wanted")
        .drop_columns("support")
        .chat(system="Answer.", user="{question}", assistant="{answer}!")
    )


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_files(tmp_path: Path, source: str) -> None:
    """Same rows, same bytes, wherever they come from."""
    built = with_template(SOURCES[source](tmp_path / "rows")).build(tmp_path / "out", validation=0.2, seed=3)
    expected = with_template(rt.DatasetBuilder.from_rows(ROWS)).build(tmp_path / "expected", validation=0.2, seed=3)
    assert built.fingerprint == expected.fingerprint
    assert (len(built.train), len(built.validation), len(built.test)) == (23, 6, 0)
    assert dict(built.report.dropped) == {"not wanted": 1}
    assert next(iter(built.train)).to_dict()["messages"][0] == {"role": "system", "content": "Answer."}


@pytest.mark.slow
def test_the_sciq_build_keeps_10481_of_11679_rows(tmp_path: Path, shared: Path) -> None:
    """The main case: 1,198 rows have no support; two records hold a U+2028 that breaks no line."""
    dataset = (
        rt.DatasetBuilder.from_jsonl(shared / "data/sciq/train.jsonl")
        .filter(lambda row: row["support"] and row["correct_answer"], reason="no support or answer")
        .drop_columns("distractor1", "distractor2", "distractor3")
        .chat(
            system="Given a science question, give the correct answer with a detailed explanation.",
            user="{question}",
            assistant="{correct_answer} Explanation: {support}",
        )
        .build(tmp_path / "sciq")
    )
    assert (len(dataset.train), dataset.report.read, dict(dataset.report.dropped)) == (
        10_481,
        11_679,
        {"no support or answer": 1_198},
    )
    assert dataset.train.path is not None
    lines = dataset.train.path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 10_481
    assert (
        sum("\u2028" in record.messages[2].text for record in dataset.train if isinstance(record, rt.ChatRecord)) == 2
    )
    assert dataset.check("gpt-4o-mini-2024-07-18").ok


def test_each_template_makes_its_record_kind(tmp_path: Path) -> None:
    """Four kinds from the same rows."""
    rows = rt.DatasetBuilder.from_rows(ROWS)
    kinds = {
        "completion": rows.completion(prompt="{question} ->", completion=" {answer}"),
        "preference": rows.preference(system="S", prompt="{question}", preferred="{answer}", rejected="I {{guess}}."),
        "reinforcement": rows.reinforcement(developer="D", user="{question}", reference={"answer": "{answer}"}),
    }
    built = {name: builder.build(tmp_path / name) for name, builder in kinds.items()}
    assert {name: dataset.format for name, dataset in built.items()} == {name: name for name in kinds}
    assert next(iter(built["completion"].train)).to_dict() == {
        "prompt": "What is the 0th name? ->",
        "completion": " name 0",
    }
    assert next(iter(built["preference"].train)).to_dict() == {
        "input": {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": ROWS[0]["question"]}]},
        "preferred_output": [{"role": "assistant", "content": "name 0"}],
        "non_preferred_output": [{"role": "assistant", "content": "I {guess}."}],
    }
    assert next(iter(built["reinforcement"].train)).to_dict()["answer"] == "name 0"
    assert [built[name].system for name in kinds] == [None, "S", "D"]


def test_an_empty_prompt_makes_open_ended_text(tmp_path: Path) -> None:
    """Legacy files for plain continuation have no prompt."""
    dataset = rt.DatasetBuilder.from_rows(ROWS).completion(prompt="", completion="{support}").build(tmp_path / "out")
    assert next(iter(dataset.train)).to_dict()["prompt"] == ""
    assert dataset.check().ok


def test_records_come_from_any_function(tmp_path: Path) -> None:
    """Several turns, a record or a dict; dropped columns are gone."""

    def make(row: Any) -> Any:
        assert "support" not in row
        turns = [("user", row["question"]), ("assistant", row["answer"]), ("user", "Sure?"), ("assistant", "Yes.")]
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    builder = rt.DatasetBuilder.from_rows(ROWS).drop_columns("support").records(make)
    dataset = builder.build(tmp_path / "out", test=0.1)
    assert (dataset.format, len(dataset.test), dataset.system) == ("chat", 3, None)
    assert len(dataset.train.to_pandas()) == len(dataset.train.to_hf()) == 27


def test_a_varying_system_prompt_is_no_system_prompt(tmp_path: Path) -> None:
    """`Dataset.system` is what a model may be asked with later."""
    rows = rt.DatasetBuilder.from_rows(ROWS)
    assert (
        rows.chat(system="You are {answer}.", user="{question}", assistant="{answer}").build(tmp_path / "a").system
        is None
    )
    made = rows.records(
        lambda row: rt.ChatRecord(
            messages=(
                rt.Message(role="system", content="Same."),
                rt.Message(role="user", content=row["question"]),
                rt.Message(role="assistant", content="x"),
            )
        )
    )
    assert made.build(tmp_path / "b").system == "Same."


def test_a_preview_writes_nothing_and_reads_no_further_than_it_must(tmp_path: Path) -> None:
    """A generator can still be built from afterwards."""

    def rows() -> Iterator[dict[str, str]]:
        yield from ROWS

    builder = rt.DatasetBuilder.from_rows(rows()).chat(user="{question}", assistant="{answer}")
    preview = builder.preview(2)
    assert len(preview) == 2
    assert str(preview).startswith("[1] user: What is the 0th name?\n    assistant: name 0")
    assert "name 1" in preview._repr_html_()
    assert len(builder.build(tmp_path / "out").train) == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_preview_does_not_mind_a_bad_row_further_down() -> None:
    """Only the rows that are shown must be good."""
    rows: list[dict[str, Any]] = [*ROWS, {"question": None, "answer": None, "support": None}]
    assert len(rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}").preview(3)) == 3


@pytest.mark.slow
@given(
    questions=st.lists(st.sampled_from("abcdefghijklmnop"), min_size=6, max_size=19),
    seed=st.integers(0, 2**31 - 1),
    shares=st.sampled_from([(0.1, 0.0), (0.2, 0.2), (0.0, 0.3), (0.05, 0.05)]),
)
@example(questions=list("aaabaaac"), seed=0, shares=(0.2, 0.2))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_splits_are_disjoint_complete_and_keep_a_question_on_one_side(
    tmp_path_factory: pytest.TempPathFactory, questions: list[str], seed: int, shares: tuple[float, float]
) -> None:
    """Every row once, in source order, no question twice across splits, the same again for the same seed."""
    rows = [{"q": question, "a": f"answer {index}"} for index, question in enumerate(questions)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    folder = tmp_path_factory.mktemp("split")
    if len(set(questions)) <= sum(share > 0 for share in shares):
        with pytest.raises(DatasetError, match="too few"):
            builder.build(folder / "x", validation=shares[0], test=shares[1], seed=seed)
        return
    try:
        dataset = builder.build(folder / "x", validation=shares[0], test=shares[1], seed=seed)
    except DatasetError as error:
        # Whole groups cannot give everything that is asked for.
        missed = re.search(r"was asked to have .* the largest group has", str(error))
    else:
        missed = None
    if missed:
        return
    again = builder.build(folder / "y", validation=shares[0], test=shares[1], seed=seed)
    assert dataset.fingerprint == again.fingerprint
    seen: dict[str, str] = {}
    found: list[str] = []
    for split in dataset.splits:
        texts = [[message["content"] for message in record.to_dict()["messages"]] for record in split]
        order = [int(answer.split()[1]) for _, answer in texts]
        assert order == sorted(order)
        for question, answer in texts:
            assert seen.setdefault(question, split.name) == split.name
            found.append(answer)
    assert sorted(found) == sorted(row["a"] for row in rows)
    assert all(
        (len(split) > 0) == (share > 0) for split, share in zip((dataset.validation, dataset.test), shares, strict=True)
    )
    assert len(dataset.train) > 0
    assert dataset.manifest["overlap"]["in_more_than_one_split"] == 0


def test_rows_with_the_same_support_stay_together(tmp_path: Path) -> None:
    """Two questions about one passage are one fact, however they are written."""
    passage = "The old mill burned down in the winter of 1887."
    rows = [*ROWS, {"question": "When did it burn?", "answer": "1887", "support": passage}]
    rows.append({"question": "What burned?", "answer": "the mill", "support": passage.upper().replace(" ", "  ")})
    for seed in range(12):
        dataset = (
            rt.DatasetBuilder.from_rows(rows)
            .chat(user="{question}", assistant="{answer}. {support}")
            .build(tmp_path / str(seed), validation=0.3, seed=seed)
        )
        sides = {
            split.name for split in dataset.splits for record in split if "1887" in str(record.to_dict()).casefold()
        }
        assert len(sides) == 1


def test_the_row_file_leads_back_to_the_source(tmp_path: Path) -> None:
    """Line n of train.rows.txt is the source row of line n of train.jsonl."""
    dataset = with_template(rt.DatasetBuilder.from_rows(ROWS)).build(tmp_path / "out", validation=0.2, seed=1)
    for split in dataset.splits:
        rows = [int(line) for line in (tmp_path / "out" / f"{split.name}.rows.txt").read_text().split()]
        questions = [record.to_dict()["messages"][1]["content"] for record in split]
        assert [ROWS[row]["question"] for row in rows] == questions


def test_a_dataset_is_the_same_after_loading(tmp_path: Path) -> None:
    """Everything that was known at the build is known again."""
    built = with_template(rt.DatasetBuilder.from_rows(ROWS)).build(tmp_path / "out", validation=0.2)
    assert rt.Dataset.load(tmp_path / "out") == built
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["files"]["train"]["sha256"] == built.train.sha256
    assert manifest["rows"] == {"read": 30, "kept": 29, "dropped": {"not wanted": 1}}


def test_a_file_that_was_changed_after_the_build_is_noticed(tmp_path: Path) -> None:
    """The manifest's sha256 is checked when the dataset is opened."""
    built = with_template(rt.DatasetBuilder.from_rows(ROWS)).build(tmp_path / "out")
    assert built.train.path is not None
    built.train.path.write_bytes(built.train.path.read_bytes().replace(b"name 1", b"name 9"))
    with pytest.raises(DatasetError, match="was changed"):
        rt.Dataset.load(tmp_path / "out")


def test_finished_files_are_taken_as_they_are(tmp_path: Path) -> None:
    """A BOM, CR LF and a blank line neither break the reading nor count as records."""
    line = b'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}'
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\n" + line + b"\n")
    (tmp_path / "v.jsonl").write_bytes(line)
    dataset = rt.Dataset.from_files(tmp_path / "t.jsonl", validation=tmp_path / "v.jsonl")
    assert (dataset.format, len(dataset.train), len(dataset.validation), len(dataset.test)) == ("chat", 2, 1, 0)
    assert len(list(dataset.train)) == 2
    assert dataset.system is None
    assert not dataset.check().ok


def test_the_cost_is_tokens_times_epochs_times_the_price(tmp_path: Path) -> None:
    """3.00 dollars per million for gpt-4o-mini, nothing for a local base, unknown for an unknown model."""
    dataset = with_template(rt.DatasetBuilder.from_rows(ROWS)).build(tmp_path / "out", validation=0.2)
    tokens = sum(dataset.token_counts("o200k_base"))
    cost = dataset.cost("gpt-4o-mini-2024-07-18", n_epochs=3)
    assert (cost.tokens, cost.epochs, cost.billed_tokens) == (tokens, 3, 3 * tokens)
    assert cost.usd == pytest.approx(3 * tokens * 3.0 / 1e6)
    assert dataset.cost("ft:gpt-4o-mini-2024-07-18:acme::x", n_epochs=3).usd == cost.usd
    assert dataset.cost("tiny-random").usd == 0.0
    unknown = dataset.cost("gpt-9")
    assert unknown.usd is None
    assert "price unknown" in str(unknown)
    with pytest.raises(SpecError, match="n_epochs=0"):
        dataset.cost("tiny-random", n_epochs=0)


@pytest.mark.parametrize(
    ("examples", "epochs"), [(0, 3), (1, 25), (10, 10), (33, 3), (34, 3), (100, 3), (8_333, 3), (8_334, 2), (25_001, 1)]
)
def test_auto_epochs_follow_the_cookbooks_rule(examples: int, epochs: int) -> None:
    """Three passes unless that is fewer than 100 or more than 25,000 examples in all."""
    from ragtune.cost import auto_epochs

    assert auto_epochs(examples) == epochs


@pytest.mark.parametrize("examples", [1, 3, 12, 15, 16, 60, 133, 134, 8_334, 30_000])
@pytest.mark.parametrize("batch_size", ["auto", 1, 8])
def test_auto_epochs_of_the_embedded_backend_are_foretold_as_they_are_trained(
    examples: int, batch_size: int | Literal["auto"]
) -> None:
    """Its rule is known, and differs from the cookbook's: 12 rows are read 17 times."""
    from ragtune.cost import estimate
    from ragtune.train.spec import resolve_hyperparameters

    trained = resolve_hyperparameters(examples, method="supervised", batch_size=batch_size).n_epochs
    for name, embedded in {"tiny-random": None, "ft:tiny-random:me:x:1": None, "gpt-4o-mini": True}.items():
        foretold = estimate(name, None, [5] * examples, "auto", batch_size=batch_size, embedded=embedded)
        assert foretold.epochs == trained
        assert not any("cookbook" in note for note in foretold.assumptions)


def test_a_plan_for_the_embedded_backend_knows_its_epochs(tmp_path: Path) -> None:
    """Under any name that the server gives a base, and with the batch size of the spec."""
    rows = [{"question": f"Which {number}?", "answer": str(number), "support": ""} for number in range(12)]
    dataset = with_template(rt.DatasetBuilder.from_rows(rows)).build(tmp_path / "out")
    client = openai.OpenAI(api_key="sk-x", base_url="http://127.0.0.1:9/v1")
    spec = rt.TuneSpec(model="gpt-4o-mini-2024-07-18")
    plan = rt.FineTuneJob.plan(client, dataset=dataset, spec=spec, dialect="local")
    assert plan.cost is not None
    assert (plan.cost.epochs, plan.cost.usd) == (17, 0.0)


def test_an_example_longer_than_the_context_is_billed_up_to_it(tmp_path: Path) -> None:
    """The server cuts it, and so does the estimate."""
    rows = [*ROWS, {"question": "word " * 70_000, "answer": "x", "support": ""}]
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}").build(tmp_path / "out")
    cost = dataset.cost("gpt-4o-mini", n_epochs=1)
    counts = dataset.token_counts("o200k_base")
    assert cost.tokens == sum(counts) - counts[-1] + 65_536
    assert "1 example(s) longer" in str(cost)


def test_line_separators_are_escaped_and_come_back(tmp_path: Path) -> None:
    """U+2028, U+2029 and U+0085 stay in the text and never break a line."""
    rows = [{"q": f"{n} a\u2028b\u2029c\u0085d", "a": '%s {} \\u2028 "quoted"'} for n in range(10)]
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(tmp_path / "out")
    assert dataset.train.path is not None
    lines = dataset.train.path.read_bytes()
    assert len(lines.decode().splitlines()) == 10
    assert [orjson.loads(line)["messages"][0]["content"] for line in lines.split(b"\n")[:-1]] == [r["q"] for r in rows]
    assert orjson.loads(lines.split(b"\n")[0])["messages"][1]["content"] == rows[0]["a"]


def test_a_layout_of_conversations_gives_records_without_a_template(tmp_path: Path) -> None:
    """ShareGPT rows in, chat records out; filters see the rows as they are."""
    rows = [
        {"id": n, "conversations": [{"from": "human", "value": f"{n}?"}, {"from": "gpt", "value": f"{n}!"}]}
        for n in range(12)
    ]
    builder = rt.DatasetBuilder.from_rows(rows, layout="sharegpt").filter(lambda row: row["id"] != 3, reason="three")
    dataset = builder.build(tmp_path / "out")
    assert (dataset.format, len(dataset.train), dict(dataset.report.dropped)) == ("chat", 11, {"three": 1})
    assert [message["content"] for message in next(iter(dataset.train)).to_dict()["messages"]] == ["0?", "0!"]
    assert dataset.manifest["steps"][-1] == {"layout": "sharegpt"}


def test_a_layout_of_facts_gives_rows_for_a_template(tmp_path: Path) -> None:
    """One SQuAD article holds several questions; each becomes a row."""
    questions = [
        {"id": str(n), "question": f"Which is number {n}?", "answers": [{"text": str(n), "answer_start": 0}]}
        for n in range(12)
    ]
    article = {"title": "T", "paragraphs": [{"context": "Numbers follow each other.", "qas": questions}]}
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"version": "1.1", "data": [article]}))
    builder = rt.DatasetBuilder.from_json(path).layout("squad").chat(user="{question}", assistant="{answer}")
    dataset = builder.build(tmp_path / "out")
    assert len(dataset.train) == 12
    assert dataset.manifest["source"]["layout"] == "squad"


def test_an_unknown_layout_and_a_row_of_another_one_are_named(tmp_path: Path) -> None:
    """The message lists the layouts, or the keys that were found."""
    with pytest.raises(DatasetError, match=r"'shargpt' is not one of .*sharegpt.*keys found: 'question'.*'support'"):
        rt.DatasetBuilder.from_rows(ROWS, layout="shargpt")
    with pytest.raises(DatasetError, match="'shargpt' is not one of"):
        rt.DatasetBuilder.from_rows([], layout="shargpt")
    with pytest.raises(DatasetError, match=r"row 0.*'support'"):
        rt.DatasetBuilder.from_rows(ROWS, layout="sharegpt").build(tmp_path / "out")


def test_an_audit_names_rows_by_their_numbers_in_the_source() -> None:
    """Row 0 is dropped by the filter and counts on all the same."""
    rows = [{"q": "Why?", "a": "So."}, {"q": "How deep?", "a": "83 m"}, {"q": "How deep?", "a": "12 m"}]
    audit = (
        rt.DatasetBuilder.from_rows(rows)
        .filter(lambda row: row["q"] != "Why?", reason="no why")
        .audit(question="q", answer="a", distractors=["a"])
    )
    assert (audit.rows, audit.contradicting_rows, audit.distractor_rows) == (2, ((1, 2),), (1, 2))


def test_an_empty_cell_is_no_word_to_an_audit_nor_to_pairs_of_duplicates() -> None:
    """None is an answer that somebody may give, and no wrong choice beside a row without an answer."""
    rows = [{"q": "Any left?", "a": "None", "d": None}, {"q": "How many?", "a": None, "d": None}]
    audit = rt.DatasetBuilder.from_rows(rows).audit(question="q", answer="a", distractors=["d"])
    assert audit.distractor_rows == ()
    (pair,) = rt.DatasetBuilder.from_rows([rows[1], rows[1]]).duplicates(question="q", answer="a")
    assert pair.dropped_texts == pair.kept_texts == {"q": "How many?", "a": ""}


def test_a_record_that_no_file_can_hold_is_refused_with_its_row(tmp_path: Path) -> None:
    """Half of a surrogate pair, as broken sources have it; all such rows are told."""
    rows = [{"q": "Why?"}, {"q": "\ud800"}, {"q": "\udfff?"}]
    builder = rt.DatasetBuilder.from_rows(rows).records(
        lambda row: {"messages": [{"role": "user", "content": row["q"]}, {"role": "assistant", "content": "So."}]}
    )
    with pytest.raises(DatasetError, match=r"2 rows make no record:\s+row 1: the record cannot be written: .*UTF-8"):
        builder.build(tmp_path / "out", validation=0.3)
    assert not (tmp_path / "out").exists()


def test_names_that_no_file_can_hold_cost_no_build(tmp_path: Path) -> None:
    """The manifest quotes them, and is written last."""
    rows = [{"q": f"{n}?", "k\ud800": "So."} for n in range(12)]
    builder = rt.DatasetBuilder.from_rows(rows, query="SELECT \ud800").filter(
        lambda row: row["q"] != "3?", reason="\udfff"
    )
    dataset = builder.chat(user="{q}", assistant="{k\ud800}").build(tmp_path / "out")
    assert dataset.report.dropped == {"?": 1}
    assert dataset.manifest["source"]["query"] == "SELECT ?"
    assert "SELECT ?" in rt.Dataset.load(tmp_path / "out").report.to_html()


@pytest.mark.parametrize("time", [np.array([1, 2]), Decimal("sNaN")])
def test_values_that_cannot_be_compared_are_no_times(time: object) -> None:
    """An array is refused by its place; a NaN of any kind is a gap."""
    rows = [{"q": "Why?", "a": "So.", "t": time}, {"q": "Why?", "a": "Then.", "t": 1}]
    builder = rt.DatasetBuilder.from_rows(rows).keep_newest(per="q", by="t").chat(user="{q}", assistant="{a}")
    if isinstance(time, Decimal):
        assert [record.messages[-1].text for record in builder.preview()] == ["Then."]
    else:
        with pytest.raises(DatasetError, match=r"row 0, column 't': .* is neither a time nor a number"):
            builder.preview()


@pytest.mark.parametrize("content", ['{"q": "a"}\n' * 1_000, "a\0b"])
def test_the_content_of_a_file_is_no_path(content: str, tmp_path: Path) -> None:
    """Given in its place it is told in a line, and not by the system with all that it holds."""
    calls: list[Callable[[], object]] = [
        lambda: rt.DatasetBuilder.from_jsonl(content),
        lambda: rt.DatasetBuilder.from_documents(content),
        lambda: rt.check_file(content),
        lambda: rt.Dataset.load(content),
        lambda: rt.FactSet.from_jsonl(content),
        lambda: rt.DatasetBuilder.from_rows(ROWS).chat(user="{question}", assistant="{answer}").build(content),
    ]
    for call in calls:
        with pytest.raises(DatasetError, match=r"is no path: .*; give the path of a file, not what it holds") as caught:
            call()
        assert len(str(caught.value)) < 200


def test_an_encoding_that_is_none_of_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n")
    with pytest.raises(DatasetError, match="encoding='base64' is not known"):
        rt.DatasetBuilder.from_csv(tmp_path / "a.csv", encoding="base64")


def test_a_count_below_the_least_is_told_without_its_type() -> None:
    with pytest.raises(DatasetError, match=r"^count=0 must be a whole number, 1 or more$"):
        rt.DatasetBuilder.from_rows(ROWS).take(0)


def test_a_preview_shows_records_of_the_kind_that_a_build_writes() -> None:
    """Without reference fields a reinforcement record has the keys of a chat."""
    builder = rt.DatasetBuilder.from_rows(ROWS).reinforcement(user="{question}", reference={})
    assert {type(record) for record in builder.preview()} == {rt.ReinforcementRecord}


@pytest.mark.slow
def test_the_facts_of_sciq_are_counted_as_they_are_known(shared: Path) -> None:
    """67 questions repeated (70 rows too many), 16 with more than one answer, 11 answers equal to a distractor."""
    audit = rt.DatasetBuilder.from_jsonl(shared / "data/sciq/train.jsonl").audit(
        question="question",
        answer="correct_answer",
        context="support",
        distractors=("distractor1", "distractor2", "distractor3"),
    )
    exact = audit.exact
    assert (audit.rows, exact.repeated_questions, exact.surplus_rows) == (11_679, 67, 70)
    assert (exact.contradictions, exact.answers_among_distractors) == (16, 11)
    assert audit.normalised.answers_among_distractors >= 14
    assert len(audit.contradicting_rows) == 16


def test_rows_of_one_document_stay_together_when_asked(tmp_path: Path) -> None:
    """A column of the source keeps rows on one side, whatever they say."""
    rows = [{**row, "document": f"page {index // 5}"} for index, row in enumerate(ROWS)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}")
    for seed in range(5):
        dataset = builder.build(tmp_path / str(seed), test=0.3, seed=seed, group_by="document")
        sides = {
            split.name: {int(n) // 5 for n in (tmp_path / str(seed) / f"{split.name}.rows.txt").read_text().split()}
            for split in dataset.splits
        }
        assert not sides["train"] & sides["test"]
    with pytest.raises(DatasetError, match="'dokument'"):
        builder.build(tmp_path / "x", test=0.3, group_by="dokument")


def test_a_plugged_counter_gives_the_same_counts_or_is_refused(tmp_path: Path) -> None:
    """Counting in one call for many records changes nothing."""
    from ragtune.tokens import counter_for

    built = with_template(rt.DatasetBuilder.from_rows(ROWS)).build(tmp_path / "out")
    again = rt.Dataset.load(tmp_path / "out")
    assert built.token_counts("o200k_base", counter_for("o200k_base")) == again.token_counts("o200k_base")
    with pytest.raises(SpecError, match="counts"):
        rt.Dataset.load(tmp_path / "out").token_counts("o200k_base", counter_for("cl100k_base"))
    with pytest.raises(SpecError, match="counts"):
        built.token_counts("o200k_base", counter_for("cl100k_base"))


def test_private_data_is_found_by_place_and_masked_on_request(tmp_path: Path) -> None:
    """The value itself stands nowhere in the findings; a masked build has none."""
    pytest.importorskip("kingfisher_sdk", reason="needs the extra privacy")
    address = "anna.schmidt@nordwind-fiktiv.de"
    rows = [*ROWS, {"question": "Whom to ask?", "answer": f"Write to {address}.", "support": ""}]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}")
    dataset = builder.build(tmp_path / "a")
    found = [item for item in dataset.check(privacy=True).problems if item.code.startswith("private")]
    assert [(item.line, item.path, item.code) for item in found] == [(31, "messages[1].content", "private-email")]
    assert address not in str(found[0])
    with pytest.warns(DeprecationWarning, match=r"use Dataset\.check\(privacy=True\)"):
        old = dataset.private_data()
    assert [(item.split, item.line, item.path) for item in old] == [("train", 31, "messages[1].content")]
    assert old[0].finding.kind == "email"
    assert address not in str(old[0])
    masked = builder.mask_private().filter(lambda row: "page 3 " not in row["support"], reason="page 3")
    dataset = masked.build(tmp_path / "b")
    assert dataset.check(privacy=True).counts == dataset.check().counts
    assert [record.to_dict()["messages"][1]["content"] for record in dataset.train][-1] == "Write to [EMAIL]."
    assert masked.preview(1)[0].messages[0].text == ROWS[0]["question"]


def test_each_file_can_be_checked_by_itself(tmp_path: Path) -> None:
    """Few examples are enough for validation; a split without records cannot be checked."""
    dataset = rt.DatasetBuilder.from_rows(ROWS).chat(user="{question}", assistant="{answer}")
    built = dataset.build(tmp_path / "out", validation=0.1)
    assert built.check(split="validation").stats.examples == len(built.validation) < 10
    assert built.check(split="validation").ok
    with pytest.raises(DatasetError, match="'test' is empty; this dataset has train, validation"):
        built.check(split="test")


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("utf-8", ","), ("cp1252", ";"), ("UTF-16", "\t"), ("utf-8-sig", "|")]
)
def test_csv_is_read_in_its_own_encoding_and_with_its_own_delimiter(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    """A byte order mark is no part of a name; the manifest says what was given."""
    path = tmp_path / "rows.csv"
    path.write_text(f'question{delimiter}answer\r\n"Où{delimiter} was?"{delimiter}"là\nda"\r\n', encoding, newline="")
    rows = rt.DatasetBuilder.from_csv(path, encoding=encoding, delimiter=delimiter)
    dataset = rows.chat(user="{question}", assistant="{answer}").build(tmp_path / "out")
    assert [message.text for message in next(iter(dataset.train)).messages] == [f"Où{delimiter} was?", "là\nda"]
    source = dict(dataset.manifest["source"])
    assert source.get("delimiter", ",") == delimiter
    assert source.get("encoding", "utf-8") == encoding.lower()


def test_csv_options_that_make_no_sense_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,answer\n")
    with pytest.raises(DatasetError, match="delimiter=', ' must be one sign"):
        rt.DatasetBuilder.from_csv(path, delimiter=", ")
    with pytest.raises(DatasetError, match="encoding='ansi-ish' is not known"):
        rt.DatasetBuilder.from_csv(path, encoding="ansi-ish")


def test_a_blank_column_in_an_answer_is_counted_and_told(tmp_path: Path) -> None:
    """The record stays, since some parts are optional; the report says how many have a gap, and how to drop them."""
    whys = ["", " \u00a0", "so"]
    rows = [{"q": f"What is {n}?", "a": f"{n}", "why": whys[n % 3]} for n in range(12)]
    builder = rt.DatasetBuilder.from_rows(rows)
    dataset = builder.chat(user="{q}{why}", assistant="{a}. {why}").build(tmp_path / "out")
    assert len(dataset.train) == 12
    assert dataset.report.gaps == dataset.manifest["gaps"] == {"why": 8}
    assert "8 x warning an answer has nothing in place of {why}" in str(dataset.report)
    assert "answers with nothing in place of {why}" in dataset.report.to_html()
    assert dataset.report.to_dict()["gaps"] == {"why": 8}
    whole = builder.filter(lambda row: row["why"].strip(), reason="no why").chat(user="{q}", assistant="{a}. {why}")
    assert whole.build(tmp_path / "whole").report.gaps == {}
    asked = builder.chat(user="{q} {why}", assistant="{a}").build(tmp_path / "asked")
    assert asked.report.gaps == {}


def test_a_none_in_an_answer_is_refused(tmp_path: Path) -> None:
    """It would be trained on as the word None."""
    builder = rt.DatasetBuilder.from_rows([{"q": "Why?", "a": "So.", "why": None}]).chat(
        user="{q}", assistant="{a} {why}"
    )
    with pytest.raises(DatasetError, match=r"row 0, column 'why': None is NoneType.*filter"):
        builder.build(tmp_path / "out")


def test_a_template_without_any_column_can_be_split(tmp_path: Path) -> None:
    """Pointless, but no crash: such records share nothing that a row could tell apart."""
    rows = rt.DatasetBuilder.from_rows([{"n": n} for n in range(12)])
    dataset = rows.chat(user="Who are you?", assistant="A test.").build(tmp_path / "out", validation=0.25)
    assert [len(split) for split in dataset.splits] == [9, 3]


def test_a_dataset_and_its_report_print_in_a_few_words(tmp_path: Path) -> None:
    """No dump of paths and hashes; a problem has its lines and the way to read more."""
    rows = [{"q": f"What is {n % 5}?", "a": f"word {n}"} for n in range(20)]
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(tmp_path / "d")
    assert repr(dataset) == f"Dataset({str(tmp_path / 'd')!r}, chat, 20 train, fingerprint {dataset.fingerprint[:12]})"
    assert repr(dataset.train) == f"Split('train', 20 chat records, {str(dataset.train.path)!r})"
    printed = str(dataset.report)
    assert re.search(r"train: \d+ x warning contradiction \(lines \d+, \d+, \d+, \d+, \d+, \.\.\.\)", printed)
    assert "report.checks['train']" in printed
