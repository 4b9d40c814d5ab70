"""What calls are given: an argument of a wrong type is told by name, with its value and what would do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from operator import index
from pathlib import Path
from typing import SupportsIndex

from ragtune.errors import DatasetError


def text(name: str, value: object) -> str:
    """An argument that is text.

    Raises:
        DatasetError: it is not.
    """
    if not isinstance(value, str):
        raise _refused(name, value, "text")
    return value


def texts(name: str, value: object) -> tuple[str, ...]:
    """An argument of several texts; a single text is one of them.

    Raises:
        DatasetError: it is something else.
    """
    if isinstance(value, str):
        return (value,)
    # The keys of a mapping would be taken without a word.
    if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes):
        raise _refused(name, value, "text, or a list of texts")
    found = tuple(value)
    for each in found:
        if not isinstance(each, str):
            raise _refused(name, value, "a list of texts")
    return found


def flag(name: str, value: object) -> bool:
    """An argument that says yes or no.

    Raises:
        DatasetError: it is neither True nor False: a text such as "no" would count as yes.
    """
    if not isinstance(value, bool):
        raise _refused(name, value, "True or False")
    return value


def whole_number(name: str, value: object, *, least: int = 0) -> int:
    """An argument that counts something.

    Raises:
        DatasetError: it is no whole number, or below `least`.
    """
    rule = f"a whole number, {least} or more"
    # By `__index__`, which whole numbers of NumPy have and floats have not.
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise _refused(name, value, rule)
    if index(value) < least:
        raise DatasetError(f"{name}={_shown(value)} must be {rule}")
    return index(value)


def path(name: str, value: object) -> Path:
    """An argument that is a path.

    Raises:
        DatasetError: it is not.
    """
    if not isinstance(value, str | os.PathLike):
        raise _refused(name, value, "a path")
    found = Path(value)
    refuse_content(found, name)
    return found


def refuse_content(path: Path, name: str) -> None:
    """Refuse what no disk can have as a name: most often it is what a file holds, given in the place of its path.

    Raises:
        DatasetError: it is so.
    """
    try:
        path.lstat()
    # A zero byte; each system call refuses it, and none says what it was meant for.
    except ValueError as error:
        why = str(error)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            return
        why = "the name is too long"
    else:
        return
    raise DatasetError(f"{name}={_shown(str(path))} is no path: {why}; give the path of a file, not what it holds")


def mapping(name: str, value: object) -> Mapping[str, str]:
    """An argument that gives a text to each of several texts.

    Raises:
        DatasetError: it does not.
    """
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in (*value.keys(), *value.values())):
        raise _refused(name, value, "a mapping of texts to texts")
    return value


def function(name: str, value: object) -> None:
    """Refuse an argument that cannot be called.

    Raises:
        DatasetError: it cannot.
    """
    if not callable(value):
        raise _refused(name, value, "a function")


def one_of(name: str, value: object, known: Iterable[str]) -> str:
    """An argument that is one of several words.

    Raises:
        DatasetError: it is none of them.
    """
    words = tuple(known)
    # A list cannot be looked up.
    if not isinstance(value, str) or value not in words:
        raise DatasetError(f"{name}={_shown(value)} is not one of {', '.join(map(repr, words))}")
    return value


def instance(name: str, value: object, kind: type, way_out: str) -> None:
    """Refuse an argument that is not of one of our own types.

    Raises:
        DatasetError: it is not; the message names the way to one.
    """
    if not isinstance(value, kind):
        raise DatasetError(f"{name}={_shown(value)} must be a {kind.__name__}, not {type(value).__name__}; {way_out}")


def _refused(name: str, value: object, what: str) -> DatasetError:
    return DatasetError(f"{name}={_shown(value)} must be {what}, not {type(value).__name__}")


def _shown(value: object) -> str:
    return f"{value!r:.60}"
