"""Single verdicts: one answer, and whether it was good; from the rows that people have to a file that is checked."""

from __future__ import annotations

import json
import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

import ragtune as rt
from ragtune.layouts import convert_rows
from ragtune.modelling.balance import advised_weights
from ragtune.tokens import RecordCounter, asked_part, counter_for

if TYPE_CHECKING:
    from pathlib import Path

ASKED = [{"role": "user", "content": "7 + 5?"}]
ANSWER = [{"role": "assistant", "content": "12"}]
RECORD: dict[str, Any] = {"prompt": ASKED, "completion": ANSWER, "label": True}


def rows(good: int, bad: int) -> list[dict[str, Any]]:
    """Judged answers, good ones first."""
    return [{"q": f"What is {n} + {n}?", "a": f"It is {2 * n}.", "good": n < good} for n in range(good + bad)]


def written(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def judged(good: int, bad: int) -> list[dict[str, Any]]:
    """The same as records."""
    return [
        {
            "prompt": [{"role": "user", "content": row["q"]}],
            "completion": [{"role": "assistant", "content": row["a"]}],
            "label": row["good"],
        }
        for row in rows(good, bad)
    ]


def test_a_verdict_is_told_from_a_prompt_completion_pair_by_its_label() -> None:
    assert type(rt.parse_record(RECORD)) is rt.UnpairedRecord
    assert type(rt.parse_record({"prompt": "7 + 5?", "completion": " 12"})) is rt.CompletionRecord


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"label": 1}, "label: Input should be a valid boolean, got 1"),
        ({"label": None}, "label"),
        ({"prompt": "7 + 5?"}, "prompt: 'prompt' must be a list, got '7 \\+ 5\\?'"),
        ({"prompt": []}, "'prompt' holds nothing"),
        ({"completion": ASKED}, "completion holds a message with role 'user'; it must be the assistant's"),
        ({"completion": ANSWER * 2}, "completion"),
        ({"rating": 5}, "unknown key 'rating'"),
    ],
)
def test_a_broken_verdict_is_refused_in_words(change: dict[str, Any], told: str) -> None:
    with pytest.raises(rt.RecordError, match=told):
        rt.parse_record({**RECORD, **change})


SAID = {"from": "human", "value": "7 + 5?"}, {"from": "gpt", "value": "12"}
SPELLINGS: list[dict[str, Any]] = [
    RECORD,
    {"prompt": "7 + 5?", "completion": "12", "label": True},
    {"prompt": ASKED, "completion": [*ASKED, *ANSWER], "label": 1},
    {"instruction": "7 + 5?", "input": "", "output": "12", "kto_tag": True},
    {"messages": [*ASKED, *ANSWER], "label": "True"},
    {"conversations": list(SAID), "kto_tag": np.True_},
]


@pytest.mark.parametrize("row", SPELLINGS)
def test_every_spelling_gives_the_same_record(row: dict[str, Any]) -> None:
    (record,) = convert_rows("kto", [row])
    assert isinstance(record, rt.UnpairedRecord)
    assert record.to_dict() == RECORD


@pytest.mark.parametrize(("value", "label"), [(0, False), (-1, False), ("false", False), ("1", True), (1.0, True)])
def test_a_thumb_is_read_as_a_truth_value(value: object, label: bool) -> None:
    (record,) = convert_rows("kto", [{"prompt": "q", "completion": "a", "label": value}])
    assert isinstance(record, rt.UnpairedRecord)
    assert record.label is label


@pytest.mark.parametrize("value", ["good", 5, 0.5, []])
def test_what_is_no_verdict_is_never_guessed(value: object) -> None:
    with pytest.raises(rt.DatasetError, match="row 1, label: must be true or false"):
        list(convert_rows("kto", [{"prompt": "q", "completion": "a", "label": value}]))


