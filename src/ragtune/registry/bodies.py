"""What stands in a registry's JSON, read as what it means; a field that is gone or of a wrong kind is told."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from ragtune._checked import fits, words_of
from ragtune.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["held", "reading"]

T = TypeVar("T")


def held(thing: T) -> T:
    """Return a dataclass whose values are of the kinds that its fields name.

    Raises:
        TypeError: one is not.
    """
    for one in fields(thing):  # type: ignore[arg-type]  # whoever calls it gives a dataclass
        value = getattr(thing, one.name)
        if not fits(value, words_of(str(one.type))):
            raise TypeError(f"{one.name} is {value!r:.60}, not {one.type}")
    return thing


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Tell what cannot be read.

    Raises:
        RegistryError: it cannot.
    """
    try:
        yield
    except RegistryError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise RegistryError(f"{what} is damaged ({type(error).__name__}: {error}); restore a copy of it") from error
