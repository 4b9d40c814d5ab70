"""`ragtune advise`: when documents should leave retrieval."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (Typer reads the annotations)
from typing import Annotated

import typer

from ragtune.cli.common import plain_errors
from ragtune.cli.options import AS_JSON
from ragtune.cli.text_files import lines_of


def register(app: typer.Typer) -> None:
    """Put the verb of this module onto the application."""
    app.command()(advise)


def advise(
    documents: Annotated[
        Path, typer.Argument(help="Documents: a folder of them, or a file with a row each (JSONL, CSV, ...).")
    ],
    queries_per_month: Annotated[float, typer.Option(help="How many questions a month there are.")],
    text: Annotated[str, typer.Option(help="Key of the text.")] = "text",
    group: Annotated[str | None, typer.Option(help="Key of the group, such as a product.")] = None,
    updated: Annotated[str | None, typer.Option(help="Key of the day of the last change, 2026-03-01.")] = None,
    queries: Annotated[Path | None, typer.Option(help="File with real questions, one a line.")] = None,
    tuned_model: Annotated[str | None, typer.Option(help="Whose shutdown counts, where it is known.")] = None,
    wrong_answer_usd: Annotated[float | None, typer.Option(help="What a wrong answer costs you.")] = None,
    log: Annotated[Path | None, typer.Option(help="Log of an evaluation, for measured accuracies.")] = None,
    as_json: AS_JSON = False,
) -> None:
    """Say which documents to keep in retrieval and which to tune. Every sum is shown with its sources."""
    with plain_errors():
        import ragtune as rt
        from ragtune.advice import Assumptions
        from ragtune.recipe_file.data import DataSection

        # An empty line is no question: it would count as one that touches no document.
        asked = None if queries is None else [line.strip() for line in lines_of(queries) if line.strip()]
        advice = rt.advise(
            DataSection(rows=str(documents)).source().rows(),
            asked,
            queries_per_month=queries_per_month,
            text=text,
            group=group,
            updated=updated,
            tuned_model=tuned_model,
            scorecard=None if log is None else rt.Scorecard.load(log),
            assumptions=None if wrong_answer_usd is None else Assumptions(wrong_answer_usd=wrong_answer_usd),
        )
        typer.echo(advice.to_json() if as_json else f"{advice}\n\n{advice.assumptions}")
