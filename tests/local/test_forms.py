"""Answers in a form: JSON that fits a schema, whatever the model would rather say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragtune.local.http.errors import ApiError
from ragtune.local.wire.strict_schema import check_strict

Ask = Callable[..., Any]


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these properties."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def in_form(schema: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The request parameter."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True, **options}}


@pytest.fixture(scope="session")
def chat(answering: openai.OpenAI) -> Ask:
    """Ask the tiny base, which knows no JSON at all."""
    turns = [{"role": "user", "content": "Answer as JSON."}]
    defaults: dict[str, Any] = {
        "model": "tiny-random",
        "messages": turns,
        "max_tokens": 400,
        "temperature": 1,
        "seed": 1,
    }
    return lambda **options: answering.chat.completions.create(**{**defaults, **options})


WORD = {"type": "string", "maxLength": 6}
leaves = st.sampled_from(
    [
        {"type": "boolean"},
        {"type": "null"},
        {"type": "integer", "minimum": -20, "maximum": 300},
        {"enum": ["red", "green", 3, None]},
        WORD,
        {"type": "string", "pattern": "^[a-c]{1,4}$"},
        {"type": "string", "format": "date"},
    ]
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(["a", "b", "größe", 'q"']), inner, min_size=1, max_size=3).map(closed),
        inner.map(lambda part: {"type": "array", "items": part, "minItems": 1, "maxItems": 2}),
        st.lists(inner, min_size=2, max_size=2).map(lambda parts: {"anyOf": parts}),
    ),
    max_leaves=5,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=schemas, seed=st.integers(0, 1000))
def test_an_answer_always_parses_and_fits_its_schema(chat: Ask, part: dict[str, Any], seed: int) -> None:
    """A random model under a strict schema, hot and without a word of help."""
    schema = closed({"answer": part})
    answer = chat(response_format=in_form(schema), seed=seed, temperature=1.5)
    assert answer.choices[0].finish_reason == "stop"
    jsonschema.Draft202012Validator(schema).validate(json.loads(answer.choices[0].message.content))


@pytest.mark.slow
def test_any_object_is_an_object(chat: Ask) -> None:
    """`json_object`: many seeds, each whole answer parses."""
    answers = chat(response_format={"type": "json_object"}, n=8, max_tokens=200).choices
    whole = [json.loads(choice.message.content) for choice in answers if choice.finish_reason == "stop"]
    assert whole
    assert all(isinstance(value, dict) for value in whole)


def test_a_form_holds_in_a_stream_and_under_every_other_parameter(chat: Ask) -> None:
    """Streamed, greedy, with a bias against the opening brace and with penalties."""
    schema = closed({"colour": {"enum": ["red", "green"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}})
    options: dict[str, Any] = {
        "temperature": 0,
        "logit_bias": {"90": -100},
        "frequency_penalty": 2,
        "logprobs": True,
        "response_format": in_form(schema),
    }
    whole = chat(**options).choices[0]
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chat(**options, stream=True))
    assert streamed == whole.message.content
    jsonschema.validate(json.loads(streamed), schema)
    assert "".join(token.token for token in whole.logprobs.content) == streamed


def test_an_answer_that_is_cut_off_says_so(chat: Ask) -> None:
    """Five tokens are not enough for this object; nothing is made up to close it."""
    schema = closed({"text": {"type": "string", "minLength": 50}})
    choice = chat(response_format=in_form(schema), max_tokens=5).choices[0]
    assert choice.finish_reason == "length"
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(choice.message.content)


def test_typed_answers_come_through_the_clients_own_way(answering: openai.OpenAI) -> None:
    """`parse` of the official client with a pydantic model."""
    from pydantic import BaseModel

    class Verdict(BaseModel):
        right: bool
        score: int

    Verdict.model_rebuild(_types_namespace={"bool": bool, "int": int})
    turns: Any = [{"role": "user", "content": "Judge."}]
    options: dict[str, Any] = {"model": "tiny-random", "messages": turns, "temperature": 0, "max_tokens": 300}
    try:
        parsed = answering.chat.completions.parse(**options, response_format=Verdict)
    except openai.LengthFinishReasonError:
        return  # a random model may write digits for ever
    assert isinstance(parsed.choices[0].message.parsed, Verdict)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "object", "properties": {"a": WORD}, "required": ["a"]}, "additionalProperties"),
        ({**closed({"a": WORD, "b": WORD}), "required": ["a"]}, "'b' is missing"),
        (closed({"a": {"type": "object", "properties": {}}}), "properties.a"),
        (closed({"a": {"type": "array", "items": {"type": "object"}}}), "items"),
        (closed({"a": {"type": "string", "not": {"const": "x"}}}), "not"),
        (closed({"a": {"type": "text"}}), "text"),
    ],
)
def test_a_schema_that_cannot_be_held_to_is_refused(chat: Ask, schema: dict[str, Any], said: str) -> None:
    """What OpenAI refuses under `strict`, and keywords that are not served: 400 before anything is written."""
    with pytest.raises(openai.BadRequestError) as caught:
        chat(response_format=in_form(schema))
    assert caught.value.param == "response_format"
    assert said in caught.value.message


def test_a_schema_may_be_nested_as_deeply_as_a_body() -> None:
    """1,010 levels, which the reader of bodies takes and Python's stack would not; the fault at the bottom is found."""
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(1_010):
        schema = {"type": "array", "items": schema}
    with pytest.raises(ApiError, match=r"items\.items, 'additionalProperties' must be there"):
        check_strict(schema, param="response_format")


def test_without_strict_a_loose_schema_is_held_to_as_it_is(chat: Ask) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "maxProperties": 1}
    choice = chat(response_format=in_form(schema, strict=False)).choices[0]
    jsonschema.validate(json.loads(choice.message.content), schema)
