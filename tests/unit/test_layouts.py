"""Layouts: rows as people have them become plain rows or typed records, and what does not fit says why."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragtune.errors import DatasetError
from ragtune.layouts import LAYOUTS, convert_rows, detect, explain, get_layout
from ragtune.records import ChatRecord, CompletionRecord, PreferenceRecord, UnpairedRecord

if TYPE_CHECKING:
    from pathlib import Path

texts = st.text(min_size=1, max_size=30).filter(str.strip)


def one(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """The only thing that a row gives, as plain dicts."""
    (converted,) = convert_rows(name, [row])
    return converted if isinstance(converted, dict) else converted.to_dict()


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


PAIR = {
    "input": {"messages": [user("7 + 5?")]},
    "preferred_output": [assistant("12")],
    "non_preferred_output": [assistant("13")],
}

# One valid row per spelling, in the order in which the layouts list their key sets.
SAMPLES: dict[str, list[dict[str, Any]]] = {
    "alpaca": [{"instruction": "Add.", "input": "7 + 5", "output": "12"}],
    "completion": [{"prompt": "7 + 5", "completion": " 12"}],
    "contexts": [
        {"question": "q", "contexts": ["a", "b"], "answer": "c"},
        {"question": "q", "contexts": ["a", "b"], "ground_truth": "c", "answer": "guess"},
        {"user_input": "q", "retrieved_contexts": ["a", "b"], "reference": "c"},
    ],
    "dpo": [
        {"prompt": "7 + 5?", "chosen": "12", "rejected": "13"},
        {"question": "7 + 5?", "chosen": "12", "rejected": "13"},
        {"instruction": "7 + 5?", "input": "", "chosen": "12", "rejected": "13"},
        {
            "conversations": [{"from": "human", "value": "7 + 5?"}],
            "chosen": {"from": "gpt", "value": "12"},
            "rejected": {"from": "gpt", "value": "13"},
        },
        {"messages": [user("7 + 5?")], "chosen": assistant("12"), "rejected": assistant("13")},
        {"chosen": [user("7 + 5?"), assistant("12")], "rejected": [user("7 + 5?"), assistant("13")]},
    ],
    "kto": [
        row
        for label in ("label", "kto_tag")
        for row in (
            {"prompt": "7 + 5?", "completion": "12", label: True},
            {"instruction": "7 + 5?", "output": "12", label: True},
            {"messages": [user("7 + 5?"), assistant("12")], label: True},
            {"conversations": [{"from": "human", "value": "7 + 5?"}, {"from": "gpt", "value": "12"}], label: True},
        )
    ],
    "messages": [{"messages": [user("7 + 5?"), assistant("12")]}],
    "preference": [PAIR],
    "pubmedqa": [
        {"question": "q", "context": {"contexts": ["a", "b"]}, "long_answer": "l", "final_decision": "yes"},
        {"QUESTION": "q", "CONTEXTS": ["a", "b"], "LONG_ANSWER": "l", "final_decision": "yes", "YEAR": "2011"},
    ],
    "sharegpt": [
        {key: [{"from": "human", "value": "7 + 5?"}, {"from": "gpt", "value": "12"}]}
        for key in ("conversations", "conversation", "items")
    ],
    "squad": [
        {"context": "c", "question": "q", "answers": {"text": ["c"], "answer_start": [0]}},
        {"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": [{"text": "c", "answer_start": 0}]}]}]},
        {"data": [{"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": [{"text": "c"}]}]}]}]},
    ],
}
SPELLINGS = [(name, index) for name, rows in SAMPLES.items() for index in range(len(rows))]


def test_every_spelling_of_every_layout_has_a_sample() -> None:
    """The tables below speak of all of them."""
    assert {name: len(layout.keys) for name, layout in LAYOUTS.items()} == {n: len(r) for n, r in SAMPLES.items()}


@pytest.mark.parametrize(("name", "index"), SPELLINGS)
def test_a_sample_is_recognised_and_converted_to_what_its_layout_promises(name: str, index: int) -> None:
    """Exactly one layout fits each sample, and the kind holds."""
    row = SAMPLES[name][index]
    assert [fit.layout for fit in detect(row) if fit.exact] == [name]
    types = {
        "chat": ChatRecord,
        "completion": CompletionRecord,
        "preference": PreferenceRecord,
        "unpaired": UnpairedRecord,
        "rows": dict,
    }
    assert all(isinstance(item, types[LAYOUTS[name].kind]) for item in convert_rows(name, [row]))


@pytest.mark.parametrize("name", [name for name, rows in SAMPLES.items() if len(rows) > 1])
def test_all_spellings_of_a_layout_say_the_same(name: str) -> None:
    """The samples of a layout differ in form alone."""
    first, *others = [one(name, row) for row in SAMPLES[name]]
    assert all(other == first for other in others)


@pytest.mark.parametrize(("name", "index"), SPELLINGS)
def test_a_row_is_not_changed_and_absent_keys_may_be_stored_as_none(name: str, index: int) -> None:
    """Tables give every row every column of the table."""
    row = SAMPLES[name][index]
    before = json.dumps(row)
    widened = {**row, "some_other_column": None, "system": None}
    assert one(name, widened) == one(name, row)
    assert json.dumps(row) == before


@pytest.mark.parametrize(("name", "index"), SPELLINGS)
def test_one_unknown_key_is_refused_by_name_and_can_be_ignored(name: str, index: int) -> None:
    """Nothing is lost without a word."""
    row = {**SAMPLES[name][index], "mood": "good"}
    with pytest.raises(DatasetError, match=r"row 1: .*not known: 'mood'.*ignore=\['mood'\]"):
        list(convert_rows(name, [row]))
    assert list(convert_rows(name, [row], ignore=["mood"])) == list(convert_rows(name, [SAMPLES[name][index]]))


@pytest.mark.parametrize(("name", "index"), SPELLINGS)
def test_a_missing_key_is_named(name: str, index: int) -> None:
    """Without one of its required keys a row fits no spelling, unless it fits another one exactly."""
    row = SAMPLES[name][index]
    for key in LAYOUTS[name].keys[index].required:
        rest = {k: v for k, v in row.items() if k != key}
        if any(fit.exact for fit in LAYOUTS[name].fits(rest)):
            continue
        with pytest.raises(DatasetError, match=r"keys found: .*(missing|not known): "):
            list(convert_rows(name, [rest]))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "index"), SPELLINGS)
@given(value=st.one_of(st.integers(), st.booleans(), st.lists(st.integers(), min_size=1), st.just({"a": 1})))
def test_a_value_of_the_wrong_type_is_a_dataset_error_that_names_the_row(name: str, index: int, value: Any) -> None:
    """Whatever stands under a required key, nothing but a `DatasetError` comes out."""
    for key in LAYOUTS[name].keys[index].required:
        if key in ("label", "kto_tag") and value in (0, 1, -1):  # a verdict
            continue
        with pytest.raises(DatasetError, match="row 2"):
            list(convert_rows(name, [SAMPLES[name][index], {**SAMPLES[name][index], key: value}]))


@given(row=st.dictionaries(st.sampled_from(sorted({k for s in SAMPLES.values() for r in s for k in r})), st.text()))
def test_explaining_any_row_names_its_keys(row: dict[str, str]) -> None:
    """An unknown layout prints the keys that were found and the layouts that they nearly fit."""
    with pytest.raises(DatasetError) as caught:
        get_layout("mine", row)
    assert "is not one of alpaca, completion" in str(caught.value)
    assert all(repr(key) in str(caught.value) for key in row)
    needed = {key for layout in LAYOUTS.values() for keys in layout.keys for key in keys.required}
    assert ("nearest layouts" in explain(row)) == bool(row.keys() & needed)


def test_an_unknown_layout_is_refused_even_without_rows() -> None:
    """A misspelt name does not pass because its data is empty."""
    with pytest.raises(DatasetError, match="'alpacca' is not one of"):
        list(convert_rows("alpacca", []))


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_layout_travels_to_another_process(name: str) -> None:
    """A pickled layout converts as before."""
    again = pickle.loads(pickle.dumps(LAYOUTS[name]))
    row = SAMPLES[name][0]
    assert list(again.convert(row)) == list(LAYOUTS[name].convert(row))


# SQuAD -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    articles=st.lists(
        st.lists(st.tuples(texts, st.lists(st.tuples(texts, st.lists(texts, max_size=2)), max_size=3)), max_size=3),
        max_size=3,
    )
)
def test_a_squad_file_gives_one_row_per_question_in_order(articles: list[Any]) -> None:
    """Questions are neither lost nor invented, and keep the context that they stood under."""
    expected, data = [], []
    for number, paragraphs in enumerate(articles):
        made = []
        for context, questions in paragraphs:
            qas = [
                {"question": q, "answers": [{"text": a, "answer_start": 0} for a in answers]}
                for q, answers in questions
            ]
            expected += [(f"t{number}", context, q, answers[0] if answers else None) for q, answers in questions]
            made.append({"context": context, "qas": qas})
        data.append({"title": f"t{number}", "paragraphs": made})
    rows: list[Any] = list(convert_rows("squad", [{"version": "1.1", "data": data}]))
    assert [(r["title"], r["context"], r["question"], r["answer"]) for r in rows] == expected


def test_equal_answers_of_several_readers_count_once() -> None:
    """SQuAD's development set keeps what three readers said."""
    answers = [{"text": "c"}, {"text": "d"}, {"text": "c"}]
    assert one("squad", {"context": "c d", "question": "q", "answers": answers})["answers"] == ["c", "d"]


