"""Commands that a message names: they get the server, the registry and the store that this command was given."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["in_place"]

_COMMAND = re.compile(r"`ragtune (?P<verb>[a-z][a-z-]*)(?: (?P<below>[a-z][a-z-]*))?[^`]*(?=`)")
# Where things are: without them a command that was proposed would look elsewhere.
_PLACES = ("folder", "base_url", "key_file", "registry", "store", "journal")


def in_place(words: str, *, running: Any, given: Mapping[str, Any], find: Callable[[str], Any]) -> str:
    """Complete the commands of a message by the places that the running command was given.

    Args:
        words: the message.
        running: the command that runs, as Typer made it.
        given: its arguments.
        find: a verb's command by its name, None where there is none.
    """
    usual = {one.name: one.default for one in running.params}
    places = {name: given[name] for name in _PLACES if given.get(name) is not None and given[name] != usual.get(name)}

    def completed(found: re.Match[str]) -> str:
        flags = _flags(find(found["verb"]), found["below"])
        more = [
            f" {flags[name]} {shlex.quote(str(value))}"
            for name, value in places.items()
            if name in flags and flags[name] not in found[0]
        ]
        return found[0] + "".join(more)

    return _COMMAND.sub(completed, words) if places else words


def _flags(command: Any, below: str | None) -> dict[str, str]:
    command = getattr(command, "commands", {}).get(below, command)
    params = () if command is None else command.params
    return {one.name: max(one.opts, key=len) for one in params if one.opts[0].startswith("-")}
