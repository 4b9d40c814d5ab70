"""The command `ragtune`: a thin front on the same classes.

Exit codes: 0 all is well; 1 it is not (a file has errors, a job failed, nothing was deleted for want of `--yes`, or the
server, the backend or the disk refused); 2 the command line makes no sense; 3 no key was found; 130 Ctrl-C (0 for
`serve`, which ends so); 141 who read the output closed it.

A group of verbs is a module with `register(app)`, which puts its verbs onto the application; it stands in `_GROUPS`.
What it needs of the library is imported in the functions, so that `ragtune --help` loads none of it.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from ragtune import __version__
from ragtune.cli import account, asking, feedback, machine, recipe, servers, training_files, tuning
from ragtune.cli.common import kept_quiet

__all__ = ["app", "main"]

_GROUPS = (training_files, tuning, asking, feedback, recipe, account, servers, machine)

app = typer.Typer(
    name="ragtune",
    help="Take static knowledge through the whole life of a fine-tune.",
    epilog=(
        "Exit codes: 0 all is well, 1 it is not, 2 the command line makes no sense, 3 no key was found, 130 Ctrl-C, "
        "141 who read the output closed it."
    ),
    no_args_is_help=True,
    # Plain help: the pretty one takes longer to load than a whole command.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 120},
)
for group in _GROUPS:
    group.register(app)


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


def main() -> None:
    """Run the command."""
    # A pipe on Windows has no letter for many a text (cp1252): a question mark is better than an end in the middle.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    with kept_quiet():
        app()
