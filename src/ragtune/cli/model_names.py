"""Which model a name on the command line means: its own name, an alias of a registry, a saved one, or the latest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragtune.cli.common import REGISTRY_FILE, protecting

if TYPE_CHECKING:
    import openai

    from ragtune.model import TunedModel
    from ragtune.registry import Registry

__all__ = ["ALIASES", "MODEL", "model_behind", "named_model"]

MODEL = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Its name, an alias of the registry, a file that holds a saved model, or 'latest'."
    ),
]
ALIASES = Annotated[
    Path | None,
    typer.Option(
        "--registry",
        envvar="RAGTUNE_REGISTRY",
        help=f"Registry whose aliases are models, too; default: {REGISTRY_FILE} where that is there.",
    ),
]


def named_model(client: openai.OpenAI, name: str, registry: Path | None) -> TunedModel:
    """The model that is meant; where it was behind an alias, or is the latest one, its name is told.

    Raises:
        RegistryError: the registry that was named is not there, or the server does not have the model of an alias.
    """
    from ragtune.model import TunedModel

    if name == "latest":
        return _told(name, TunedModel.latest(client))
    if Path(name).is_file():
        return TunedModel.load(client, name)
    opened = _registry_of(name, registry)
    return TunedModel(client, name) if opened is None else _told(name, opened.model(name, client))


def model_behind(name: str, registry: Path | None) -> str:
    """The name of the model that is meant, or of the job: no server is asked."""
    opened = _registry_of(name, registry)
    if opened is None:
        return name
    model = opened.aliases()[name]
    typer.echo(f"{name} leads to {model}", err=True)
    return model


def _registry_of(name: str, registry: Path | None) -> Registry | None:
    """The registry in which a name is an alias; None where it is the name of a model, for all that can be told."""
    path = protecting(registry)
    if path is None or name.startswith(("ft:", "ftjob-")):
        return None
    from ragtune.catalog import load
    from ragtune.errors import RegistryError
    from ragtune.modelling.bases import BASES
    from ragtune.registry import Registry

    if not path.exists():
        raise RegistryError(f"registry: {path} is not there; give the path of one that is")
    opened = Registry(path)
    is_base = name in BASES or load().find(name) is not None
    return opened if not is_base and name in opened.aliases() else None


def _told(name: str, model: TunedModel) -> TunedModel:
    typer.echo(f"{name} leads to {model.name}" if name != "latest" else f"the latest is {model.name}", err=True)
    return model
