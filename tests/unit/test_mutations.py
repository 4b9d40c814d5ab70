"""One thing is broken in a valid file: the checker says what and where."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ragtune as rt

Record = dict[str, Any]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def valid(number: int) -> Record:
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
# What is done to a record, and what the path of a problem must begin with.
INSIDE: dict[str, tuple[Callable[[Record], None], str]] = {
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
# What is done to the bytes of a line.
OUTSIDE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda line: line[: len(line) // 2],
    "not UTF-8": lambda line: line.replace(b"What", b"Wh\xff"),
    "two records in one line": lambda line: line + line,
    "trailing comma": lambda line: line + b",",
    "a list": lambda line: b"[" + line + b"]",
    "single quotes": lambda line: line.replace(b'"', b"'"),
    "doubled key": lambda line: line.replace(b'"parallel_tool_calls"', b'"tools": [], "parallel_tool_calls"'),
    "NaN": lambda line: line.replace(b'"weight": 1', b'"weight": NaN'),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutations")


def write(folder: Path, lines: list[bytes]) -> rt.CheckReport:
    path = folder / "train.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return rt.check_file(path)


def lines_of(count: int) -> list[bytes]:
    return [json.dumps(valid(number)).encode() for number in range(count)]


def test_the_file_is_valid_before_anything_is_broken(folder: Path) -> None:
    """Otherwise the tests below would find what is always there."""
    assert write(folder, lines_of(30)).counts == {}


@given(count=st.integers(12, 30), where=st.integers(0, 11), kind=st.sampled_from([*INSIDE, *OUTSIDE]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_one_mutation_is_found_in_its_line_and_place(folder: Path, count: int, where: int, kind: str) -> None:
    """And nothing else is: every problem stands in the line that was changed."""
    judge(folder, count, where, kind)


@pytest.mark.parametrize("kind", [*INSIDE, *OUTSIDE])
def test_each_kind_of_mutation_is_found(folder: Path, kind: str) -> None:
    """Once for certain."""
    judge(folder, 12, 5, kind)


def judge(folder: Path, count: int, where: int, kind: str) -> None:
    lines = lines_of(count)
    expected = ""
    if kind in INSIDE:
        change, expected = INSIDE[kind]
        record = copy.deepcopy(valid(where))
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