def test_rows_become_records_that_pass_their_check(tmp_path: Path) -> None:
    """The system prompt is known to the job, the template to the manifest, the length to the cost."""
    builder = rt.DatasetBuilder.from_rows(rows(12, 10)).unpaired(
        system="Be kind.", prompt="{q}", completion="{a}", label="good"
    )
    built = builder.build(tmp_path / "out", validation=0.1, count="o200k_base")
    assert (built.format, built.system, len(built.train), len(built.validation)) == ("unpaired", "Be kind.", 20, 2)
    assert built.manifest["steps"] == [
        {
            "template": {
                "format": "unpaired",
                "system": "Be kind.",
                "prompt": "{q}",
                "completion": "{a}",
                "label": "good",
            }
        }
    ]
    assert built.check().ok
    first = next(iter(built.train)).to_dict()
    assert first["prompt"][0] == {"role": "system", "content": "Be kind."}
    assert isinstance(first["label"], bool)
    line = orjson.loads(built.train.path.read_bytes().splitlines()[0])
    assert RecordCounter(counter_for("o200k_base")).count([line])[0] == built.token_counts("o200k_base")[0]
    assert asked_part(line) == {"messages": line["prompt"]}
    assert built.train.path is not None
    again = rt.DatasetBuilder.from_jsonl(built.train.path).layout("kto").build(tmp_path / "again")
    assert again.train.path.read_bytes() == built.train.path.read_bytes()
    assert "good answer" in str(builder.preview(1)) or "bad answer" in str(builder.preview(1))
    pickle.loads(pickle.dumps(builder._template))


def test_the_label_may_stand_in_braces_like_the_columns_of_templates() -> None:
    builder = rt.DatasetBuilder.from_rows(rows(1, 1))
    assert (
        builder.unpaired(prompt="{q}", completion="{a}", label="{good}").preview(2).records[1].to_dict()
        == judged(1, 1)[1]
    )
    with pytest.raises(rt.DatasetError, match="must be the name of one column"):
        builder.unpaired(prompt="{q}", completion="{a}", label="{good} {a}")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"good": "yes"}, "row 1: column 'good' must be true or false"),
        ({"good": None}, "row 1: column 'good' holds no verdict"),
        ({"a": " "}, "row 1: the completion text '{a}' is empty"),
        ({"a": 12}, "row 1: column 'a': 12 is int, not text"),
    ],
)
def test_a_row_that_makes_no_verdict_is_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    given = rows(2, 1)
    given[1] |= change
    builder = rt.DatasetBuilder.from_rows(given).unpaired(prompt="{q}", completion="{a}", label="good")
    with pytest.raises(rt.DatasetError) as caught:
        builder.build(tmp_path / "out")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("good", "bad", "code", "told"),
    [
        (12, 10, None, ""),
        (12, 0, "one-label", "all 12 answers are labelled good"),
        (0, 12, "one-label", "all 12 answers are labelled bad"),
        (30, 10, "unbalanced-labels", "desirable_weight from 0.33 to 0.44, or undesirable_weight from 2.26 to 3"),
        (10, 30, "unbalanced-labels", "desirable_weight from 3 to 3.99, or undesirable_weight from 0.25 to 0.33"),
    ],
)
def test_the_labels_of_a_file_are_weighed(tmp_path: Path, good: int, bad: int, code: str | None, told: str) -> None:
    """Warnings, since such a file trains; each with what to do."""
    report = rt.check_file(written(tmp_path / "train.jsonl", judged(good, bad)))
    assert report.ok
    assert [problem.code for problem in report.problems] == ([] if code is None else [code])
    assert all(told in f"{problem.message} {problem.hint}" for problem in report.problems)


