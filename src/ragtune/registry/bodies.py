"""What stands in a registry's JSON, read as what it means; a field that is gone or of a wrong kind is told."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ragtune.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["reading"]


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
