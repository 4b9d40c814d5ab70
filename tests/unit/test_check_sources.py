"""`check` knows what it is looking at, and what is right is not warned about."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import ragtune as rt


def checked(folder: Path, records: list[dict[str, Any]], **options: Any) -> rt.checks.CheckReport:
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return rt.check_file(path, **{"min_examples": 1, **options})


def codes(report: rt.checks.CheckReport) -> set[str]:
    return {code for _, code in report.counts}


def chat(question: Any, answer: str = "An answer.", **further: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **further}


RIGHT = {
    "Persian": "\u0645\u06cc\u200c\u062a\u0648\u0627\u0646\u0645",
    "Hindi": "\u0930\u093e\u091c\u094d\u200c\u091e",
    "Bengali": "\u09b0\u09cd\u200c\u09af",
    "Thai": "\u0e01\u0e32\u0e23\u200b\u0e40\u0e07\u0e34\u0e19",
    "Khmer": "\u1780\u17b6\u179a\u200b\u1784\u17b6\u179a",
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd (C++)\u200f!",
    "Arabic": "\u200f\u0645\u0631\u062d\u0628\u0627 \u2068GNU\u2069 \u200e12\u200e",
    "England": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
}
WRONG = {
    "zero width space in English": "wo\u200brd",
    "non-joiner in English": "wo\u200crd",
    "non-joiner at a space": "\u0645\u06cc\u200c \u062a",
    "mark of direction in English": "word\u200f",
    "an override, even in Hebrew": "\u05e9\u202e\u05dc",
    "tags without a flag": "word\U000e0067\U000e007f",
    "byte order mark": "\ufeffword",
    "soft hyphen": "wo\u00adrd",
}


@pytest.mark.parametrize("name", [*RIGHT, *WRONG])
@pytest.mark.parametrize("escaped", [False, True])
def test_only_characters_out_of_place_are_told(tmp_path: Path, name: str, escaped: bool) -> None:
    """Whether they are written as themselves or with a backslash."""
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(chat({**RIGHT, **WRONG}[name]), ensure_ascii=escaped) + "\n", encoding="utf-8")
    assert ("invisible-character" in codes(rt.check_file(path, min_examples=1))) == (name in WRONG)


@pytest.mark.parametrize("text", ["nan", "None", "NULL", "#N/A", "[object Object]", " NaN\n", "<NA>", "undefined"])
@pytest.mark.parametrize("place", ["question", "answer", "completion", "preferred_output", "non_preferred_output"])
def test_what_stands_for_a_missing_value_is_told(tmp_path: Path, text: str, place: str) -> None:
    """In every text that is asked or learned; a text that only contains it is fine."""

    def record(said: str) -> dict[str, Any]:
        texts = {"question": "Why?", "answer": "So.", "completion": "So.", place: said}
        if place.endswith("output"):
            outputs = {"preferred_output": "Yes.", "non_preferred_output": "No.", place: said}
            answers = {key: [{"role": "assistant", "content": value}] for key, value in outputs.items()}
            return {"input": {"messages": [{"role": "user", "content": "Why?"}]}, **answers}
        if place == "completion":
            return {"prompt": "Why?", "completion": said}
        return chat(texts["question"], texts["answer"])

    report = checked(tmp_path, [record(text)])
    assert report.ok
    assert "missing-value" in codes(report)
    assert "missing-value" not in codes(checked(tmp_path, [record(f"Why {text}?")]))


def test_an_empty_question_is_told_once_and_contradicts_nothing(tmp_path: Path) -> None:
    """Two texts that nobody asked for are no two answers."""
    report = checked(tmp_path, [chat(" ", "One."), chat("", "Two."), chat("", "Three.")])
    assert dict(report.counts) == {("warning", "empty-question"): 3}


def test_an_alpaca_row_without_instruction_is_its_input() -> None:
    """No empty line stands before it."""
    row = {"instruction": "", "input": "What is 7 + 5?", "output": "12"}
    (record,) = rt.layouts.convert_rows("alpaca", [row])
    assert isinstance(record, rt.ChatRecord)
    assert record.messages[0].text == "What is 7 + 5?"


def tool(name: str = "walk", **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


@pytest.mark.parametrize("name", ["Gmail: Find Email", "send mail", "f" * 65, "r\u00e9ponse", ""])
def test_a_function_name_that_no_server_takes_is_an_error(tmp_path: Path, name: str) -> None:
    """In tools, functions and calls."""
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
    records = {
        "tools[0].function.name": chat("?", tools=[tool(name)]),
        "functions[0].name": chat("?", functions=[tool(name)["function"]]),
        "messages[1].tool_calls[0].function.name": {
            "messages": [
                {"role": "user", "content": "?"},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": "ok"},
                {"role": "assistant", "content": "Done."},
            ]
        },
        "messages[1].function_call.name": {
            "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "function_call": call["function"]}]
        },
        "input.tools[0].function.name": {
            "input": {"messages": [{"role": "user", "content": "?"}], "tools": [tool(name)]},
            "preferred_output": [{"role": "assistant", "content": "a"}],
            "non_preferred_output": [{"role": "assistant", "content": "b"}],
        },
    }
    for path, record in records.items():
        found = [problem.path for problem in checked(tmp_path, [record]).problems if problem.code == "bad-tool-name"]
        assert found == [path]


def test_parameters_that_are_no_schema_are_told(tmp_path: Path) -> None:
    """A type that does not exist, and nulls that a table added; a default of null is a value."""
    wrong = tool(a={"type": "objekt"}, b=None, c={"type": "array", "items": {"type": "text"}, "description": None})
    right = tool(type={"type": ["integer", "null"], "default": None, "enum": [1, None]}, enum={"type": "string"})
    report = checked(tmp_path, [chat("?", tools=[wrong]), chat("!", tools=[right])])
    start = "tools[0].function.parameters.properties"
    assert {(problem.line, problem.code, problem.path) for problem in report.problems} == {
        (1, "bad-schema", f"{start}.a.type"),
        (1, "bad-schema", f"{start}.c.items.type"),
        (1, "null-in-schema", f"{start}.b"),
        (1, "null-in-schema", f"{start}.c.description"),
    }


def image(kind: str) -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_damaged_image_data_is_told_and_whole_data_is_not(tmp_path: Path, kind: str) -> None:
    """To the last sign, not only at its start."""
    data = image(kind)
    start, whole = f"data:image/{kind};base64,", base64.b64encode(data + b"x" * (-(len(data) + 1) % 3)).decode()
    padded = base64.b64encode(data + b"x" * ((1 - len(data)) % 3)).decode()
    assert padded.endswith("==")
    damaged = {
        "line breaks": start + base64.encodebytes(data).decode(),
        "no padding": start + padded.rstrip("="),
        "cut off": start + whole[:-7],
        "spoilt in the middle": start + whole[:200] + "*&" + whole[202:],
        "no host": "https://",
        "no host but a path": "http:///a.png",
    }
    for name, url in {"whole": start + padded, **damaged}.items():
        parts = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
        assert ("bad-image" in codes(checked(tmp_path, [chat(parts)]))) == (name != "whole"), name


def test_a_preference_pair_is_as_long_as_its_longer_conversation(tmp_path: Path) -> None:
    """The provider trains on two conversations; their tokens are all paid for."""

    def pair(wanted: int, unwanted: int) -> dict[str, Any]:
        said = [[{"role": "assistant", "content": "good " * number}] for number in (wanted, unwanted)]
        asked = {"messages": [{"role": "user", "content": "page " * 30_000}]}
        return {"input": asked, "preferred_output": said[0], "non_preferred_output": said[1] or said[0]}

    model = "gpt-4o-mini-2024-07-18"
    report = checked(tmp_path, [pair(20_000, 20_001)], model=model)
    assert report.ok
    assert report.stats.longest is not None
    assert report.stats.tokens is not None
    assert 50_000 < report.stats.longest < 50_100
    assert 70_000 < report.stats.tokens < 70_100
    assert "too-long" in codes(checked(tmp_path, [pair(10, 40_000)], model=model))


LAYOUTS: dict[str, dict[str, Any]] = {
    "dpo": {"prompt": "7 + 5?", "chosen": "12", "rejected": "13", "score_chosen": 1},
    "sharegpt": {"conversations": [{"from": "human", "value": "7 + 5?"}, {"from": "gpt", "value": "12"}]},
    "alpaca": {"instruction": "Add.", "input": "7 + 5", "output": "12"},
    "squad": {"context": "c", "question": "q", "answers": {"text": ["a"]}, "id": "1"},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_of_a_layout_are_told_the_way_in(tmp_path: Path, name: str) -> None:
    """By `check` and by `from_files`; further keys are named with what to do about them."""
    report = checked(tmp_path, [LAYOUTS[name]] * 3)
    assert dict(report.counts)["error", "unknown-format"] == 3
    assert f".layout('{name}')" in report.problems[0].hint
    with pytest.raises(rt.DatasetError, match=rf"layout\('{name}'\)"):
        rt.Dataset.from_files(tmp_path / "train.jsonl")
    further = checked(tmp_path, [{**LAYOUTS[name], "rating": 5}])
    assert f".layout('{name}', ignore=['rating'])" in further.problems[0].hint


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: b"PK\x03\x04" + data])
def test_a_packed_file_is_one_problem(tmp_path: Path, pack: Any) -> None:
    """And not one for every line that a byte of it happens to end."""
    path = tmp_path / "train.jsonl"
    path.write_bytes(pack(json.dumps(chat("?")).encode() * 50))
    report = rt.check_file(path, fix=True)
    assert [problem.code for problem in report.problems] == ["not-text"]
    assert "unpack" in report.problems[0].hint


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_pipe_is_checked(name: str) -> None:
    """`zcat train.jsonl.gz | ragtune check -`."""
    lines = "".join(json.dumps(chat(f"Question {n}?")) + "\n" for n in range(12))
    tool = Path(sys.executable).with_name("ragtune")
    done = subprocess.run([tool, "check", name], input=lines, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 examples: no problems" in done.stdout
    refused = subprocess.run([tool, "check", "--fix", name], input=lines, capture_output=True, text=True)
    assert "no file" in refused.stderr


@pytest.mark.parametrize("token", ["<|endoftext|>", "<|fim_suffix|>", "<|im_start|>", "<|endofprompt|>"])
@pytest.mark.parametrize("escaped", [False, True])
def test_a_sign_of_the_tokenizer_in_a_text_is_told(tmp_path: Path, token: str, escaped: bool) -> None:
    """An error for a model of OpenAI's, which fails the job; what only looks like one is text."""
    line = json.dumps(chat(f"What is {token} for?", f"It is {token}."))
    if escaped:
        line = line.replace("<", "\\u003c").replace(">", "\\u003e")
    path = tmp_path / "train.jsonl"
    path.write_text(f"{line}\n", encoding="utf-8")
    warned, refused = rt.check_file(path, min_examples=1), rt.check_file(path, min_examples=1, model="gpt-4o-mini")
    assert [(problem.path, problem.severity) for problem in warned.problems if problem.code == "special-token"] == [
        ("messages[0].content", "warning"),
        ("messages[1].content", "warning"),
    ]
    assert refused.counts["error", "special-token"] == 2
    harmless = token.replace("<|", "< |")
    assert "special-token" not in codes(checked(tmp_path, [chat(f"What is {harmless} for?", "a |> b <| c")]))


