"""`ragtune inventory`, `archive`, `record`, `replay` and `compare`: from a server that ends to another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragtune.cli.common import NOT_WELL, plain_errors, server
from ragtune.cli.model_names import look_for, model_behind, named_model
from ragtune.cli.options import ALIASES, AS_JSON, BASE_URL, DRY_RUN, FOLDER, KEY_FILE, MAX_TOKENS, MODEL
from ragtune.cli.text_files import lines_of

if TYPE_CHECKING:
    from ragtune.migration import Questions

_DIALECT = Annotated[str | None, typer.Option(help="The server's dialect, for example unsloth-studio.")]
_MAX_COST = Annotated[float | None, typer.Option(min=0.0, help="US dollars that the answers may cost together.")]
# Where the names of --to are; azure and unsloth-studio are wherever their owner has them.
_ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "nebius": "https://api.tokenfactory.nebius.com/v1/",
    "together": "https://api.together.xyz/v1",
    "fireworks": "https://api.fireworks.ai/v1",
}
_DIALECTS = {"azure": "azure-foundry"}


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    for verb in (inventory, archive, record, replay, compare):
        app.command()(verb)


def inventory(
    archive: Annotated[Path | None, typer.Option(help="An archive: what it does not hold yet is told.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page there.")] = None,
    as_json: AS_JSON = False,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    dialect: _DIALECT = None,
) -> None:
    """List every job, model, checkpoint and file of an account. With base, size, age, cost and days left."""
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.maintenance import Maintenance

        if archive is not None and not archive.exists():
            typer.echo(f"nothing is archived yet: `ragtune archive {archive}` does it", err=True)
            archive = None
        found = Maintenance(client, dialect=dialect).inventory(archive=archive)
        if html is not None:
            found.to_html(html)
        typer.echo(found.to_json() if as_json else "\n".join([found.sentence, *found.notes, str(found)]))


def archive(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The archive; made where it is not there.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read it again against its hashes; no server is asked.")
    ] = False,
    as_json: AS_JSON = False,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    dialect: _DIALECT = None,
    concurrency: Annotated[int, typer.Option(min=1, help="How many things are fetched at once.")] = 8,
) -> None:
    """Fetch an account's files, jobs and events into a folder.

    Checkpoints too; the same command goes on where it was.
    """
    with plain_errors():
        from ragtune.migration import Archive

        if not verify:
            with server(folder=folder, base_url=base_url, key_file=key_file) as client:
                found = Archive.create(client, target, dialect=dialect, concurrency=concurrency)
            jobs, files = len(found.jobs), len(found.files)
            said = {"folder": str(target), "account": found.account, "jobs": jobs, "files": files, "lost": found.lost}
            text = "\n".join([f"{found!r}", *(f"not given by the server: {one}" for one in found.lost)])
            typer.echo(json.dumps(said, indent=1) if as_json else text)
            return
        read = Archive.load(target).verify()
        about: dict[str, Any] = {"ok": read.ok, "checked": read.checked, "bytes": read.bytes}
        typer.echo(
            json.dumps(about | {"problems": read.problems, "lost": read.lost}, indent=1) if as_json else str(read)
        )
        if not read.ok:
            raise typer.Exit(NOT_WELL)


def record(
    model: MODEL,
    out: Annotated[Path, typer.Option(help="JSONL file of the answers; the same command goes on there.")] = Path(
        "golden.jsonl"
    ),
    from_archive: Annotated[
        Path | None, typer.Option("--archive", help="Ask rows of this archive: those of the job that made the model.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="Ask these: a text file with one question per line, or facts in JSONL.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows of the archive at most.")] = 200,
    samples: Annotated[int, typer.Option(min=1, help="How often each question is asked.")] = 1,
    as_used_temperature: Annotated[
        float | None, typer.Option(min=0.0, max=2.0, help="Ask as often at this temperature, too.")
    ] = None,
    max_tokens: MAX_TOKENS = 256,
    max_cost_usd: _MAX_COST = None,
    as_json: AS_JSON = False,
    registry: ALIASES = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
) -> None:
    """Record what a model answers while it still does."""
    if (from_archive is None) == (questions is None):
        raise typer.BadParameter("give either --archive DIR or --questions FILE", param_hint="--archive")
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.migration import Archive
        from ragtune.migration import record as recorded

        asked: Questions | Any
        old = named_model(client, model, registry=registry)
        look_for(client, old.name, registry=registry)
        asked = Archive.load(from_archive).questions(old.name, limit=limit) if from_archive else _questions(questions)
        as_used = None if as_used_temperature is None else {"temperature": as_used_temperature}
        golden = recorded(
            old,
            asked,
            out,
            samples=samples,
            as_used=as_used,
            max_tokens=max_tokens,
            max_cost_usd=max_cost_usd,
        )
        about = {"path": str(golden.path), "model": golden.model, "questions": golden.questions}
        about |= {"answers": golden.answers, "expected": golden.expected, "cost_usd": golden.cost_usd}
        typer.echo(json.dumps(about, indent=1) if as_json else str(golden))
        if not golden.is_complete:
            raise typer.Exit(NOT_WELL)


def _questions(path: Path | None) -> Any:
    from ragtune.facts import FactSet

    assert path is not None, "one of the two was given"
    if path.suffix == ".jsonl":
        return FactSet.from_jsonl(path)
    return [line.strip() for line in lines_of(path) if line.strip()]


def replay(
    job: Annotated[str, typer.Argument(help="The job's id, or its model: the name, or an alias of the registry.")],
    from_archive: Annotated[Path, typer.Option("--archive", help="The archive.")],
    to: Annotated[
        str, typer.Option(help="local, openai, azure, nebius, together, fireworks, unsloth-studio, or an address.")
    ] = "local",
    base: Annotated[str | None, typer.Option(help="Base model there.")] = None,
    account: Annotated[str | None, typer.Option(help="The account's id, for fireworks.")] = None,
    dry_run: DRY_RUN = False,
    max_cost_usd: Annotated[float | None, typer.Option(min=0.0, help="Refuse above this estimate.")] = None,
    as_json: AS_JSON = False,
    registry: ALIASES = None,
    folder: Annotated[Path, typer.Option("--folder", help="Folder of the embedded backend, for --to local.")] = Path(
        "ragtune-local"
    ),
    base_url: Annotated[str | None, typer.Option(help="Address, for azure and unsloth-studio.")] = None,
    key_file: KEY_FILE = None,
) -> None:
    """Train an archived job anew on another server. What is approximated is said first."""
    is_url = to.startswith(("http://", "https://"))
    if to in ("azure", "unsloth-studio") and base_url is None:
        raise typer.BadParameter(f"--to {to} needs the address of yours: --base-url URL", param_hint="--base-url")
    if not is_url and to not in ("local", "azure", "unsloth-studio", *_ADDRESSES):
        known = ", ".join(("local", "azure", "unsloth-studio", *_ADDRESSES))
        raise typer.BadParameter(f"{to!r} is neither an address nor one of {known}", param_hint="--to")
    address = to if is_url else base_url or _ADDRESSES.get(to)
    dialect = None if is_url or to == "local" else _DIALECTS.get(to, to)
    local = to == "local"
    where: dict[str, Any] = {"folder": folder if local else None, "base_url": address, "key_file": key_file}
    with plain_errors(), server(**where, make=local) as client:
        from ragtune.migration import replay as replayed
        from ragtune.monitor import JobMonitor

        job = model_behind(job, registry)
        options: dict[str, Any] = {"base": base, "account": account, "dialect": dialect, "max_cost_usd": max_cost_usd}
        if dry_run:
            plan = replayed(from_archive, job, client, dry_run=True, **options)
            typer.echo(json.dumps(plan.to_dict(), indent=1) if as_json else str(plan))
            return
        made: Any = replayed(from_archive, job, client, **options)
        if local:
            # The training ends with the backend that this command started.
            JobMonitor(made).wait()
            made.refresh()
        # Servers with a wire of their own give no job of ours.
        model = made.details.fine_tuned_model if hasattr(made, "details") else made.model
        about = {"id": made.id, "status": made.status, "model": model}
        typer.echo(json.dumps(about) if as_json else f"{made.id} is {made.status}" + (f": {model}" if model else ""))


def compare(
    golden: Annotated[Path, typer.Argument(help="The recording of the old model.")],
    model: MODEL,
    html: Annotated[Path | None, typer.Option(help="Write one page there.")] = None,
    margin: Annotated[float, typer.Option(min=0.0, max=0.99, help="How much worse still counts as good.")] = 0.05,
    log: Annotated[
        Path | None, typer.Option(help="JSONL file of the new answers; default: beside the recording.")
    ] = None,
    max_tokens: MAX_TOKENS = 256,
    max_cost_usd: _MAX_COST = None,
    as_json: AS_JSON = False,
    registry: ALIASES = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
) -> None:
    """Hold a new model's answers against the recorded ones. As good, or worse: where, and by how much."""
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.migration import compare as compared

        options: dict[str, Any] = {"margin": margin, "log": log, "max_tokens": max_tokens, "max_cost_usd": max_cost_usd}
        new = named_model(client, model, registry=registry)
        look_for(client, new.name, registry=registry)
        found = compared(golden, new, **options)
        if html is not None:
            found.to_html(html)
        typer.echo(found.to_json() if as_json else str(found))
