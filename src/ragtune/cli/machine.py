"""`ragtune doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ragtune.cli.common import NOT_WELL, plain_errors


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port that a server would take.")] = 8000,
) -> None:
    """Say what this machine is, where models run on it and why, and what is missing; shows no key and no host.

    Exit code 0: the small base can be trained and asked here; 1: it cannot, and each thing that is missing is told
    with what mends it.
    """
    with plain_errors():
        from ragtune.doctor import examine

        found = examine(port=port)
        typer.echo(json.dumps(found.to_dict()) if as_json else str(found))
        if not found.ready:
            raise typer.Exit(NOT_WELL)
