"""`ragtune init`, `run`, `schema` and `demo`: everything in one file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ragtune.cli.common import as_line, in_flags, plain_errors, tell
from ragtune.cli.options import AS_JSON, DRY_RUN, EPOCHS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ragtune.recipe_file import Stages

_TO = Annotated[
    str | None,
    typer.Option(metavar="WHERE", help="local (this machine), openai, or a URL; default: what the file says."),
]
_DEMO_BASE = "smollm2-135m-instruct"


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.command()(init)
    app.command()(run)
    app.command()(schema)
    app.command()(demo)


def init(
    file: Annotated[Path, typer.Argument(help="The recipe file to write: .toml, or .yaml.")] = Path("ragtune.toml"),
    rows: Annotated[str | None, typer.Option(help="File of rows.")] = None,
    user: Annotated[str | None, typer.Option(help="Column of the question, or a template.")] = None,
    assistant: Annotated[str | None, typer.Option(help="Column of the answer, or a template.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    model: Annotated[str | None, typer.Option(help="Base model.")] = None,
    epochs: EPOCHS = None,
    delimiter: Annotated[str | None, typer.Option(help="Sign between the fields of a CSV file; default: seen.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of a CSV file; default: utf-8.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Write a recipe file. What no option says is asked, six questions at most, with proposals by what lies there."""
    with plain_errors():
        from ragtune.recipe_file.data import DataSection
        from ragtune.recipe_file.starter import Starter, proposed, read_as, template_of

        given = {"--rows": rows, "--user": user, "--assistant": assistant, "--model": model}
        missing = [name for name, value in given.items() if not value]
        read = DataSection(rows=_rows_named(rows, file.parent, missing), delimiter=delimiter, encoding=encoding)
        data, columns = read_as(read, folder=file.parent)
        question, answer = proposed(columns)
        if missing and not sys.stdin.isatty():
            fits = _command_line({"--rows": data.rows, "--user": question, "--assistant": answer})
            there = f"the columns of {data.rows} are {', '.join(map(repr, columns))}, so perhaps {fits}"
            raise typer.BadParameter(f"nobody is there to be asked; give {', '.join(missing)}; {there}")
        if user is None or assistant is None:
            typer.echo(f"Its columns are {', '.join(columns)}.", err=True)
        user = user or typer.prompt("Column of the question", default=question)
        assistant = assistant or typer.prompt("Column of the answer", default=answer)
        # Who named all that is needed is asked nothing more.
        if system is None and missing:
            system = typer.prompt("System prompt (empty for none)", default="", show_default=False) or None
        base = model or typer.prompt("Base model", default=_DEMO_BASE)
        if epochs is None and missing:
            epochs = typer.prompt("Epochs, 1 to 50, or auto", default="auto", value_proc=_epochs)
        made = Starter(
            rows=str(data.rows),
            user=template_of("user", user, columns),
            assistant=template_of("assistant", assistant, columns),
            system=system,
            base=base,
            data={key: value for key in ("delimiter", "encoding") if (value := getattr(data, key)) is not None},
            job={"n_epochs": epochs or "auto"},
        )
        if dry_run:
            typer.echo(made.text(file.suffix), nl=False)
            return
        made.write(file, overwrite=overwrite)
        typer.echo(f"wrote {file}; next: ragtune run {file}")


def _rows_named(rows: str | None, folder: Path, missing: Sequence[str]) -> str:
    """The file of rows: the one that was named, else the one that is answered, else the likeliest that lies there."""
    from ragtune.recipe_file.starter import tables_in

    likely = rows or next(iter(tables_in(folder)), None)
    # A script must not hang at a question that nobody sees.
    if rows is None and sys.stdin.isatty():
        return str(typer.prompt("File of rows", default=likely))
    if likely is None:
        raise typer.BadParameter(f"nobody is there to be asked; give {', '.join(missing)}")
    return likely


def _command_line(options: Mapping[str, object]) -> str:
    return " ".join(f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None)


def _epochs(text: str) -> int | None:
    """What was typed: a number, or None for auto."""
    if text.strip() == "auto":
        return None
    if not (text.strip().isdecimal() and 1 <= int(text) <= 50):
        raise typer.BadParameter(f"{text!r} is neither auto nor a number from 1 to 50")
    return int(text)


def run(
    file: Annotated[Path, typer.Argument(help="Recipe file.")] = Path("ragtune.toml"),
    to: _TO = None,
    until: Annotated[
        Literal["build", "tune", "evaluate", "promote"] | None,
        typer.Option(metavar="STAGE", help="Last stage that is wanted: build, tune, evaluate or promote."),
    ] = None,
    dry_run: DRY_RUN = False,
    as_json: Annotated[bool, typer.Option("--json", help="An object a line for each stage.")] = False,
) -> None:
    """Do the stages of a recipe file that are not done yet. After an interruption the same command goes on."""
    with plain_errors():
        from ragtune.recipe_file import RecipeFile, Stages

        def say(words: str) -> None:
            typer.echo(words, err=True)

        stages = Stages(file=RecipeFile.load(file), to=to, say=say)
        if dry_run:
            stages.inspect()
            for stage, due in stages.pending(until=until):
                tell({"stage": stage, "due": due}, as_json=as_json, text=f"{stage}: {'due' if due else 'done before'}")
            return
        _run(stages, until, as_json=as_json)


def schema() -> None:
    """Print the JSON schema of recipe files. Editors and assistants read it."""
    with plain_errors():
        import json

        from ragtune.recipe_file import RecipeFile

        typer.echo(json.dumps(RecipeFile.schema_of(), indent=2))


def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where all of it is kept.")] = Path("ragtune-demo"),
    model: Annotated[str, typer.Option(help="Base model; the small one is fetched once.")] = _DEMO_BASE,
    questions: Annotated[int, typer.Option(min=1, help="Facts that base and tuned model are asked for.")] = 30,
    as_json: AS_JSON = False,
) -> None:
    """Teach a small model invented facts here, and ask it. Takes about four minutes on two cores."""
    with plain_errors():
        from ragtune.modelling.bases import fetch_base
        from ragtune.recipe_file import RecipeFile, Stages
        from ragtune.recipe_file.starter import write_demo

        # First: where the base cannot be had, no folder is left behind.
        fetch_base(model)
        file = write_demo(folder, base=model, questions=questions)
        typer.echo(f"the recipe is {file}; `ragtune run {file}` does the same", err=True)
        _run(Stages(file=RecipeFile.load(file), say=lambda words: typer.echo(words, err=True)), None, as_json=as_json)


def _run(stages: Stages, until: str | None, *, as_json: bool) -> None:
    for done in stages.run(until=until):
        if as_json:
            typer.echo(as_line({"stage": done.stage, "anew": done.anew, **done.result}))
        else:
            typer.echo(f"{done.stage}: {in_flags(done.told)}")
