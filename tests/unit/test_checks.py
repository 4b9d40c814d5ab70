"""Every rule about a training file finds its case, says where, and leaves good files alone."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ragtune as rt
from ragtune.checks.schema import gate
from ragtune.errors import DatasetError, RecordError
from ragtune.records import RecordFormat
from ragtune.tokens import encoding

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, you"}]}


def chat(*messages: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"messages": list(messages), **rest}


def user(content: Any = "Hi") -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any = "Hello, you", **rest: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **rest}


def call(*ids: str, arguments: str = "{}") -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "f", "arguments": arguments}} for i in ids]
    return {"role": "assistant", "tool_calls": calls}


def tool(call_id: str = "1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "done"}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def pair(wanted: str, unwanted: str, *messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "input": {"messages": list(messages) or [user()]},
        "preferred_output": [assistant(wanted)],
        "non_preferred_output": [assistant(unwanted)],
    }


def write(path: Path, *records: Any, good: int = 10) -> Path:
    """A file with good lines first, so that only the given records can be wrong."""
    fine = [chat(user(f"Question {n}?"), assistant(f"Answer number {n}")) for n in range(good)]
    path.write_text("".join(json.dumps(record) + "\n" for record in (*fine, *records)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("record", "code", "path"),
    [
        (chat(user(), {"role": "bot", "content": "x"}), "unknown-role", "messages[1].role"),
        (chat(user(), assistant(weight=2)), "bad-weight", "messages[1].weight"),
        (chat(user(), assistant(weight=0)), "all-weights-zero", "messages"),
        (chat(user(), assistant(), user()), "last-not-assistant", "messages[2].role"),
        (chat(user(), assistant("  \n")), "empty-answer", "messages[1].content"),
        (chat(user(), assistant(), stray=1), "unknown-key", "stray"),
        (chat(user(), {"role": "assistant"}), "missing-key", "messages[1].content"),
        (chat(user(), assistant(7)), "wrong-type", "messages[1].content"),
        (chat(), "empty-list", "messages"),
        (chat({**user(), "weight": 1}, assistant()), "key-not-for-role", "messages[0].weight"),
        (chat(user(), call("1"), assistant()), "tool-call-without-answer", "messages[1].tool_calls[0]"),
        (chat(user(), call("1"), tool("2"), assistant()), "tool-answer-without-call", "messages[2].tool_call_id"),
        (chat(user(), call("1", "1")), "doubled-tool-call-id", "messages[1].tool_calls[1].id"),
        (chat(user(), call("1"), {"role": "tool", "content": "x"}), "missing-key", "messages[2].tool_call_id"),
        (
            chat(user(), call("1"), {**tool(), "content": [{"type": "text", "text": "x"}]}, assistant()),
            "tool-content-parts",
            "messages[2].content",
        ),
        (
            chat(user(), call("1", arguments="{oops")),
            "arguments-not-json",
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            chat(user(), call("1", arguments='"{}"')),
            "arguments-encoded-twice",
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            chat(user(), call("1", arguments="[]")),
            "arguments-not-an-object",
            "messages[1].tool_calls[0].function.arguments",
        ),
        (chat(user(), assistant([image("https://x/y.png")])), "image-not-for-role", "messages[1].content[0]"),
        (chat(user([image("https://x")] * 11), assistant()), "too-many-images", "messages"),
        (chat(user([image("ftp://x")]), assistant()), "bad-image", "messages[0].content[0].image_url.url"),
        (
            chat(user([image("data:image/png;base64," + "A" * 14_000_000)]), assistant()),
            "image-too-large",
            "messages[0].content[0].image_url.url",
        ),
        (
            chat(user([image("data:image/png;base64,/9j/4AAQSkZJRgABAQ==")]), assistant()),
            "bad-image",
            "messages[0].content[0].image_url.url",
        ),
        (
            chat(user([image("data:image/png;base64,no base64")]), assistant()),
            "bad-image",
            "messages[0].content[0].image_url.url",
        ),
        (chat(user(), assistant([{"type": "text", "text": " "}])), "empty-answer", "messages[1].content"),
        (
            chat(user(), call("1"), tools=[{"type": "function", "function": {"name": "g"}}]),
            "unknown-tool",
            "messages[1].tool_calls[0].function.name",
        ),
        (chat({"role": "system", "content": "You"}, assistant()), "no-user-message", "messages"),
        (chat(user("a\u200bb"), assistant()), "invisible-character", "messages[0].content"),
        (chat(user("a\u202eb"), assistant()), "invisible-character", "messages[0].content"),
        (chat(user("a\U000e0041b"), assistant()), "invisible-character", "messages[0].content"),
        (chat(user("a\x07b"), assistant()), "invisible-character", "messages[0].content"),
        (chat(user("a\u2028b"), assistant()), "invisible-character", "messages[0].content"),
        (chat(user("\ufeffa"), assistant()), "invisible-character", "messages[0].content"),
        (chat(user("Say: Hello, you"), assistant()), "answer-in-prompt", "messages[1].content"),
        ({"prompt": "a", "completion": "b"}, "mixed-formats", ""),
        ({"text": "a"}, "unknown-key", "text"),
        ([1], "not-an-object", ""),
    ],
)
def test_each_rule_of_chat_files_finds_its_case(tmp_path: Path, record: Any, code: str, path: str) -> None:
    """Line 11, at the byte where it starts, with the path inside the record."""
    file = write(tmp_path / "t.jsonl", record)
    report = rt.check_file(file)
    found = [problem for problem in report.problems if problem.code == code]
    assert [problem.path for problem in found] == [path], str(report)
    assert found[0].line == 11
    assert found[0].byte_offset == file.read_bytes().index(json.dumps(record).encode())
    assert found[0].hint
    assert {problem.line for problem in report.problems} == {11}


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (pair("a", "a"), "equal-outputs"),
        (pair("", "b"), "empty-answer"),
        (pair("a", "b", user(), assistant()), "input-ends-with-assistant"),
        (pair("a", "b", user(), call("1"), user()), "tool-call-without-answer"),
        ({**pair("a", "b"), "preferred_output": [user()]}, "output-not-assistant"),
        ({**pair("a", "b"), "preferred_output": [assistant("a"), assistant("b")]}, "wrong-type"),
        ({"input": {"messages": [user()]}, "preferred_output": [assistant("a")]}, "missing-key"),
    ],
)
def test_each_rule_of_preference_files_finds_its_case(tmp_path: Path, record: Any, code: str) -> None:
    """Good pairs first, then the wrong one."""
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in [*[pair("a", "b")] * 10, record]))
    report = rt.check_file(file)
    assert [(p.line, p.code) for p in report.problems if p.severity == "error"] == [(11, code)], str(report)


@pytest.mark.slow
def test_the_quick_look_at_a_line_overlooks_no_invisible_character() -> None:
    """It looks for the last bytes alone, so each character is tried by itself, raw and escaped."""
    from ragtune.checks.content.invisible import invisible_faults, may_hide_characters

    signs = [chr(code) for code in range(0xE0080) if not 0xD800 <= code < 0xE000]
    hidden = [sign for sign in signs if any(invisible_faults({"text": sign}))]
    assert len(hidden) > 150
    for sign in hidden:
        assert may_hide_characters(json.dumps(sign, ensure_ascii=False).encode()), hex(ord(sign))
        assert may_hide_characters(json.dumps(sign).encode()), hex(ord(sign))


def test_every_invisible_character_of_a_text_is_told_raw_or_escaped(tmp_path: Path) -> None:
    """Each sign once, with where it first stands and how often."""
    record = chat(user("a\u200bb \u200b \ufeff"), assistant("caf\u00e9 \u2066ok"))
    texts = []
    for escaped in (True, False):
        path = write(tmp_path / f"{escaped}.jsonl")
        path.write_text(path.read_text() + json.dumps(record, ensure_ascii=escaped) + "\n")
        texts.append([(problem.path, problem.message) for problem in rt.check_file(path).problems])
    assert texts[0] == texts[1]
    assert texts[0] == [
        ("messages[0].content", "invisible character U+200B (zero width space) at position 1, 2 times"),
        ("messages[0].content", "invisible character U+FEFF (byte order mark) at position 6"),
        ("messages[1].content", "invisible character U+2066 (left-to-right isolate) at position 5"),
    ]


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.xlsx", "t.jsonl.gz", "t"])
def test_a_name_that_no_upload_takes_is_said_with_the_way_in(tmp_path: Path, name: str) -> None:
    """The server goes by the name, and the rows of a table need a template."""
    (problem,) = rt.check_file(write(tmp_path / name)).problems
    assert (problem.code, problem.severity, problem.line) == ("not-jsonl-name", "warning", None)
    ways = {".csv": "from_csv", ".json": "from_json", ".xlsx": "from_excel", ".gz": "unpack", "": "rename"}
    assert ways[(tmp_path / name).suffix] in problem.hint


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        ("\n".join(['{"prompt": "a", "completion": "b"}'] * 12).encode("utf-16"), ["not-utf8", "not-json"]),
        (json.dumps([{"prompt": "a", "completion": "b"}] * 12, indent=1).encode(), ["not-json"]),
        (b'{"question": "a", "correct_answer": "b"}\n' * 12, ["unknown-format"]),
    ],
)
def test_a_file_of_another_kind_is_told_of_once(tmp_path: Path, content: bytes, codes: list[str]) -> None:
    """One cause on every line is one problem on the screen; the report still holds them all."""
    path = tmp_path / "other.jsonl"
    path.write_bytes(content)
    report = rt.check_file(path)
    lines = str(report).splitlines()
    assert [code for line in lines for code in codes if f"error [{code}]" in line and "more" not in line] == codes
    assert len(lines) == 2 * len(codes) + 2
    assert len(report.problems) >= 12


@pytest.mark.parametrize(
    ("kind", "data", "is_such_an_image"),
    [
        ("webp", b"RIFF\x08\0\0\0WEBPVP8 ", True),
        ("webp", b"RIFF\x24\0\0\0WAVEfmt ", False),
        ("webp", b"WEBP\x24\0\0\0WEBPVP8 ", False),
        ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR....IEND", True),
        ("png", b"RIFF\x24\0\0\0WEBPVP8 ", False),
        ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF", True),
        ("jpeg", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", False),
    ],
)
def test_the_first_bytes_of_an_image_prove_its_kind(
    tmp_path: Path, kind: str, data: bytes, is_such_an_image: bool
) -> None:
    """A WEBP image is told from other RIFF files, sounds among them, by its second mark."""
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    report = rt.check_file(write(tmp_path / "t.jsonl", chat(user([image(url)]), assistant())))
    assert [problem.code for problem in report.problems] == ([] if is_such_an_image else ["bad-image"])


@pytest.mark.slow
def test_images_are_told_to_models_and_pairs_that_take_none(tmp_path: Path) -> None:
    """A model with vision takes them; pairs are text only in OpenAI's guide."""
    seen = chat(user([image("https://example.com/a.png")]), assistant())
    path = write(tmp_path / "t.jsonl", seen)
    assert rt.check_file(path, model="gpt-4o-2024-08-06").problems == ()
    assert [p.code for p in rt.check_file(path, model="gpt-4.1-nano-2025-04-14").problems] == ["images-not-for-model"]
    pairs = [pair(f"a{n}", "b", *seen["messages"][:1]) for n in range(10)]
    assert [p.code for p in rt.check_file(write(tmp_path / "p.jsonl", *pairs, good=0)).problems] == [
        "images-in-preference"
    ]


