"""Arguments of the wrong kind get a sentence before anything happens: what came, and what the call takes."""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import is_dataclass
from functools import cache, wraps
from numbers import Integral, Real
from typing import Any, TypeVar

__all__ = ["checked", "fits", "words_of"]

T = TypeVar("T")

# Unions, and kinds, that have a name of their own.
_UNIONS = {
    "JournalArgument": "Journal | str | PathLike | None",
    "Json": "dict",
    "Names": "str | Sequence",
    "Retriever": "Callable",
    "SystemPrompt": "str | Trained | None",
}
# Whatever is true or false is a switch; choices of words and protocols are looked at by the calls themselves.
_FREE = frozenset({"Any", "object", "bool", "Literal", "Api"})
_SPOKEN = {
    "None": "None",
    "str": "a text",
    "bytes": "bytes",
    "int": "a whole number",
    "float": "a number",
    "Path": "a path",
    "PathLike": "a path",
    "Collection": "a list",
    "Iterable": "a list",
    "Sequence": "a list",
    "Mapping": "a dict",
    "dict": "a dict",
    "Callable": "a function",
}
_LONGEST = 60


def checked(*own: str) -> Callable[[T], T]:
    """Hold the arguments of a public function, or of every public method of a class, to their annotations.

    Args:
        own: parameters that the call itself looks at, with a better sentence.

    Example:
        ```python
        from ragtune._checked import checked

        @checked()
        def wait(seconds: "float | None") -> None:
            pass

        try:
            wait("long")
        except TypeError as error:
            print(error)
            #> wait: seconds is 'long'; it takes a number or None
        ```
    """

    def hold(thing: Any) -> Any:
        if not isinstance(thing, type):
            return _held(thing, own)
        for name, method in list(vars(thing).items()):
            # What a dataclass is made of is data, and kept as it comes.
            if (name == "__init__" and not is_dataclass(thing)) or not name.startswith("_"):
                if isinstance(method, classmethod | staticmethod):
                    setattr(thing, name, type(method)(_held(method.__func__, own)))
                elif inspect.isfunction(method):
                    setattr(thing, name, _held(method, own))
        return thing

    return hold


def fits(value: object, words: Collection[str]) -> bool:
    """Whether a value is of one of the kinds that an annotation names; see `words_of`."""
    return any(_is(word, value) for word in words)


@cache
def words_of(annotation: str) -> tuple[str, ...]:
    """The names in a union, without what stands in brackets: `str | list[int] | None` is `str`, `list`, `None`."""
    named = [_name(part) for part in _parts(ast.parse(annotation, mode="eval").body)]
    return tuple(word for name in named for word in (words_of(_UNIONS[name]) if name in _UNIONS else (name,)))


def _held(function: Any, own: Collection[str]) -> Any:
    signature = inspect.signature(function)
    kinds = {
        name: words_of(parameter.annotation)
        for name, parameter in signature.parameters.items()
        if name not in own
        # Read as texts: to evaluate them would import all that stands under TYPE_CHECKING.
        and isinstance(parameter.annotation, str)
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    kinds = {name: words for name, words in kinds.items() if not _FREE & {*words}}
    if not kinds:
        return function

    by_place = [name for name, one in signature.parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]

    def check(given: tuple[object, ...], named: dict[str, object]) -> None:
        # By hand: `Signature.bind` takes longer than many a call, and is wanted for a refusal alone.
        bound = {**dict(zip(by_place, given, strict=False)), **named}
        for name, words in kinds.items():
            if name in bound and not fits(bound[name], words):
                try:
                    signature.bind(*given, **named)
                except TypeError:
                    return  # one that is missing or unknown is named by Python itself
                takes = " or ".join(dict.fromkeys(_SPOKEN.get(word) or _one(word) for word in words))
                message = f"{function.__qualname__}: {name} is {_shown(bound[name])}; it takes {takes}"
                raise TypeError(message.replace(".__init__:", ":"))

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*given: object, **named: object) -> object:
            check(given, named)
            return await function(*given, **named)

        return awaited

    @wraps(function)
    def called(*given: object, **named: object) -> object:
        check(given, named)
        return function(*given, **named)

    return called


def _parts(node: ast.expr) -> list[ast.expr]:
    return [*_parts(node.left), *_parts(node.right)] if isinstance(node, ast.BinOp) else [node]


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ast.unparse(node)


def _is(word: str, value: object) -> bool:
    match word:
        case "None":
            return value is None
        case "int":
            return isinstance(value, Integral) and not isinstance(value, bool)
        case "float":
            return isinstance(value, Real) and not isinstance(value, bool)
        case "Path" | "PathLike":
            return isinstance(value, os.PathLike)
        case "Iterable":
            return isinstance(value, Iterable) and not isinstance(value, str | bytes)
        case "Collection" | "Sequence":
            return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
        case "Mapping" | "dict":
            return isinstance(value, Mapping)
        case "Callable":
            return callable(value)
        case "Any" | "object" | "Literal":
            return True
    # By name: what is imported for types alone need not be loaded to say that something else came.
    return any(kind.__name__ == word for kind in type(value).__mro__)


def _shown(value: object) -> str:
    if value is None or isinstance(value, str | int | float):
        shown = repr(value)
        return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
    # The type only: the repr of a stranger's object may hold a key.
    return _one(type(value).__qualname__)


def _one(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
