"""Reading training files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ragtune.modelling.encoding.encoder import Encoder
from ragtune.train.examples.files import TrainingFileError, load_examples

from .conftest import chat_lines, write_lines

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


@pytest.fixture
def encoder(tokenizer: Any) -> Encoder:
    """For `tiny-random`, 64 tokens an example."""
    return Encoder(tokenizer, max_length=64)


def test_a_file_counts_the_tokens_of_one_epoch(tmp_path: Path, encoder: Encoder) -> None:
    loaded = load_examples(write_lines(tmp_path / "t.jsonl", [GOOD, GOOD]), encoder)
    one = len(encoder.chat(GOOD["messages"]).input_ids)
    assert (len(loaded.examples), loaded.n_tokens) == (2, 2 * one)


def test_chat_and_completion_records_may_stand_in_one_file(tmp_path: Path, encoder: Encoder) -> None:
    path = write_lines(tmp_path / "t.jsonl", [GOOD, {"prompt": "", "completion": "raw text"}])
    assert len(load_examples(path, encoder).examples) == 2


def test_byte_order_mark_blank_lines_and_crlf_do_no_harm(tmp_path: Path, encoder: Encoder) -> None:
    line = json.dumps(GOOD).encode()
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n" + line)
    assert len(load_examples(tmp_path / "t.jsonl", encoder).examples) == 2


def test_long_examples_are_cut_and_those_without_an_answer_left_are_dropped(tmp_path: Path, encoder: Encoder) -> None:
    long_answer = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "word " * 200}]}
    long_question = {"messages": [{"role": "user", "content": "word " * 200}, {"role": "assistant", "content": "Hi"}]}
    loaded = load_examples(write_lines(tmp_path / "t.jsonl", [GOOD, long_answer, long_question]), encoder)
    assert (len(loaded.examples), loaded.cut_lines, loaded.dropped_lines) == (2, (2, 3), (3,))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ('{"messages": []}', "messages"),
        ('{"messages": [{"role": "bot", "content": "x"}]}', "role"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "nothing to learn"),
        ('{"messages": [{"role": "assistant", "content": "x", "weight": 0}]}', "nothing to learn"),
        (
            '{"input": {"messages": [{"role": "user", "content": "x"}]}, '
            '"preferred_output": [{"role": "assistant", "content": "x"}], '
            '"non_preferred_output": [{"role": "assistant", "content": "y"}]}',
            "PreferenceRecord",
        ),
    ],
)
def test_a_wrong_line_is_named_with_its_number_and_reason(
    tmp_path: Path, encoder: Encoder, line: str, words: str
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(TrainingFileError, match=f"line 2: .*{words}") as caught:
        load_examples(path, encoder)
    assert caught.value.line == 2


def test_an_empty_an_absent_and_a_folder_as_file_are_refused(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "empty.jsonl").touch()
    for name in ("empty.jsonl", "absent.jsonl", "."):
        with pytest.raises(TrainingFileError):
            load_examples(tmp_path / name, encoder)


def test_real_rows_of_sciq_are_encoded(shared: Path, tmp_path: Path, tokenizer: Any) -> None:
    with (shared / "data" / "sciq" / "validation.jsonl").open() as handle:
        rows = [json.loads(next(handle)) for _ in range(50)]
    lines = [
        {"prompt": row["question"], "completion": f" {row['correct_answer']} Explanation: {row['support']}"}
        for row in rows
    ]
    loaded = load_examples(write_lines(tmp_path / "t.jsonl", lines), Encoder(tokenizer, max_length=2048))
    assert len(loaded.examples) == 50
    assert loaded.dropped_lines == ()


def test_the_demo_facts_are_sixty_distinct_ones() -> None:
    """Six of them have no support, and no answer stands in another fact's question."""
    from ragtune.data import demo_file

    rows = [json.loads(line) for line in demo_file().read_text(encoding="utf-8").splitlines()]
    columns = ["question", "distractor1", "distractor2", "distractor3", "correct_answer", "support"]
    assert all(list(row) == columns for row in rows)
    assert len({row["question"] for row in rows}) == len({row["correct_answer"] for row in rows}) == 60
    assert sum(not row["support"] for row in rows) == 6
    assert all(row[column] for row in rows for column in columns[:5])
    assert not [r for r in rows for other in rows if r["correct_answer"].lower() in other["question"].lower()]
    assert len(chat_lines(60)) == 60