def test_a_fault_deep_in_an_article_is_located() -> None:
    """The path leads to the paragraph and the question."""
    article = {"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": [{"text": 5}]}]}]}
    with pytest.raises(
        DatasetError, match=r"row 1, paragraphs\[0\]\.qas\[0\]\.answers\[0\]\.text: must be text, got 5"
    ):
        list(convert_rows("squad", [article]))


def test_arrays_of_pandas_count_as_lists() -> None:
    """A parquet file read by pandas holds numpy arrays where lists stood."""
    row = {"context": "c", "question": "q", "answers": {"text": np.array(["c"], dtype=object)}}
    assert one("squad", row)["answers"] == ["c"]


# Alpaca and ShareGPT -----------------------------------------------------------------------------------------------


def test_alpaca_puts_system_and_earlier_rounds_before_the_instruction() -> None:
    """LLaMA-Factory's extension of the layout."""
    row = {"instruction": "And 8?", "input": " ", "output": "13", "system": "Add.", "history": [["7 + 5?", "12"]]}
    roles_and_texts = [(m["role"], m["content"]) for m in one("alpaca", row)["messages"]]
    assert roles_and_texts == [
        ("system", "Add."),
        ("user", "7 + 5?"),
        ("assistant", "12"),
        ("user", "And 8?"),
        ("assistant", "13"),
    ]


