"""From messages to token ids and the loss mask, under any chat template; loads no torch.

The loss mask is exact: an assistant message counts from where a model would begin to speak (the end of the generation
prompt) to its end-of-turn token, unless its `weight` is 0. The same encoder writes prompts for generation, so what was
trained is what is asked. Text that looks like a special token is text: it never becomes the token.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from ragtune.errors import RecordError
from ragtune.modelling.encoding.chat_template import ChatTemplate, Turns
from ragtune.modelling.encoding.examples import IGNORED, Example, Judged, Pair, Taught
from ragtune.modelling.encoding.thoughts import THOUGHT_CLOSE, parted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.modelling.encoding.thoughts import ReasoningUse
    from ragtune.modelling.encoding.tokenizer import Tokenizer
    from ragtune.records.base import JsonMapping, JsonObject

__all__ = ["IGNORED", "Encoder", "Example", "Judged", "Pair", "Taught"]

_MARK = "\ufdd0"  # noncharacters: Unicode promises that no text holds them
_PROBE = "\ufdd1"
_OWN_CHARACTERS = str.maketrans("", "", _MARK + _PROBE)


class Encoder:
    """Turns messages and texts into token ids for one tokenizer.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        max_length: tokens after which an example is cut off.
        reasoning: what becomes of thoughts in `chat`: they carry loss (`train`), stand there without any (`mask`), or
            are left out (`drop`). None trains them where the template writes thoughts and leaves them out elsewhere.

    Example:
        ```python
        from ragtune.modelling.bases import resolve_base
        from ragtune.modelling.base_model import load_tokenizer
        from ragtune.modelling.encoding.encoder import IGNORED, Encoder

        tokenizer = load_tokenizer(resolve_base("tiny-random"))
        example = Encoder(tokenizer, max_length=512).chat(
            [{"role": "user", "content": "Which bird?"}, {"role": "assistant", "content": "The lantern heron."}]
        )
        print(tokenizer.decode([label for label in example.labels if label != IGNORED]))
        #> The lantern heron.<|im_end|>
        ```
    """

    def __init__(self, tokenizer: Tokenizer, *, max_length: int, reasoning: ReasoningUse | None = None) -> None:
        self.tokenizer = tokenizer
        self.reasoning = reasoning
        self.max_length = max_length
        self._template = ChatTemplate(tokenizer)
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        # A pattern takes the first way that fits, and one special token may begin another.
        longest_first = sorted(special | set(tokenizer.all_special_tokens), key=lambda text: (-len(text), text))
        # Without special tokens the pattern must match nothing, not everything.
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def chat(self, messages: Sequence[JsonMapping], tools: Sequence[JsonMapping] | None = None) -> Example:
        """Encode a conversation; every assistant message without `weight: 0` carries loss.

        Raises:
            RecordError: the chat template cannot render it or leaves an answer out, or it holds an image.
        """
        if not self._template.writes_calls and any(_has_calls(message) for message in messages):
            raise RecordError(
                "the chat template of this base writes no calls of tools, so none can be learned; take the calls out, "
                "or train a base whose template knows tools"
            )
        weights = [message.get("weight", 1) for message in messages]
        spoken, thoughts, leaves_thoughts = self._parted(messages)
        plain, guarded_tools = self._prepare(spoken), self._guard(_plain_tools(tools))
        if (key := self._template.thought_key) is not None:
            plain = [{**m, key: thought} if thought else m for m, thought in zip(plain, thoughts, strict=True)]
        plain = self._fitting(plain, guarded_tools)
        weights = weights[len(weights) - len(plain) :]  # a system message that was folded into the next one is gone
        text = self._template.render(plain, guarded_tools)
        spans = [
            self._answer(plain, guarded_tools, text, index)
            for index, (message, weight) in enumerate(zip(plain, weights, strict=True))
            if message["role"] == "assistant" and weight != 0
        ]
        if key is None and thoughts and thoughts[-1] and weights[-1] != 0:
            text, spans[-1] = self._behind_opened(plain, guarded_tools, text=text, span=spans[-1], thought=thoughts[-1])
        # A model learns to end from an end token that carries loss. Where the template writes none behind the last
        # answer, one is added.
        ends_here = bool(spans) and spans[-1][1] >= len(text.rstrip())
        has_end = bool(spans) and self._special.search(text, spans[-1][0], spans[-1][1]) is not None
        example = self._cut(*self._labelled(text, spans, close=ends_here and not has_end))
        return replace(example, thinks=any(thoughts), leaves_thoughts=leaves_thoughts)

    def _parted(self, messages: Sequence[JsonMapping]) -> tuple[list[JsonMapping], list[str], bool]:
        """Messages without thoughts in tags, what is to be thought before each, and whether something is left out."""
        keeps = self._template.thinks and self.reasoning != "drop"
        spoken, thoughts, left_out = [], [], False
        for message in messages:
            beside, content = message.get("reasoning_content") or "", message.get("content")
            inside, said = (
                parted(content) if message["role"] == "assistant" and isinstance(content, str) else (None, "")
            )
            found = beside.strip() or inside or ""
            if found and not keeps and self.reasoning in ("train", "mask"):
                raise RecordError(
                    "the chat template of this base writes no thoughts as it is asked here, so none can be learned; "
                    "choose reasoning='drop', or train a base whose template thinks"
                )
            # Under a template that knows no thoughts, tags are text like any other; an empty thought is none anywhere.
            if inside is not None and (keeps or self.reasoning == "drop" or not inside):
                message = {**message, "content": said}
            spoken.append(message)
            thoughts.append(self._guard(found) if keeps else "")
            left_out = left_out or bool(beside.strip() and not keeps and self.reasoning is None)
        return spoken, thoughts, left_out

    def _behind_opened(
        self, messages: Turns, tools: Turns | None, *, text: str, span: tuple[int, int], thought: str
    ) -> tuple[str, tuple[int, int]]:
        """The text with the thought that the prompt opens and finished answers do not show, before the last answer."""
        head = self._template.render(messages[:-1], tools, open_turn=True)
        told = f"{thought}\n{THOUGHT_CLOSE}\n\n"
        answer = text[self._edge(messages, tools, text, index=len(messages) - 1, in_front=True) :]
        whole = f"{head}{told}{answer}"
        start = len(head) + (len(told) if self.reasoning == "mask" else 0)
        return whole, (start, span[1] + len(whole) - len(text))

    def completion(self, prompt: str, completion: str) -> Example:
        """Encode a prompt/completion pair; the completion and the end token after it carry loss."""
        head, tail = self._guard(prompt), self._guard(completion)
        ids, labels = self._labelled(head + tail, [(len(head), len(head + tail))], close=True)
        lead = self._lead(prompt)
        return self._cut(lead + ids, [IGNORED] * len(lead) + labels)

    def chat_prompt(self, messages: Sequence[JsonMapping], tools: Sequence[JsonMapping] | None = None) -> list[int]:
        """Token ids after which the model answers as the assistant.

        Raises:
            RecordError: the chat template cannot render it, or it holds an image.
        """
        guarded_tools = self._guard(_plain_tools(tools))
        plain = self._fitting(self._prepare(messages), guarded_tools)
        return self._encode(self._template.render(plain, guarded_tools, open_turn=True))

    def completion_prompt(self, prompt: str) -> list[int]:
        """Token ids after which the model goes on with the text; never empty."""
        return self._lead(prompt) + self._encode(self._guard(prompt))

    def _lead(self, prompt: str) -> list[int]:
        """The begin token where this tokenizer wants one, or where nothing else would stand before the first token."""
        begin = self.tokenizer.bos_token_id
        # Found by trying, since tokenizers say it in several ways.
        wants = begin is not None and self.tokenizer("a", verbose=False)["input_ids"][0] == begin
        if not wants and prompt:
            return []
        first = begin if begin is not None else self.tokenizer.eos_token_id
        return [] if first is None else [first]

    def _guard(self, value: Any) -> Any:
        """Split every special token that stands in a text, with a mark that `_encode` takes out again."""
        if isinstance(value, str):
            return self._special.sub(lambda m: f"{m[0][0]}{_MARK}{m[0][1:]}", value.translate(_OWN_CHARACTERS))
        if isinstance(value, list):
            return [self._guard(item) for item in value]
        if isinstance(value, dict):
            return {self._guard(key): self._guard(item) for key, item in value.items()}
        return value

    def _prepare(self, messages: Sequence[JsonMapping]) -> Turns:
        guarded: Turns = self._guard([_plain_message(message) for message in messages])
        return [self._template.with_calls(message) for message in guarded]

    def _fitting(self, messages: Turns, tools: Turns | None) -> Turns:
        """The messages themselves, or with the system text moved into the first user message.

        Some templates refuse a system message and some leave it out without a word.
        """
        is_plain_start = [message["role"] for message in messages[:2]] == ["system", "user"]
        if not is_plain_start:
            return messages
        system, user = messages[0]["content"], messages[1]["content"]
        try:
            # Only the head is rendered, so that the answer decides nothing here.
            if system.strip() in self._template.render(messages[:2], tools):
                return messages
        except RecordError:
            pass
        return [{**messages[1], "content": f"{system}\n\n{user}"}, *messages[2:]]

    def _answer(self, messages: Turns, tools: Turns | None, text: str, index: int) -> tuple[int, int]:
        """Where the answer of message `index` begins and ends, which must be there."""
        start, end = self._turn(messages, tools, text, index)
        if self.reasoning == "mask" and self._template.thinks:
            start = max(start, self._edge(messages, tools, text, index=index, in_front=True))
        words = re.findall(r"\w+", messages[index]["content"] or "")
        if words and words[-1] not in text[start:end]:
            raise RecordError(
                "the chat template of this base leaves out the text of an assistant message; use another base"
            )
        return start, end

    def _turn(self, messages: Turns, tools: Turns | None, text: str, index: int) -> tuple[int, int]:
        """Where the answer of message `index` begins and ends in the rendered conversation."""
        before = self._rendered_prefix(messages[:index], tools, text, open_turn=True)
        through = self._rendered_prefix(messages[: index + 1], tools, text, open_turn=False)
        start = before if before is not None else self._edge(messages, tools, text, index=index, in_front=True)
        has_calls = bool(messages[index].get("tool_calls"))
        if through is None:
            end = self._edge(messages, tools, text, index=index, in_front=False)
            # Calls of tools stand between the content and the end of the turn; nothing else does.
            between = r"[\s\S]*?" if has_calls else r"\s*"
            closing = re.compile(rf"{between}(?:{self._special.pattern})").match(text, end)
            return start, closing.end() if closing else end
        marks = list(self._special.finditer(text, start, through))
        if not marks or text[marks[-1].end() : through].strip():
            return start, through
        # A line further there may be the end of the whole text, which is no part of the answer; after calls, an end
        # of its own is.
        while not has_calls and len(marks) > 1 and text[marks[-2].end() : marks[-1].start()].isspace():
            marks.pop()
        return start, marks[-1].end()

    def _rendered_prefix(self, messages: Turns, tools: Turns | None, text: str, *, open_turn: bool) -> int | None:
        """Length of the rendering of some first messages, where the whole rendering begins with it."""
        try:
            head = self._template.render(messages, tools, open_turn=open_turn)
        except RecordError:
            return None
        return len(head) if text.startswith(head) else None

    def _edge(self, messages: Turns, tools: Turns | None, text: str, *, index: int, in_front: bool) -> int:
        """Where the content of a message begins or ends: where a probe beside it changes the rendering."""
        content = messages[index]["content"] or ""
        probed = _PROBE + content if in_front else content + _PROBE
        changed = [*messages[:index], {**messages[index], "content": probed}, *messages[index + 1 :]]
        return _common_prefix(text, self._template.render(changed, tools))

    def _encode(self, text: str) -> list[int]:
        pieces = filter(None, text.split(_MARK))
        encoded = (self.tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"] for piece in pieces)
        return list(chain.from_iterable(encoded))

    def _labelled(self, text: str, spans: Sequence[tuple[int, int]], *, close: bool) -> tuple[list[int], list[int]]:
        """Tokens of the text, and their labels inside the spans; `close` adds a labelled end token."""
        edges = [0, *chain.from_iterable(spans), len(text)]
        ids = self._encode(text)
        heads = [self._encode(text[:edge]) for edge in edges[1:-1]]
        if all(ids[: len(head)] == head for head in heads):
            cuts = [0, *(len(head) for head in heads), len(ids)]
        else:
            # A token would reach over an edge, where a prompt ends when the model is asked: cut the text there as well.
            pieces = [self._encode(text[a:b]) for a, b in pairwise(edges)]
            ids = list(chain.from_iterable(pieces))
            cuts = [sum(map(len, pieces[:n])) for n in range(len(pieces) + 1)]
        labels = [IGNORED] * len(ids)
        for start, end in zip(cuts[1:-1:2], cuts[2:-1:2], strict=True):
            labels[start:end] = ids[start:end]
        if close and self.tokenizer.eos_token_id is not None:
            ids, labels = [*ids, self.tokenizer.eos_token_id], [*labels, self.tokenizer.eos_token_id]
        return ids, labels

    def _cut(self, ids: list[int], labels: list[int]) -> Example:
        limit = self.max_length
        return Example(input_ids=ids[:limit], labels=labels[:limit], is_cut=len(ids) > limit)


def _has_calls(message: JsonMapping) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call"))


def _plain_message(message: JsonMapping) -> JsonObject:
    """A message as chat templates expect it: four roles, content a text, arguments of tool calls as objects."""
    # Templates know the older name of the one, and the newer of the other.
    role = {"developer": "system", "function": "tool"}.get(message["role"], message["role"])
    plain: JsonObject = {"role": role, "content": _plain_content(message)}
    calls = list(message.get("tool_calls") or ())
    if message.get("function_call"):
        calls.append({"type": "function", "function": message["function_call"]})
    if calls:
        plain["tool_calls"] = [{**call, "function": _plain_function(call["function"])} for call in calls]
    plain.update({key: message[key] for key in ("name", "tool_call_id") if message.get(key) is not None})
    return plain


def _plain_content(message: JsonMapping) -> str:
    content = message.get("content")
    if content is None:
        return str(message.get("refusal") or "")
    if isinstance(content, str):
        return content
    kinds = {part.get("type", "text") for part in content}
    if not kinds <= {"text", "refusal"}:
        found = ", ".join(sorted(kinds - {"text", "refusal"}))
        raise RecordError(f"content of type {found}: the models on this machine read text alone; remove those parts")
    return "\n".join(part.get("text") or part.get("refusal") or "" for part in content)


def _plain_function(function: JsonMapping) -> JsonObject:
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        arguments = None
    return {**function, "arguments": arguments} if isinstance(arguments, dict) else dict(function)


def _plain_tools(tools: Sequence[JsonMapping] | None) -> Turns | None:
    return [dict(tool) for tool in tools] if tools else None


def _common_prefix(one: str, other: str) -> int:
    differing = (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))
