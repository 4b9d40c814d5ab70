"""Answers: text, refusals, tool calls, streams that add up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.model.answer import assembled


def chat(**message: Any) -> rt.Answer:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}
    return rt.Answer.from_wire({"id": "chatcmpl-1", "choices": [choice]})


def test_everything_the_server_says_is_there() -> None:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_800_000_000,
        "model": "ft:x",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "choices": [
            {"index": 0, "message": {"content": "a"}, "finish_reason": "stop", "logprobs": {"content": []}},
            {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
        ],
        "new_field": 1,
    }
    answer = rt.Answer.from_wire(body)
    assert (answer.text, answer.finish_reason, answer.logprobs) == ("a", "stop", {"content": []})
    assert [(choice.index, choice.text, choice.finish_reason) for choice in answer.choices][1] == (1, "b", "length")
    assert str(answer.usage) == "3 + 2 = 5 tokens"
    assert (answer.id, answer.model, answer.object) == ("chatcmpl-1", "ft:x", "chat.completion")
    assert answer.created is not None
    assert answer.created.isoformat() == "2027-01-15T08:00:00+00:00"
    assert answer.raw["new_field"] == 1


def test_what_a_server_leaves_out_is_none_and_not_zero() -> None:
    answer = rt.Answer.from_wire({"choices": [{"message": {"content": ""}}]})
    assert answer.text == ""
    assert answer.usage is answer.id is answer.created is answer.finish_reason is None


@pytest.mark.parametrize("role", ["system", "developer"])
def test_an_answer_knows_what_it_was_told_and_asked(role: str) -> None:
    sent = ({"role": role, "content": "Be brief."}, {"role": "user", "content": "Why?"})
    answer = rt.Answer(choices=(), sent=sent)
    assert (answer.system, answer.question) == ("Be brief.", "Why?")


def test_a_refusal_a_tool_call_and_no_choice_each_say_so() -> None:
    with pytest.raises(rt.EmptyAnswer, match="refused: 'I cannot'"):
        _ = chat(refusal="I cannot").text
    with pytest.raises(rt.EmptyAnswer, match="call lookup"):
        _ = chat(tool_calls=[{"function": {"name": "lookup", "arguments": "{}"}}]).text
    with pytest.raises(rt.EmptyAnswer, match="no choice"):
        _ = rt.Answer.from_wire({"choices": []}).text
    with pytest.raises(rt.EmptyAnswer, match="finish_reason 'stop'"):
        chat(content=None).wrapped(60)


def test_wrapping_keeps_paragraphs_and_the_width() -> None:
    wrapped = chat(content="one two three four\n\nfive").wrapped(9)
    assert wrapped == "one two\nthree\nfour\n\nfive"


def test_an_answer_that_was_cut_off_says_how_to_get_the_rest() -> None:
    body = {"choices": [{"index": 0, "text": "and so", "finish_reason": "length"}]}
    answer = rt.Answer.from_wire(body)
    assert answer.wrapped(80) == "and so\n[cut off at max_tokens; raise it for the rest]"
    assert answer.text == "and so"


def test_a_streamed_tool_call_adds_up() -> None:
    def chunk(**delta: Any) -> dict[str, Any]:
        return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}

    parts = [{"index": 0, "id": "call_1", "function": {"name": "look", "arguments": '{"a"'}}]
    more = [{"index": 0, "function": {"arguments": ":1}"}}]
    end = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    answer = rt.Answer.from_wire(assembled([chunk(role="assistant", tool_calls=parts), chunk(tool_calls=more), end]))
    assert answer.choices[0].tool_calls == ({"id": "call_1", "function": {"name": "look", "arguments": '{"a":1}'}},)
    assert answer.finish_reason == "tool_calls"


@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=4))), st.booleans())
def test_the_pieces_of_a_stream_add_up_per_choice(pieces: list[tuple[int, str]], logprobs: bool) -> None:
    """Whatever the order of the choices' pieces, each choice's text is its pieces in order."""
    chunks = [
        {
            "id": "c",
            "model": "m",
            "choices": [
                {
                    "index": index,
                    "delta": {"content": text},
                    "logprobs": {"content": [{"token": text}]} if logprobs else None,
                }
            ],
        }
        for index, text in pieces
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    answer = rt.Answer.from_wire(assembled([*chunks, {"id": "c", "choices": [], "usage": usage}]))
    for choice in answer.choices:
        mine = [text for index, text in pieces if index == choice.index]
        assert choice.text == "".join(mine)
        assert choice.logprobs == ({"content": [{"token": text} for text in mine]} if logprobs else None)
    assert answer.usage is not None
    assert answer.usage.total_tokens == 2