@pytest.mark.parametrize("speakers", [("human", "gpt"), ("user", "assistant"), ("Human", "ChatGPT"), ("user", "model")])
@pytest.mark.parametrize("keys", [("from", "value"), ("role", "content")])
def test_spellings_of_turns(speakers: tuple[str, str], keys: tuple[str, str]) -> None:
    """Who speaks and under which key has many names and one meaning."""
    turns = [{keys[0]: who, keys[1]: said} for who, said in zip(speakers, ("7 + 5?", "12"), strict=True)]
    assert one("sharegpt", {"conversations": turns})["messages"] == [user("7 + 5?"), assistant("12")]


CALL = '{"name": "add", "arguments": {"a": 7, "b": 5}}'


@pytest.mark.parametrize(
    "turns",
    [
        [{"from": "function_call", "value": CALL}, {"from": "observation", "value": "12"}],
        [
            {"from": "gpt", "value": f"<tool_call>\n{CALL}\n</tool_call>"},
            {"from": "tool", "value": "<tool_response>\n12\n</tool_response>"},
        ],
        [
            {"role": "tool_call", "content": '[{"name": "add", "arguments": "{\\"a\\":7,\\"b\\":5}"}]'},
            {"role": "tool_response", "content": "12"},
        ],
    ],
)
def test_spellings_of_tool_calls(turns: list[dict[str, str]]) -> None:
    """A call and its result get the same id, and arguments are JSON text as on the wire."""
    question, answer = {"from": "human", "value": "7 + 5?"}, {"from": "gpt", "value": "It is 12."}
    row = {"conversations": [question, *turns, answer], "tools": '[{"name": "add"}]'}
    record = one("sharegpt", row)
    call, result = record["messages"][1:3]
    assert call["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":7,"b":5}'}}
    ]
    assert result == {"role": "tool", "tool_call_id": "call_1", "content": "12"}
    assert record["tools"] == [{"type": "function", "function": {"name": "add"}}]


