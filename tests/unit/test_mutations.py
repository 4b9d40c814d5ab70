"""One thing is broken in a valid file: the checker says what and where."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ragtune as rt
from ragtune.records import path_text

Record = dict[str, Any]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def chat(number: int) -> Record:
    """A record with everything that can be broken."""
    call = {"id": f"call_{number}", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    return {
        "messages": [
            {"role": "system", "content": "Answer."},
            {"role": "user", "content": f"What is number {number}?"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": f"found {number * 7}"},
            {"role": "assistant", "content": f"It is {number * 7}.", "weight": 1},
        ],
        "tools": [TOOL],
        "parallel_tool_calls": False,
    }


def completion(number: int) -> Record:
    """As the legacy rules want it: a separator, a leading space, a stop sequence."""
    name = f"{chr(97 + number % 26)}{number}"
    return {"prompt": f"{name}: which is it? ->", "completion": f" {name[::-1]} is number {number * 7} END"}


def preference(number: int) -> Record:
    question = [{"role": "system", "content": "Answer."}, {"role": "user", "content": f"What is number {number}?"}]
    return {
        "input": {"messages": question, "tools": [TOOL], "parallel_tool_calls": False},
        "preferred_output": [{"role": "assistant", "content": f"It is {number * 7}."}],
        "non_preferred_output": [{"role": "assistant", "content": f"Who cares about {number * 9}?"}],
    }


def unpaired(number: int) -> Record:
    question = [{"role": "system", "content": "Answer."}, {"role": "user", "content": f"What is number {number}?"}]
    answer = [{"role": "assistant", "content": f"It is {number * 7}."}]
    return {"prompt": question, "completion": answer, "label": number % 2 == 0, "tools": [TOOL]}


def reinforcement(number: int) -> Record:
    question = [{"role": "developer", "content": "Answer."}, {"role": "user", "content": f"What is number {number}?"}]
    return {"messages": question, "tools": [TOOL], "answer": {"number": number * 7}}


VALID: dict[str, Callable[[int], Record]] = {
    "chat": chat,
    "completion": completion,
    "preference": preference,
    "unpaired": unpaired,
    "reinforcement": reinforcement,
}


def replaced_by(other: Record) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        record.clear()
        record.update(other)

    return change


def changed(*path: str | int, to: Any) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        place: Any = record
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


def removed(*path: str | int) -> Callable[[Record], None]:
    def remove(record: Record) -> None:
        place: Any = record
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return remove


M, CALL = "messages", ("messages", 2, "tool_calls", 0)
Mutation = tuple[Callable[[Record], None], str]
# What is done to a record, and what the path of a problem must begin with.
IN_CHAT: dict[str, Mutation] = {
    "no messages": (removed(M), ""),
    "messages empty": (changed(M, to=[]), "messages"),
    "messages an object": (changed(M, to={}), "messages"),
    "message no object": (changed(M, 1, to="hello"), "messages[1]"),
    "unknown role": (changed(M, 1, "role", to="human"), "messages[1]"),
    "role missing": (removed(M, 1, "role"), "messages[1]"),
    "role no text": (changed(M, 1, "role", to=7), "messages[1]"),
    "content missing": (removed(M, 1, "content"), "messages[1]"),
    "content a number": (changed(M, 1, "content", to=7), "messages[1].content"),
    "content null": (changed(M, 1, "content", to=None), "messages[1].content"),
    "answer empty": (changed(M, 4, "content", to="  "), "messages[4].content"),
    "answer null": (changed(M, 4, "content", to=None), "messages[4]"),
    "last message of the user": (changed(M, 4, to={"role": "user", "content": "And?"}), "messages"),
    "unknown key of a message": (changed(M, 1, "mood", to="good"), "messages[1]"),
    "unknown key of a record": (changed("prompts", to="x"), "prompts"),
    "weight two": (changed(M, 4, "weight", to=2), "messages[4].weight"),
    "weight a text": (changed(M, 4, "weight", to="1"), "messages[4].weight"),
    "arguments no JSON": (changed(*CALL, "function", "arguments", to="{at: 1"), "messages[2].tool_calls[0]"),
    "arguments twice": (changed(*CALL, "function", "arguments", to='"{\\"at\\": 1}"'), "messages[2].tool_calls[0]"),
    "arguments an object": (changed(*CALL, "function", "arguments", to={"at": 1}), "messages[2].tool_calls[0]"),
    "call without id": (removed(*CALL, "id"), "messages[2].tool_calls[0]"),
    "call of unknown type": (changed(*CALL, "type", to="tool"), "messages[2].tool_calls[0]"),
    "call not answered": (changed(M, 3, "tool_call_id", to="other"), "messages"),
    "tool message without id": (removed(M, 3, "tool_call_id"), "messages[3]"),
    "tools no list": (changed("tools", to="look"), "tools"),
    "tool without function": (removed("tools", 0, "function"), "tools[0]"),
    "parallel_tool_calls a text": (changed("parallel_tool_calls", to="no"), "parallel_tool_calls"),
    "invisible character": (changed(M, 4, "content", to="It is \u200b7."), "messages[4].content"),
}
IN_COMPLETION: dict[str, Mutation] = {
    "no prompt": (removed("prompt"), ""),
    "no completion": (removed("completion"), ""),
    "prompt null": (changed("prompt", to=None), "prompt"),
    "prompt a list": (changed("prompt", to=["What?"]), "prompt"),
    "completion a number": (changed("completion", to=7), "completion"),
    "completion empty": (changed("completion", to="  "), "completion"),
    "unknown key": (changed("label", to="x"), "label"),
    "invisible character": (changed("prompt", to="W\u200bhat is it? ->"), "prompt"),
    "a chat record": (replaced_by(chat(3)), ""),
}
BETTER, WORSE, INPUT = ("preferred_output", 0), ("non_preferred_output", 0), ("input", "messages")
IN_PREFERENCE: dict[str, Mutation] = {
    "no input": (removed("input"), ""),
    "no preferred output": (removed("preferred_output"), ""),
    "no other output": (removed("non_preferred_output"), ""),
    "input a text": (changed("input", to="What?"), "input"),
    "no messages": (removed(*INPUT), "input"),
    "messages empty": (changed(*INPUT, to=[]), "input.messages"),
    "unknown role": (changed(*INPUT, 1, "role", to="human"), "input.messages[1]"),
    "content a number": (changed(*INPUT, 1, "content", to=7), "input.messages[1].content"),
    "input ends with an answer": (changed(*INPUT, 1, "role", to="assistant"), "input"),
    "output an object": (changed("preferred_output", to={}), "preferred_output"),
    "output empty": (changed("non_preferred_output", to=[]), "non_preferred_output"),
    "two outputs": (lambda record: record["preferred_output"].append({**record["preferred_output"][0]}), "preferred"),
    "output of the user": (changed(*BETTER, "role", to="user"), "preferred_output"),
    "answer empty": (changed(*BETTER, "content", to=" "), "preferred_output[0]"),
    "other answer empty": (changed(*WORSE, "content", to=""), "non_preferred_output[0]"),
    "answer a number": (changed(*WORSE, "content", to=7), "non_preferred_output[0].content"),
    "unknown key of an output": (changed(*BETTER, "score", to=1), "preferred_output[0]"),
    "unknown key of the input": (changed("input", "prompt", to="x"), "input.prompt"),
    "unknown key": (changed("chosen", to="x"), "chosen"),
    "equal outputs": (lambda record: record.update(preferred_output=record["non_preferred_output"]), ""),
    "tools no list": (changed("input", "tools", to="look"), "input.tools"),
    "invisible character": (changed(*BETTER, "content", to="It is \u200b7."), "preferred_output[0].content"),
}
JUDGED = ("completion", 0)
IN_UNPAIRED: dict[str, Mutation] = {
    "no prompt": (removed("prompt"), ""),
    "no completion": (removed("completion"), ""),
    "no label": (removed("label"), ""),
    "label a number": (changed("label", to=1), "label"),
    "label a text": (changed("label", to="true"), "label"),
    "prompt a text": (changed("prompt", to="What?"), "prompt"),
    "prompt empty": (changed("prompt", to=[]), "prompt"),
    "unknown role": (changed("prompt", 1, "role", to="human"), "prompt[1]"),
    "prompt ends with an answer": (changed("prompt", 1, "role", to="assistant"), "prompt"),
    "completion empty": (changed("completion", to=[]), "completion"),
    "two answers": (lambda record: record["completion"].append({**record["completion"][0]}), "completion"),
    "answer of the user": (changed(*JUDGED, "role", to="user"), "completion"),
    "answer empty": (changed(*JUDGED, "content", to=" "), "completion[0]"),
    "answer a number": (changed(*JUDGED, "content", to=7), "completion[0].content"),
    "unknown key": (changed("rating", to=5), "rating"),
    "tools no list": (changed("tools", to="look"), "tools"),
    "invisible character": (changed(*JUDGED, "content", to="It is \u200b7."), "completion[0].content"),
}
IN_REINFORCEMENT: dict[str, Mutation] = {
    "no messages": (removed(M), ""),
    "messages empty": (changed(M, to=[]), "messages"),
    "message no object": (changed(M, 1, to="hello"), "messages[1]"),
    "unknown role": (changed(M, 1, "role", to="human"), "messages[1]"),
    "content missing": (removed(M, 1, "content"), "messages[1]"),
    "content null": (changed(M, 1, "content", to=None), "messages[1].content"),
    "unknown key of a message": (changed(M, 1, "mood", to="good"), "messages[1]"),
    "answers itself": (lambda record: record[M].append({"role": "assistant", "content": "Seven."}), "messages"),
    "tool without function": (removed("tools", 0, "function"), "tools[0]"),
    "invisible character": (changed(M, 1, "content", to="What is \u200bit?"), "messages[1].content"),
}
INSIDE = {
    "chat": IN_CHAT,
    "completion": IN_COMPLETION,
    "preference": IN_PREFERENCE,
    "unpaired": IN_UNPAIRED,
    "reinforcement": IN_REINFORCEMENT,
}
# What is done to the bytes of a line, of any kind.
OUTSIDE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda line: line[: len(line) // 2],
    "not UTF-8": lambda line: line.replace(b"is", b"i\xff", 1),
    "two records in one line": lambda line: line + line,
    "trailing comma": lambda line: line + b",",
    "a list": lambda line: b"[" + line + b"]",
    "single quotes": lambda line: line.replace(b'"', b"'"),
    "doubled key": lambda line: line[:-1] + b", " + line[1:],
    "NaN": lambda line: line[:-1] + b', "weight": NaN}',
    "a byte order mark": lambda line: b"\xef\xbb\xbf" + line,
    "blank": lambda line: b" ",
}
KINDS = [(format, kind) for format in VALID for kind in (*INSIDE[format], *OUTSIDE)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutations")


def write(folder: Path, lines: list[bytes]) -> rt.CheckReport:
    path = folder / "train.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return rt.check_file(path)


def lines_of(format: str, count: int) -> list[bytes]:
    return [json.dumps(VALID[format](number)).encode() for number in range(count)]


@pytest.mark.parametrize("format", VALID)
def test_the_file_is_valid_before_anything_is_broken(folder: Path, format: str) -> None:
    """Otherwise the tests below would find what is always there; hints about the whole file are no line's fault."""
    report = write(folder, lines_of(format, 30))
    assert report.ok
    assert report.stats.format == format
    assert not [problem for problem in report.problems if problem.line is not None]


