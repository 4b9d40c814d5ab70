"""Rules about the content of one record that has the right shape: will it train, and will it teach?"""

from __future__ import annotations

import base64
import binascii
import json
import re
import unicodedata
from typing import TYPE_CHECKING

import orjson

from ragtune.checks.texts import texts_with_paths
from ragtune.limits import MAX_IMAGE_BYTES, MAX_IMAGES
from ragtune.records import JsonObject, RecordFault, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.records.base import Path

# Zero widths, signs that turn the direction of writing, separators, tags, controls other than tab and line ends.
_INVISIBLE = re.compile(
    "[\u200b\u200c\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\u00ad\u0085\u0000-\u0007\u000e-\u001f"
    "\U000e0000-\U000e007f]"
)
_ESCAPED_INVISIBLE = re.compile(
    rb"\\u(?:200[bcef]|202[89a-e]|206[06-9]|feff|00ad|0085|000[0-7ef]|001|db40)", re.IGNORECASE
)
# Where Unicode has no name, or one that nobody knows.
_NAMES = {"\ufeff": "byte order mark", "\u0085": "next line", "\u0000": "null"}
_FIRST_BYTES = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF"}
Message = JsonObject


def content_faults(record: JsonObject, line: bytes, format: RecordFormat) -> list[RecordFault]:
    """Every rule about content that a record of the right shape breaks."""
    if format == "chat":
        faults = _chat_faults(record)
    elif format == "completion":
        faults = _completion_faults(record)
    elif format == "preference":
        faults = _preference_faults(record)
    else:
        faults = _reinforcement_faults(record)
    if (not line.isascii() and _may_hide(line) and _INVISIBLE.search(line.decode())) or (
        b"\\u" in line and _ESCAPED_INVISIBLE.search(line)
    ):
        faults.extend(_invisible_faults(record))
    return faults


def _may_hide(line: bytes) -> bool:
    """Whether a byte with which an invisible character ends in UTF-8 is there; far faster than to look for them."""
    return (
        b"\x8b" in line
        or b"\x8c" in line
        or b"\x8e" in line
        or b"\x8f" in line
        or b"\xbf" in line
        or b"\xa8" in line
        or b"\xa9" in line
        or b"\xaa" in line
        or b"\xab" in line
        or b"\xac" in line
        or b"\xad" in line
        or b"\xae" in line
        or b"\x85" in line
        or b"\xe2\x81" in line
        or b"\xf3" in line
    )


def _chat_faults(record: JsonObject) -> list[RecordFault]:
    messages: Sequence[Message] = record["messages"]
    faults: list[RecordFault] = []
    answers = trained = 0
    prompt: str | None = None
    plain = True
    for index, message in enumerate(messages):
        role = message["role"]
        content = message.get("content")
        if type(content) is not str:
            plain = False
        if role == "user":
            prompt = content if type(content) is str else ""
        elif role == "assistant":
            answers += 1
            counts = message.get("weight") != 0
            trained += counts
            if type(content) is str:
                if not content or content.isspace():
                    faults.extend(_empty_answer(message, ("messages", index)))
                # A message without loss teaches nothing, so it may quote.
                elif counts and prompt and content in prompt:
                    faults.append(_copied_answer(index))
            elif content is not None and not _said(content):
                faults.extend(_empty_answer(message, ("messages", index)))
        elif role == "tool":
            plain = False
    last = messages[-1]["role"]
    if last != "assistant":
        text = f"the last message has role {last!r}; training needs an answer of the assistant at the end"
        faults.append(
            RecordFault(("messages", len(messages) - 1, "role"), "last-not-assistant", text, "cut or answer it")
        )
    if prompt is None:
        faults.append(_nobody_asks("messages"))
    if answers and not trained:
        text = "every assistant message has weight 0: this record teaches nothing"
        faults.append(RecordFault(("messages",), "all-weights-zero", text, "set one weight to 1 or drop the record"))
    if not plain:
        faults.extend(tool_faults(messages, _offered(record)))
        faults.extend(image_faults(messages))
    return faults


def _said(content: Sequence[Message]) -> bool:
    """Whether a list of parts holds any text."""
    return any(str(part.get("text") or part.get("refusal") or "").strip() for part in content)


def _empty_answer(message: Message, path: Path) -> Iterator[RecordFault]:
    if not message.get("tool_calls") and not message.get("function_call"):
        place = (*path, "content")
        yield RecordFault(place, "empty-answer", "the assistant's answer is empty", "give it text or drop the record")


def _nobody_asks(*path: str) -> RecordFault:
    text = "no message is the user's: the answer belongs to no question"
    return RecordFault(path, "no-user-message", text, "fine for text that starts by itself; else add it", "suggestion")