@pytest.mark.slow
def test_more_reinforcement_examples_than_are_taken_are_an_error(tmp_path: Path) -> None:
    """50,000 are taken."""
    path = tmp_path / "t.jsonl"
    line = '{"messages":[{"role":"user","content":"%d"}],"answer":"x"}\n'
    path.write_text("".join(line % n for n in range(50_001)))
    assert [problem.code for problem in rt.check_file(path).problems] == ["too-many-examples"]
    path.write_text("".join(line % n for n in range(50_000)))
    assert rt.check_file(path).problems == ()


def test_the_names_of_old_preference_files_are_recognised(tmp_path: Path) -> None:
    """The API renamed both keys; the hint says how they are called today."""
    old = {"input": {"messages": [user()]}, "preferred_completion": [assistant()], "non_preferred_completion": []}
    found = rt.check_file(write(tmp_path / "t.jsonl", old, good=0)).problems[0]
    assert found.code == "unknown-format"
    assert "preferred_output" in found.hint


def test_a_good_file_of_each_kind_has_no_problem(tmp_path: Path) -> None:
    """No rule cries without a reason."""
    kinds: dict[RecordFormat, Any] = {
        "chat": chat(user(), call("1"), tool("1"), assistant()),
        "completion": {"prompt": "Where?", "completion": " There"},
        "preference": pair("a", "b"),
        "unpaired": {"prompt": [user()], "completion": [assistant()], "label": True},
        "reinforcement": {"messages": [user()], "answer": "12"},
    }
    for format, record in kinds.items():
        file = write(tmp_path / f"{format}.jsonl", *[record] * 10, good=0)
        report = rt.check_file(file)
        assert {problem.code for problem in report.problems} <= {"duplicate-record", "one-label"}
        assert (report.ok, report.stats.format, report.stats.examples) == (True, format, 10)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"\xef\xbb\xbf" + b'{"prompt": "a", "completion": "b"}\n', "byte-order-mark", 1),
        (b'{"prompt": "a", "completion": "b"}\r\n', "crlf", 1),
        (b'{"prompt": "a", "completion": "b"}\n\n', "blank-line", 2),
        (b'{"prompt": "a", "completion": "caf\xe9"}\n', "not-utf8", 1),
        (b'{\n"prompt": "a"}\n', "not-json", 1),
        (b'{"prompt": NaN}\n', "not-json", 1),
    ],
)
def test_each_way_of_spoiling_a_file_is_found(tmp_path: Path, content: bytes, code: str, line: int) -> None:
    """Encodings, line ends, pretty-printing."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    problems = rt.check_file(path).problems
    assert code in [problem.code for problem in problems if problem.line == line]


def test_a_file_keeps_being_read_after_a_problem(tmp_path: Path) -> None:
    """Three wrong lines among good ones: three problems, in order."""
    bad = chat({"role": "x", "content": "y"})
    file = write(tmp_path / "t.jsonl", bad, GOOD, bad, GOOD, bad)
    errors = [problem.line for problem in rt.check_file(file).problems if problem.severity == "error"]
    assert errors == [11, 13, 15]


def test_the_number_of_kept_problems_is_bounded_and_the_rest_counted(tmp_path: Path) -> None:
    """Warnings make room for errors."""
    bad = chat({"role": "x", "content": "y"})
    doubtful = [chat(user(f"{n}\u200bb"), assistant()) for n in range(30)]
    report = rt.check_file(write(tmp_path / "t.jsonl", *doubtful, *[bad] * 20), max_problems=25)
    assert [problem.severity for problem in report.problems].count("error") == 20
    assert len(report.problems) == 25
    assert report.counts == {("warning", "invisible-character"): 30, ("error", "unknown-role"): 20}
    assert str(report).count("[unknown-role]") == 11  # ten listed, one line for the rest
    assert "10 more errors [unknown-role] counted, not listed" in str(report)


def test_a_validation_file_may_be_short(tmp_path: Path) -> None:
    """Ten examples are a rule for training files; a split of 5 % is often smaller."""
    path = tmp_path / "validation.jsonl"
    whole = write(tmp_path / "train.jsonl", *[chat(user(str(n)), assistant(f"a{n}")) for n in range(12)])
    path.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:3]))
    assert not rt.check_file(path).ok
    assert rt.check_file(path, min_examples=1).ok
    assert not rt.check_file(path, min_examples=4).ok


def test_a_file_that_needs_no_repair_gets_no_copy(tmp_path: Path) -> None:
    """A copy that equals its original would only claim that something was mended."""
    path = write(tmp_path / "fine.jsonl", *[chat(user(str(n)), assistant(f"a{n}")) for n in range(12)])
    assert rt.check_file(path, fix=True).fixed is None
    assert [item.name for item in tmp_path.iterdir()] == ["fine.jsonl"]


def test_fewer_than_ten_examples_are_an_error(tmp_path: Path) -> None:
    """Nine are too few, ten are enough."""
    assert not rt.check_file(write(tmp_path / "t.jsonl", good=9)).ok
    assert rt.check_file(write(tmp_path / "t.jsonl", good=10)).ok
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert "0 examples" in str(rt.check_file(tmp_path / "empty.jsonl"))


def test_an_example_longer_than_the_training_context_is_an_error(tmp_path: Path) -> None:
    """The end would be cut off, and the end is the answer."""
    report = rt.check_file(write(tmp_path / "t.jsonl", chat(user("word " * 70_000), assistant())), model="gpt-4o-mini")
    assert [(problem.line, problem.code) for problem in report.problems] == [(11, "too-long")]
    assert report.stats.longest is not None
    assert report.stats.longest > 65_536


def test_an_example_of_exactly_the_training_context_fits(tmp_path: Path) -> None:
    """One token more does not."""

    def longest(words: int) -> rt.CheckReport:
        return rt.check_file(write(tmp_path / "t.jsonl", chat(user("word " * words), assistant())), model="gpt-4o-mini")

    around = longest(60_000).stats.longest
    assert around is not None
    full, over = longest(60_000 + 65_536 - around), longest(60_000 + 65_536 - around + 1)
    assert (full.stats.longest, over.stats.longest) == (65_536, 65_537)
    assert full.ok
    assert [problem.code for problem in over.problems] == ["too-long"]


def test_the_tokens_of_a_file_are_those_of_its_records(tmp_path: Path) -> None:
    """Three for each message, three for each example, and the texts with their roles."""
    file = write(tmp_path / "t.jsonl", chat(user("word " * 50), assistant()))
    records = [json.loads(line)["messages"] for line in file.read_text().splitlines()]
    texts = [[text for message in record for text in message.values()] for record in records]
    encode = encoding("o200k_base").encode
    each = [3 + 3 * len(m) + sum(len(encode(text)) for text in told) for m, told in zip(records, texts, strict=True)]
    stats = rt.check_file(file, model="gpt-4o-mini").stats
    assert (stats.tokens, stats.longest) == (sum(each), max(each))


def test_a_file_of_the_wrong_kind_for_the_model_is_an_error(tmp_path: Path) -> None:
    """Pairs for a chat model, and the reverse."""
    pairs = write(tmp_path / "t.jsonl", *[{"prompt": "a", "completion": " b"}] * 10, good=0)
    assert not rt.check_file(pairs, model="gpt-4o-mini").ok
    assert not rt.check_file(write(tmp_path / "c.jsonl"), model="babbage-002").ok
    assert not rt.check_file(write(tmp_path / "c.jsonl"), model="o4-mini-2025-04-16").ok
    assert not rt.check_file(write(tmp_path / "p.jsonl", *[pair("a", "b")] * 10, good=0), model="gpt-3.5-turbo").ok
    assert rt.check_file(write(tmp_path / "p.jsonl", *[pair("a", "b")] * 10, good=0), model="gpt-4o-mini").ok
    assert rt.check_file(write(tmp_path / "c.jsonl"), model="smollm2-135m-instruct").ok


def test_a_model_that_nobody_knows_is_said_and_not_an_error(tmp_path: Path) -> None:
    """Unknown is not wrong."""
    report = rt.check_file(write(tmp_path / "t.jsonl"), model="gpt-9")
    assert report.ok
    assert [problem.code for problem in report.problems] == ["unknown-model"]


def test_a_folder_and_a_missing_file_are_plain_errors(tmp_path: Path) -> None:
    """The message says which files there are."""
    write(tmp_path / "train.jsonl")
    with pytest.raises(DatasetError, match=r"is a folder.*train\.jsonl"):
        rt.check_file(tmp_path)
    with pytest.raises(DatasetError, match="No such file"):
        rt.check_file(tmp_path / "none.jsonl")
    with pytest.raises(DatasetError, match="'caht'"):
        rt.check_file(tmp_path / "train.jsonl", format="caht")  # type: ignore[arg-type]


def test_the_report_is_plain_json_values(tmp_path: Path) -> None:
    """What a program reads instead of the text."""
    report = rt.check_file(write(tmp_path / "t.jsonl", chat({"role": "x", "content": "y"})))
    values = json.loads(json.dumps(report.to_dict()))
    assert values["ok"] is False
    assert values["problems"][0]["path"] == "messages[0].role"
    assert list(values) == "path ok model stats counts problems fixed left_out".split()
    assert {frozenset(count) for count in values["counts"]} == {frozenset({"severity", "code", "count"})}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "name", "weight", "messages", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "x"])
rough_message = st.fixed_dictionaries(
    {},
    optional={
        "role": roles | json_values,
        "content": json_values,
        "weight": json_values,
        "name": json_values,
        "x": json_values,
    },
)
rough_chat = st.fixed_dictionaries(
    {"messages": st.lists(rough_message, max_size=3) | json_values}, optional={"x": json_values}
)


@pytest.mark.slow
@given(rough_chat)
@settings(max_examples=500)
def test_what_the_fast_gate_lets_through_the_typed_record_takes_too(data: dict[str, Any]) -> None:
    """The gate is a shortcut, never a loophole."""
    fast = gate("chat")
    assert fast is not None
    try:
        assert fast(json.dumps(data).encode()) == data
    except ValueError:
        return
    rt.parse_record(data, "chat")


@pytest.mark.slow
@given(rough_chat)
@settings(max_examples=500)
def test_a_record_is_refused_exactly_when_the_checker_finds_a_schema_error(data: dict[str, Any]) -> None:
    """One truth: `parse_record` and the checker agree."""
    from ragtune.checks.schema import shape_faults

    faults = shape_faults(data, "chat")
    try:
        rt.parse_record(data, "chat")
    except RecordError:
        assert faults
    else:
        assert not faults


@pytest.mark.slow
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_never_crash_the_checker(tmp_path: Path, content: bytes) -> None:
    """Whatever is in the file, there is a report."""
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes(content)
    assert not rt.check_file(path).ok


@pytest.mark.parametrize(
    "line",
    [
        '{"messages": [{"role": "user", "content": "a", "content": "b"}, {"role": "assistant", "content": "c"}]}',
        '{"messages":[{"role":"user","content" : "a","content":"b"},{"role":"assistant","content":"c"}]}',
        '{"messages": 1, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]}',
    ],
)
def test_a_key_that_stands_twice_is_found(tmp_path: Path, line: str) -> None:
    """Readers take the last one; which one was meant?"""
    path = write(tmp_path / "t.jsonl")
    path.write_text(path.read_text() + line + "\n")
    assert [(p.line, p.code) for p in rt.check_file(path).problems] == [(11, "doubled-key")]


def test_colons_after_quotes_inside_texts_are_no_keys(tmp_path: Path) -> None:
    """`He said "x": ...` must not cry wolf."""
    assert rt.check_file(write(tmp_path / "t.jsonl", chat(user('"a": "b"'), assistant('said "c":')))).problems == ()


def test_doubled_records_and_contradictions_name_the_earlier_line(tmp_path: Path) -> None:
    """The second "Hi" says the same as the first, the third something else."""
    other = chat(user(" hi"), assistant("Good morning"))
    report = rt.check_file(
        write(tmp_path / "t.jsonl", GOOD, GOOD, other, chat({"role": "system", "content": "S"}, *other["messages"]))
    )
    assert [(p.line, p.code, p.severity) for p in report.problems] == [
        (12, "duplicate-record", "warning"),
        (13, "contradiction", "warning"),
    ]
    assert "line 11" in report.problems[0].message
    assert report.problems[1].byte_offset == (tmp_path / "t.jsonl").read_bytes().index(json.dumps(other).encode())


def test_contradictions_are_found_in_every_kind(tmp_path: Path) -> None:
    """Pairs the other way round, and other references to the same question; other pairs for one input are none."""
    swapped = [pair("a", "b"), pair("b", "a"), pair("a", "c")]
    asked = [{"messages": [user()], "answer": answer} for answer in ("12", "13")]
    written = [{"prompt": "Hi ->", "completion": f" {text} END"} for text in ("a", "b")]
    for name, records, line, place in (
        ("pairs", swapped, 2, "preferred_output"),
        ("references", asked, 2, ""),
        ("completions", written, 2, "completion"),
    ):
        problems = rt.check_file(write(tmp_path / f"{name}.jsonl", *records, good=0)).problems
        found = [(p.line, p.path) for p in problems if p.code == "contradiction"]
        assert found == [(line, place)], name


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_a_line_may_nest_as_deep_as_it_can_be_read(tmp_path: Path, opened: str, closed: str) -> None:
    """Deeper than Python's functions may call themselves."""
    path = tmp_path / "deep.jsonl"
    path.write_text(f'{{"messages": [{json.dumps(user())}], "x": {opened * 1020}1{closed * 1020}}}\n')
    report = rt.check_file(path, format="reinforcement", min_examples=1)
    assert (report.stats.examples, report.counts) == (1, {})
