"""Layouts that give conversations: Alpaca, ShareGPT, OpenAI messages; and prompt/completion pairs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ragtune.layouts.base import KeySet, Layout, MisfitError, Row, list_at, text_at
from ragtune.layouts.turns import plain_messages, read_tools, schema_at, turns_to_messages
from ragtune.records import ChatRecord, CompletionRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.layouts.turns import Messages
    from ragtune.records import JsonObject


def alpaca_prompt(row: Row) -> str:
    """The instruction, and its input after an empty line where there is one."""
    instruction = text_at(row["instruction"], "instruction")
    given = text_at(row.get("input", ""), "input")
    # Some rows keep the whole question in their input.
    said = [text for text in (instruction, given) if text.strip()]
    return "\n\n".join(said) if given.strip() else instruction


def system_messages(row: Row) -> Messages:
    """The row's system prompt as the first message, or nothing where it is empty."""
    system = text_at(row.get("system", ""), "system")
    return [{"role": "system", "content": system}] if system else []


def history_messages(row: Row) -> Iterator[JsonObject]:
    """Earlier rounds: a list of pairs of what was asked and what was answered."""
    # LLaMA-Factory's key.
    for index, item in enumerate(list_at(row.get("history", []), "history")):
        place = f"history[{index}]"
        pair = list_at(item, place)
        if len(pair) != 2:
            raise MisfitError(place, f"an earlier round is a pair of question and answer, got {len(pair)} entries")
        yield {"role": "user", "content": text_at(pair[0], f"{place}[0]")}
        yield {"role": "assistant", "content": text_at(pair[1], f"{place}[1]")}


def _alpaca(row: Row) -> Iterator[ChatRecord]:
    messages = [
        *system_messages(row),
        *history_messages(row),
        {"role": "user", "content": alpaca_prompt(row)},
        {"role": "assistant", "content": text_at(row["output"], "output")},
    ]
    yield chat_record(messages)


def chat_record(messages: Messages, **further: object) -> ChatRecord:
    """A typed record from plain dicts; entries that are None stay away."""
    data: JsonObject = {"messages": messages, **{key: value for key, value in further.items() if value is not None}}
    return ChatRecord(**data)


def _sharegpt_row(turns_key: str, row: Row) -> Iterator[ChatRecord]:
    system = text_at(row.get("system", ""), "system")
    messages = turns_to_messages(row[turns_key], turns_key, system=system)
    yield chat_record(messages, tools=read_tools(row["tools"], "tools") if "tools" in row else None)


def _sharegpt(turns_key: str) -> KeySet:
    return KeySet(
        required=frozenset({turns_key}),
        optional=frozenset({"system", "tools"}),
        # Where a row comes from is nothing to train on.
        ignored=frozenset({"id", "source", "category", "model", "lang", "language"}),
        # No closure: layouts travel to worker processes, and of functions only those with a name can be pickled.
        convert=partial(_sharegpt_row, turns_key),
    )


def _messages(row: Row) -> Iterator[ChatRecord]:
    flag = {"parallel_tool_calls": row["parallel_tool_calls"]} if "parallel_tool_calls" in row else {}
    functions = {"functions": schema_at(list_at(row["functions"], "functions"))} if "functions" in row else {}
    yield chat_record(
        plain_messages(row["messages"], "messages"),
        tools=read_tools(row["tools"], "tools") if "tools" in row else None,
        **flag,
        **functions,
    )


def _completion(row: Row) -> Iterator[CompletionRecord]:
    yield CompletionRecord(prompt=text_at(row["prompt"], "prompt"), completion=text_at(row["completion"], "completion"))


ALPACA = Layout(
    name="alpaca",
    about="One instruction with an optional input and its output; optional system prompt and earlier rounds.",
    kind="chat",
    keys=(
        KeySet(
            required=frozenset({"instruction", "output"}),
            optional=frozenset({"input", "system", "history"}),
            # `text` is the same row written out, as the first Alpaca file has it.
            ignored=frozenset({"id", "text"}),
            convert=_alpaca,
        ),
    ),
)

SHAREGPT = Layout(
    name="sharegpt",
    about="Turns of `from` and `value` (or `role` and `content`), with system prompt, tools and their results.",
    kind="chat",
    keys=tuple(_sharegpt(key) for key in ("conversations", "conversation", "items")),
)

MESSAGES = Layout(
    name="messages",
    about="Conversations as OpenAI writes them, passed through.",
    kind="chat",
    keys=(
        KeySet(
            required=frozenset({"messages"}),
            optional=frozenset({"tools", "parallel_tool_calls", "functions"}),
            ignored=frozenset({"id"}),
            convert=_messages,
        ),
    ),
)

COMPLETION = Layout(
    name="completion",
    about="Prompt and completion as OpenAI's legacy files have them, passed through.",
    kind="completion",
    keys=(
        KeySet(
            required=frozenset({"prompt", "completion"}),
            ignored=frozenset({"id"}),
            convert=_completion,
        ),
    ),
)
