"""`ragtune doctor`, `fetch`, `export` and `guide`: this machine, weights that come and leave, and how to use it all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ragtune.cli.common import NOT_WELL, check_names, pairs, plain_errors, tell
from ragtune.cli.model_names import model_behind
from ragtune.cli.options import ALIASES, AS_JSON, BASE_EXAMPLE, BASES, DRY_RUN


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.command()(doctor)
    app.command()(fetch)
    app.command()(export)
    app.command()(guide)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port that a server would take.")] = 8000,
) -> None:
    """Say what this machine has, and where models run on it. And why, and what is missing; shows no key and no host.

    Exit code 0: the small base can be trained and asked here; 1: it cannot, and each thing that is missing is told
    with what mends it.
    """
    with plain_errors():
        from ragtune.doctor import examine

        found = examine(port=port)
        typer.echo(json.dumps(found.to_dict()) if as_json else str(found))
        if not found.ready:
            raise typer.Exit(NOT_WELL)


def fetch(
    name: Annotated[str, typer.Argument(help="Base model, for example smollm2-135m-instruct.")],
    cache_dir: Annotated[Path | None, typer.Option(help="Folder of base models; default: the user's cache.")] = None,
    dry_run: DRY_RUN = False,
    as_json: AS_JSON = False,
) -> None:
    """Fetch a base model once; nothing happens when it is there."""
    with plain_errors():
        from ragtune.modelling.bases import fetch_base, find_base

        folder = find_base(name, cache_dir=cache_dir) if dry_run else fetch_base(name, cache_dir=cache_dir)
        words = f"{name} is not here; without --dry-run it is fetched" if folder is None else f"{name} is in {folder}"
        tell({"model": name, "folder": folder}, as_json=as_json, text=words)


def export(
    model: Annotated[
        str,
        typer.Argument(help="Tuned model or checkpoint by its name, an alias of the registry, or 'latest'."),
    ],
    target: Annotated[Path, typer.Argument(help="Folder to make; it must not be there yet.")],
    folder: Annotated[Path, typer.Option(help="Folder of the backend, which may be running.")] = Path(
        "ragtune-backend"
    ),
    merged: Annotated[
        bool, typer.Option("--merged", help="One whole model instead of the adapter alone, which needs its base.")
    ] = False,
    gguf: Annotated[
        bool, typer.Option("--gguf", help="A whole model, and one GGUF file with a Modelfile for llama.cpp and Ollama.")
    ] = False,
    converter: Annotated[
        Path | None,
        typer.Option(help="llama.cpp's convert_hf_to_gguf.py or the folder that has it; default: that on the PATH."),
    ] = None,
    base: BASES = None,
    registry: ALIASES = None,
    dry_run: DRY_RUN = False,
    as_json: AS_JSON = False,
) -> None:
    """Write a tuned model to a folder that other engines serve.

    Namely vLLM, SGLang, llama.cpp, Ollama and transformers.
    """
    with plain_errors():
        from ragtune.local import LocalBackend

        bases = pairs(base, option="--base", example=BASE_EXAMPLE)
        check_names(bases, {})
        # Not started: a server may be running on the folder, and an export reads its files alone.
        backend = LocalBackend(folder, bases=bases)
        model = _exported(model, folder, registry)
        if dry_run:
            _check(model, target, folder=folder, bases=bases, gguf=gguf, converter=converter)
            told = {"model": model, "folder": target, "merged": merged or gguf}
            tell(told, as_json=as_json, text=f"{model} would be written to {target}")
            return
        made = backend.export(model, target, merged=merged, gguf=gguf, converter=converter)
        if as_json:
            tell(made, as_json=True)
            return
        typer.echo(f"{model} is in {made.folder}; README.md tells where it came from.")
        if made.system is not None:
            typer.echo(f"It was trained with this system prompt; send it with each question:\n{made.system}\n")
        typer.echo("To serve it:")
        for server, commands in made.commands.items():
            typer.echo(f"\n# {server}\n{commands}")


def _exported(name: str, folder: Path, registry: Path | None) -> str:
    """The name of the model that is meant, told where it was behind another one."""
    from ragtune.local.models.export import latest_model

    if name != "latest":
        return model_behind(name, registry)
    model = latest_model(folder)
    typer.echo(f"the latest is {model}", err=True)
    return model


def _check(
    model: str, target: Path, *, folder: Path, bases: dict[str, str], gguf: bool, converter: Path | None
) -> None:
    from ragtune.local.models.export import check_export
    from ragtune.local.models.gguf_file import find_converter
    from ragtune.local.models.registry import BaseModels

    check_export(model, target, folder=folder, bases=BaseModels(extra=bases))
    if gguf:
        find_converter(converter)


def guide() -> None:
    """Print a short guide for coding assistants, in Markdown. It is about the library."""
    from importlib import resources

    typer.echo(resources.files("ragtune.data").joinpath("guide.md").read_text(encoding="utf-8").rstrip())