@pytest.mark.parametrize(("good", "bad"), [(30, 10), (10, 30), (7, 5), (999, 1)])
def test_weights_that_were_advised_are_not_advised_against(good: int, bad: int) -> None:
    advice = advised_weights(good, bad)
    assert advice is not None
    ranges = re.findall(r"(\w+) from ([\d.e-]+) to ([\d.e-]+)", advice)
    assert [name for name, *_ in ranges] == ["desirable_weight", "undesirable_weight"]
    for name, *numbers in ranges:
        for number in numbers:
            assert advised_weights(good, bad, **{name: float(number)}) is None, (name, number)


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"completion": [{"role": "assistant", "content": " "}]}, "empty-answer", "completion[0].content"),
    ({"completion": [{"role": "assistant", "content": "nan"}]}, "missing-value", "completion[0].content"),
    ({"prompt": [*ASKED, *ANSWER]}, "input-ends-with-assistant", "prompt[1].role"),
    ({"prompt": [{"role": "system", "content": "Be."}]}, "no-user-message", "prompt"),
    ({"prompt": [{"role": "user", "content": ""}]}, "empty-question", "prompt[0].content"),
    ({"tools": [{"type": "function", "function": {"name": "no name"}}]}, "bad-tool-name", "tools[0].function.name"),
    ({"label": "yes"}, "wrong-type", "label"),
]


@pytest.mark.parametrize(("change", "code", "path"), FAULTS)
def test_each_rule_finds_its_place_in_a_verdict(tmp_path: Path, change: dict[str, Any], code: str, path: str) -> None:
    lines = [*judged(5, 5), {**RECORD, **change}]
    report = rt.check_file(written(tmp_path / "train.jsonl", lines), format="unpaired")
    assert [(problem.code, problem.path, problem.line) for problem in report.problems] == [(code, path, 11)]


def test_one_answer_with_both_labels_is_a_contradiction_and_two_answers_are_none(tmp_path: Path) -> None:
    other = {**RECORD, "completion": [{"role": "assistant", "content": "13"}], "label": False}
    lines = [*judged(7, 5), RECORD, other, {**RECORD, "label": False}]
    report = rt.check_file(written(tmp_path / "train.jsonl", lines))
    assert [(problem.code, problem.line, problem.related_line) for problem in report.problems] == [
        ("contradiction", 15, 13)
    ]


def test_a_file_in_trls_own_spelling_is_told_the_way_in(tmp_path: Path) -> None:
    lines = [{"prompt": "7 + 5?", "completion": "12", "label": True}] * 10
    problem = rt.check_file(written(tmp_path / "train.jsonl", lines)).problems[0]
    assert (problem.code, ".layout('kto')" in problem.hint) == ("unknown-format", True)


def test_a_model_without_such_a_method_is_named_with_the_pairing_that_works(tmp_path: Path) -> None:
    path = written(tmp_path / "train.jsonl", judged(6, 6))
    problem = rt.check_file(path, model="gpt-4o-2024-08-06").problems[0]
    assert problem.code == "format-not-for-model"
    assert "unpaired records are for kto" in problem.message
    assert ".preference(...), and train with rt.DPO()" in problem.hint


def test_a_question_that_two_files_of_verdicts_share_is_found(tmp_path: Path) -> None:
    one, two = (
        rt.Dataset.from_files(written(tmp_path / f"{name}.jsonl", judged(6, 6)[start:]))
        for name, start in (("one", 0), ("two", 9))
    )
    found = {item.field: item.exact for item in two.overlap(one).fields}
    assert found["user"] == 3


def test_a_bad_answer_is_no_fact(tmp_path: Path) -> None:
    good, bad = (
        rt.Dataset.from_files(written(tmp_path / f"{name}.jsonl", records))
        for name, records in (("good", judged(3, 0)), ("bad", judged(0, 3)))
    )
    facts = rt.FactSet.from_dataset(good)
    assert [fact.answers[0] for fact in facts] == ["It is 0.", "It is 2.", "It is 4."]
    with pytest.raises(rt.DatasetError, match="holds a bad answer"):
        rt.FactSet.from_dataset(bad)


def test_a_layout_gives_verdicts_the_system_prompt_that_they_lack(tmp_path: Path) -> None:
    built = rt.DatasetBuilder.from_rows([RECORD] * 2).layout("kto", system="Be kind.").build(tmp_path / "out")
    assert built.system == "Be kind."
    assert json.loads(built.train.path.read_text().splitlines()[0])["prompt"][0]["content"] == "Be kind."
