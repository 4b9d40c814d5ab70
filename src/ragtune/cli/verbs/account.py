"""`ragtune jobs`, `models`, `files`, `delete` and `runs`: what there is on a server, and what was bought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ragtune.cli.common import NOT_WELL, allowed, plain_errors, protecting, server, tell
from ragtune.cli.model_names import explaining, look_for, model_behind, named_model
from ragtune.cli.options import (
    ALIASES,
    AS_JSON,
    BASE_URL,
    DRY_RUN,
    FOLDER,
    FORCE,
    JOURNAL,
    KEY_FILE,
    MODEL,
    NAME_OR_ALIAS,
    REGISTRY,
    YES,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ragtune.maintenance import Deleted
    from ragtune.plan import Plan

_LIMIT = Annotated[int, typer.Option(min=1, help="How many to list at most.")]
_TIMEOUT = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the server.")]
_JOB = Annotated[str, typer.Argument(metavar="JOB", help="The job, ftjob-...")]
_FILE = Annotated[str, typer.Argument(metavar="FILE", help="The file, file-...")]
_RUN = Annotated[int, typer.Argument(help="The run's number, as `ragtune runs` lists it.")]

jobs_app, models_app, files_app, runs_app = (typer.Typer(invoke_without_command=True) for _ in range(4))


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.add_typer(jobs_app, name="jobs")
    app.add_typer(models_app, name="models")
    app.add_typer(files_app, name="files")
    app.add_typer(runs_app, name="runs")
    app.command()(delete)


@jobs_app.callback()
def list_jobs(
    context: typer.Context,
    limit: _LIMIT = 20,
    status: Annotated[str | None, typer.Option(help="Only jobs in this status, for example failed.")] = None,
    key: Annotated[str | None, typer.Option(help="Only jobs with this key, as named in an error message.")] = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    timeout_s: _TIMEOUT = 60.0,
    as_json: AS_JSON = False,
) -> None:
    """List fine-tuning jobs, newest first; show or cancel one."""
    # A group's own function runs before each command of the group as well.
    if context.invoked_subcommand is not None:
        return
    with plain_errors():
        from ragtune.job import list_jobs
        from ragtune.job.details import KNOWN_STATUSES
        from ragtune.job.metadata import KEY

        # Told and not refused: servers that copied the wire have statuses of their own.
        if status is not None and status not in KNOWN_STATUSES:
            known = ", ".join(KNOWN_STATUSES)
            typer.echo(f"warning: {status!r} is no status of OpenAI's, which are {known}", err=True)
        with server(folder=folder, base_url=base_url, key_file=key_file, timeout_s=timeout_s) as client:
            found = list_jobs(client, limit=limit, status=status, metadata={KEY: key} if key else None)
        _list(found, [job.details for job in found], "jobs", as_json=as_json)


@jobs_app.command("show")
def show_job(
    job: _JOB,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: AS_JSON = False,
) -> None:
    """Print how a job stands, with its newest events."""
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.maintenance import Maintenance

        maintenance = Maintenance(client)
        found, events = maintenance.job(job).details, maintenance.events(job, limit=5)
        if as_json:
            tell(found, as_json=True)
            return
        _show({"job": found.id, **_fields(found)})
        for event in events:
            typer.echo(f"  {event}")


@jobs_app.command("cancel")
def cancel_job(
    job: _JOB,
    yes: YES = False,
    dry_run: DRY_RUN = False,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: AS_JSON = False,
) -> None:
    """Cancel a job; what it trained so far may be billed."""
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.maintenance import Maintenance

        maintenance = Maintenance(client, enabled=True)
        if allowed(lambda: maintenance.cancel(job, dry_run=True), yes=yes, dry_run=dry_run, as_json=as_json):
            ended = maintenance.cancel(job)
            tell(ended.details, as_json=as_json, text=f"{ended.id} is {ended.status}")


@models_app.callback()
def list_models(
    context: typer.Context,
    tuned: Annotated[bool, typer.Option("--tuned", help="Only fine-tuned ones.")] = False,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: AS_JSON = False,
) -> None:
    """List the models that can be asked; show or delete one."""
    if context.invoked_subcommand is not None:
        return
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.maintenance import Maintenance, ModelTable

        found = Maintenance(client).models()
        if tuned:
            found = ModelTable(rows=tuple(model for model in found if model.tuned))
        _list(found, list(found), "models", as_json=as_json)


@models_app.command("show")
def show_model(
    model: MODEL,
    registry: ALIASES = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: AS_JSON = False,
) -> None:
    """Print what is known of a model. Its base, its system prompt, and when it stops answering."""
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        found = named_model(client, model, registry=registry)
        system, expiry = found.system(), found.expiry()
        if expiry.kind == "unknown":
            # Nothing is known of it: it may not be there at all.
            look_for(client, found.name, registry=registry)
        told: dict[str, object] = {"model": found.name, "base": found.base, "system": system}
        told |= {"fingerprint": found.fingerprint, "answers_until": expiry.date or expiry.kind}
        tell(told, as_json=True) if as_json else _show(told)


@models_app.command("delete")
def delete_model(
    model: NAME_OR_ALIAS,
    checkpoints: Annotated[bool, typer.Option(help="Its checkpoints, too.")] = True,
    yes: YES = False,
    dry_run: DRY_RUN = False,
    force: FORCE = False,
    registry: REGISTRY = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: AS_JSON = False,
) -> None:
    """Delete a tuned model for good."""
    with (
        plain_errors(),
        server(folder=folder, base_url=base_url, key_file=key_file) as client,
        explaining(client, model, registry=registry),
    ):
        from ragtune.maintenance import Maintenance

        name = model_behind(model, registry)
        maintenance = Maintenance(client, enabled=True, registry=protecting(registry))
        _deletion(
            lambda: maintenance.delete_model(name, checkpoints=checkpoints, dry_run=True, force=force),
            lambda: maintenance.delete_model(name, checkpoints=checkpoints, force=force),
            yes=yes,
            dry_run=dry_run,
            as_json=as_json,
        )


@files_app.callback()
def list_files(
    context: typer.Context,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: AS_JSON = False,
) -> None:
    """List the account's files; show or delete one."""
    if context.invoked_subcommand is not None:
        return
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.maintenance import Maintenance

        found = Maintenance(client).files()
        _list(found, list(found), "files", as_json=as_json)