def test_two_calls_are_answered_in_order() -> None:
    """Results take the calls that wait, the oldest first, and text around the tags stays."""
    row = {
        "conversations": [
            {"from": "human", "value": "Add twice."},
            {"from": "gpt", "value": f"Sure. <tool_call>{CALL}</tool_call><tool_call>{CALL}</tool_call>"},
            {"from": "tool", "value": "12"},
            {"from": "tool", "value": "also 12"},
        ]
    }
    messages = one("sharegpt", row)["messages"]
    assert messages[1]["content"] == "Sure."
    assert [(m["tool_call_id"], m["content"]) for m in messages[2:]] == [("call_1", "12"), ("call_2", "also 12")]


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"from": "narrator", "value": "x"}, r"conversations\[0\]\.from: 'narrator' is not one of system"),
        ({"from": "gpt"}, r"conversations\[0\]: a turn needs 'from' and 'value'"),
        ({"from": "gpt", "value": 5}, r"conversations\[0\]\.value: must be text, got 5"),
        ({"from": "gpt", "value": "x", "mood": 1}, "no key 'mood'"),
        ({"from": "gpt", "value": "x", "weight": 0.5}, r"weight: must be 0 or 1, got 0\.5"),
        ({"from": "tool", "value": "x"}, "no tool call before it"),
        ({"from": "function_call", "value": "add(7, 5)"}, "a tool call must be JSON"),
        ({"from": "function_call", "value": "{}"}, "a tool call needs 'name'"),
        ("hello", r"conversations\[0\]: must be an object, got 'hello'"),
    ],
)
def test_a_turn_that_cannot_be_read_is_located(turn: Any, message: str) -> None:
    """Row, turn and key are named, with the way out."""
    with pytest.raises(DatasetError, match=message):
        list(convert_rows("sharegpt", [{"conversations": [turn]}]))


def test_a_system_prompt_beside_the_turns_may_be_repeated_but_not_contradicted() -> None:
    """Equal prompts are one; two different ones are the user's to settle."""
    turns = [{"from": "system", "value": "Add."}, {"from": "human", "value": "7 + 5?"}, {"from": "gpt", "value": "12"}]
    row = {"system": "Add.", "conversations": turns}
    assert [m["role"] for m in one("sharegpt", row)["messages"]] == ["system", "user", "assistant"]
    with pytest.raises(DatasetError, match=r"conversations\[0\]: a second system prompt"):
        list(convert_rows("sharegpt", [{**row, "system": "Subtract."}]))


@given(weights=st.lists(st.sampled_from([None, 0, 1, 1.0]), min_size=1, max_size=4))
def test_weights_stay_on_assistant_messages(weights: list[Any]) -> None:
    """Which answers to learn from survives the conversion."""
    turns = [t for w in weights for t in ({"from": "human", "value": "q"}, {"from": "gpt", "value": "a", "weight": w})]
    answers = one("sharegpt", {"conversations": turns})["messages"][1::2]
    assert [m.get("weight") for m in answers] == weights


# Preferences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [user("7 + 5?")], "chosen": [assistant("12")], "rejected": [assistant("13")]},
        {
            "prompt": "7 + 5?",
            "chosen": [user("7 + 5?"), assistant("12")],
            "rejected": [user("7 + 5?"), assistant("13")],
            "score_chosen": 9.0,
            "messages": [user("7 + 5?"), assistant("12")],
        },
        {"chosen": "\n\nHuman: 7 + 5?\n\nAssistant: 12", "rejected": "\n\nHuman: 7 + 5?\n\nAssistant: 13"},
    ],
)
def test_further_spellings_of_a_preference_pair(row: dict[str, Any]) -> None:
    """TRL's explicit and implicit prompts, binarised sets, and dialogues as text."""
    assert one("dpo", row) == PAIR


