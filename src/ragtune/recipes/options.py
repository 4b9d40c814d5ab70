"""Options of recipes: known by name, of the right kind, in their range."""

from __future__ import annotations

from dataclasses import Field, fields
from difflib import get_close_matches
from operator import index
from os import PathLike, fspath
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex, TypeVar

from ragtune._checked import fits, words_of
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["known", "made", "nearest", "require_choice", "require_share", "require_whole"]

T = TypeVar("T")


def made(kind: type[T], options: Mapping[str, object], place: str) -> T:
    """A frozen dataclass with these options.

    Raises:
        DatasetError: one is unknown, of another kind, or out of its range.
    """
    # Annotations are texts here and are read as such: to resolve them would need names that only type checkers import.
    named: dict[str, Field[object]] = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for name in options:
        known(name, named, f"{place}: option")
    given = {name: _fitting(value, str(named[name].type), f"{place}: {name}") for name, value in options.items()}
    try:
        return kind(**given)
    except DatasetError as error:
        raise DatasetError(f"{place}: {error}") from None


def known(name: object, names: Collection[str], place: str) -> None:
    """Refuse a name that is none of these; the message tells the nearest.

    Raises:
        DatasetError: it is none.
    """
    # A list cannot be looked up.
    if not isinstance(name, str) or name not in names:
        listed = ", ".join(names) or "none"
        raise DatasetError(f"{place} {name!r:.60} is unknown{nearest(name, names)}; known are {listed}")


def nearest(name: object, names: Collection[str]) -> str:
    """`; did you mean 'wordings'?`, or nothing."""
    found = get_close_matches(str(name), names, n=1)
    return f", did you mean {found[0]!r}?" if found else ""


def _fitting(value: object, annotation: str, place: str) -> object:
    # Files know lists and no tuples.
    given = tuple(value) if isinstance(value, list) else fspath(value) if isinstance(value, PathLike) else value
    words = words_of(annotation)
    parts = given if isinstance(given, tuple) else ()
    if not fits(given, words) or not all(fits(part, words_of(_inner(annotation))) for part in parts):
        raise DatasetError(f"{place} is {value!r:.60}; it takes {annotation}")
    # A numpy integer fits and becomes a plain one: recipes are written down as JSON.
    if "int" in words and isinstance(given, SupportsIndex):
        return index(given)
    return float(given) if "float" in words and isinstance(given, SupportsFloat) else given


def _inner(annotation: str) -> str:
    """`str` of `tuple[str, ...]`."""
    return annotation.partition("[")[2].partition(",")[0]


def require_whole(name: str, value: int, *, low: int, high: int) -> None:
    """Refuse a number out of its range.

    Raises:
        DatasetError: it is.
    """
    if not low <= value <= high:
        raise DatasetError(f"{name}={value} must be a whole number from {low} to {high}")


def require_share(name: str, value: float, *, low: float = 0.0, high: float = 1.0, why: str = "") -> None:
    """Refuse a share out of its range.

    Raises:
        DatasetError: it is.
    """
    if not low <= value <= high:
        raise DatasetError(f"{name}={value:g} must be a share from {low:g} to {high:g}{why}")


def require_choice(name: str, values: Sequence[str], choices: Sequence[str]) -> None:
    """Refuse words that are none of the choices, and no word at all.

    Raises:
        DatasetError: there is one.
    """
    for value in values:
        known(value, choices, f"{name}:")
    if not values:
        raise DatasetError(f"{name} is empty; name some of {', '.join(choices)}")
