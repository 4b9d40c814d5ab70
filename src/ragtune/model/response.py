"""Answers of the Responses API, told as the chat completions that say the same."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from ragtune._api.fields import object_of, objects, text, whole, words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ragtune._api.calls import Json

__all__ = [
    "as_completion",
    "assembled_response",
    "conversation_of",
    "has_ended",
    "is_last",
    "refuse_slips",
    "text_of_event",
    "was_given_up",
]

# Chat's words for the ends of a response.
_REASONS = {"max_output_tokens": "length", "max_tokens": "length"}
_OTHER_NAMES = {
    "max_tokens": "it is called max_output_tokens here",
    "max_completion_tokens": "it is called max_output_tokens here",
    "messages": "what is asked, also a list of messages, is the first argument",
    "instructions": 'give them as system="..."',
    "response_format": 'it is called text={"format": ...} here',
    "stream": "an answer in pieces comes from stream_response(...), and a whole one from respond(...)",
}
_ENDED = {"completed", "incomplete", "failed", "cancelled"}
_LAST_EVENTS = {f"response.{state}" for state in _ENDED}


def refuse_slips(call: str, prompt: object, parameters: Json) -> None:
    """Tell what a parameter of other calls is called in this one.

    Raises:
        TypeError: one of them was given, or the prompt is neither a text nor a list.
    """
    if not isinstance(prompt, str | list | tuple):
        message = f"{call} takes a text or a list of messages and other items, not a {type(prompt).__qualname__}"
        raise TypeError(message)
    # Told here: a server would say that it knows no such parameter, and not what it is called.
    for name in parameters.keys() & _OTHER_NAMES.keys():
        message = f"{call} takes no {name!r}: {_OTHER_NAMES[name]}"
        raise TypeError(message)


def conversation_of(asked: Json) -> list[Json]:
    """The messages that a request of this API stands for, as far as they are known here."""
    given, told = asked["input"], asked.get("instructions")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [*([{"role": "system", "content": told}] if told else []), *messages]


def text_of_event(event: Json) -> str | None:
    """The piece of text that an event of a stream brings; None where it brings none."""
    return words(event.get("delta")) if event.get("type") == "response.output_text.delta" else None


def assembled_response(events: Iterable[Json]) -> Json:
    """Return the response that a stream's events tell; of one that broke off what came until then."""
    body: Json = {}
    items: dict[int, Json] = {}
    said: dict[int, list[str]] = {}
    for event in events:
        body |= object_of(event.get("response"))
        place = whole(event.get("output_index")) or 0
        if event.get("type") == "response.output_item.done":
            items[place] = object_of(event.get("item"))
        elif (piece := text_of_event(event)) is not None:
            said.setdefault(place, []).append(piece)
    # The last event repeats the response whole; only without it, or where it is empty, are the pieces put together.
    if text(body.get("status")) in _ENDED and body.get("output"):
        return body
    open_ones = {place: _message("".join(pieces)) for place, pieces in said.items()}
    # What is done replaces what was still being said in its place.
    together = open_ones | items
    return body | {"output": [together[place] for place in sorted(together)]}


def is_last(event: Json) -> bool:
    """Whether an event ends a stream: the response that it carries is all there is."""
    return words(event.get("type")) in _LAST_EVENTS


def has_ended(body: Json) -> bool:
    """Whether a response says of itself that it came to its end, or why it was cut before."""
    return _reason(body, called=False) is not None


def was_given_up(body: Json) -> bool:
    """Whether a response says of itself that the server gave it up; what it holds is not all of it."""
    return text(body.get("status")) in _ENDED and not has_ended(body)


def _message(said: str) -> Json:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": said}]}


def as_completion(body: Json) -> Json:
    """Return a response as a chat completion with one choice; with none where nothing was put out."""
    output = objects(body.get("output"))
    contents = (objects(item.get("content")) for item in output if item.get("type") == "message")
    parts = list(chain.from_iterable(contents))
    calls = [_call(item) for item in output if item.get("type") == "function_call"]
    said = [part for part in parts if part.get("type") != "refusal"]
    refused = [text(part.get("refusal")) or "" for part in parts if part.get("type") == "refusal"]
    message = {
        "content": words(said) if said else None,
        "refusal": "".join(refused) if refused else None,
        "tool_calls": calls,
    }
    logprobs = list(chain.from_iterable(objects(part.get("logprobs")) for part in said))
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": _reason(body, called=bool(calls)),
        "logprobs": {"content": logprobs} if logprobs else None,
    }
    usage = object_of(body.get("usage"))
    counts = {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "total_tokens": usage.get("total_tokens"),
    }
    return {
        **{name: body.get(name) for name in ("id", "model", "object", "error")},
        "created": body.get("created_at"),
        # None at all where nothing was put out, so that the answer can say so and not show an empty text.
        "choices": [choice] if parts or calls else [],
        "usage": counts if usage else None,
    }


def _call(item: Json) -> Json:
    # `call_id` is the one that the function's output must name.
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _reason(body: Json, *, called: bool) -> str | None:
    status = text(body.get("status"))
    if status == "completed":
        return "tool_calls" if called else "stop"
    if status != "incomplete":
        return None
    why = text(object_of(body.get("incomplete_details")).get("reason"))
    return _REASONS.get(why or "", why)