def test_a_system_prompt_beside_the_pair_comes_first() -> None:
    """Intel's spelling: system, question, chosen, rejected."""
    row = {"system": "Add.", "question": "7 + 5?", "chosen": "12", "rejected": "13"}
    assert one("dpo", row)["input"]["messages"] == [{"role": "system", "content": "Add."}, user("7 + 5?")]
    whole = {
        "system": "Add.",
        "prompt": "7 + 5?",
        "chosen": [user("7 + 5?"), assistant("12")],
        "rejected": [user("7 + 5?"), assistant("13")],
    }
    assert one("dpo", whole) == one("dpo", row)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": [user("other?"), assistant("12")]}, "rejected: must equal 'chosen' in everything before the last"),
        ({"chosen": "12", "rejected": "13"}, "chosen: as text it must be"),
        ({"chosen": [assistant("12")], "rejected": [assistant("13")]}, "a pair needs a prompt"),
        ({"prompt": "1 + 1?"}, "chosen: must hold one answer after the prompt, got 2 messages"),
        ({"chosen": [user("7 + 5?"), user("12")]}, "preferred_output holds a message with role 'user'"),
    ],
)
def test_a_pair_that_cannot_be_read_says_why(change: dict[str, Any], message: str) -> None:
    """Nothing is guessed about where a prompt ends."""
    row = {"chosen": [user("7 + 5?"), assistant("12")], "rejected": [user("7 + 5?"), assistant("13")], **change}
    with pytest.raises(DatasetError, match=message):
        list(convert_rows("dpo", [row]))