def test_two_answers_in_a_row_are_told(tmp_path: Path) -> None:
    """Azure refuses them; an answer to a tool between two calls is no second answer."""
    twice = {"messages": [*chat("?", "One.")["messages"], {"role": "assistant", "content": "Two."}]}
    report = checked(tmp_path, [twice, chat("!")])
    assert report.ok
    assert [(problem.line, problem.path) for problem in report.problems if problem.code == "assistant-twice"] == [
        (1, "messages[2].role")
    ]
    pair = {
        "input": {"messages": [*twice["messages"], {"role": "user", "content": "And?"}]},
        "preferred_output": [{"role": "assistant", "content": "a"}],
        "non_preferred_output": [{"role": "assistant", "content": "b"}],
    }
    assert [problem.path for problem in checked(tmp_path, [pair]).problems] == ["input.messages[2].role"]


def test_an_example_of_which_the_cut_leaves_nothing_to_train_is_told_apart(tmp_path: Path) -> None:
    """Whether its answer begins beyond the training context, or only ends there."""
    long, model = "page " * 66_000, "gpt-4o-mini-2024-07-18"
    history = [*chat("?", "Early.")["messages"], *chat(long, "Late.")["messages"]]
    unweighted = [history[0], {**history[1], "weight": 0}, *history[2:]]
    records = {
        "nothing": [chat(long, "So."), {"messages": unweighted}],
        "rest": [chat("?", long), {"messages": history}],
    }
    for left, ones in records.items():
        for record in ones:
            [problem] = [p for p in checked(tmp_path, [record], model=model).problems if p.code == "too-long"]
            assert ("nothing would be left to train on" in problem.message) == (left == "nothing")
