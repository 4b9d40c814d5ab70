"""Thoughts beside answers: the three spellings, who refuses them, and what a check says of tags in the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

import ragtune as rt
from ragtune.layouts import convert_rows
from ragtune.tokens import RecordCounter, counter_for

if TYPE_CHECKING:
    from pathlib import Path

THOUGHT = "The coat of arms shows a heron."


def talk(number: int, **answer: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": f"It is number {number}.", **answer}
    return {"messages": [{"role": "user", "content": f"Which bird is {number}?"}, said]}


def checked(folder: Path, *records: dict[str, Any], model: str | None = None) -> rt.CheckReport:
    path = folder / "train.jsonl"
    plain = [talk(number) for number in range(10)]
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in (*plain, *records)))
    return rt.check_file(path, model=model)


def found(report: rt.CheckReport) -> list[tuple[str, str]]:
    return [(problem.code, problem.severity) for problem in report.problems]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_every_spelling_of_a_thought_is_read_and_one_is_written(tmp_path: Path, key: str) -> None:
    record = rt.parse_record(talk(11, **{key: THOUGHT}))
    assert isinstance(record, rt.ChatRecord)
    assert record.messages[1].reasoning_content == THOUGHT
    assert record.to_dict()["messages"][1]["reasoning_content"] == THOUGHT
    (laid_out,) = convert_rows("messages", [talk(11, **{key: THOUGHT})])
    assert laid_out == record
    assert found(checked(tmp_path, talk(11, **{key: THOUGHT}))) == [("thoughts", "suggestion")]


def test_a_thought_belongs_to_the_assistant_and_is_told_once() -> None:
    with pytest.raises(rt.RecordError, match="'reasoning_content' is not a key of a message with role 'user'"):
        rt.Message(role="user", content="Hi", reasoning_content=THOUGHT)
    with pytest.raises(rt.RecordError, match="unknown key 'reasoning'"):
        rt.parse_record(talk(1, reasoning_content=THOUGHT, reasoning=THOUGHT))
    with pytest.raises(rt.RecordError, match="must be text"):
        rt.parse_record(talk(1, reasoning={"effort": "high"}))


def test_a_model_with_a_price_refuses_the_key_and_a_base_of_ones_own_takes_it(tmp_path: Path) -> None:
    thinking = talk(11, reasoning_content=THOUGHT)
    refused = checked(tmp_path, thinking, model="gpt-4o-mini-2024-07-18")
    assert found(refused) == [("thought-not-for-model", "error")]
    assert "first in line 11" in refused.problems[0].message
    assert "leave the thoughts out for this model" in refused.problems[0].hint
    assert found(checked(tmp_path, thinking, model="tiny-random")) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"<think>{THOUGHT}</think>\n\nA heron.", [("thought-in-text", "suggestion")]),
        ("<think>\n\n</think>\n\nA heron.", [("empty-thought", "warning")]),
        ("<think>Which bird could it be? A heron.", [("unclosed-thought", "warning")]),
        ("I think that </think> is a tag.", []),
        ("Wrap it in <think></think>.", []),
    ],
)
def test_tags_in_a_text_are_told_for_what_they_are(
    tmp_path: Path, content: str, expected: list[tuple[str, str]]
) -> None:
    assert found(checked(tmp_path, talk(11, content=content))) == expected


def test_a_question_may_speak_of_thinking(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "<think>What is this?"}, {"role": "assistant", "content": "A tag."}]
    assert found(checked(tmp_path, {"messages": asked})) == []


def test_thoughts_in_pairs_and_verdicts_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    good = {"role": "assistant", "content": "A heron.", "reasoning_content": THOUGHT}
    asked = [{"role": "user", "content": "Which bird?"}]
    bad = {"role": "assistant", "content": "A stork."}
    for record in (
        {"input": {"messages": asked}, "preferred_output": [good], "non_preferred_output": [bad]},
        {"prompt": asked, "completion": [good], "label": True},
    ):
        path.write_bytes(orjson.dumps(record) + b"\n")
        assert ("thoughts", "suggestion") in found(rt.check_file(path, min_examples=1))


def test_a_thought_counts_as_tokens_and_leaks_like_any_text(tmp_path: Path) -> None:
    counter = RecordCounter(counter_for("o200k_base"))
    with_thought, without = counter.count([talk(1, reasoning_content=THOUGHT), talk(1)])
    assert with_thought - without == counter.count_texts([THOUGHT])[0]
    one, two = (
        rt.DatasetBuilder.from_rows([{"n": n}] * 10)
        .records(lambda row: talk(row["n"], reasoning_content=THOUGHT))
        .build(tmp_path / str(n))
        for n in (1, 2)
    )
    shared = {item.field: item.exact for item in two.overlap(one).fields}
    assert shared["reasoning"] == 10


def test_the_choice_for_thoughts_is_the_embedded_backends_alone() -> None:
    from ragtune.dialects import dialect_named

    spec = rt.TuneSpec(model="m", method=rt.Supervised(reasoning="mask"))
    body = spec.request(dialect_named("local"))
    assert body["method"]["supervised"]["hyperparameters"] == {"reasoning": "mask"}
    for name in ("openai", "azure-foundry", "generic"):
        with pytest.raises(rt.Unsupported, match=r"a choice for thoughts \(reasoning\)"):
            spec.request(dialect_named(name))
    with pytest.raises(rt.SpecError, match="reasoning: 'hide' is not one of train, mask, drop, or None"):
        rt.Supervised(reasoning="hide")  # type: ignore[arg-type]