@given(
    said=st.lists(st.tuples(texts, texts), min_size=0, max_size=3),
    question=texts,
    answers=st.tuples(texts, texts),
)
def test_whole_conversations_and_an_explicit_prompt_give_the_same_pair(
    said: list[tuple[str, str]], question: str, answers: tuple[str, str]
) -> None:
    """What both sides share is the prompt, however long it is."""
    prompt = [message for asked, told in said for message in (user(asked), assistant(told))] + [user(question)]
    whole = {side: [*prompt, assistant(text)] for side, text in zip(("chosen", "rejected"), answers, strict=True)}
    split = {"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}
    assert one("dpo", whole) == one("dpo", split)


# Passed through ----------------------------------------------------------------------------------------------------


def test_messages_pass_through_with_tools_and_without_the_none_that_tables_add() -> None:
    """A record written by this library comes back equal."""
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    record = {
        "messages": [
            user("7 + 5?"),
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "12"},
            {"role": "assistant", "content": "12", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
        "parallel_tool_calls": False,
    }
    keys = ("role", "content", "tool_calls", "tool_call_id", "weight")
    padded = [{key: message.get(key) for key in keys} for message in record["messages"]]  # type: ignore[attr-defined]
    padded[0]["tool_calls"] = []
    assert one("messages", {**record, "messages": padded}) == record


def test_a_broken_record_names_its_row_and_its_rule() -> None:
    """The record kinds' own rules hold behind every layout."""
    with pytest.raises(DatasetError, match=r"layout 'messages', row 1: .*'banana' is not one of system"):
        list(convert_rows("messages", [{"messages": [{"role": "banana", "content": "x"}]}]))


def test_a_preference_input_with_other_keys_is_refused() -> None:
    """The input is an object with messages, not a text."""
    with pytest.raises(DatasetError, match="input: must be an object, got 'hi'"):
        list(convert_rows("preference", [{**PAIR, "input": "hi"}]))
    with pytest.raises(DatasetError, match="input: must hold 'messages'"):
        list(convert_rows("preference", [{**PAIR, "input": {"text": "hi"}}]))


@pytest.mark.parametrize(
    ("file", "layout"),
    [
        ("openai-cookbook/drone_training.jsonl", "messages"),
        ("openai-cookbook/toy_chat_fine_tuning.jsonl", "messages"),
        ("legacy/data_prepared.jsonl", "completion"),
    ],
)
def test_published_openai_files_are_recognised_and_come_back_unchanged(shared: Path, file: str, layout: str) -> None:
    """Passing through adds nothing and drops nothing."""
    lines = (shared / "data" / file).read_text(encoding="utf-8").strip().split("\n")
    rows = [json.loads(line) for line in lines]
    assert all(detect(row)[0].layout == layout and detect(row)[0].exact for row in rows)
    assert [one(layout, row) for row in rows] == rows


WALK = {"id": "c1", "type": "function", "function": {"name": "walk", "arguments": "{}"}}
ASKED = [{"role": "user", "content": "Where?"}]
CALLED = [
    {"role": "user", "content": "Walk."},
    {"role": "assistant", "tool_calls": [WALK]},
    {"role": "tool", "tool_call_id": "c1", "content": "ok"},
]
YES, NO = {"role": "assistant", "content": "Here."}, {"role": "assistant", "content": "No."}


@pytest.mark.parametrize("before", [ASKED, CALLED])
@pytest.mark.parametrize("shape", [lambda one: one, lambda one: [one], lambda one: one["content"]])
def test_the_conversation_so_far_may_stand_in_messages(before: Any, shape: Any) -> None:
    """Axolotl's spelling of preference pairs; the answers are messages, lists of one, or texts."""
    row = {"messages": before, "chosen": shape(YES), "rejected": shape(NO), "score_chosen": 1}
    (record,) = convert_rows("dpo", [row])
    assert isinstance(record, PreferenceRecord)
    assert record.to_dict() == {
        "input": {"messages": before},
        "preferred_output": [YES],
        "non_preferred_output": [NO],
    }


def test_messages_that_repeat_the_chosen_conversation_are_passed_over_and_others_are_not() -> None:
    """A context that nobody reads would be lost without a word."""
    both = {"chosen": [*ASKED, YES], "rejected": [*ASKED, NO], "messages": [*ASKED, YES]}
    prompted = {**both, "prompt": "Where?"}
    for row in (both, prompted):
        (record,) = convert_rows("dpo", [row])
        assert isinstance(record, PreferenceRecord)
        assert len(record.input.messages) == 1
    with pytest.raises(DatasetError, match=r"messages: differs from the prompt.*ignore=\['messages'\]"):
        list(convert_rows("dpo", [{"prompt": "Where?", "chosen": "a", "rejected": "b", "messages": CALLED}]))


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_arguments_may_be_objects_and_calls_may_lack_ids(ids: bool, wrapped: bool) -> None:
    """As transformers, TRL and axolotl keep them; two calls at once are answered by name, in any order."""
    names = ("walk", "turn")

    def call(name: str) -> dict[str, Any]:
        own = {"name": name, "arguments": {"n": 1, "text": "\u00e9", "gone": None}}
        return {**({"id": f"id_{name}"} if ids else {}), **({"function": own} if wrapped else own)}

    results = [
        {"role": "tool", "name": name, "content": name, **({"tool_call_id": f"id_{name}"} if ids else {})}
        for name in reversed(names)
    ]
    row = {"messages": [*ASKED, {"role": "assistant", "tool_calls": list(map(call, names))}, *results, YES]}
    (record,) = convert_rows("messages", [row])
    assert isinstance(record, ChatRecord)
    calls = record.messages[1].tool_calls or ()
    assert [made.function.arguments for made in calls] == ['{"n":1,"text":"\u00e9","gone":null}'] * 2
    given = {made.function.name: made.id for made in calls}
    assert given == ({name: f"id_{name}" for name in names} if ids else {"walk": "call_1", "turn": "call_2"})
    assert [message.tool_call_id for message in record.messages[2:4]] == [given["turn"], given["walk"]]


def test_a_result_without_a_call_is_refused() -> None:
    """The server would refuse it, too."""
    with pytest.raises(DatasetError, match=r"messages\[1\].*'walk'.*no tool call before it"):
        list(convert_rows("messages", [{"messages": [*ASKED, {"role": "tool", "name": "walk", "content": "x"}, YES]}]))


# Columns of published sets that say nothing to train on; OpenAI would refuse them, and nobody should have to name them.
SILENT = {
    "alpaca": "id text",
    "completion": "id",
    "contexts": "",
    "dpo": "id prompt_id source score_chosen score_rejected chosen_score rejected_score chosen_rating rejected_rating "
    "chosen_model rejected_model margin",
    "messages": "id",
    "preference": "id",
    "pubmedqa": "",
    "sharegpt": "id source category model lang language",
    "squad": "is_impossible plausible_answers",
}


@pytest.mark.parametrize(("name", "column"), [(name, word) for name, words in SILENT.items() for word in words.split()])
def test_what_published_sets_say_beside_the_text_is_passed_over(name: str, column: str) -> None:
    row = SAMPLES[name][0]
    assert one(name, {**row, column: "7"}) == one(name, row)


@pytest.mark.parametrize(("name", "key"), [("contexts", "id"), ("pubmedqa", "pubid"), ("squad", "id")])
def test_the_id_of_a_row_goes_with_it(name: str, key: str) -> None:
    assert one(name, {**SAMPLES[name][0], key: "q7"})["id"] == "q7"
