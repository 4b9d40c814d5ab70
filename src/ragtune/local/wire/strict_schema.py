"""OpenAI's rules for schemas that ask to be followed strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragtune.local.http.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["check_strict"]


def check_strict(schema: Mapping[str, Any], *, param: str) -> None:
    """Look whether a schema may ask for `strict`: every object names all its properties and allows no others.

    Raises:
        ApiError: 400, it may not; names the place.
    """
    for place, part in _parts(schema):
        if part.get("type") != "object" and "properties" not in part:
            continue
        properties = part.get("properties") or {}
        if part.get("additionalProperties") is not False:
            rule = "'additionalProperties' must be there and be false"
        elif missing := sorted(set(properties) - set(part.get("required") or ())):
            rule = f"'required' must name every property; {missing[0]!r} is missing"
        else:
            continue
        message = f"Invalid schema for '{param}': at {'.'.join(place) or 'its top'}, {rule} when 'strict' is true."
        raise invalid(message, param=param, code="invalid_value")


def _parts(whole: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """A schema and all schemas in it, each with its place."""
    # A list and no recursion: the reader of bodies takes 1,024 levels, more than Python's stack has.
    waiting: list[tuple[tuple[str, ...], Any]] = [((), whole)]
    while waiting:
        place, schema = waiting.pop()
        if isinstance(schema, dict):
            yield place, schema
            # Reversed, so that the first of them is looked at next.
            waiting += reversed([((*place, *way), part) for way, part in _held(schema)])


def _held(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What stands directly in a schema where schemas stand, each with the way to it."""
    for key in ("properties", "$defs", "definitions"):
        held = schema.get(key)
        for name, part in held.items() if isinstance(held, dict) else ():
            yield (key, name), part
    yield ("items",), schema.get("items")
    for key in ("anyOf", "oneOf", "allOf"):
        held = schema.get(key)
        for number, part in enumerate(held if isinstance(held, list) else ()):
            yield (key, str(number)), part
