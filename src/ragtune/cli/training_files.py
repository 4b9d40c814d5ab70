"""`ragtune check`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # noqa: TC003  # typer reads the signatures
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ragtune.cli.common import NOT_WELL, plain_errors

_REPAIRS = "--fix-by-name"


class Format(StrEnum):
    """Record kinds of a training file."""

    chat = "chat"
    completion = "completion"
    preference = "preference"
    reinforcement = "reinforcement"


class CheckCommand(TyperCommand):
    """Takes `--fix` and `--fix=NAME`; an option whose value may be missing would swallow the file behind it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Send what stands behind `--fix=` to an option of its own."""
        named = [f"{_REPAIRS}={arg.removeprefix('--fix=')}" if arg.startswith("--fix=") else arg for arg in args]
        return super().parse_args(ctx, named)


def check(
    files: Annotated[list[Path], typer.Argument(help="Training files (JSONL).")],
    format: Annotated[Format | None, typer.Option(help="Record kind; default: that of the first record.")] = None,
    model: Annotated[str | None, typer.Option(help="Base model to check for: its context and its format.")] = None,
    max_problems: Annotated[int, typer.Option(min=1, help="How many problems to list per file.")] = 50,
    min_examples: Annotated[
        int, typer.Option(min=0, help="Fewer are an error; a validation file may be shorter than a training file.")
    ] = 10,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Write a repaired copy beside each file; --fix=NAME,... also what a suggestion names."
        ),
    ] = False,
    repairs: Annotated[list[str] | None, typer.Option(_REPAIRS, hidden=True)] = None,
    privacy: Annotated[
        bool, typer.Option("--privacy", help="Report secrets and personal data, too, masked (extra privacy).")
    ] = False,
    mask: Annotated[
        bool, typer.Option("--mask", help="Write a repaired copy with [EMAIL] and the like in their place.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file instead of text.")] = False,
) -> None:
    """Read training files to the end and list every problem with line, place and way out.

    Exit code 0: no file has an error; 1: a file has an error or cannot be read; 2: the command line makes no sense.
    """
    from ragtune.checks import REPAIRS, check_file
    from ragtune.errors import DatasetError

    well = True
    names = [name for given in repairs or () for name in given.split(",")]
    if unknown := next((name for name in names if name not in REPAIRS), None):
        raise typer.BadParameter(f"{unknown!r} is not one of {', '.join(REPAIRS)}", param_hint="--fix")
    for path in files:
        with plain_errors():
            try:
                report = check_file(
                    path,
                    format=format.value if format else None,
                    model=model,
                    max_problems=max_problems,
                    min_examples=min_examples,
                    fix=names or fix,
                    privacy=privacy,
                    mask=mask,
                )
            except DatasetError as error:
                # A file that cannot be read says nothing about the next one.
                typer.echo(f"error: {error}", err=True)
                well = False
                continue
            typer.echo(json.dumps(report.to_dict()) if as_json else str(report))
            if (fix or names or mask) and report.fixed is None and not as_json:
                typer.echo(f"{path}: nothing in it can be repaired without its author; no copy was written")
            well = well and report.ok
    if not well:
        raise typer.Exit(NOT_WELL)
