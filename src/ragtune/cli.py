"""The command `ragtune`: a thin front on the same classes.

Exit codes: 0 all is well; 1 it is not (a file has errors, or the server, the backend or the disk refused); 2 the
command line makes no sense; 3 no key was found; 130 Ctrl-C (0 for `serve`,
which ends so).
"""

from __future__ import annotations

import io
import json
import logging
import shlex
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ragtune import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.local import LocalBackend

_REPAIRS = "--fix-by-name"
NOT_WELL, NO_KEY, STOPPED = 1, 3, 130
_HOW_TO_GIVE_A_KEY = (
    "set OPENAI_API_KEY in the environment, or name a file that holds the key with --key-file FILE; `ragtune serve` "
    "trains on this machine and prints where its own key is"
)

_ALIAS_EXAMPLE = "gpt-4o-mini-2024-07-18=smollm2-135m-instruct"
_BASE_EXAMPLE = "qwen=Qwen/Qwen3-0.6B or mine=/models/mine"
_BASE_OPTION = typer.Option(
    metavar="NAME=PATH", help="Further base model: a folder, or an id of the Hugging Face Hub; may repeat."
)

app = typer.Typer(
    name="ragtune",
    help="Take static knowledge through the whole life of a fine-tune.",
    epilog="Exit codes: 0 all is well, 1 it is not, 2 the command line makes no sense, 3 no key was found, 130 Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

runs_app = typer.Typer(invoke_without_command=True)
app.add_typer(runs_app, name="runs")

_RUN = Annotated[int, typer.Argument(help="The run's number, as `ragtune runs` lists it.")]
_JOURNAL = Annotated[
    Path | None, typer.Option(help="Journal file; default: RAGTUNE_JOURNAL, else the one in your state folder.")
]


class Format(StrEnum):
    """Record kinds of a training file."""

    chat = "chat"
    completion = "completion"
    preference = "preference"
    reinforcement = "reinforcement"


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


class _CheckCommand(TyperCommand):
    """Takes `--fix` and `--fix=NAME`; an option whose value may be missing would swallow the file behind it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Send what stands behind `--fix=` to an option of its own."""
        named = [f"{_REPAIRS}={arg.removeprefix('--fix=')}" if arg.startswith("--fix=") else arg for arg in args]
        return super().parse_args(ctx, named)


@app.command(cls=_CheckCommand)
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
    from ragtune.checks import check_file
    from ragtune.errors import DatasetError

    well = True
    names = [name for given in repairs or () for name in given.split(",")]
    for path in files:
        with _plain_errors():
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


@app.command()
def jobs(
    limit: Annotated[int, typer.Option(min=1, help="How many to list at most.")] = 20,
    status: Annotated[str | None, typer.Option(help="Only jobs in this status, for example failed.")] = None,
    key: Annotated[str | None, typer.Option(help="Only jobs with this key, as named in an error message.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Server; default: OPENAI_BASE_URL, else OpenAI.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="File with the API key; default: OPENAI_API_KEY.")] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the server.")] = 60.0,
) -> None:
    """List fine-tuning jobs, newest first."""
    with _plain_errors():
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
    with _plain_errors():
        from ragtune.journal import Journal

        found = Journal(journal).spend() if spend else Journal(journal).runs(limit=limit)
        typer.echo(str(found) if len(found) else "no runs")


@runs_app.command("show")
def show_run(run_id: _RUN, journal: _JOURNAL = None) -> None:
    """Print everything that the journal knows of one run."""
    with _plain_errors():
        from dataclasses import asdict

        from ragtune.journal import Journal

        run = Journal(journal).run(run_id)
        told = asdict(run) | {"billed_usd": run.billed_usd}
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
    with _plain_errors():
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


@app.command()
def serve(
    folder: Annotated[
        Path, typer.Argument(help="Where the backend keeps its state; made when it is not there.")
    ] = Path("ragtune-backend"),
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's need a key once.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8000,
    key_file: Annotated[Path | None, typer.Option(help="File with the API key to ask for; default: made.")] = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a key for other machines, show it once, keep its hash.")
    ] = False,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Told when a job ends, in OpenAI's signed form.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads for training and answering.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to train and answer: cuda, xpu, mps or cpu; default: the best one here.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="Number format of bases: float32, bfloat16 or float16; default: the right one there."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Most weights of models in memory, for example 4GB.")
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=BASE", help="Further name of a base, so that unchanged programs run; may repeat."),
    ] = None,
    base: Annotated[list[str] | None, _BASE_OPTION] = None,
    launcher: Annotated[
        str | None,
        typer.Option(help="What starts training in place of Python, for example 'torchrun --nproc_per_node 4'."),
    ] = None,
) -> None:
    """Serve the embedded backend to any OpenAI client, in any language, until Ctrl-C."""
    with _plain_errors():
        from ragtune._keys import read_key
        from ragtune.local import serve as run_backend
        from ragtune.local.auth.account import KEY_FILE, WEBHOOK_SECRET_FILE, keeps_hash
        from ragtune.local.auth.account import new_key as make_key
        from ragtune.local.http.limits import LOOPBACK

        if new_key and (key_file or host in LOOPBACK):
            message = "is for a --host that other machines can reach, and without --key-file"
            raise typer.BadParameter(message, param_hint="--new-key")
        key = read_key(key_file) if key_file else make_key() if new_key else None
        if key is None and host not in LOOPBACK and not keeps_hash(folder):
            message = (
                f"{host!r} can be reached from other machines: say with --key-file FILE which key may come in, or let "
                "--new-key make one"
            )
            raise typer.BadParameter(message, param_hint="--host")

        def show(backend: LocalBackend) -> None:
            where = key_file or (backend.folder / KEY_FILE if key is None and host in LOOPBACK else None)
            place = f"the API key is in {where}" if where else "it keeps a hash of its API key"
            typer.echo(f"serving {backend.folder} at {backend.base_url}; {place}; Ctrl-C stops")
            typer.echo(f"export OPENAI_BASE_URL={backend.base_url}")
            if where:
                typer.echo(f'export OPENAI_API_KEY="$(cat {shlex.quote(str(where))})"')
            elif new_key:
                typer.echo(f"export OPENAI_API_KEY={key}  # shown this once")
            if webhook:
                typer.echo(
                    f'export OPENAI_WEBHOOK_SECRET="$(cat {shlex.quote(str(backend.folder / WEBHOOK_SECRET_FILE))})"'
                )

        aliases = dict(_pair(text, option="--alias", example=_ALIAS_EXAMPLE) for text in alias or [])
        bases = dict(_pair(text, option="--base", example=_BASE_EXAMPLE) for text in base or [])
        _check_names(bases, aliases)
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")  # what the server has to say, to stderr
        options: dict[str, Any] = {
            "threads": threads,
            "device": device,
            "dtype": dtype,
            "memory": memory,
            "launcher": launcher,
        }
        options |= {"aliases": aliases, "bases": bases}
        run_backend(folder, host=host, port=port, key=key, webhook=webhook, on_start=show, **options)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Base model, for example smollm2-135m-instruct.")],
    cache_dir: Annotated[Path | None, typer.Option(help="Folder of base models; default: the user's cache.")] = None,
) -> None:
    """Fetch a base model once; nothing happens when it is there."""
    with _plain_errors():
        from ragtune.modelling.bases import fetch_base

        typer.echo(f"{name} is in {fetch_base(name, cache_dir=cache_dir)}")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port that a server would take.")] = 8000,
) -> None:
    """Say what this machine is, where models run on it and why, and what is missing; shows no key and no host.

    Exit code 0: the small base can be trained and asked here; 1: it cannot, and each thing that is missing is told
    with what mends it.
    """
    with _plain_errors():
        from ragtune.doctor import examine

        found = examine(port=port)
        typer.echo(json.dumps(found.to_dict()) if as_json else str(found))
        if not found.ready:
            raise typer.Exit(NOT_WELL)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Tuned model or checkpoint, as `client.models.list()` names it.")],
    target: Annotated[Path, typer.Argument(help="Folder to make; it must not be there yet.")],
    folder: Annotated[Path, typer.Option(help="Folder of the backend, which may be running.")] = Path(
        "ragtune-backend"
    ),
    merged: Annotated[
        bool, typer.Option("--merged", help="One whole model instead of the adapter alone, which needs its base.")
    ] = False,
    base: Annotated[list[str] | None, _BASE_OPTION] = None,
) -> None:
    """Write a tuned model to a folder that vLLM, SGLang, llama.cpp and transformers can serve."""
    with _plain_errors():
        from ragtune.local import LocalBackend

        bases = dict(_pair(text, option="--base", example=_BASE_EXAMPLE) for text in base or [])
        _check_names(bases, {})
        made = LocalBackend(folder, bases=bases).export(model, target, merged=merged)
        typer.echo(f"{model} is in {made.folder}; README.md tells where it came from.")
        if made.system is not None:
            typer.echo(f"It was trained with this system prompt; send it with each question:\n{made.system}\n")
        typer.echo("To serve it:")
        for server, commands in made.commands.items():
            typer.echo(f"\n# {server}\n{commands}")