def _offered(record: JsonObject) -> frozenset[str] | None:
    """The names of all functions that a record offers to the model; None where it says nothing about them."""
    functions = [tool["function"] for tool in record.get("tools") or ()] + list(record.get("functions") or ())
    return frozenset(function["name"] for function in functions) if functions else None


def _copied_answer(index: int) -> RecordFault:
    text = "the answer stands word for word in the user's message"
    hint = "fine when the model should quote; otherwise it learns to copy"
    return RecordFault(("messages", index, "content"), "answer-in-prompt", text, hint, "suggestion")


def _completion_faults(record: JsonObject) -> list[RecordFault]:
    prompt, completion = record["prompt"], record["completion"]
    if not completion.strip():
        return [
            RecordFault(("completion",), "empty-answer", "the completion is empty", "give it text or drop the record")
        ]
    if prompt and completion.strip() in prompt:
        text = "the completion stands word for word in the prompt"
        hint = "fine when the model should quote; otherwise it learns to copy"
        return [RecordFault(("completion",), "answer-in-prompt", text, hint, "suggestion")]
    return []


def _preference_faults(record: JsonObject) -> list[RecordFault]:
    faults: list[RecordFault] = []
    wanted, unwanted = record["preferred_output"][0], record["non_preferred_output"][0]
    for key, message in (("preferred_output", wanted), ("non_preferred_output", unwanted)):
        content = message.get("content")
        if content is not None and not (content.strip() if isinstance(content, str) else _said(content)):
            faults.extend(_empty_answer(message, (key, 0)))
    if wanted == unwanted:
        text = "preferred_output and non_preferred_output are equal: there is nothing to prefer"
        faults.append(RecordFault(("non_preferred_output",), "equal-outputs", text, "drop the pair"))
    messages = record["input"]["messages"]
    if messages[-1]["role"] == "assistant":
        text = "the input ends with an assistant message; the two outputs answer the user's last one"
        hint = "move that message into the outputs"
        faults.append(
            RecordFault(("input", "messages", len(messages) - 1, "role"), "input-ends-with-assistant", text, hint)
        )
    if all(message["role"] != "user" for message in messages):
        faults.append(_nobody_asks("input", "messages"))
    inside = [*tool_faults(messages, _offered(record["input"])), *image_faults(messages)]
    faults.extend(RecordFault(("input", *f.path), f.code, f.message, f.hint, f.severity) for f in inside)
    return faults


def _reinforcement_faults(record: JsonObject) -> list[RecordFault]:
    messages: Sequence[Message] = record["messages"]
    faults = [*tool_faults(messages, _offered({"tools": record.get("tools")})), *image_faults(messages)]
    if messages[-1]["role"] == "assistant":
        text = "the last message is the assistant's; in reinforcement the model itself answers the user's last message"
        place = ("messages", len(messages) - 1, "role")
        faults.append(
            RecordFault(place, "ends-with-assistant", text, "cut it, or keep it as a reference field", "warning")
        )
    return faults


def tool_faults(messages: Sequence[Message], offered: frozenset[str] | None) -> Iterator[RecordFault]:
    """Tool calls that nobody answers, answers that nobody asked for, doubled ids, arguments that are not JSON.

    Args:
        messages: the conversation.
        offered: names of the functions that the record offers; None where it says nothing about them.
    """
    open_calls: dict[str, Path] = {}
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            call = message.get("tool_call_id")
            if call is not None and open_calls.pop(call, None) is None:
                text = f"tool_call_id {call!r} answers no open tool call of an earlier assistant message"
                hint = "use the id of the call, once"
                yield RecordFault(("messages", index, "tool_call_id"), "tool-answer-without-call", text, hint)
            continue
        # The API takes answers only right behind the calls: any other message closes them.
        for call_id, path in open_calls.items():
            text = f"tool call {call_id!r} has no tool message with its answer before the conversation goes on"
            yield RecordFault(path, "tool-call-without-answer", text, "add the tool message right after the call")
        open_calls = {}
        for number, call in enumerate(message.get("tool_calls") or ()):
            path = ("messages", index, "tool_calls", number)
            if call["id"] in open_calls:
                text = f"the tool call id {call['id']!r} is used twice in one message"
                yield RecordFault((*path, "id"), "doubled-tool-call-id", text, "give each call an id of its own")
            open_calls[call["id"]] = path
            yield from _call_faults(call["function"], offered, (*path, "function"))
        if function := message.get("function_call"):
            yield from _call_faults(function, offered, ("messages", index, "function_call"))


