"""`ragtune jobs` and `ragtune runs`: what there is on a server, and what was bought."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragtune.cli.common import plain_errors

runs_app = typer.Typer(invoke_without_command=True)

_RUN = Annotated[int, typer.Argument(help="The run's number, as `ragtune runs` lists it.")]
_JOURNAL = Annotated[
    Path | None, typer.Option(help="Journal file; default: RAGTUNE_JOURNAL, else the one in your state folder.")
]


def jobs(
    limit: Annotated[int, typer.Option(min=1, help="How many to list at most.")] = 20,
    status: Annotated[str | None, typer.Option(help="Only jobs in this status, for example failed.")] = None,
    key: Annotated[str | None, typer.Option(help="Only jobs with this key, as named in an error message.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Server; default: OPENAI_BASE_URL, else OpenAI.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="File with the API key; default: OPENAI_API_KEY.")] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the server.")] = 60.0,
) -> None:
    """List fine-tuning jobs, newest first."""
    with plain_errors():
        from ragtune._keys import client_from_anywhere
        from ragtune.job import list_jobs
        from ragtune.job.details import KNOWN_STATUSES
        from ragtune.job.metadata import KEY

        if status is not None and status not in KNOWN_STATUSES:
            known = ", ".join(KNOWN_STATUSES)
            typer.echo(f"warning: {status!r} is no status of OpenAI's, which are {known}", err=True)
        client = client_from_anywhere(key_file=key_file, base_url=base_url, timeout=timeout_s)
        found = list_jobs(client, limit=limit, status=status, metadata={KEY: key} if key else None)
        typer.echo(str(found) if len(found) else "no jobs")


@runs_app.callback()
def list_runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many to list at most.")] = 20,
    spend: Annotated[bool, typer.Option("--spend", help="What they cost, per month and model, instead.")] = False,
    journal: _JOURNAL = None,
) -> None:
    """List what was bought and what became of it, newest first, from the journal alone: no server is asked."""
    if context.invoked_subcommand is not None:
        return
    with plain_errors():
        from ragtune.journal import Journal

        found = Journal(journal).spend() if spend else Journal(journal).runs(limit=limit)
        typer.echo(str(found) if len(found) else "no runs")


@runs_app.command("show")
def show_run(run_id: _RUN, journal: _JOURNAL = None) -> None:
    """Print everything that the journal knows of one run."""
    with plain_errors():
        from dataclasses import asdict

        from ragtune.journal import Journal

        run = Journal(journal).run(run_id)
        told = asdict(run) | {"estimated_usd": run.estimated_usd, "billed_usd": run.billed_usd}
        told["dialect"] = None if run.dialect is None else run.dialect.name
        for name, value in told.items():
            if value not in (None, ()):
                typer.echo(f"{name}: {', '.join(value) if isinstance(value, tuple) else value}")


@runs_app.command("resolve")
def resolve_run(
    run_id: _RUN,
    job: Annotated[str | None, typer.Option(help="The job that it made, where only you can tell.")] = None,
    not_created: Annotated[
        bool, typer.Option("--not-created", help="It made none, as you saw on the server; it may be sent again.")
    ] = False,
    base_url: Annotated[str | None, typer.Option(help="Server; default: OPENAI_BASE_URL, else OpenAI.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="File with the API key; default: OPENAI_API_KEY.")] = None,
    journal: _JOURNAL = None,
) -> None:
    """Find out which job a run made whose answer was lost, and write it down."""
    with plain_errors():
        from ragtune._keys import client_from_anywhere
        from ragtune.job import FineTuneJob
        from ragtune.journal import Journal

        if not_created:
            Journal(journal).give_up(run_id)
            typer.echo(f"run {run_id} made no job; the same call to create buys it anew")
            return
        client = client_from_anywhere(key_file=key_file, base_url=base_url)
        found = FineTuneJob.attach(client, run_id, job_id=job, journal=Journal(journal))
        typer.echo(f"run {run_id} is {found.id}, which is {found.status}")