@pytest.mark.slow
@given(count=st.integers(12, 30), where=st.integers(1, 11), kind=st.sampled_from(KINDS))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_one_mutation_is_found_in_its_line_and_place(
    folder: Path, count: int, where: int, kind: tuple[str, str]
) -> None:
    """And nothing else is: every problem stands in the line that was changed."""
    judge(folder, count, where, *kind)


@pytest.mark.parametrize(("format", "kind"), KINDS)
def test_each_kind_of_mutation_is_found(folder: Path, format: str, kind: str) -> None:
    """Once for certain."""
    judge(folder, 12, 5, format, kind)


def judge(folder: Path, count: int, where: int, format: str, kind: str) -> None:
    lines = lines_of(format, count)
    expected = ""
    if kind in INSIDE[format]:
        change, expected = INSIDE[format][kind]
        record = copy.deepcopy(VALID[format](where))
        change(record)
        lines[where] = json.dumps(record, ensure_ascii=False).encode()
    else:
        lines[where] = OUTSIDE[kind](lines[where])
    report = write(folder, lines)
    inside = [problem for problem in report.problems if problem.line is not None]
    assert inside, report
    offset = sum(len(line) + 1 for line in lines[:where])
    assert {(problem.line, problem.byte_offset) for problem in inside} == {(where + 1, offset)}
    assert any(problem.path.startswith(expected) for problem in inside), report


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of all texts, without those in which anything may stand."""
    if isinstance(value, str):
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key not in ("parameters", "answer"):
            yield from leaves(item, (*path, key))


@pytest.mark.parametrize("format", VALID)
def test_a_number_in_place_of_any_text_is_found_where_it_stands(folder: Path, format: str) -> None:
    """Text by text through the whole record: the problem's path leads to the text or to what holds it."""
    places = list(leaves(VALID[format](5)))
    assert places
    for place in places:
        lines = lines_of(format, 12)
        record = VALID[format](5)
        changed(*place, to=7)(record)
        lines[5] = json.dumps(record).encode()
        found = [problem.path for problem in write(folder, lines).problems if problem.line == 6]
        assert any(path and path_text(place).startswith(path) for path in found), (place, found)
