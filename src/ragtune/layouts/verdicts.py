"""The layout of single verdicts: one answer each, and whether it was good, in the spellings that people have."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ragtune.layouts.base import KeySet, Layout, MisfitError, Row, is_list, short, text_at
from ragtune.layouts.chat import alpaca_prompt, history_messages, system_messages
from ragtune.layouts.turns import any_messages, read_tools
from ragtune.records import JsonObject, UnpairedRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.layouts.turns import Messages

# `label` is TRL's word, `kto_tag` LLaMA-Factory's.
_LABELS = ("label", "kto_tag")
# A column of numbers with gaps makes 1.0 of 1.
_WORDS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False, "-1": False, "-1.0": False}


def label_at(value: object, path: str) -> bool:
    """A verdict as true or false: a truth value, 1 against 0 or -1, or one of these as text."""
    # Through text, which is the same of Python's values and of NumPy's.
    word = str(value).strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    raise MisfitError(path, f"must be true or false (or 1 against 0 or -1), got {short(value)}")


def _record(label: str, prompt: Messages, answer: Messages, row: Row) -> UnpairedRecord:
    if len(answer) != 1:
        raise MisfitError("", f"a verdict is about one answer, and {len(answer)} messages stand behind the question")
    tools = read_tools(row["tools"], "tools") if "tools" in row else None
    data: JsonObject = {
        "prompt": prompt,
        "completion": answer,
        "label": label_at(row[label], label),
        **({"tools": tools} if tools else {}),
    }
    return UnpairedRecord(**data)


def _prompted(label: str, key: str, row: Row) -> Iterator[UnpairedRecord]:
    """Question and answer in two keys, each a text or messages; the answer may repeat what was asked."""
    asked = row[key]
    said: Messages = any_messages(asked, key) if is_list(asked) else [{"role": "user", "content": text_at(asked, key)}]
    prompt = [*system_messages(row), *history_messages(row), *said]
    answer = row["completion"]
    if not is_list(answer):
        yield _record(label, prompt, [{"role": "assistant", "content": text_at(answer, "completion")}], row)
        return
    messages = any_messages(answer, "completion")
    repeated = messages[: len(prompt)] == prompt
    yield _record(label, prompt, messages[len(prompt) :] if repeated else messages, row)


def _instructed(label: str, row: Row) -> Iterator[UnpairedRecord]:
    prompt = [*system_messages(row), *history_messages(row), {"role": "user", "content": alpaca_prompt(row)}]
    yield _record(label, prompt, [{"role": "assistant", "content": text_at(row["output"], "output")}], row)


def _conversation(label: str, key: str, row: Row) -> Iterator[UnpairedRecord]:
    """A whole conversation whose last message is what was judged."""
    messages = [*system_messages(row), *any_messages(row[key], key)]
    if len(messages) < 2:
        raise MisfitError(key, "must hold a question and the answer that was judged")
    yield _record(label, messages[:-1], messages[-1:], row)


def _spellings(label: str) -> tuple[KeySet, ...]:
    def keys(*required: str, convert: object, optional: tuple[str, ...] = ("system", "tools")) -> KeySet:
        return KeySet(
            required=frozenset({label, *required}),
            optional=frozenset(optional),
            ignored=frozenset({"id", "source", "score", "rating", "model"}),
            convert=convert,  # type: ignore[arg-type]
        )

    told = ("system", "history", "tools")
    return (
        keys("prompt", "completion", convert=partial(_prompted, label, "prompt"), optional=told),
        keys("instruction", "output", convert=partial(_instructed, label), optional=(*told, "input")),
        keys("messages", convert=partial(_conversation, label, "messages")),
        keys("conversations", convert=partial(_conversation, label, "conversations")),
    )


KTO = Layout(
    name="kto",
    about="One answer and whether it was good, in the spellings of TRL and LLaMA-Factory; also the records themselves.",
    kind="unpaired",
    keys=tuple(keys for label in _LABELS for keys in _spellings(label)),
)
