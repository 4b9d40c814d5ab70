"""`ragtune registry` and `ragtune cleanup`: which model an alias leads to, and what may leave an account."""

from __future__ import annotations

import difflib
import json
import shlex
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragtune.cli.common import NOT_WELL, as_line, plain_errors, protecting, server
from ragtune.cli.model_names import look_for
from ragtune.cli.options import BASE_URL, FOLDER, KEY_FILE, REGISTRY, REGISTRY_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openai

    from ragtune._table import Row, Table
    from ragtune.model import TunedModel
    from ragtune.registry import Registry

registry_app = typer.Typer(no_args_is_help=True)

_REGISTRY = Annotated[
    Path, typer.Option("--registry", envvar="RAGTUNE_REGISTRY", help="SQLite file or folder of JSON.")
]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_BY = Annotated[str | None, typer.Option(help="Who decides; kept on record.")]
_WHY = Annotated[str | None, typer.Option(help="Why; kept on record.")]
_ALIAS = Annotated[str, typer.Argument(help="The alias, for example science-prod.")]


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.command()(cleanup)
    app.add_typer(registry_app, name="registry")


@registry_app.callback()
def _root() -> None:
    """Which models there are, and which of them an alias leads to."""


@registry_app.command("list")
def list_models(registry: _REGISTRY = REGISTRY_FILE, as_json: _JSON = False) -> None:
    """List the models with their aliases."""
    with plain_errors():
        from ragtune.registry import Registry

        _tell_of_none(registry)
        table = Registry(registry).models()
        _print(table, [version.to_dict() for version in table], as_json=as_json, nothing="no models")


@registry_app.command("add")
def add(
    model: Annotated[str, typer.Argument(help="The model's name, or `latest`.")],
    dataset: Annotated[Path | None, typer.Option(help="Folder of the dataset that it learned from.")] = None,
    scorecard: Annotated[Path | None, typer.Option(help="Log of its evaluation, evaluation.jsonl.")] = None,
    arm: Annotated[str | None, typer.Option(help="Its name on the card; default: tuned.")] = None,
    recipe: Annotated[str | None, typer.Option(help="By which recipe the dataset was made.")] = None,
    cost_usd: Annotated[float | None, typer.Option(min=0, help="What training cost, in US dollars.")] = None,
    ask: Annotated[bool, typer.Option("--ask/--offline", help="Ask the server what it knows of the model.")] = True,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    registry: _REGISTRY = REGISTRY_FILE,
    as_json: _JSON = False,
) -> None:
    """Register a model, or add to what is known of one."""
    with plain_errors(), ExitStack() as opened:
        from ragtune.dataset import Dataset
        from ragtune.model import TunedModel
        from ragtune.registry import Registry

        given: TunedModel | str = model
        # Which one is the latest only a server can tell, also where it is not asked for more.
        if ask or model == "latest":
            client = opened.enter_context(server(folder=folder, base_url=base_url, key_file=key_file))
            given = TunedModel.latest(client) if model == "latest" else _on_server(client, model, registry)
        version = Registry(registry).add(
            given,
            dataset=None if dataset is None else Dataset.load(dataset),
            scorecard=scorecard,
            recipe=recipe,
            arm=arm,
            cost_usd=cost_usd,
        )
        told = version.to_dict()
        typer.echo(
            json.dumps(told, ensure_ascii=False) if as_json else f"{version.name}: {version.scores or 'no card'}"
        )


def _on_server(client: openai.OpenAI, name: str, registry: Path) -> TunedModel:
    """The model, once the server has said that it has it: a name that was misspelt would be registered as well."""
    from ragtune.errors import RagtuneError
    from ragtune.model import TunedModel

    try:
        look_for(client, name, registry=registry)
    except RagtuneError as error:
        error.add_note("--offline registers a model that the server has no longer")
        raise
    return TunedModel(client, name)


