"""Calls of tools in a model's own way of writing them, which its chat template shows.

No list of model families: a call is rendered by the template, and what stands around its JSON is how this base writes
calls. That covers the templates that write a call as one JSON object, with or without marks around it (Qwen 2.5 and 3,
Llama 3.1 and 3.2, Mistral's `[TOOL_CALLS]` and others alike); others are refused by name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.errors import RecordError
from ragtune.local.engine.decoding.grammar import JSON_STYLE
from ragtune.local.engine.generation import GeneratedCall
from ragtune.modelling.encoding.chat_template import PROBE_ID, PROBE_NAME, ChatTemplate, probe_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ragtune.modelling.encoding.chat_template import Turns
    from ragtune.modelling.encoding.tokenizer import Tokenizer
    from ragtune.records.base import JsonMapping, JsonObject

__all__ = ["CallFormat", "CallReader", "find_call_format"]

_VALUE = {"word": "ragtune_value"}
_PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": PROBE_NAME,
        "description": "Probes.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}


@dataclass(frozen=True, kw_only=True)
class CallFormat:
    """How a base writes calls of tools.

    Attributes:
        begin: text before the first call; may be empty.
        between: text between two calls, None where the template takes one call only.
        end: text after the last call.
        fields: the keys of a call's JSON object in order, each with what it holds: `name`, `arguments`, `id`, or a
            constant.
    """

    begin: str
    between: str | None
    end: str
    fields: tuple[tuple[str, object], ...]

    def call(self, value: object) -> GeneratedCall | None:
        """The call that a JSON value is, None when it is none."""
        if not isinstance(value, dict):
            return None
        told = {holds: value.get(key) for key, holds in self.fields if isinstance(holds, _Place)}
        name, arguments = told.get(NAME), told.get(ARGUMENTS)
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return None
        return GeneratedCall(name=name, arguments=json.dumps(arguments, ensure_ascii=False))

    def begun(self, text: str) -> GeneratedCall | None:
        """The call whose JSON breaks off, with what there is of its arguments; None while it has no name."""
        name, place = None, 0
        for key, holds in self.fields:
            opened = re.compile(rf"\s*[{{,]\s*{re.escape(json.dumps(key))}\s*:\s*").match(text, place)
            if opened is None:
                break
            try:
                value, place = json.JSONDecoder().raw_decode(text, opened.end())
            except ValueError:
                value, place = None, len(text)
            if holds is NAME:
                name = value
            if holds is ARGUMENTS and isinstance(name, str):
                return GeneratedCall(name=name, arguments=text[opened.end() : place])
        # Without a mark nothing but its arguments tells a call from any other object that has a name.
        return GeneratedCall(name=name, arguments="") if isinstance(name, str) and self.begin else None

    def grammar(
        self,
        tools: Sequence[JsonMapping],
        *,
        several: bool,
        special: Mapping[str, int],
        answer: JsonMapping | None = None,
    ) -> str:
        """The grammar (of llguidance) of an answer that calls.

        Args:
            tools: those that may be called.
            several: whether more than one call may come.
            special: texts and ids of the tokenizer's special tokens.
            answer: the schema of what may be said instead; None lets the answer do nothing but call.
        """
        schema = {"anyOf": [self._schema(tool["function"]) for tool in tools], "x-guidance": JSON_STYLE}
        more = f"({_literal(self.between, special)} call)*" if several and self.between else ""
        begin, end = _literal(self.begin, special), _literal(self.end, special)
        other = "" if answer is None else "| answer"
        lark = f"start: {begin} call {more} {end} {other}\ncall: %json {json.dumps(schema)}\n"
        if answer is not None:
            lark += f"answer: %json {json.dumps({**answer, 'x-guidance': JSON_STYLE})}\n"
        return json.dumps({"grammars": [{"lark_grammar": lark}]})

    def _schema(self, function: JsonMapping) -> JsonObject:
        held = {
            NAME: {"const": function["name"]},
            ARGUMENTS: _parameters(function),
            # As `PROBE_ID`.
            ID: {"type": "string", "pattern": "^[a-zA-Z0-9]{9}$"},
        }
        own = {key: held[holds] if isinstance(holds, _Place) else {"const": holds} for key, holds in self.fields}
        return {"type": "object", "properties": own, "required": list(own), "additionalProperties": False}


def _parameters(function: JsonMapping) -> JsonObject:
    """The schema of a tool's arguments; one that names none takes none, or a model would invent them without end."""
    schema = {"type": "object", "properties": {}, **(function.get("parameters") or {})}
    takes_any = schema["properties"] or not schema.keys() <= {"type", "properties", "required", "description", "title"}
    return schema if takes_any else {**schema, "additionalProperties": False}


class _Place(str):
    """Stands for what differs from call to call."""

    __slots__ = ()


NAME, ARGUMENTS, ID = _Place("name"), _Place("arguments"), _Place("id")