def _pair(text: str, *, option: str, example: str) -> tuple[str, str]:
    name, sign, base = text.partition("=")
    if not (name and sign and base):
        message = f"{text!r} is not NAME=BASE, for example {example}"
        raise typer.BadParameter(message, param_hint=option)
    return name, base


def _check_names(bases: dict[str, str], aliases: dict[str, str]) -> None:
    from ragtune.errors import BackendError
    from ragtune.local.models.registry import BaseModels

    try:
        BaseModels(extra=bases, aliases=aliases).check()
    except BackendError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Print what went wrong in words, without a traceback, and leave with its exit code.

    Errors that are neither ours, OpenAI's nor the disk's are mistakes in the program and keep their traceback.
    """
    from ragtune._keys import HOW_TO_GIVE_A_KEY
    from ragtune.errors import MissingKey, RagtuneError

    try:
        yield
    except KeyboardInterrupt as stop:
        typer.echo(str(stop) or "stopped", err=True)
        raise typer.Exit(STOPPED) from None
    except MissingKey as error:
        # The library's way out is Python; here it is the command line.
        problem = str(error).removesuffix(HOW_TO_GIVE_A_KEY)
        typer.echo(f"error: {problem}{_HOW_TO_GIVE_A_KEY}", err=True)
        raise typer.Exit(NO_KEY) from None
    except (RagtuneError, OSError) as error:
        _tell(error)
    except Exception as error:
        # Only if it was loaded can the error be one of its own; loading it takes half a second.
        openai = sys.modules.get("openai")
        if openai is None or not isinstance(error, openai.OpenAIError):
            raise
        _tell(error)


def _tell(error: Exception) -> None:
    for line in [f"error: {error}", *getattr(error, "__notes__", ())]:
        typer.echo(line, err=True)
    raise typer.Exit(NOT_WELL) from None


def main() -> None:
    """Run the command."""
    # A pipe on Windows has no letter for many a text (cp1252): a question mark is better than an end in the middle.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    app()