def _call_faults(call: Message, offered: frozenset[str] | None, path: Path) -> Iterator[RecordFault]:
    if offered is not None and call["name"] not in offered:
        text = f"{call['name']!r} is called, but the record offers {', '.join(sorted(offered))} only"
        yield RecordFault(
            (*path, "name"), "unknown-tool", text, "correct the name, or add the tool to the record", "warning"
        )
    path = (*path, "arguments")
    try:
        value = orjson.loads(call["arguments"])
    except orjson.JSONDecodeError as error:
        yield RecordFault(
            path, "arguments-not-json", f"the arguments are not JSON: {error.msg}", "write them with json.dumps"
        )
        return
    if isinstance(value, str):
        text = "the arguments are JSON encoded twice: they hold a string that holds the object"
        yield RecordFault(path, "arguments-encoded-twice", text, "call json.dumps once")
    elif not isinstance(value, dict):
        text = f"the arguments hold {type(value).__name__}, not an object"
        yield RecordFault(
            path, "arguments-not-an-object", text, "write them as an object of parameter names and values"
        )


def image_faults(messages: Sequence[Message]) -> Iterator[RecordFault]:
    """Too many images, images that are too big, and addresses that are neither http(s) nor an image's data."""
    images = 0
    for index, message in enumerate(messages):
        content = message.get("content")
        if not isinstance(content, list | tuple):
            continue
        for number, part in enumerate(content):
            if part.get("type") == "image_url":
                images += 1
                path = ("messages", index, "content", number, "image_url", "url")
                yield from _image_faults(part["image_url"]["url"], path)
    if images > MAX_IMAGES:
        text = f"{images} images in one example; at most {MAX_IMAGES} are taken"
        yield RecordFault(("messages",), "too-many-images", text, "split the example")


def _image_faults(url: str, path: Path) -> Iterator[RecordFault]:
    if url.startswith(("https://", "http://")):
        return
    kind = re.match(r"data:image/(jpeg|png|webp);base64,", url)
    if kind is None:
        text = f"{url[:40]!r} is neither an http(s) address nor data of a JPEG, PNG or WEBP image"
        yield RecordFault(path, "bad-image", text, "use https://... or data:image/png;base64,...")
    elif (size := (len(url) - kind.end()) * 3 // 4) > MAX_IMAGE_BYTES:
        text = f"the image has {size / 2**20:.1f} MB; at most {MAX_IMAGE_BYTES // 2**20} MB are taken"
        yield RecordFault(path, "image-too-large", text, "scale it down")
    elif not _begins_as(kind[1], url[kind.end() : kind.end() + 64]):
        text = f"the data behind {kind[0]!r} does not begin as such an image does"
        yield RecordFault(path, "bad-image", text, "name its real type, and encode the bytes of the file with base64")


def _begins_as(kind: str, encoded: str) -> bool:
    try:
        data = base64.b64decode(encoded[: len(encoded) // 4 * 4], validate=True)
    except binascii.Error:
        return False
    return data.startswith(_FIRST_BYTES[kind]) and (kind != "webp" or data[8:12] == b"WEBP")


def _invisible_faults(record: JsonObject) -> Iterator[RecordFault]:
    for path, text in texts_with_paths(record):
        for sign in dict.fromkeys(_INVISIBLE.findall(text)):
            name = _NAMES.get(sign) or unicodedata.name(sign, "control character").lower()
            number = text.count(sign)
            often = "" if number == 1 else f", {number} times"
            message = f"invisible character U+{ord(sign):04X} ({name}) at position {text.index(sign)}{often}"
            yield RecordFault(path, "invisible-character", message, "remove it, the model would learn it", "warning")


def doubled_key_faults(line: bytes, record: JsonObject) -> list[RecordFault]:
    """Keys that stand twice in one object of a line from which `record` was read: readers take the last one."""
    try:
        plain = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        # It nests deeper than can be written.
        plain = b""
    if line == plain:
        return []
    keys = _number_of_keys(record)
    # Every key of the text is followed by a colon, so an equal count proves that none was lost. Strings that hold `":`
    # only make the count higher and lead to the exact look.
    if line.count(b'":') == keys and b'" ' not in line and b'"\t' not in line:
        return []
    doubled: list[str] = []

    def collect(pairs: list[tuple[str, object]]) -> JsonObject:
        known = dict(pairs)
        if len(known) < len(pairs):
            keys = [key for key, _ in pairs]
            doubled.extend(key for key in known if keys.count(key) > 1)
        return known

    json.loads(line, object_pairs_hook=collect)
    hint = "keep one of them"
    return [
        RecordFault((), "doubled-key", f"the key {key!r} stands twice in one object; only the last one counts", hint)
        for key in doubled
    ]


def _number_of_keys(value: object) -> int:
    """How many keys all objects inside a value have together."""
    if isinstance(value, dict):
        return len(value) + sum(map(_number_of_keys, value.values()))
    if isinstance(value, list):
        return sum(map(_number_of_keys, value))
    return 0
