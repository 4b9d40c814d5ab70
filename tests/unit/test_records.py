"""Typed records: what they take, what they refuse, what they write."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ragtune as rt
from ragtune.records import RecordFormat, detect_format

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
plain_message = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user"]), "content": text}, optional={"name": text}
)
answer = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": text}, optional={"name": text, "weight": st.sampled_from([0, 1])}
)
parts = st.lists(
    st.one_of(
        st.fixed_dictionaries({"type": st.just("text"), "text": text}),
        st.fixed_dictionaries(
            {
                "type": st.just("image_url"),
                "image_url": st.fixed_dictionaries(
                    {"url": text}, optional={"detail": st.sampled_from(["low", "auto"])}
                ),
            }
        ),
    ),
    min_size=1,
    max_size=3,
)
user_with_parts = st.fixed_dictionaries({"role": st.just("user"), "content": parts})
call = st.fixed_dictionaries(
    {
        "id": text,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": text, "arguments": text}),
    }
)
calling = st.fixed_dictionaries({"role": st.just("assistant"), "tool_calls": st.lists(call, min_size=1, max_size=2)})
tool_answer = st.fixed_dictionaries({"role": st.just("tool"), "content": text, "tool_call_id": text})
messages = st.lists(st.one_of(plain_message, answer, user_with_parts, calling, tool_answer), min_size=1, max_size=4)
tools = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.just("function"),
            "function": st.fixed_dictionaries(
                {"name": text}, optional={"parameters": st.just({"enum": [None, 1], "default": None})}
            ),
        }
    ),
    max_size=2,
)
records: dict[RecordFormat, st.SearchStrategy[dict[str, Any]]] = {
    "chat": st.fixed_dictionaries(
        {"messages": messages}, optional={"tools": tools, "parallel_tool_calls": st.booleans()}
    ),
    "completion": st.fixed_dictionaries({"prompt": text, "completion": text}),
    "preference": st.fixed_dictionaries(
        {
            "input": st.fixed_dictionaries({"messages": messages}, optional={"tools": tools}),
            "preferred_output": answer.map(lambda message: [message]),
            "non_preferred_output": answer.map(lambda message: [message]),
        }
    ),
    "unpaired": st.fixed_dictionaries(
        {"prompt": messages, "completion": answer.map(lambda message: [message]), "label": st.booleans()},
        optional={"tools": tools},
    ),
    "reinforcement": st.fixed_dictionaries(
        {"messages": messages}, optional={"answer": st.one_of(st.none(), text, st.lists(st.integers(0, 9)))}
    ),
}
any_record = st.one_of(*(st.tuples(st.just(name), strategy) for name, strategy in records.items()))


@given(any_record)
def test_a_record_of_any_kind_survives_writing_and_reading(given_record: tuple[RecordFormat, dict[str, Any]]) -> None:
    """parse -> line -> parse gives an equal record, and the line holds exactly the data that was given."""
    format, data = given_record
    record = rt.parse_record(data, format)
    line = record.to_json_line()
    assert orjson.loads(line) == data
    assert rt.parse_record(line, format) == record
    assert line.count(b"\n") == 1
    assert len(line.decode().splitlines()) == 1


BASE = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({**BASE, "mesages": []}, ["mesages", "unknown key"]),
        ({"messages": [{"role": "banana", "content": "x"}]}, ["messages[0].role", "'banana'", "assistant"]),
        ({"messages": [{"role": "user", "content": "x", "wieght": 1}]}, ["messages[0].wieght", "unknown key"]),
        ({"messages": [{"role": "user", "content": "x", "weight": 1}]}, ["weight", "'user'"]),
        ({"messages": [{"role": "assistant", "content": "x", "weight": 2}]}, ["messages[0].weight", "2"]),
        ({"messages": [{"role": "assistant", "content": "x", "weight": True}]}, ["messages[0].weight", "True"]),
        ({"messages": [{"role": "assistant", "content": "x", "weight": 1.0}]}, ["messages[0].weight", "1.0"]),
        ({"messages": [{"role": "user"}]}, ["content", "'user'"]),
        ({"messages": [{"role": "user", "content": 7}]}, ["messages[0].content", "7"]),
        ({"messages": [{"role": "user", "content": []}]}, ["messages[0].content"]),
        ({"messages": [{"role": "user", "content": [{"type": "txt"}]}]}, ["messages[0].content[0]", "txt"]),
        ({"messages": [{"role": "tool", "content": "x"}]}, ["tool_call_id"]),
        (
            {"messages": [{"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "x"}]}]},
            ["plain text"],
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            ["image", "user"],
        ),
        ({"messages": []}, ["messages"]),
        ({"prompt": ["x"], "completion": "y"}, ["prompt", "['x']"]),
        ({"prompt": "x"}, ["completion", "missing"]),
        (
            {
                "input": {"messages": [{"role": "user", "content": "x"}]},
                "preferred_output": [{"role": "user", "content": "a"}],
                "non_preferred_output": [{"role": "assistant", "content": "b"}],
            },
            ["preferred_output", "'user'"],
        ),
        ({"question": "x"}, ["'question'", "messages"]),
    ],
)
def test_a_wrong_record_is_refused_with_its_place_and_value(record: dict[str, Any], named: list[str]) -> None:
    """The message names what a person has to look for."""
    with pytest.raises(rt.RecordError) as caught:
        rt.parse_record(record)
    for word in named:
        assert word in str(caught.value)


@pytest.mark.parametrize("source", ["[1]", "12", '"text"', "{", "", b"\xff\xfe", "{'a': 1}"])
def test_a_line_that_is_no_object_is_refused(source: str | bytes) -> None:
    """Not JSON, or JSON of another kind."""
    with pytest.raises(rt.RecordError):
        rt.parse_record(source)


@pytest.mark.parametrize("key", ["text", "image_url", "str", "a[b]"])
def test_an_unknown_key_is_named_also_where_it_is_called_like_a_part_or_a_type(key: str) -> None:
    """Pydantic puts such words into the place of an error, too."""
    said = [{"role": "user", "content": "Hello"} | {key: "Hello"}, {"role": "assistant", "content": "Hi"}]
    with pytest.raises(rt.RecordError) as caught:
        rt.parse_record({"messages": said})
    assert f"messages[0].{key}: unknown key {key!r}" in str(caught.value)


def test_a_reference_field_may_have_any_name() -> None:
    """Also that of the first argument of every method."""
    asked = {"messages": [{"role": "user", "content": "Who?"}], "self": "Ada"}
    record = rt.parse_record(asked)
    assert isinstance(record, rt.ReinforcementRecord)
    assert record.to_dict() == asked


def test_an_unknown_format_is_refused_by_name() -> None:
    """A typo must not silently mean "take it from the keys"."""
    with pytest.raises(rt.RecordError, match="'caht'"):
        rt.parse_record(BASE, "caht")  # type: ignore[arg-type]


def test_records_are_frozen_comparable_and_picklable() -> None:
    """A record is a value."""
    record = rt.parse_record(BASE)
    assert isinstance(record, rt.ChatRecord)
    assert pickle.loads(pickle.dumps(record)) == record == rt.ChatRecord.model_validate(BASE)
    with pytest.raises(ValueError, match="frozen"):
        record.tools = ()


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (BASE, "chat"),
        ({"messages": [{"role": "user", "content": "x"}], "answer": "12"}, "reinforcement"),
        ({**BASE, "answer": "12"}, "chat"),
        ({"prompt": ""}, "completion"),
        ({"preferred_output": []}, "preference"),
        ({"text": "x"}, None),
    ],
)
def test_the_format_is_taken_from_the_keys(data: dict[str, Any], format: str | None) -> None:
    """The last message decides between a chat record with a stray key and a reinforcement record."""
    assert detect_format(data) == format


def test_every_record_of_the_tool_calling_file_is_kept_as_it_is(shared: Any) -> None:
    """103 real records with tools go in and come out equal."""
    lines = (shared / "data/openai-cookbook/drone_training.jsonl").read_bytes().splitlines()
    assert len(lines) == 103
    for line in lines:
        assert orjson.loads(rt.parse_record(line).to_json_line()) == orjson.loads(line)


def some_of(name: RecordFormat) -> st.SearchStrategy[tuple[RecordFormat, list[dict[str, Any]]]]:
    return st.tuples(st.just(name), st.lists(records[name], min_size=1, max_size=5))


@pytest.mark.slow
@given(st.sampled_from(sorted(records)).flatmap(some_of))
@settings(max_examples=40)
def test_a_file_of_any_kind_survives_building_and_reading(
    given_rows: tuple[RecordFormat, list[dict[str, Any]]],
) -> None:
    """Records that a function makes, written by a build, come back equal, from the dataset and from its file alone."""
    format, given_records = given_rows
    with tempfile.TemporaryDirectory() as name:
        builder = rt.DatasetBuilder.from_rows({"record": record} for record in given_records)
        dataset = builder.records(lambda row: rt.parse_record(row["record"], format)).build(Path(name) / "out")
        expected = [rt.parse_record(record, format) for record in given_records]
        assert dataset.format == format
        assert list(dataset.train) == expected
        assert dataset.train.path is not None
        assert list(rt.Dataset.from_files(dataset.train.path, format=format).train) == expected


def test_the_text_of_a_message_is_its_text_parts_joined() -> None:
    """A picture says nothing in words, and an answer that only calls a tool says nothing at all."""
    parts = [{"type": "text", "text": "What"}, {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]
    asked: dict[str, Any] = {"role": "user", "content": [*parts, {"type": "text", "text": "is this?"}]}
    assert rt.Message(**asked).text == "What\nis this?"
    call = {"id": "call_1", "function": {"name": "look", "arguments": "{}"}}
    called: dict[str, Any] = {"role": "assistant", "tool_calls": [call]}
    assert rt.Message(**called).text == ""
