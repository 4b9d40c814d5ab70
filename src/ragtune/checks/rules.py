"""Rules about the content of one record that has the right shape: will it train, and will it teach?"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import orjson

from ragtune.records import Fault, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.records.base import Path

_INVISIBLE = re.compile("[\u200b\u200c\u2060\ufeff\u2028\u2029\u00ad\u0085\u0000]")
_ESCAPED_INVISIBLE = re.compile(rb"\\u(?:200[bBcC]|2060|[fF][eE][fF][fF]|202[89]|00[aA][dD]|0085|0000)")
_NAMES = {
    "\u200b": "zero width space",
    "\u200c": "zero width non-joiner",
    "\u2060": "word joiner",
    "\ufeff": "byte order mark",
    "\u2028": "line separator",
    "\u2029": "paragraph separator",
    "\u00ad": "soft hyphen",
    "\u0085": "next line",
    "\u0000": "null",
}
MAX_IMAGES = 10
MAX_IMAGE_BYTES = 10 * 1024 * 1024
Message = dict[str, Any]


def content_faults(record: dict[str, Any], line: bytes, format: RecordFormat) -> list[Fault]:
    """Every rule about content that a record of the right shape breaks."""
    if format == "chat":
        faults = _chat_faults(record["messages"])
    elif format == "completion":
        faults = _completion_faults(record)
    elif format == "preference":
        faults = _preference_faults(record)
    else:
        faults = _reinforcement_faults(record["messages"])
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
        or b"\xa0" in line
        or b"\xbf" in line
        or b"\xa8" in line
        or b"\xa9" in line
        or b"\xad" in line
        or b"\x85" in line
    )


def _chat_faults(messages: Sequence[Message]) -> list[Fault]:
    faults: list[Fault] = []
    answers = trained = 0
    prompt = ""
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
                    faults.extend(_empty_answer(message, index))
                elif counts and content in prompt:
                    faults.append(_copied_answer(index))
        elif role == "tool":
            plain = False
    last = messages[-1]["role"]
    if last != "assistant":
        text = f"the last message has role {last!r}; training needs an answer of the assistant at the end"
        faults.append(Fault(("messages", len(messages) - 1, "role"), "last-not-assistant", text, "cut or answer it"))
    if answers and not trained:
        text = "every assistant message has weight 0: this record teaches nothing"
        faults.append(Fault(("messages",), "all-weights-zero", text, "set one weight to 1 or drop the record"))
    if not plain:
        faults.extend(tool_faults(messages))
        faults.extend(image_faults(messages))
    return faults


def _empty_answer(message: Message, index: int) -> Iterator[Fault]:
    if not message.get("tool_calls") and not message.get("function_call"):
        place = ("messages", index, "content")
        yield Fault(place, "empty-answer", "the assistant's answer is empty", "give it text or drop the record")


def _copied_answer(index: int) -> Fault:
    text = "the answer stands word for word in the user's message"
    hint = "fine when the model should quote; otherwise it learns to copy"
    return Fault(("messages", index, "content"), "answer-in-prompt", text, hint, "suggestion")


def _completion_faults(record: dict[str, Any]) -> list[Fault]:
    prompt, completion = record["prompt"], record["completion"]
    if not completion.strip():
        return [Fault(("completion",), "empty-answer", "the completion is empty", "give it text or drop the record")]
    if prompt and completion.strip() in prompt:
        text = "the completion stands word for word in the prompt"
        hint = "fine when the model should quote; otherwise it learns to copy"
        return [Fault(("completion",), "answer-in-prompt", text, hint, "suggestion")]
    return []


def _preference_faults(record: dict[str, Any]) -> list[Fault]:
    faults = []
    wanted, unwanted = record["preferred_output"][0], record["non_preferred_output"][0]
    for key, message in (("preferred_output", wanted), ("non_preferred_output", unwanted)):
        content = message.get("content")
        if isinstance(content, str) and not content.strip() and not message.get("tool_calls"):
            place = (key, 0, "content")
            faults.append(Fault(place, "empty-answer", f"{key} is empty", "give it text or drop the record"))
    if wanted == unwanted:
        text = "preferred_output and non_preferred_output are equal: there is nothing to prefer"
        faults.append(Fault(("non_preferred_output",), "equal-outputs", text, "drop the pair"))
    messages = record["input"]["messages"]
    if messages[-1]["role"] == "assistant":
        text = "the input ends with an assistant message; the two outputs answer the user's last one"
        hint = "move that message into the outputs"
        faults.append(Fault(("input", "messages", len(messages) - 1, "role"), "input-ends-with-assistant", text, hint))
    path: Path = ("input",)
    faults.extend(Fault((*path, *f.path), f.code, f.message, f.hint, f.severity) for f in tool_faults(messages))
    faults.extend(Fault((*path, *f.path), f.code, f.message, f.hint, f.severity) for f in image_faults(messages))
    return faults


def _reinforcement_faults(messages: Sequence[Message]) -> list[Fault]:
    faults = [*tool_faults(messages), *image_faults(messages)]
    if messages[-1]["role"] == "assistant":
        text = "the last message is the assistant's; in reinforcement the model itself answers the user's last message"
        place = ("messages", len(messages) - 1, "role")
        faults.append(Fault(place, "ends-with-assistant", text, "cut it, or keep it as a reference field", "warning"))
    return faults


def tool_faults(messages: Sequence[Message]) -> Iterator[Fault]:
    """Tool calls that nobody answers, answers that nobody asked for, doubled ids, arguments that are not JSON."""
    open_calls: dict[str, Path] = {}
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            call = message.get("tool_call_id")
            if call is not None and open_calls.pop(call, None) is None:
                text = f"tool_call_id {call!r} answers no open tool call of an earlier assistant message"
                hint = "use the id of the call, once"
                yield Fault(("messages", index, "tool_call_id"), "tool-answer-without-call", text, hint)
            continue
        for call_id, path in open_calls.items():
            text = f"tool call {call_id!r} has no tool message with its answer before the conversation goes on"
            yield Fault(path, "tool-call-without-answer", text, "add the tool message right after the call")
        open_calls = {}
        for number, call in enumerate(message.get("tool_calls") or ()):
            path = ("messages", index, "tool_calls", number)
            if call["id"] in open_calls:
                text = f"the tool call id {call['id']!r} is used twice in one message"
                yield Fault((*path, "id"), "doubled-tool-call-id", text, "give each call an id of its own")
            open_calls[call["id"]] = path
            yield from _argument_faults(call["function"]["arguments"], (*path, "function", "arguments"))
        if function := message.get("function_call"):
            path = ("messages", index, "function_call", "arguments")
            yield from _argument_faults(function["arguments"], path)


def _argument_faults(arguments: str, path: Path) -> Iterator[Fault]:
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError as error:
        yield Fault(
            path, "arguments-not-json", f"the arguments are not JSON: {error.msg}", "write them with json.dumps"
        )
        return
    if isinstance(value, str):
        text = "the arguments are JSON encoded twice: they hold a string that holds the object"
        yield Fault(path, "arguments-encoded-twice", text, "call json.dumps once")
    elif not isinstance(value, dict):
        text = f"the arguments hold {type(value).__name__}, not an object"
        yield Fault(path, "arguments-not-an-object", text, "write them as an object of parameter names and values")


def image_faults(messages: Sequence[Message]) -> Iterator[Fault]:
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
        yield Fault(("messages",), "too-many-images", text, "split the example")


def _image_faults(url: str, path: Path) -> Iterator[Fault]:
    if url.startswith(("https://", "http://")):
        return
    kind = re.match(r"data:image/(jpeg|png|webp);base64,", url)
    if kind is None:
        text = f"{url[:40]!r} is neither an http(s) address nor data of a JPEG, PNG or WEBP image"
        yield Fault(path, "bad-image", text, "use https://... or data:image/png;base64,...")
    elif (size := (len(url) - kind.end()) * 3 // 4) > MAX_IMAGE_BYTES:
        text = f"the image has {size / 2**20:.1f} MB; at most {MAX_IMAGE_BYTES // 2**20} MB are taken"
        yield Fault(path, "image-too-large", text, "scale it down")


def _invisible_faults(record: dict[str, Any]) -> Iterator[Fault]:
    for path, text in texts(record):
        found = _INVISIBLE.search(text)
        if found is not None:
            name = f"U+{ord(found[0]):04X} ({_NAMES[found[0]]})"
            message = f"invisible character {name} at position {found.start()}"
            yield Fault(path, "invisible-character", message, "remove it, the model would learn it", "warning")


def texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text in a record with its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from texts(item, (*path, index))


def doubled_key_faults(line: bytes, record: dict[str, Any]) -> list[Fault]:
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

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known = dict(pairs)
        if len(known) < len(pairs):
            keys = [key for key, _ in pairs]
            doubled.extend(key for key in known if keys.count(key) > 1)
        return known

    json.loads(line, object_pairs_hook=collect)
    hint = "keep one of them"
    return [
        Fault((), "doubled-key", f"the key {key!r} stands twice in one object; only the last one counts", hint)
        for key in doubled
    ]


def _number_of_keys(value: Any) -> int:
    """How many keys all objects inside a value have together."""
    if isinstance(value, dict):
        return len(value) + sum(map(_number_of_keys, value.values()))
    if isinstance(value, list):
        return sum(map(_number_of_keys, value))
    return 0
