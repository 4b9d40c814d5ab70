"""What can be called and with what: a parameter or a default that changes shows here first.

`python tests/meta/test_signatures.py` writes the list anew; what it changes belongs into the changelog.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ragtune

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = Path(__file__).with_name("signatures.txt")
# How other defaults are spelled depends on the machine: a journal has a path.
PLAIN = (type(None), bool, int, float, str, tuple, type)
# Rooms that no other project imports from.
INSIDE = ("cli", "train", "modelling", "data")


class Kind:
    """A default of which the kind alone is told."""

    def __init__(self, value: object) -> None:
        self.name = "factory" if repr(value) == "<factory>" else type(value).__name__

    def __repr__(self) -> str:
        return f"<{self.name}>"


def public() -> Iterator[tuple[str, Any]]:
    """Every name of every `__all__`, where it is offered."""
    yield from ((f"ragtune.{name}", getattr(ragtune, name)) for name in sorted(ragtune.__all__))
    for found in sorted(pkgutil.iter_modules(ragtune.__path__), key=lambda found: found.name):
        if not found.name.startswith("_") and found.name not in INSIDE:
            module = importlib.import_module(f"ragtune.{found.name}")
            for name in sorted(getattr(module, "__all__", ())):
                if name not in ragtune.__all__:
                    yield f"{module.__name__}.{name}", getattr(module, name)


def spelled(name: str, thing: Any) -> str:
    """Names, kinds and defaults of the parameters; types are the checkers' business."""
    parameters = [
        one.replace(annotation=one.empty, default=one.default if isinstance(one.default, PLAIN) else Kind(one.default))
        for one in inspect.signature(thing).parameters.values()
        if one.name not in ("self", "cls")
    ]
    return f"{name}{inspect.Signature(parameters)}"


def signatures() -> list[str]:
    found = []
    for name, thing in public():
        if inspect.isclass(thing):
            if not issubclass(thing, BaseException) and thing.__init__ is not object.__init__:
                found.append(spelled(name, thing))
            for part, method in sorted(vars(thing).items()):
                plain = getattr(method, "__func__", method)
                if not part.startswith("_") and inspect.isfunction(plain):
                    found.append(spelled(f"{name}.{part}", plain))
        elif inspect.isroutine(thing):
            found.append(spelled(name, thing))
    return found


def test_what_can_be_called_is_what_was_promised() -> None:
    assert signatures() == KEPT.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    KEPT.write_text("\n".join(signatures()) + "\n", encoding="utf-8")