@files_app.command("show")
def show_file(
    file: _FILE,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: AS_JSON = False,
) -> None:
    """Print what the server knows of a file."""
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.errors import RagtuneError
        from ragtune.maintenance import Maintenance

        found = next((one for one in Maintenance(client).files() if one.id == file), None)
        if found is None:
            message = f"there is no file {file!r} on this account; `ragtune files` lists them"
            raise RagtuneError(message)
        tell(found, as_json=True) if as_json else _show(_fields(found))


@files_app.command("delete")
def delete_file(
    file: _FILE,
    yes: YES = False,
    dry_run: DRY_RUN = False,
    force: FORCE = False,
    registry: REGISTRY = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: AS_JSON = False,
) -> None:
    """Delete a file for good."""
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.maintenance import Maintenance

        maintenance = Maintenance(client, enabled=True, registry=protecting(registry))
        _deletion(
            lambda: maintenance.delete_file(file, dry_run=True, force=force),
            lambda: maintenance.delete_file(file, force=force),
            yes=yes,
            dry_run=dry_run,
            as_json=as_json,
        )


def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model, its alias, or a file by its id, file-...")],
    yes: YES = False,
    dry_run: DRY_RUN = False,
    force: FORCE = False,
    registry: REGISTRY = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: AS_JSON = False,
) -> None:
    """Delete a tuned model with its checkpoints, or a file. `models delete` and `files delete` do the same."""
    remove = delete_file if name.startswith("file-") else delete_model
    remove(
        name,
        yes=yes,
        dry_run=dry_run,
        force=force,
        registry=registry,
        folder=folder,
        base_url=base_url,
        key_file=key_file,
        as_json=as_json,
    )


@runs_app.callback()
def list_runs(
    context: typer.Context,
    limit: _LIMIT = 20,
    spend: Annotated[bool, typer.Option("--spend", help="What they cost, per month and model, instead.")] = False,
    journal: JOURNAL = None,
    as_json: AS_JSON = False,
) -> None:
    """List what was bought, from the journal; no server is asked. Newest first, with what became of it."""
    if context.invoked_subcommand is not None:
        return
    with plain_errors():
        from ragtune.journal import Journal

        found = Journal(journal).spend() if spend else Journal(journal).runs(limit=limit)
        _list(found, list(found), "runs", as_json=as_json)


@runs_app.command("show")
def show_run(run_id: _RUN, journal: JOURNAL = None, as_json: AS_JSON = False) -> None:
    """Print everything that the journal knows of one run."""
    with plain_errors():
        from ragtune.journal import Journal

        run = Journal(journal).run(run_id)
        told = _fields(run) | {"estimated_usd": run.estimated_usd, "billed_usd": run.billed_usd}
        told["dialect"] = None if run.dialect is None else run.dialect.name
        tell(told, as_json=True) if as_json else _show(told)


@runs_app.command("resolve")
def resolve_run(
    run_id: _RUN,
    job: Annotated[str | None, typer.Option(help="The job that it made, where only you can tell.")] = None,
    not_created: Annotated[
        bool, typer.Option("--not-created", help="It made none, as you saw on the server; it may be sent again.")
    ] = False,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    journal: JOURNAL = None,
    as_json: AS_JSON = False,
) -> None:
    """Find the job of a run whose answer was lost. What is found is written down."""
    with plain_errors():
        from ragtune.job import FineTuneJob
        from ragtune.journal import Journal

        if not_created:
            Journal(journal).give_up(run_id)
            words = f"run {run_id} made no job; the same `ragtune tune` buys it anew"
            tell({"run": run_id, "job": None}, as_json=as_json, text=words)
            return
        with server(folder=folder, base_url=base_url, key_file=key_file) as client:
            found = FineTuneJob.attach(client, run_id, job_id=job, journal=Journal(journal))
        told = {"run": run_id, "job": found.id, "status": found.status}
        tell(told, as_json=as_json, text=f"run {run_id} is {found.id}, which is {found.status}")


def _list(found: object, rows: Sequence[object], what: str, *, as_json: bool) -> None:
    tell(rows, as_json=as_json, text=str(found) if rows else f"no {what}")


def _fields(value: object) -> dict[str, object]:
    return {name: held for name, held in vars(value).items() if name != "raw"}


def _show(told: dict[str, object]) -> None:
    for name, value in told.items():
        if value not in (None, (), {}):
            typer.echo(f"{name}: {', '.join(map(str, value)) if isinstance(value, tuple) else value}")


def _deletion(plan: Callable[[], Plan], do: Callable[[], Deleted], *, yes: bool, dry_run: bool, as_json: bool) -> None:
    if allowed(plan, yes=yes, dry_run=dry_run, as_json=as_json):
        gone = do()
        tell(gone, as_json=as_json)
        # Servers may answer with success that they did not.
        if not gone.deleted:
            raise typer.Exit(NOT_WELL)
