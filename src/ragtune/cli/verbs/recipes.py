"""`ragtune recipes`: which recipes there are, and what one would make of rows."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import typer

from ragtune.cli.common import plain_errors, tell
from ragtune.cli.options import AS_JSON

recipes_app = typer.Typer(invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.add_typer(recipes_app, name="recipes")


@recipes_app.callback()
def list_recipes(context: typer.Context, as_json: AS_JSON = False) -> None:
    """List the recipes that make rows of facts. A name previews what that one makes."""
    if context.invoked_subcommand is not None:
        return
    with plain_errors():
        from ragtune.recipes import RECIPES

        # Older versions stay for recipes that were saved; a new one should not be begun with them.
        newest = [(name, max(versions)) for name, versions in RECIPES.items()]
        told = [
            {"name": name, "version": version, "about": RECIPES[name][version].about}
            for name, version in newest
            # Two recipes beside one another are a sum already.
            if name != "sum"
        ]
        tell(told, as_json=as_json, text="\n".join(f"{one['name']:<14} {one['about']}" for one in told))


@recipes_app.command("preview")
def preview(
    rows: Annotated[
        str,
        typer.Argument(help="File of rows (csv, tsv, jsonl, json, parquet, xlsx), or of facts (JSONL of a FactSet)."),
    ],
    recipe: Annotated[
        list[str],
        typer.Option(
            metavar="NAME", help="The recipe, with options qa_multi:wordings=4,cloze=false; several come in order."
        ),
    ],
    question: Annotated[str, typer.Option(help="Column of the question; facts need no columns.")] = "question",
    answer: Annotated[str, typer.Option(help="Column of the answer.")] = "answer",
    context: Annotated[str | None, typer.Option(help="Column of the passage.")] = None,
    distractors: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Wrong answers; may repeat.")] = None,
    repeats: Annotated[
        Literal["refuse", "merge"], typer.Option(help="merge makes rows with one question one fact.")
    ] = "refuse",
    require: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Drop rows without text in COLUMN; may repeat.")
    ] = None,
    held_out: Annotated[Path | None, typer.Option(metavar="FACTS", help="File of facts that no row may ask.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt that each row will have.")] = None,
    model: Annotated[str, typer.Option(help="Base model, whose price is taken.")] = "gpt-4o-mini-2024-07-18",
    epochs: Annotated[int | None, typer.Option(min=1, max=50, help="Passes over the rows; default: auto.")] = None,
    as_json: AS_JSON = False,
) -> None:
    """Print how many rows and tokens a recipe makes of facts, and what training on them costs."""
    with plain_errors():
        from ragtune.facts import FactSet
        from ragtune.recipe_file.data import DataSection
        from ragtune.recipe_file.teaching import FactsSection, Teaching, together
        from ragtune.recipes import Recipe

        columns = FactsSection(
            question=question, answer=answer, context=context, distractors=distractors or [], repeats=repeats
        )
        teaching = Teaching(recipe=together(Recipe.from_dict(_told(one)) for one in recipe), facts=columns)
        if _holds_facts(Path(rows)):
            facts = FactSet.from_jsonl(rows)
        else:
            facts = teaching.taught(DataSection(rows=rows, require=require or []).kept())
        shown = teaching.recipe.preview(
            facts,
            model=model,
            n_epochs=epochs or "auto",
            held_out=None if held_out is None else FactSet.from_jsonl(held_out),
            system=system,
        )
        samples = "\n".join(f"  {row.wording}: {row.question} -> {row.answer}" for row in shown.samples)
        tell(shown, as_json=as_json, text=f"{shown}\n{samples}")


def _holds_facts(path: Path) -> bool:
    """Whether a file is what `FactSet.to_jsonl` writes, by its first line; rows have no list of wordings."""
    if path.suffix.lower() != ".jsonl" or not path.is_file():
        return False
    # Whether it is UTF-8 is told, with its line, by whoever reads it whole.
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next((line for line in lines if line.strip()), "")
    try:
        fact = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(fact, dict) and isinstance(fact.get("wordings"), list) and "answers" in fact


def _told(text: str) -> dict[str, object]:
    """A recipe as the command line has it: `qa_multi:wordings=4,cloze=false`."""
    name, _, options = text.partition(":")
    told: dict[str, object] = {"name": name}
    for option in filter(None, options.split(",")):
        key, sign, value = option.partition("=")
        if not sign:
            message = f"{option!r} of {text!r} is no option; write NAME:OPTION=VALUE, for example qa_multi:wordings=4"
            raise typer.BadParameter(message, param_hint="--recipe")
        told[key.strip()] = _value(value.strip())
    return told


def _value(text: str) -> object:
    """A number or a truth value as TOML writes it, else the text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
