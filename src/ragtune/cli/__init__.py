"""The command `ragtune`: a thin front on the same classes.

Exit codes: 0 all is well; 1 it is not (a file has errors, or the server, the backend or the disk refused); 2 the
command line makes no sense; 3 no key was found; 130 Ctrl-C (0 for `serve`,
which ends so).
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from ragtune import __version__
from ragtune.cli.account import jobs, runs_app
from ragtune.cli.machine import doctor
from ragtune.cli.servers import mock, serve
from ragtune.cli.training_files import CheckCommand, check
from ragtune.cli.weights import export, fetch

__all__ = ["app", "main"]

app = typer.Typer(
    name="ragtune",
    help="Take static knowledge through the whole life of a fine-tune.",
    epilog="Exit codes: 0 all is well, 1 it is not, 2 the command line makes no sense, 3 no key was found, 130 Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command(cls=CheckCommand)(check)
app.command()(jobs)
app.command()(serve)
app.command()(mock)
app.command()(fetch)
app.command()(doctor)
app.command()(export)
app.add_typer(runs_app, name="runs")


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
    app()
