"""The application: which verbs there are, and how each is made, run and stopped."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from functools import cache, partial, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ragtune import __version__
from ragtune.cli.common import IN_PLACE, RUNNING, STOPPED, kept_quiet, warn_plainly
from ragtune.cli.hints import in_place

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["app", "run"]

# In the order of the help: the way of a model first.
_MODULES = {
    "training_files": "build check cost",
    "recipes": "recipes",
    "tuning": "plan tune watch",
    "asking": "ask evaluate",
    "feedback": "feedback",
    "advising": "advise",
    "recipe": "init run schema demo",
    "account": "jobs models files delete runs",
    "registry": "registry cleanup",
    "migration": "inventory archive record replay compare",
    "servers": "serve mock",
    "machine": "doctor fetch export guide",
}
_MODULE_OF = {verb: module for module, verbs in _MODULES.items() for verb in verbs.split()}


class _Verbs(TyperGroup):
    """The verbs, each made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all verbs."""
        return [*_MODULE_OF]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb; None where there is none, and then all are made: one of them may be meant."""
        for verb in [cmd_name] if cmd_name in _MODULE_OF else _MODULE_OF:
            if verb not in self.commands:
                self.commands[verb] = _made(verb)
        return self.commands.get(cmd_name)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the command line; `--help` makes all verbs."""
        with _stopped_in_words():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Make the verb that is meant, and run it."""
        with _stopped_in_words():
            return super().invoke(ctx)


@contextmanager
def _stopped_in_words() -> Iterator[None]:
    """Let Ctrl-C be told, wherever it comes before a command has anything to lose."""
    try:
        yield
    except KeyboardInterrupt:
        # Typer would say nothing, and its older versions `Aborted!` with exit code 1.
        typer.echo("stopped", err=True)
        raise typer.Exit(STOPPED) from None


def _made(verb: str) -> Any:
    """One verb of a module: making all of them would take longer than what it does."""
    made = typer.Typer(rich_markup_mode=None)
    import_module(f"ragtune.cli.verbs.{_MODULE_OF[verb]}").register(made)
    made.registered_groups = [group for group in made.registered_groups if group.name == verb]
    made.registered_commands = [
        one for one in made.registered_commands if getattr(one.callback, "__name__", "") == verb
    ]
    command = typer.main.get_group(made).commands[verb]
    for one in (command, *getattr(command, "commands", {}).values()):
        one.callback = _known_as(one)
    return command


@cache
def _found(verb: str) -> Any:
    return _made(verb) if verb in _MODULE_OF else None


def _known_as(command: Any) -> Any:
    """What a command does, while it is known as the one that runs."""
    do = command.callback
    if do is None:
        return None

    @wraps(do)
    def known(*args: Any, **options: Any) -> Any:
        running = RUNNING.set(command)
        places = IN_PLACE.set(partial(in_place, running=command, given=options, find=_found))
        try:
            return do(*args, **options)
        finally:
            IN_PLACE.reset(places)
            RUNNING.reset(running)

    return known


app = typer.Typer(
    name="ragtune",
    cls=_Verbs,
    help="Take static knowledge through the whole life of a fine-tune.",
    epilog=(
        "Exit codes: 0 all is well, 1 it is not, 2 the command line makes no sense, 3 no key was found, 130 Ctrl-C, "
        "141 who read the output closed it."
    ),
    no_args_is_help=True,
    # Plain help: the pretty one takes longer to load than a whole command.
    rich_markup_mode=None,
    # Nor tracebacks with the values of variables: keys may be among them.
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 120},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ragtune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Take static knowledge through the whole life of a fine-tune."""


def _open_what_is_closed() -> None:
    """Give outputs that were closed, as `>&-` does, to nobody: the next file that is opened would take their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def run() -> None:
    """Run what the command line says."""
    _open_what_is_closed()
    # A pipe on Windows has no letter for many a text (cp1252): a question mark is better than an end in the middle.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    # Typer reads options by pydantic, which else looks for plugins in every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    warn_plainly()
    with kept_quiet():
        app()
