"""Prompt/completion files: every rule of the former preparation, and the file that `fix=True` writes."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from benchmarks.fuzz_repair import fault_of, file_of
from ragtune.checks import REPAIRS
from ragtune.checks.legacy import Profile
from ragtune.errors import DatasetError

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


@pytest.mark.parametrize(("rows", "held_back"), [(120, "24"), (6_000, "1,000")])
def test_classification_is_advised_to_hold_a_fifth_back_and_at_most_a_thousand(rows: int, held_back: str) -> None:
    profile = Profile()
    for number in range(rows):
        profile.add(f"Row {number} ->", " yes" if number % 2 else " no")
    (advice,) = [problem for problem in profile.problems() if problem.code == "classification"]
    assert advice.hint == f"hold some rows back for validation, for example {held_back}"


def test_open_ended_text_needs_no_separator(tmp_path: Path) -> None:
    """All prompts are empty on purpose."""
    pairs = [{"prompt": "", "completion": f" {name} went home."} for name in NAMES]
    assert "no-separator" not in codes(write(tmp_path / "t.jsonl", pairs))


def test_the_fixed_file_needs_no_further_advice(tmp_path: Path) -> None:
    """Everything that has a name is put right where it is named, and the original stays."""
    pairs = [
        {"Prompt": f"QUESTION OF THE DAY: WHO IS {name}{n}", "COMPLETION": f"{name} is a person, no {n}", "id": n}
        for n, name in enumerate(NAMES)
    ]
    path = write(tmp_path / "t.jsonl", [*pairs, pairs[0], {"Prompt": "x", "COMPLETION": ""}])
    before = path.read_bytes()
    report = rt.check_file(path, fix=[*REPAIRS])
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


def test_a_repair_without_a_name_changes_no_word(tmp_path: Path) -> None:
    """Keys in lower case, further keys, empty and doubled pairs gone; every text stays."""
    pairs = [{"Prompt": f"WHO IS {name}", "COMPLETION": f"{name} IS A PERSON", "id": name} for name in NAMES]
    path = write(tmp_path / "t.jsonl", [*pairs, pairs[3], {"prompt": "x", "completion": ""}])
    fixed = rt.check_file(path, fix=True).fixed
    assert fixed is not None
    after = [json.loads(line) for line in fixed.read_text().splitlines()]
    assert after == [{"prompt": pair["Prompt"], "completion": pair["COMPLETION"]} for pair in pairs]
    assert rt.check_file(fixed, fix=True).fixed is None


@pytest.mark.parametrize(
    ("pairs", "name", "told", "first"),
    [
        ("Who is {0}", "prompt-suffix", "makes 'Who is Ada ->' of 'Who is Ada'", "Who is Ada ->"),
        (
            "What is the capital of Bra{0}land? ->",
            "prompt-prefix",
            "makes 'BraAdaland? ->' of 'What is the capital of BraAdaland? ->'",
            "BraAdaland? ->",
        ),
        ("NYC OR {0} ->", "prompt-case", "makes 'nyc or ada ->' of 'NYC OR Ada ->'", "nyc or ada ->"),
    ],
)
def test_what_touches_words_is_a_suggestion_with_before_and_after_and_done_by_name(
    tmp_path: Path, pairs: str, name: str, told: str, first: str
) -> None:
    """A common start is cut between words only."""
    path = write(
        tmp_path / "t.jsonl",
        [{"prompt": pairs.format(item), "completion": f" {n} is {item}{n} END"} for n, item in enumerate(NAMES)],
    )
    report = rt.check_file(path, fix=True)
    assert report.fixed is None
    assert f"--fix={name} {told}" in str(report)
    fixed = rt.check_file(path, fix=name).fixed
    assert fixed is not None
    assert json.loads(fixed.read_text().splitlines()[0])["prompt"] == first
    assert name not in str(rt.check_file(fixed))


def test_a_name_that_is_no_repair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="fix names 'prefix', which is not one of prompt-prefix, "):
        rt.check_file(write(tmp_path / "t.jsonl", good()), fix=["prefix"])


def test_pairs_that_become_equal_are_there_once(tmp_path: Path) -> None:
    """Doubled ones are looked for when all else is done, so a second repair finds nothing."""
    pairs = [{"prompt": f"WHO IS {name.upper()} ->", "completion": f" {name.upper()} LIVES\n"} for name in NAMES]
    path = write(tmp_path / "t.jsonl", [*pairs, {"prompt": "who is ada ->", "completion": " ada lives\n"}])
    names = ["prompt-case", "completion-case"]
    fixed = rt.check_file(path, fix=names).fixed
    assert fixed is not None
    assert len(fixed.read_text().splitlines()) == len(NAMES)
    assert rt.check_file(fixed, fix=names).fixed is None


def test_a_step_that_would_make_a_new_problem_is_left_out_and_named(tmp_path: Path) -> None:
    """Without its three doubled pairs a file of twelve would be too short; without their start prompts shout."""
    path = write(tmp_path / "short.jsonl", good(9) + good(3))
    report = rt.check_file(path, fix=True)
    assert (report.fixed, report.left_out) == (None, ("doubled-pairs",))
    assert "left out of the repair, as new problems would follow: doubled-pairs" in str(report)
    pairs = [
        {**pair, "prompt": f"What is the capital of {name}?"} for name, pair in zip("ABCDEFGHIJKL", good(), strict=True)
    ]
    report = rt.check_file(write(tmp_path / "case.jsonl", pairs), fix=["prompt-prefix"])
    assert (report.fixed, report.left_out) == (None, ("prompt-prefix",))


@pytest.mark.parametrize(
    "line",
    [
        '{"Prompt": "a", "prompt": "b", "completion": " c"}',
        '{"prompt": "a", "prompt": "b", "completion": " c"}',
        '{"Question": "Who?", "completion": " c"}',
        '{"prompt": "a", "completion": 5}',
        '{"prompt": "a", "completion": " c"',
        "[" * 2_000,
    ],
)
def test_a_line_of_which_something_would_get_lost_stays_as_it_is(tmp_path: Path, line: str) -> None:
    """Two keys that become one, a question under another key, what is no pair at all."""
    path = write(tmp_path / "t.jsonl", [{"Prompt": p["prompt"], "completion": p["completion"]} for p in good()])
    with path.open("a") as file:
        file.write(line + "\n")
    fixed = rt.check_file(path, fix=[*REPAIRS], format="completion").fixed
    assert fixed is not None
    assert fixed.read_text().splitlines()[-1] == line


def test_what_is_no_training_file_gets_no_copy(tmp_path: Path) -> None:
    """A packed file and a table: without their CR they would be damaged."""
    for name, data in {"t.jsonl.gz": gzip.compress(b"x\r\ny" * 99), "t.csv": b"prompt,completion\r\na,b\r\n"}.items():
        (tmp_path / name).write_bytes(data)
        assert rt.check_file(tmp_path / name, fix=True).fixed is None


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
    assert rt.check_file(copy, fix=True).fixed is None
    fixed = rt.check_file(copy, fix=["completion-space", "completion-suffix"]).fixed
    assert fixed is not None
    assert all(json.loads(line)["completion"].endswith(" END") for line in fixed.read_text().splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_copy_of_a_file_made_at_random_is_worse_than_the_file(tmp_path: Path, seed: int) -> None:
    """The short version of `benchmarks/fuzz_repair.py`."""
    chance = random.Random(seed)
    path = tmp_path / "fuzz.jsonl"
    for _ in range(30):
        path.write_bytes(file_of(chance))
        names = chance.sample([*REPAIRS], chance.choice((0, 1, len(REPAIRS))))
        fault, _ = fault_of(path, names)
        assert fault is None, (names, path.read_bytes())
