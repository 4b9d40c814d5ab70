"""Which model a name on the command line means: its own name, an alias of a registry, a saved one, or the latest."""

from __future__ import annotations

import difflib
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ragtune.cli.common import protecting

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openai

    from ragtune.model import TunedModel
    from ragtune.registry import Registry

__all__ = ["explaining", "look_for", "model_behind", "named_model"]

_NO_MODEL = "model_not_found"
# What servers call models and jobs; an alias has no colon, and is no job.
_NO_ALIASES = ("ft:", "ftjob-")


def named_model(client: openai.OpenAI, name: str, *, registry: Path | None) -> TunedModel:
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


@contextmanager
def explaining(client: openai.OpenAI, name: str, *, registry: Path | None, or_latest: bool = False) -> Iterator[None]:
    """Let a name that neither the server nor the registry knows end with what may have been meant.

    Args:
        client: of the server.
        name: what was given.
        registry: whose aliases may have been meant.
        or_latest: whether the command takes `latest` as well.

    Raises:
        RagtuneError: the server has no model of that name.
    """
    try:
        yield
    except Exception as error:
        # Only if it was loaded can the error be one of its own; loading it takes half a second.
        loaded = sys.modules.get("openai")
        if loaded is None or not isinstance(error, loaded.NotFoundError):
            raise
        # A server without such a route answers 404 as well, and names no model then.
        if error.code != _NO_MODEL and name not in str(error):
            raise
        from ragtune.errors import RagtuneError

        told = RagtuneError(_nobody_of(name, client=client, registry=registry, words=("latest",) if or_latest else ()))
        for note in getattr(error, "__notes__", ("`ragtune models` lists the models that there are",)):
            told.add_note(note)
        raise told from error


def look_for(client: openai.OpenAI, name: str, *, registry: Path | None) -> None:
    """Look for a model before it is asked much: its errors would be counted as wrong answers.

    Raises:
        RagtuneError: the server says that it has none of that name.
    """
    import openai

    with explaining(client, name, registry=registry, or_latest=True):
        try:
            client.models.retrieve(name)
        except openai.NotFoundError as error:
            # Not every server that answers questions tells of single models.
            if error.code == _NO_MODEL:
                raise
        # Whatever else is wrong, the first question tells.
        except openai.OpenAIError:
            return


def _nobody_of(name: str, *, client: openai.OpenAI, registry: Path | None, words: tuple[str, ...]) -> str:
    """That a name leads nowhere, and what is called nearly so."""
    from ragtune.registry import Registry

    path = None if name.startswith(_NO_ALIASES) else protecting(registry)
    aliases = {} if path is None else Registry(path).aliases()
    near = difflib.get_close_matches(name, [*words, *aliases, *_models_of(client)], n=1, cutoff=0.6)
    nowhere = f"the server has no model {name!r}"
    if path is None and not name.startswith(_NO_ALIASES):
        nowhere += ", and no registry lies here that could know it as an alias (--registry names another place)"
    elif path is not None:
        known = f"its aliases are {', '.join(sorted(aliases))}" if aliases else "which has no aliases"
        nowhere += f", and it is no alias of {path} ({known})"
    return f"{nowhere}; did you mean {near[0]!r}?" if near else nowhere


def _models_of(client: openai.OpenAI) -> list[str]:
    """The models of a server; none where it lists none, since another fault is told already."""
    import openai

    try:
        return [model.id for model in client.models.list()]
    except openai.OpenAIError:
        return []


def _registry_of(name: str, registry: Path | None) -> Registry | None:
    """The registry in which a name is an alias; None where it is the name of a model, for all that can be told."""
    path = protecting(registry)
    if path is None or name.startswith(_NO_ALIASES):
        return None
    from ragtune.catalog import load
    from ragtune.errors import RegistryError
    from ragtune.modelling.bases import BASES
    from ragtune.registry import Registry

    if not path.exists():
        raise RegistryError(f"registry: {path} is not there; give the path of one that is")
    opened = Registry(path)
    # Bases keep their names: no alias that is called like one leads away from it.
    is_base = name in BASES or load().find(name) is not None
    return opened if not is_base and name in opened.aliases() else None


def _told(name: str, model: TunedModel) -> TunedModel:
    typer.echo(f"{name} leads to {model.name}" if name != "latest" else f"the latest is {model.name}", err=True)
    return model
