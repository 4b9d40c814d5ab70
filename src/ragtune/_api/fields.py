"""Fields of a foreign body: a value of the kind that is wanted, or nothing, whatever the server put there."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING

from ragtune._api.errors import UnreadableReplyError

if TYPE_CHECKING:
    from ragtune._api.calls import Json

__all__ = ["identity", "number", "object_of", "objects", "required", "setting", "text", "thoughts", "whole", "words"]


_THOUGHTS = ("thinking", "reasoning")


def text(value: object) -> str | None:
    """Return a text that is not empty; a number that stands in its place as text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def number(value: object) -> float | None:
    """Return a finite number, also one that stands there as text."""
    # To Python, true is 1.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
        if not math.isfinite(read):
            return None
    except (ValueError, OverflowError):
        return None
    return value if isinstance(value, int) else int(read) if isinstance(value, str) and read.is_integer() else read


def whole(value: object) -> int | None:
    """Return a whole number of 64 bits, also one that stands there as text."""
    read = number(value)
    # What is larger counts nothing, and no database keeps it.
    return int(read) if read is not None and read == int(read) and -(2**63) <= read < 2**63 else None


def setting(value: object) -> float | str | None:
    """Return a hyperparameter: a number, or a word such as `auto`."""
    read = number(value)
    return text(value) if read is None else read


def object_of(value: object) -> Json:
    """Return a JSON object; an empty one for everything else."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[Json]:
    """Return the JSON objects of a list; none for everything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def words(value: object) -> str | None:
    """Return what is said in a message's content: a text, or the texts of its parts; thinking is not part of it."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return None
    said = [part if isinstance(part, str) else _said(part) for part in value]
    texts = [one for one in said if one is not None]
    return "".join(texts) if texts else None


def thoughts(message: Json) -> str | None:
    """Return what a model thought before it spoke: beside the text as most servers send it, or among its parts."""
    for name in ("reasoning_content", "reasoning", "thinking"):
        if said := words(message.get(name)):
            return said
    content = message.get("content")
    parts = objects(content if isinstance(content, list) else [content])
    thought = [words(part.get("thinking") or part.get("text")) for part in parts if part.get("type") in _THOUGHTS]
    return "".join(filter(None, thought)) or None


def required(body: Json, what: str) -> str:
    """Return the id of what a server answered with.

    Raises:
        UnreadableReplyError: it has none.
    """
    found = text(body.get("id"))
    if found is None:
        message = f"the server answered with a {what} that has no id, as OpenAI's wire wants it: {str(body)[:200]}"
        raise UnreadableReplyError(message)
    return found


def identity(body: Json) -> str:
    """Return the id of an item of a list; where the server gives none, a name made of its content."""
    found = text(body.get("id"))
    if found is not None:
        return found
    # By what it says: met again on a page that came twice, it is known.
    content = json.dumps(body, sort_keys=True, default=str).encode(errors="replace")
    return f"unnamed-{hashlib.sha256(content).hexdigest()[:16]}"


def _said(part: object) -> str | None:
    if not isinstance(part, dict) or part.get("type") not in (None, "text", "output_text"):
        return None
    said = part.get("text")
    return said if isinstance(said, str) else None