class CallReader:
    """Tells calls from text while an answer grows.

    Args:
        form: how the base writes calls.
    """

    def __init__(self, form: CallFormat) -> None:
        self._form = form
        # Empty thoughts, which some templates write first, are no part of the mark.
        self._mark = form.begin.strip().rpartition("\n")[2]
        self._marks = tuple(filter(None, ((form.between or "").strip(), form.end.strip(), self._mark)))
        self._held = ""
        self._calling = False
        self._called = False
        self._told_text = False

    def push(self, text: str) -> tuple[str, list[GeneratedCall]]:
        """Take what was written; returns the text and the calls that are certain now."""
        self._held += text
        shown = "" if self._calling else self._text_before_call()
        return shown, list(self._calls()) if self._calling else []

    def close(self, *, cut: bool = False) -> tuple[str, GeneratedCall | None]:
        """What was held back: text that turned out to be no call, or a call in the middle of which the answer ends."""
        left, self._held = self._held, ""
        rest = self._without_marks(left)
        if cut and self._calling:
            begun = self._form.begun(rest)
            # A call that has no name yet is nothing that could be told; its mark is no text.
            if begun is not None or (self._mark and (not rest or rest.startswith("{"))):
                return "", begun
        return rest if self._called else left, None

    def _text_before_call(self) -> str:
        if not self._mark:
            # Without a mark a call is an answer that begins with its JSON.
            self._calling = not self._told_text and self._held.lstrip().startswith("{")
            undecided = not self._told_text and not self._held.strip()
            at = 0 if self._calling or undecided else len(self._held)
        elif (found := self._held.find(self._mark)) >= 0:
            self._calling, at = True, found
        else:
            # White space before a call belongs to neither.
            at = len(self._held[: len(self._held) - _overlap(self._held, self._mark)].rstrip())
        shown, self._held = self._held[:at], self._held[at:]
        if self._calling:
            shown = shown.rstrip()
        self._told_text = self._told_text or bool(shown)
        return shown

    def _calls(self) -> Iterator[GeneratedCall]:
        while True:
            rest = self._without_marks(self._held)
            try:
                value, length = json.JSONDecoder().raw_decode(rest)
            except ValueError:
                return
            call = self._form.call(value)
            # JSON that is no call comes out as text when the answer ends.
            if call is None:
                return
            self._held, self._called = rest[length:], True
            yield call

    def _without_marks(self, text: str) -> str:
        rest = text.lstrip()
        while (mark := next((mark for mark in self._marks if rest.startswith(mark)), None)) is not None:
            rest = rest[len(mark) :].lstrip()
        return rest


def find_call_format(tokenizer: Tokenizer) -> CallFormat | None:
    """How the chat template of a base writes calls; None when it knows no tools, or writes them in another way."""
    asked = [{"role": "user", "content": "Probe."}]
    prompt = _rendered(tokenizer, asked, open_turn=True)
    if prompt is None or PROBE_NAME not in prompt:
        return None
    one = _answer(tokenizer, asked, prompt, calls=1)
    found = None if one is None else _find_object(one)
    if one is None or found is None:
        return None
    value, start, stop = found
    fields = tuple((key, _place(held)) for key, held in value.items())
    if {NAME, ARGUMENTS} - {held for _, held in fields if isinstance(held, _Place)}:
        return None
    # Some templates take one call only, so this is tried as well.
    two = _answer(tokenizer, asked, prompt, calls=2)
    between = None
    if two is not None and (second := _find_object(two[stop:])) is not None:
        between = two[stop : stop + second[1]]
    return CallFormat(begin=one[:start], between=between, end=_until_special(tokenizer, one[stop:]), fields=fields)


def _rendered(tokenizer: Tokenizer, messages: Turns, *, open_turn: bool) -> str | None:
    if not tokenizer.chat_template:
        return None
    try:
        return ChatTemplate(tokenizer).render(messages, [_PROBE_TOOL], open_turn=open_turn)
    except RecordError:
        return None


def _answer(tokenizer: Tokenizer, asked: Turns, prompt: str, *, calls: int) -> str | None:
    """What the template writes for an answer that calls, from where the model would begin."""
    whole = _rendered(tokenizer, [*asked, probe_answer(_VALUE, calls=calls)], open_turn=False)
    return whole[len(prompt) :] if whole is not None and whole.startswith(prompt) else None


def _find_object(text: str) -> tuple[JsonObject, int, int] | None:
    """The JSON object around the probe's name, and where it begins and ends."""
    for match in re.finditer(r"\{", text[: max(text.find(PROBE_NAME), 0)]):
        try:
            value, length = json.JSONDecoder().raw_decode(text[match.start() :])
        except ValueError:
            continue
        if isinstance(value, dict) and PROBE_NAME in value.values():
            return value, match.start(), match.start() + length
    return None


def _place(held: object) -> object:
    known = {PROBE_NAME: NAME, PROBE_ID: ID}
    if held == _VALUE:
        return ARGUMENTS
    return known.get(held, held) if isinstance(held, str) else held


def _special_texts(tokenizer: Tokenizer) -> list[str]:
    return [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]


def _until_special(tokenizer: Tokenizer, text: str) -> str:
    """What stands before the end of the turn."""
    special = re.compile("|".join(map(re.escape, _special_texts(tokenizer))) or r"(?!)")
    return special.split(text, maxsplit=1)[0].rstrip()


def _literal(text: str | None, special: Mapping[str, int]) -> str:
    """A text as the grammar writes it; special tokens stand there as themselves."""
    if not text:
        return ""
    # Longest first: of two that begin alike the shorter would cut the longer.
    pattern = "|".join(map(re.escape, sorted(special, key=len, reverse=True))) or r"(?!)"
    pieces = re.split(f"({pattern})", text)
    return " ".join(f"<[{special[piece]}]>" if piece in special else json.dumps(piece) for piece in pieces if piece)


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of `text` with which the mark begins."""
    lengths = range(min(len(text), len(mark) - 1), 0, -1)
    return next((length for length in lengths if mark.startswith(text[-length:])), 0)
