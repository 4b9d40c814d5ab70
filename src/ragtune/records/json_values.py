"""Values and JSON: nothing is lost on the way in, and nothing becomes something else on the way out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import orjson

from ragtune.errors import RecordError

# orjson reads whole numbers exactly up to there in either direction, and up to twice as far above zero.
BEYOND_64_BITS = 2.0**63


def read_json(source: str | bytes) -> object:
    """The value of a JSON text; whole numbers of any size stay whole.

    Raises:
        orjson.JSONDecodeError: it is no JSON.
    """
    value: object = orjson.loads(source)
    # orjson makes a float of a whole number beyond 64 bits without a word.
    return json.loads(source) if holds_wide_number(value) else value


def holds_wide_number(value: object) -> bool:
    """Whether a value that orjson read holds a float that may have been a whole number beyond 64 bits."""
    # A stack of our own: a hostile line nests deeper than Python lets functions call themselves.
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is dict:
            waiting += [inner for inner in item.values() if type(inner) is not str]  # type: ignore[attr-defined]
        elif kind is list:
            waiting += [inner for inner in item if type(inner) is not str]  # type: ignore[attr-defined]
        elif kind is float and abs(item) >= BEYOND_64_BITS:  # type: ignore[arg-type]
            return True
    return False


def json_text(value: object) -> str:
    """A value as JSON text.

    Raises:
        RecordError: JSON has no such value; the message names the place inside.
    """
    return dumps(plain_value(value)).decode()


def dumps(value: object, option: int = 0) -> bytes:
    """Plain values as JSON, as orjson writes it, and whole numbers of any size."""
    try:
        # Tried first: numbers of more than 64 bits are rare, and to look for them in every value would cost all the
        # others.
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError:
        if not _holds_wide_integer(value):
            raise
    return orjson.dumps(_wide_as_text(value), option=option)


def plain_value(value: object, *, path: str = "") -> object:
    """A value as JSON has it: NumPy and Decimal as numbers and lists, dates and times in ISO 8601.

    Raises:
        RecordError: JSON has no such value, or it is no number; the message names the place inside.
    """
    kind = type(value)
    if value is None or kind in (str, bool, int):
        return value
    if isinstance(value, Mapping):
        return {_key(key, path): plain_value(inner, path=f"{path}.{key}".lstrip(".")) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(inner, path=f"{path}[{index}]") for index, inner in enumerate(value)]
    if isinstance(value, Decimal):
        return _of_decimal(value, path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _no_json(value, path, "is no number that JSON has; write None for a value that is missing")
        # NumPy's float64 is a float to Python and not to orjson.
        return float(value)
    # The missing time of pandas calls itself a time.
    if isinstance(value, datetime | date | time) and value == value:
        return value.isoformat()
    return _of_numpy(value, path) if hasattr(value, "dtype") and hasattr(value, "tolist") else _other(value, path)


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        # Written as text the keys 1 and "1" would be one.
        raise _no_json(key, path, "is a key that is no text")
    return key


def _of_decimal(value: Decimal, path: str) -> int | float:
    """The number, where every reader of JSON gets just this one: its digits are all that a float keeps."""
    if value.is_finite() and value == value.to_integral_value():
        return int(value)
    if not value.is_finite() or Decimal(repr(float(value))) != value:
        raise _no_json(value, path, "has more digits than a number of JSON keeps; write it as text with str(value)")
    return float(value)


def _of_numpy(value: Any, path: str) -> object:
    # Times in nanoseconds would become whole numbers.
    if value.dtype.kind == "M":
        value = value.astype(str)
        if "NaT" in value:
            raise _no_json(value, path, "is no time; write None for a value that is missing")
    return plain_value(value.tolist(), path=path)


def _other(value: object, path: str) -> object:
    try:
        plain: object = orjson.loads(orjson.dumps(value))
    except (orjson.JSONEncodeError, RecursionError):
        hint = "which JSON does not have; convert it, for example with str(value) or float(value)"
        raise _no_json(value, path, f"is {type(value).__name__}, {hint}") from None
    return plain


def _no_json(value: object, path: str, why: str) -> RecordError:
    place = f"{path}: " if path else ""
    return RecordError(f"{place}{value!r:.80} {why}")


def _holds_wide_integer(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_wide_integer, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_wide_integer, value))
    return type(value) is int and value.bit_length() > 63


def _wide_as_text(value: object) -> object:
    if isinstance(value, dict):
        return {key: _wide_as_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_wide_as_text, value))
    if type(value) is int and value.bit_length() > 63:
        # Written into the line as it is: orjson itself ends at 64 bits.
        return orjson.Fragment(str(value))
    return value
