"""What a model wrote, as rows: a JSON list in whatever stands around it, or nothing where it wrote prose."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pairs_in", "texts_in"]

# Models that think aloud try lists in there and throw them away.
_thought = re.compile(r"<think>.*?</think>", re.DOTALL)
_spoken_pair = re.compile(
    r"^\W*(?:Q|Question|Soru)\W*\d*\W*: ?(?P<question>.+?)\s*\n+\W*(?:A|Answer|Yanıt)\W*: ?(?P<answer>.+)$",
    re.MULTILINE | re.IGNORECASE,
)


def texts_in(reply: str) -> list[str] | None:
    """The texts of a list; None where the reply holds none."""
    told = _list(reply)
    if told is not None:
        texts = map(str.strip, chain.from_iterable(map(_texts, told)))
        return [text for text in texts if text]
    # No JSON at all: small models write a numbered list of questions then, and the mark at the end is the sign.
    lines = [line.strip(" -*\t").lstrip("0123456789.) ").strip('"') for line in reply.splitlines()]
    asked = [line for line in lines if line.endswith("?")]
    return asked or None


def pairs_in(reply: str) -> list[tuple[str, str]] | None:
    """The questions and answers of a list; None where the reply holds none."""
    told = _list(reply)
    if told is None:
        spoken = [(found["question"].strip(), found["answer"].strip()) for found in _spoken_pair.finditer(reply)]
        return spoken or None
    pairs = [(item.get("question"), item.get("answer")) for item in told if isinstance(item, dict)]
    # An answer may be a number; what is a list or an object inside a pair is none.
    plain = [pair for pair in pairs if all(isinstance(part, str | int | float) for part in pair)]
    kept = [(str(asked).strip(), str(said).strip()) for asked, said in plain if asked]
    # An empty list says that there is nothing to ask, which the prompt allows; a list without one pair is no answer.
    return kept if kept or not told else None


def _texts(item: object) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        # A model that was shown objects elsewhere writes each question as one, under a key of its own choice.
        yield from (value for value in list(item.values())[:1] if isinstance(value, str))


def _list(reply: str) -> list[object] | None:
    text = _thought.sub("", reply)
    found: object = None
    # The list first: from the first { to the last } of a list of objects is no JSON.
    for first, last in (("[", "]"), ("{", "}")):
        start, end = text.find(first), text.rfind(last)
        if 0 <= start < end:
            try:
                found = orjson.loads(text[start : end + 1])
                break
            except orjson.JSONDecodeError:
                continue
    if isinstance(found, dict):
        # A server that holds models to JSON objects allows no list outside of one.
        inside = [value for value in found.values() if isinstance(value, list)]
        found = inside[0] if len(inside) == 1 else [found]
    return found if isinstance(found, list) else _lines(text)


def _lines(text: str) -> list[object] | None:
    """Objects that stand in lines of their own; a list that was cut off at its end counts as far as it goes."""
    found: list[object] = []
    for line in text.splitlines():
        try:
            told = orjson.loads(line.strip().lstrip("[").rstrip(",]"))
        except orjson.JSONDecodeError:
            continue
        if isinstance(told, dict | str):
            found.append(told)
    return found or None
