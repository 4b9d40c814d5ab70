"""`ragtune build`, `ragtune check` and `ragtune cost`: from rows to training files."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ragtune.cli.common import NOT_WELL, in_flags, plain_errors, tell
from ragtune.cli.options import AS_JSON, BATCH_SIZE, DATA, DRY_RUN, EPOCHS

if TYPE_CHECKING:
    from ragtune.dataset import Dataset
    from ragtune.recipe_file.data import DataSection

_REPAIRS = "--fix-by-name"
_TABLES = (".csv", ".tsv", ".parquet", ".xlsx", ".xls", ".ods")


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.command()(build)
    app.command(cls=CheckCommand)(check)
    app.command()(cost)


class Format(StrEnum):
    """Record kinds of a training file."""

    chat = "chat"
    completion = "completion"
    preference = "preference"
    unpaired = "unpaired"
    reinforcement = "reinforcement"


class CheckCommand(TyperCommand):
    """Takes `--fix` and `--fix=NAME`; an option whose value may be missing would swallow the file behind it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Send what stands behind `--fix=` to an option of its own."""
        named = [f"{_REPAIRS}={arg.removeprefix('--fix=')}" if arg.startswith("--fix=") else arg for arg in args]
        return super().parse_args(ctx, named)


_MIN_EXAMPLES = Annotated[
    int, typer.Option(min=0, help="Fewer are an error; a validation file may be shorter than a training file.")
]
_FIX = Annotated[
    bool,
    typer.Option("--fix", help="Write a repaired copy beside each file; --fix=NAME,... also what a suggestion names."),
]
_PRIVACY = Annotated[
    bool, typer.Option("--privacy", help="Report secrets and personal data, too, masked (extra privacy).")
]
_MASK = Annotated[bool, typer.Option("--mask", help="Write a repaired copy with [EMAIL] and the like in their place.")]


def check(
    files: Annotated[list[Path], typer.Argument(help="Training files (JSONL).")],
    format: Annotated[Format | None, typer.Option(help="Record kind; default: that of the first record.")] = None,
    model: Annotated[str | None, typer.Option(help="Base model to check for: its context and its format.")] = None,
    max_problems: Annotated[int, typer.Option(min=1, help="How many problems to list per file.")] = 50,
    min_examples: _MIN_EXAMPLES = 10,
    fix: _FIX = False,
    repairs: Annotated[list[str] | None, typer.Option(_REPAIRS, hidden=True)] = None,
    privacy: _PRIVACY = False,
    mask: _MASK = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file instead of text.")] = False,
) -> None:
    """List every problem of training files. They are read to the end; each problem comes with line, place and way out.

    Exit code 0: no file has an error; 1: a file has an error or cannot be read; 2: the command line makes no sense.
    """
    from ragtune.checks import REPAIRS, check_file
    from ragtune.errors import DatasetError

    well = True
    # Names in one `--fix=` and in several mean the same.
    names = ",".join(repairs).split(",") if repairs else []
    if unknown := next((name for name in names if name not in REPAIRS), None):
        raise typer.BadParameter(f"{unknown!r} is not one of {', '.join(REPAIRS)}", param_hint="--fix")
    for path in files:
        with plain_errors():
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
                typer.echo(f"error: {in_flags(str(error))}", err=True)
                well = False
                continue
            typer.echo(json.dumps(report.to_dict()) if as_json else in_flags(str(report)))
            if (fix or names or mask) and report.fixed is None and not as_json:
                typer.echo(f"{path}: nothing in it can be repaired without its author; no copy was written")
            well = well and report.ok
    if not well:
        raise typer.Exit(NOT_WELL)


_ROWS = Annotated[
    list[str], typer.Argument(help="File of rows: csv, tsv, jsonl, json, parquet, xlsx; several, or a pattern.")
]
_LABEL = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Whether a completion was good: for kto, with --prompt.")
]
_IGNORE = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="With --layout: a further key of the rows that is not trained; may repeat."),
]
_REQUIRE = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="Drop rows without text in COLUMN; may repeat.")
]
_NEWEST_BY = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Of rows with one question keep the newest by COLUMN.")
]
_DEDUPLICATE = Annotated[bool, typer.Option("--deduplicate", help="Drop rows that repeat question and answer.")]
_MASK_PRIVATE = Annotated[bool, typer.Option("--mask-private", help="Cover secrets and personal data (extra privacy).")]
_GROUP_BY = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="Equal values keep rows in one split; may repeat.")
]
_STRATIFY_BY = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Its classes keep their shares in every split.")
]


def build(
    rows: _ROWS,
    user: Annotated[str | None, typer.Option(help="Template of the question, for example '{Question}'.")] = None,
    assistant: Annotated[str | None, typer.Option(help="Template of the answer, for example '{Answer}'.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt; it goes with every question.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Template of a prompt: completions and preference pairs.")] = None,
    completion: Annotated[str | None, typer.Option(help="Template of the text that goes on after the prompt.")] = None,
    label: _LABEL = None,
    preferred: Annotated[str | None, typer.Option(help="Template of the better answer of a pair.")] = None,
    rejected: Annotated[str | None, typer.Option(help="Template of the worse answer of a pair.")] = None,
    layout: Annotated[str | None, typer.Option(help="Layout of finished rows, for example alpaca.")] = None,
    ignore: _IGNORE = None,
    require: _REQUIRE = None,
    newest_by: _NEWEST_BY = None,
    deduplicate: _DEDUPLICATE = False,
    take: Annotated[int | None, typer.Option(min=1, help="Only the first so many rows.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Only so many rows, drawn by lot.")] = None,
    mask_private: _MASK_PRIVATE = False,
    delimiter: Annotated[str | None, typer.Option(help="Sign between the fields of a CSV file.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of a CSV file; default: utf-8.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook, by its name.")] = None,
    validation: Annotated[float, typer.Option(help="Share of the rows for validation, in [0, 1).")] = 0.0,
    test: Annotated[float, typer.Option(help="Share of the rows for test, in [0, 1).")] = 0.0,
    group_by: _GROUP_BY = None,
    stratify_by: _STRATIFY_BY = None,
    fact_id: Annotated[str | None, typer.Option(metavar="COLUMN", help="The fact that a row teaches.")] = None,
    seed: Annotated[int, typer.Option(help="Decides which rows go where.")] = 0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the dataset.")] = Path("data"),
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page, too.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the dataset that is in the folder.")] = False,
    dry_run: DRY_RUN = False,
    as_json: AS_JSON = False,
) -> None:
    """Build a dataset from rows. What was read, kept and dropped is printed.

    Templates hold text and column names in braces: '{Answer} (see {Source})'.
    """
    with plain_errors():
        from ragtune.recipe_file.data import DataSection

        data = DataSection(
            rows=rows,
            user=user,
            assistant=assistant,
            system=system,
            prompt=prompt,
            completion=completion,
            label=label,
            preferred=preferred,
            rejected=rejected,
            layout=layout,
            ignore=ignore or [],
            require=require or [],
            newest_by=newest_by,
            deduplicate=deduplicate,
            take=take,
            sample=sample,
            mask_private=mask_private,
            delimiter=delimiter,
            encoding=encoding,
            sheet=sheet,
            # Checked here: a refusal of pydantic's would end in a traceback.
            validation=_share("--validation", validation),
            test=_share("--test", test),
            group_by=group_by or [],
            stratify_by=stratify_by,
            fact_id=fact_id,
            seed=seed,
        )
        if dry_run:
            shown = data.builder().preview(3)
            words = f"{shown}\nnothing was written; without --dry-run the dataset goes to {out}"
            tell([record.model_dump(exclude_none=True) for record in shown], as_json=as_json, text=words)
            return
        _build(data, out, report=report, overwrite=overwrite, as_json=as_json)


def _build(data: DataSection, out: Path, *, report: Path | None, overwrite: bool, as_json: bool) -> None:
    dataset = data.build(out, overwrite=overwrite)
    if report is not None:
        dataset.report.save_html(report)
    told = {"folder": str(out), **dataset.report.to_dict()}
    words = in_flags(str(dataset.report))
    tell(told, as_json=as_json, text=f"{words}\nin {out}; next: ragtune cost {out} --model MODEL")


def cost(
    dataset: DATA,
    model: Annotated[str, typer.Option(help="Base model, or a fine-tune of it.")],
    epochs: EPOCHS = None,
    batch_size: BATCH_SIZE = None,
    as_json: AS_JSON = False,
) -> None:
    """Say what training would cost. For a base of this machine, how long it takes."""
    with plain_errors():
        tell(opened(dataset).cost(model, epochs or "auto", batch_size=batch_size or "auto"), as_json=as_json)


def opened(path: Path) -> Dataset:
    """The dataset in a folder, or the one that a training file is.

    Raises:
        DatasetError: it is none, nothing is there, or it is a file of rows.
    """
    from ragtune.dataset import Dataset
    from ragtune.errors import DatasetError

    if not path.exists():
        raise DatasetError(f"there is no folder or file {str(path)!r}; `ragtune build ROWS --out DIR` makes a dataset")
    if path.is_file() and path.suffix.lower() in _TABLES:
        raise DatasetError(
            f"{path} holds rows, and no records yet; `ragtune build {path} --user ... --assistant ... --out DIR` makes "
            "a dataset of them, whose folder goes here"
        )
    return Dataset.from_files(path) if path.is_file() else Dataset.load(path)


def _share(option: str, value: float) -> float:
    if not 0 <= value < 1:
        message = f"{value:g} is no share of the rows; give a number from 0 to below 1, for example 0.1"
        raise typer.BadParameter(message, param_hint=option)
    return value