@registry_app.command("promote")
def promote(
    alias: _ALIAS,
    model: Annotated[str, typer.Argument(help="Its name, which was added before; 'latest' is the one added last.")],
    verbatim_at_least: Annotated[float | None, typer.Option(help="Lower end on trained questions.")] = None,
    reworded_at_least: Annotated[float | None, typer.Option(help="Lower end on reworded questions.")] = None,
    reversed_at_least: Annotated[
        float | None, typer.Option(help="Lower end on questions from the answer back.")
    ] = None,
    gain_at_least: Annotated[float | None, typer.Option(help="Lower end of the gain over the current model.")] = None,
    forgetting_at_most: Annotated[float | None, typer.Option(help="Upper end on control questions.")] = None,
    hallucination_at_most: Annotated[float | None, typer.Option(help="Upper end on unanswerable questions.")] = None,
    training_usd_at_most: Annotated[float | None, typer.Option(help="What training cost, in US dollars.")] = None,
    answer_usd_at_most: Annotated[
        float | None,
        typer.Option(
            metavar="USD", help="What one answer of the evaluation cost on average, in US dollars, for example 0.002."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Whatever stands against it; needs --by and --why.")] = False,
    by: _BY = None,
    why: _WHY = None,
    registry: _REGISTRY = REGISTRY_FILE,
    as_json: _JSON = False,
) -> None:
    """Let an alias lead to a model, if it passes the gate. Exit code 1 where it does not.

    Scores are shares, 0.7 for 70 %, and the worse end of the 95 % interval counts; amounts are US dollars.
    """
    with plain_errors():
        from ragtune.registry import Gate

        limits = {
            "verbatim_at_least": verbatim_at_least,
            "reworded_at_least": reworded_at_least,
            "reversed_at_least": reversed_at_least,
            "gain_at_least": gain_at_least,
            "forgetting_at_most": forgetting_at_most,
            "hallucination_at_most": hallucination_at_most,
            "training_usd_at_most": training_usd_at_most,
            "answer_usd_at_most": answer_usd_at_most,
        }
        # A gate without a condition refuses to be made; here none was wanted.
        gate = Gate(**limits) if any(limit is not None for limit in limits.values()) else None
        opened = _there(registry)
        # By the registry and not by a server: what is promoted has to be in it.
        if model == "latest" and (added := opened.models()):
            model = added[-1].name
            typer.echo(f"the latest is {model}", err=True)
        with _or_latest(model):
            decision = opened.promote(alias, model, gate=gate, force=force, by=by, why=why)
        typer.echo(json.dumps(decision.to_dict(), ensure_ascii=False) if as_json else str(decision))


@contextmanager
def _or_latest(name: str) -> Iterator[None]:
    """Only this command takes `latest`, so the registry itself cannot propose it."""
    from ragtune.errors import RegistryError

    try:
        yield
    except RegistryError as error:
        if difflib.get_close_matches(name, ["latest"], cutoff=0.6) and f"{name!r} is not in the registry" in str(error):
            error.add_note("'latest' is the model that was added last")
        raise


@registry_app.command("show")
def show(
    model: Annotated[str, typer.Argument(help="The model's name, or an alias.")],
    registry: _REGISTRY = REGISTRY_FILE,
    as_json: _JSON = False,
) -> None:
    """Print what is kept of one model. Its scores, dataset, cost and end, and which aliases lead to it."""
    with plain_errors():
        opened = _there(registry)
        aliases = opened.aliases()
        version = opened.version(aliases.get(model, model))
        told = version.to_dict() | {"aliases": [name for name, held in aliases.items() if held == version.name]}
        if as_json:
            typer.echo(json.dumps(told, ensure_ascii=False))
            return
        for name, value in told.items():
            if value not in (None, [], {}):
                typer.echo(f"{name}: {value if isinstance(value, str | int | float) else as_line(value)}")


@registry_app.command("rollback")
def rollback(
    alias: _ALIAS, by: _BY = None, why: _WHY = None, registry: _REGISTRY = REGISTRY_FILE, as_json: _JSON = False
) -> None:
    """Let an alias lead to the model before the current one again."""
    with plain_errors():
        decision = _there(registry).rollback(alias, by=by, why=why)
        typer.echo(json.dumps(decision.to_dict(), ensure_ascii=False) if as_json else str(decision))


@registry_app.command("history")
def history(
    alias: Annotated[str | None, typer.Argument(help="The alias; default: all.")] = None,
    registry: _REGISTRY = REGISTRY_FILE,
    as_json: _JSON = False,
) -> None:
    """List promotions, refusals and rollbacks, oldest first."""
    with plain_errors():
        from ragtune.registry import Registry

        _tell_of_none(registry)
        table = Registry(registry).history(alias)
        _print(table, [decision.to_dict() for decision in table], as_json=as_json, nothing="nothing was decided yet")


def cleanup(
    older_than: Annotated[float | None, typer.Option(min=0, help="Models and files of at least so many days.")] = None,
    orphans: Annotated[bool, typer.Option(help="Files that no job reads or wrote.")] = True,
    keep: Annotated[list[str] | None, typer.Option(help="Name, id or pattern of what stays; may repeat.")] = None,
    registry: REGISTRY = None,
    save: Annotated[Path | None, typer.Option(help="Write the plan into this file.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Take the plan of this file.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; without it the plan is shown and nothing is sent.")] = (
        False
    ),
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: _JSON = False,
) -> None:
    """Show what may leave an account, and delete it with --yes."""
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.maintenance import CleanupPlan, Maintenance

        # Without --yes it could delete nothing, whatever stands below.
        maintenance = Maintenance(client, enabled=yes, registry=protecting(registry))
        made = (
            maintenance.cleanup_plan(older_than=older_than, orphans=orphans, keep=keep or ())
            if plan is None
            else CleanupPlan.load(plan)
        )
        if save is not None:
            made.save(save)
        if not yes:
            typer.echo(made.to_json() if as_json else f"{made}\nnothing was deleted; --yes deletes it")
            return
        result = maintenance.clean_up(made)
        rows = [{"id": row.item.id, "outcome": row.outcome, "note": row.note} for row in result]
        typer.echo(json.dumps(rows, ensure_ascii=False) if as_json else f"{result}\n{result.sentence}")
        if result.failed:
            raise typer.Exit(NOT_WELL)


def _there(path: Path) -> Registry:
    """The registry of a path, for what needs one that somebody began.

    Raises:
        RegistryError: nothing is there.
    """
    from ragtune.errors import RegistryError
    from ragtune.registry import Registry

    if not path.exists():
        begins = "" if path == REGISTRY_FILE else f" --registry {shlex.quote(str(path))}"
        raise RegistryError(f"there is no registry at {path}; `ragtune registry add MODEL{begins}` begins one")
    return Registry(path)


def _tell_of_none(path: Path) -> None:
    # An empty list is no mistake, a name that was misspelt is one.
    if not path.exists():
        typer.echo(f"there is no registry at {path} yet", err=True)


def _print(table: Table[Row], told: list[dict[str, object]], *, as_json: bool, nothing: str) -> None:
    typer.echo(json.dumps(told, ensure_ascii=False) if as_json else str(table) if len(table) else nothing)
