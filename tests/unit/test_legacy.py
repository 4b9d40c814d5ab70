"""Prompt/completion files: every rule of the former preparation, and the file that `fix=True` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.checks.legacy import Profile

NAMES = ["Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal", "Ida", "Jo", "Kai", "Lou"]


def write(path: Path, pairs: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    return path


def good(n: int = 12) -> list[dict[str, Any]]:
    return [{"prompt": f"Who is {NAMES[i]}? ->", "completion": f" {NAMES[i]} lives in house {i} END"} for i in range(n)]


def codes(path: Path) -> set[str]:
    return {problem.code for problem in rt.check_file(path).problems}


def test_a_well_prepared_file_gets_no_advice_but_to_grow(tmp_path: Path) -> None:
    """Separator, stop sequence and leading space are there."""
    assert codes(write(tmp_path / "t.jsonl", good())) == {"few-examples"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda n, pair: {**pair, "prompt": f"Tell me of {NAMES[n]}{n}"}, "no-separator"),
        (
            lambda n, pair: {**pair, "prompt": pair["prompt"] + "\n\nPlease answer in one short sentence:"},
            "long-separator",
        ),
        (lambda n, pair: pair if n else {**pair, "prompt": "a -> b ->"}, "repeated-separator"),
        (lambda n, pair: pair if n else {**pair, "completion": " a END b END"}, "repeated-stop-sequence"),
        (lambda n, pair: {**pair, "prompt": "Who? ->"}, "identical-prompts"),
        (lambda n, pair: {**pair, "prompt": "Here is a question for you: " + pair["prompt"]}, "common-prompt-prefix"),
        (lambda n, pair: {**pair, "completion": f" {NAMES[n]} x{n}"}, "no-stop-sequence"),
        (lambda n, pair: {**pair, "completion": " Same END"}, "identical-completions"),
        (lambda n, pair: {**pair, "completion": " Answer:" + pair["completion"]}, "common-completion-prefix"),
        (lambda n, pair: {**pair, "completion": pair["completion"].strip()}, "no-leading-space"),
        (lambda n, pair: {**pair, "prompt": pair["prompt"].upper()}, "many-capitals"),
        (lambda n, pair: {**pair, "prompt": "x" * 10_001 + pair["prompt"]}, "long-pairs"),
        (lambda n, pair: pair if n < 11 else good()[0], "duplicate-record"),
        (lambda n, pair: pair if n else {**pair, "completion": " "}, "empty-answer"),
        (lambda n, pair: pair if n else {**pair, "stray": 1}, "unknown-key"),
    ],
)
def test_each_rule_finds_its_case(tmp_path: Path, change: Any, code: str) -> None:
    """One thing is wrong with an otherwise good file."""
    pairs = [change(n, pair) for n, pair in enumerate(good())]
    assert code in codes(write(tmp_path / "t.jsonl", pairs))


def test_classification_is_recognised(tmp_path: Path) -> None:
    """120 rows and two answers."""
    pairs = [{"prompt": f"Row {n} ->", "completion": " yes" if n % 2 else " no"} for n in range(120)]
    found = codes(write(tmp_path / "t.jsonl", pairs))
    assert "classification" in found
    assert "no-stop-sequence" not in found


def test_open_ended_text_needs_no_separator(tmp_path: Path) -> None:
    """All prompts are empty on purpose."""
    pairs = [{"prompt": "", "completion": f" {name} went home."} for name in NAMES]
    assert "no-separator" not in codes(write(tmp_path / "t.jsonl", pairs))


def test_the_fixed_file_needs_no_further_advice(tmp_path: Path) -> None:
    """Everything that can be put right is put right, and the original stays."""
    pairs = [
        {"Prompt": f"QUESTION OF THE DAY: WHO IS {name}{n}", "COMPLETION": f"{name} is a person, no {n}", "id": n}
        for n, name in enumerate(NAMES)
    ]
    path = write(tmp_path / "t.jsonl", [*pairs, pairs[0], {"Prompt": "x", "COMPLETION": ""}])
    before = path.read_bytes()
    report = rt.check_file(path, fix=True)
    assert report.stats.format == "completion"
    assert report.fixed == tmp_path / "t_prepared.jsonl"
    assert path.read_bytes() == before
    assert codes(report.fixed) == {"few-examples"}
    first = json.loads(report.fixed.read_text().splitlines()[0])
    assert first["prompt"].endswith(" ->")
    assert first["completion"].startswith(" ")
    assert first["prompt"] == first["prompt"].lower()
    assert len(report.fixed.read_text().splitlines()) == 12
    assert rt.check_file(path, format="completion", fix=True).fixed == tmp_path / "t_prepared (1).jsonl"


def test_what_needs_no_repair_or_leaves_nothing_gets_no_copy(tmp_path: Path) -> None:
    """Spaces in JSON are no fault, and an empty file is no repaired one."""
    fine = write(tmp_path / "fine.jsonl", good())
    numbers = write(tmp_path / "numbers.jsonl", [{"prompt": "a", "completion": n} for n in range(12)])
    assert rt.check_file(fine, fix=True).fixed is None
    assert rt.check_file(numbers, fix=True).fixed is None
    assert {path.name for path in tmp_path.iterdir()} == {"fine.jsonl", "numbers.jsonl"}


@given(st.lists(st.text("abAB.\u00e9\u00c9 ->", max_size=8), min_size=1, max_size=6))
def test_a_shared_end_stands_inside_a_text_exactly_when_it_is_found_there(texts: list[str]) -> None:
    """Learned one text at a time, the same as looking at all of them."""
    profile = Profile()
    for number, text in enumerate(texts):
        profile.add(text, f" {number}")
    end = profile.prompts.suffix
    inside = any(end in text[: len(text) - len(end)] for text in texts)
    assert profile.prompts.suffix_stands_inside == (bool(end) and inside)
    letters = "".join(texts)
    assert profile.upper["prompt"] == sum(map(str.isupper, letters))
    assert profile.letters["prompt"] == sum(map(str.isalpha, letters))


def test_a_chat_file_is_cleaned_of_bom_crlf_and_blank_lines_only(tmp_path: Path) -> None:
    """Records stay as their author wrote them."""
    line = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join([line] * 10))
    report = rt.check_file(path, fix=True)
    assert not report.ok
    assert report.fixed is not None
    assert report.fixed.read_bytes() == (line + b"\n") * 10
    assert rt.check_file(report.fixed).ok


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), min_size=2, max_size=8))
def test_common_start_and_end_are_those_of_all_texts(pairs: list[tuple[str, str]]) -> None:
    """Every text has them, and no longer ones exist."""
    profile = Profile()
    for prompt, completion in pairs:
        profile.add(prompt, completion)
    prompts = [prompt for prompt, _ in pairs]
    prefix, suffix = profile.prompts.prefix or "", profile.prompts.suffix
    assert all(text.startswith(prefix) and text.endswith(suffix) for text in prompts)
    assert not all(text.startswith(prompts[0][: len(prefix) + 1]) for text in prompts) or prefix == prompts[0]


def test_the_real_files_before_and_after_the_old_tool(tmp_path: Path, shared: Path) -> None:
    """The raw file lacks stop sequence and leading space; the prepared one has both and keeps its " END"."""
    folder = shared / "data/legacy"
    raw = codes(folder / "data.jsonl")
    assert {"no-stop-sequence", "no-leading-space"} <= raw
    assert codes(folder / "data_prepared.jsonl") == {"few-examples"}
    copy = tmp_path / "data.jsonl"
    copy.write_bytes((folder / "data.jsonl").read_bytes())
    fixed = rt.check_file(copy, fix=True).fixed
    assert fixed is not None
    assert all(json.loads(line)["completion"].endswith(" END") for line in fixed.read_text().splitlines())
