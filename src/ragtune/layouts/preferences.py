"""Layouts that give preference pairs: chosen and rejected answers in their usual spellings."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from ragtune.layouts.base import KeySet, Layout, MisfitError, Row, is_list, list_at, mapping_at, text_at
from ragtune.layouts.chat import alpaca_prompt, history_messages, system_messages
from ragtune.layouts.turns import any_messages, plain_messages, read_tools, turns_to_messages
from ragtune.records import PreferenceRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ragtune.layouts.turns import Messages
    from ragtune.records import JsonObject

_ANSWERS = frozenset({"chosen", "rejected"})
# Who wrote an answer and how it was graded: `prompt_id` and `score_*` are UltraFeedback's, `margin` is TRL's.
_SCORES = frozenset(
    {
        "id",
        "prompt_id",
        "source",
        "score_chosen",
        "score_rejected",
        "chosen_score",
        "rejected_score",
        "chosen_rating",
        "rejected_rating",
        "chosen_model",
        "rejected_model",
        "margin",
    }
)
# Binarised preference sets repeat the chosen conversation here; where it says something else, it is no score.
_REPEATED = frozenset({"messages"})
# At the beginning of a paragraph alone: what somebody quotes in a line is no new turn.
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]?")


def _pair(prompt: Messages, *, chosen: Messages, rejected: Messages, row: Row) -> PreferenceRecord:
    if not prompt:
        raise MisfitError("", "nothing stands before the two answers; a pair needs a prompt")
    given: JsonObject = {"messages": prompt}
    # An empty list is left away, since OpenAI refuses one.
    if "tools" in row and (tools := read_tools(row["tools"], "tools")):
        given["tools"] = tools
    data: JsonObject = {"input": given, "preferred_output": chosen, "non_preferred_output": rejected}
    return PreferenceRecord(**data)


def _prompted(asked: Callable[[Row], Messages], row: Row) -> Iterator[PreferenceRecord]:
    """Pairs whose prompt stands in a key of its own; `asked` reads it."""
    prompt = _after_system(row, [*history_messages(row), *asked(row)])
    chosen, rejected = (_answer(row[key], key, prompt) for key in ("chosen", "rejected"))
    if "messages" in row:
        repeated = any_messages(row["messages"], "messages")
        if repeated != prompt and repeated[-1:] != chosen:
            hint = "pass ignore=['messages'] if it carries nothing to train on, or remove the other prompt"
            raise MisfitError("messages", f"differs from the prompt and the chosen answer; {hint}")
    yield _pair(prompt, chosen=chosen, rejected=rejected, row=row)


def _after_messages(row: Row) -> Iterator[PreferenceRecord]:
    """The conversation so far in `messages`, and an answer each, as axolotl has it; or two whole conversations."""
    before = any_messages(row["messages"], "messages")
    if _is_conversation(row["chosen"], before):
        yield from _implicit(row)
        return
    # Here they are the prompt itself, and nothing to hold against it.
    rest = {key: value for key, value in row.items() if key != "messages"}
    yield from _prompted(lambda row: before, rest)


def _is_conversation(chosen: object, before: Messages) -> bool:
    """Whether the chosen side holds its prompt itself, and not just an answer to what stands before."""
    if isinstance(chosen, str):
        return _SPEAKER.match(chosen) is not None
    if not is_list(chosen):
        return False
    messages = any_messages(chosen, "chosen")
    # One that repeats what stands before it is an answer like any other; `_answer` takes the repetition off.
    return len(messages) > 1 and messages[:-1] != before


def _after_system(row: Row, messages: Messages) -> Messages:
    """The messages behind the row's own system prompt, which may also stand among them already."""
    system = system_messages(row)
    if system and any(message.get("role") == "system" for message in messages):
        if messages[0] != system[0]:
            raise MisfitError("system", "differs from the system prompt in the messages; keep one of them")
        return messages
    return [*system, *messages]


def _answer(value: object, path: str, prompt: Messages) -> Messages:
    """One assistant message from a text, a turn, or a message list that may repeat the prompt before it."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    # LLaMA-Factory keeps each answer as one turn, and in no list.
    messages = any_messages(value, path) if is_list(value) else any_messages([mapping_at(value, path)], path)
    if messages[: len(prompt)] == prompt:
        messages = messages[len(prompt) :]
    # Some sets repeat the conversation without its system prompt.
    elif prompt and prompt[0].get("role") == "system" and messages[: len(prompt) - 1] == prompt[1:]:
        messages = messages[len(prompt) - 1 :]
    if len(messages) != 1:
        raise MisfitError(
            path, f"must hold one answer after the prompt, got {len(messages)} messages that differ from it"
        )
    return messages


def _asked(key: str, row: Row) -> Messages:
    if is_list(row[key]):
        return any_messages(row[key], key)
    return [{"role": "user", "content": text_at(row[key], key)}]


def _instruction(row: Row) -> Messages:
    return [{"role": "user", "content": alpaca_prompt(row)}]


def _earlier_turns(row: Row) -> Messages:
    return turns_to_messages(row["conversations"], "conversations")


def _implicit(row: Row) -> Iterator[PreferenceRecord]:
    """Whole conversations on both sides: what they share is the prompt, and each ends with its own answer."""
    chosen, rejected = (_conversation(row[key], key) for key in ("chosen", "rejected"))
    prompt = _after_system(row, chosen[:-1])
    if chosen[:-1] != rejected[:-1]:
        hint = "two answers to different conversations are no pair, so drop such rows with .filter(..., reason=...)"
        raise MisfitError("rejected", f"must equal 'chosen' in everything before the last message; {hint}")
    yield _pair(prompt, chosen=chosen[-1:], rejected=rejected[-1:], row=row)


def _conversation(value: object, path: str) -> Messages:
    if isinstance(value, str):
        return _dialogue(value, path)
    return any_messages(list_at(value, path), path)


def _dialogue(text: str, path: str) -> Messages:
    """Messages of a text with `Human:` and `Assistant:` paragraphs, as HH-RLHF writes conversations."""
    pieces = _SPEAKER.split(text)
    if len(pieces) < 3 or pieces[0].strip():
        hint = "as text it must be '\\n\\nHuman: ...\\n\\nAssistant: ...'; a lone answer needs a 'prompt' key beside it"
        raise MisfitError(path, f"{hint}, got {text!r:.60}")
    roles = {"Human": "user", "Assistant": "assistant"}
    spoken = zip(pieces[1::2], pieces[2::2], strict=True)
    return [{"role": roles[speaker], "content": said.strip()} for speaker, said in spoken]


def _keys(*prompt: str, convert: Callable[[Row], Iterator[PreferenceRecord]], optional: tuple[str, ...] = ()) -> KeySet:
    return KeySet(
        required=_ANSWERS | set(prompt),
        # Two whole conversations hold their earlier rounds themselves.
        optional=frozenset({"system", "history", "tools", *optional}) if prompt else frozenset({"system", "tools"}),
        ignored=_SCORES | (_REPEATED - set(prompt)),
        convert=convert,
    )


def _passed_through(row: Row) -> Iterator[PreferenceRecord]:
    given = mapping_at(row["input"], "input")
    unknown = given.keys() - {"messages", "tools", "parallel_tool_calls"}
    if unknown or "messages" not in given:
        raise MisfitError("input", "must hold 'messages' and, where needed, 'tools' and 'parallel_tool_calls'")
    given["messages"] = plain_messages(given["messages"], "input.messages")
    if "tools" in given:
        given["tools"] = read_tools(given["tools"], "input.tools")
    outputs = {key: plain_messages(row[key], key) for key in ("preferred_output", "non_preferred_output")}
    data: JsonObject = {"input": given, **outputs}
    yield PreferenceRecord(**data)


DPO = Layout(
    name="dpo",
    about="A chosen and a rejected answer to one prompt, in the spellings of TRL, Intel, HH-RLHF and LLaMA-Factory.",
    kind="preference",
    keys=(
        _keys("prompt", convert=partial(_prompted, partial(_asked, "prompt"))),
        _keys("question", convert=partial(_prompted, partial(_asked, "question"))),
        _keys("instruction", convert=partial(_prompted, _instruction), optional=("input",)),
        _keys("conversations", convert=partial(_prompted, _earlier_turns)),
        _keys("messages", convert=_after_messages),
        _keys(convert=_implicit),
    ),
)

PREFERENCE = Layout(
    name="preference",
    about="Preference pairs as OpenAI writes them, passed through.",
    kind="preference",
    keys=(
        KeySet(
            required=frozenset({"input", "preferred_output", "non_preferred_output"}),
            ignored=frozenset({"id"}),
            convert=_passed_through,
        ),
    ),
)
