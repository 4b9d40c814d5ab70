"""`ragtune feedback`: what people say about answers, in and out of one file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragtune._table import in_one_line
from ragtune.cli.common import in_flags, plain_errors, tell
from ragtune.cli.options import AS_JSON, JOURNAL

if TYPE_CHECKING:
    from ragtune.feedback import FeedbackStore
    from ragtune.feedback.compiling import Method

feedback_app = typer.Typer(no_args_is_help=True, help="What people say about answers, and the next dataset of it.")

_STORE = Annotated[Path, typer.Option("--store", help="The store's file.")]
_FOLDER = Annotated[
    Path | None, typer.Option("--folder", help="Folder of an embedded backend, whose page fills the store in it.")
]
_DEFAULT = Path("feedback.sqlite3")
_METHODS = ("supervised", "preference", "kto")


def _store(store: Path, folder: Path | None) -> FeedbackStore:
    from ragtune.errors import FeedbackError
    from ragtune.feedback import FeedbackStore

    if folder is not None and not folder.is_dir():
        raise FeedbackError(f"{folder}: is no folder; give the one that the backend runs on")
    return FeedbackStore(store if folder is None else folder / "feedback.sqlite3")


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.add_typer(feedback_app, name="feedback")


@feedback_app.command("add")
def add_feedback(
    question: Annotated[str, typer.Argument(help="What was asked.")],
    answer: Annotated[str, typer.Argument(help="What the model said.")],
    good: Annotated[bool | None, typer.Option("--good/--bad", help="A thumb up or down.")] = None,
    correction: Annotated[str | None, typer.Option(help="What would have been right.")] = None,
    comment: Annotated[str | None, typer.Option(help="Whatever else there is to say.")] = None,
    by: Annotated[str | None, typer.Option(help="Who says so.")] = None,
    model: Annotated[str | None, typer.Option(help="Which model answered.")] = None,
    system: Annotated[str | None, typer.Option(help="Its system prompt.")] = None,
    turn: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=TEXT", help="What was said before the question, user=... or assistant=...; may repeat."
        ),
    ] = None,
    store: _STORE = _DEFAULT,
    folder: _FOLDER = None,
    as_json: AS_JSON = False,
) -> None:
    """Keep what somebody says about an answer."""
    history = _turns(turn)
    with plain_errors():
        number = _store(store, folder).add(
            answer,
            # Without a thumb a correction or a comment speaks for itself.
            None if good is None else 1 if good else -1,
            question=question,
            correction=correction,
            comment=comment,
            by=by,
            model=model,
            system=system,
            history=history,
        )
        tell({"id": number}, as_json=as_json, text=f"answer {number}")


def _turns(given: list[str] | None) -> list[dict[str, object]]:
    turns: list[dict[str, object]] = []
    for one in given or ():
        role, _, text = one.partition("=")
        if role not in ("user", "assistant") or not text.strip():
            message = f"{one!r:.60} is neither user=TEXT nor assistant=TEXT"
            raise typer.BadParameter(message, param_hint="--turn")
        turns.append({"role": role, "content": text})
    return turns


@feedback_app.command("import")
def import_feedback(
    files: Annotated[list[Path], typer.Argument(help="JSON lines, JSON or CSV, also packed with gzip; answers first.")],
    shape: Annotated[
        str | None, typer.Option(help="ragtune, messages, langfuse, langsmith or openai; default: by the first row.")
    ] = None,
    thumbs: Annotated[
        list[str] | None, typer.Option(help="Name of a score whose 1 is a thumb up, 0 one down; may repeat.")
    ] = None,
    store: _STORE = _DEFAULT,
    folder: _FOLDER = None,
    as_json: AS_JSON = False,
) -> None:
    """Keep what files say. Our own, or exports of Langfuse, LangSmith and OpenAI's stored completions."""
    with plain_errors():
        from ragtune.feedback.imports.entries import THUMBS

        kept = _store(store, folder)
        for path in files:
            found = kept.import_file(path, shape=shape, thumbs=thumbs or THUMBS)
            tell(found, as_json=as_json, text=str(found))


@feedback_app.command("list")
def list_feedback(
    by: Annotated[str | None, typer.Option(help="Of one person alone.")] = None,
    model: Annotated[str | None, typer.Option(help="About one model alone.")] = None,
    unjudged: Annotated[bool, typer.Option("--unjudged", help="Answers that wait for a verdict, instead.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="How many at most, the newest; of those that wait the oldest.")
    ] = 20,
    store: _STORE = _DEFAULT,
    folder: _FOLDER = None,
    as_json: AS_JSON = False,
) -> None:
    """List verdicts, oldest first."""
    with plain_errors():
        from ragtune.feedback import FeedbackTable

        kept = _store(store, folder)
        found = kept.unjudged(limit=limit) if unjudged else kept.rows(by=by, model=model)
        # The newest are the last: a store gives them in the order in which they were said.
        last = FeedbackTable(rows=found.rows[-limit:])
        text = str(last) if len(last) else "no answer waits for a verdict" if unjudged else "no verdicts"
        tell(list(last), as_json=as_json, text=text)


@feedback_app.command("suggest")
def suggest_method(store: _STORE = _DEFAULT, folder: _FOLDER = None, as_json: AS_JSON = False) -> None:
    """Say which method the verdicts are enough for.

    Also what people disagree about, and which corrections are in doubt.
    """
    with plain_errors():
        from ragtune.feedback import compile_rows

        kept = _store(store, folder)
        found, compiled = kept.suggest(), compile_rows(kept.rows())
        quarrels = []
        for one in compiled.disagreements:
            # What strangers call themselves must steer no terminal.
            said = [f"{in_one_line(person)} says {word!r}" for person, word in one.said]
            quarrels.append(f"{one.question!r}: {', '.join(said)}")
        doubts = [
            f"{doubt.question!r}: {in_one_line(doubt.by or 'somebody')} says {doubt.correction!r}, "
            f"and the passages {doubt.answer!r}"
            for doubt in compiled.doubts
        ]
        lines = [str(found), *(f"people disagree, left out: {one}" for one in quarrels)]
        lines += [f"in doubt, look at it: {one}" for one in doubts]
        told = {
            **asdict(found),
            "disagreements": [asdict(one) for one in compiled.disagreements],
            "doubts": [asdict(one) for one in compiled.doubts],
        }
        tell(told, as_json=as_json, text="\n".join(lines))


@feedback_app.command("build")
def build_feedback(
    out: Annotated[Path, typer.Option("--out", help="Folder of the new dataset.")],
    previous: Annotated[Path | None, typer.Option(help="Folder of the dataset before, whose rows come along.")] = None,
    method: Annotated[str, typer.Option(help=f"{', '.join(_METHODS[:-1])} or {_METHODS[-1]}.")] = "supervised",
    held_out: Annotated[
        Path | None, typer.Option(help="Facts of an evaluation (JSON lines); a row that holds one is refused.")
    ] = None,
    validation: Annotated[float, typer.Option(min=0, max=0.99, help="Share of rows for validation.")] = 0.0,
    mask: Annotated[bool, typer.Option("--mask", help="Put [EMAIL] and the like in place of private data.")] = False,
    allow: Annotated[list[str] | None, typer.Option(help="What --mask leaves as it is; may repeat.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that is there.")] = False,
    store: _STORE = _DEFAULT,
    folder: _FOLDER = None,
    as_json: AS_JSON = False,
) -> None:
    """Build the next dataset of what people said."""
    from typing import cast

    if method not in _METHODS:
        raise typer.BadParameter(f"{method!r} is not one of {', '.join(_METHODS)}", param_hint="--method")
    if allow and not mask:
        raise typer.BadParameter("says what --mask leaves; give --mask, too", param_hint="--allow")
    with plain_errors():
        from ragtune.dataset import Dataset, DatasetBuilder
        from ragtune.facts import FactSet

        before = None if previous is None else Dataset.load(previous)
        facts = None if held_out is None else FactSet.from_jsonl(held_out)
        builder = DatasetBuilder.from_feedback(
            _store(store, folder), previous=before, method=cast("Method", method), held_out=facts
        )
        if mask:
            builder = builder.mask_private(allow=allow or ())
        made = builder.build(out, validation=validation, held_out=facts, overwrite=overwrite)
        told = {**made.manifest["source"], "folder": str(made.folder), "fingerprint": made.fingerprint}
        left_out = f"; {told['disagreements']} disagreements left out, {told['doubts']} corrections in doubt"
        text = f"{out}: {len(made.train):,} training records, {told['feedback_rows']:,} of what people said"
        if way := told.get("previous_rows_given_way"):
            left_out = f"; {way:,} records of the dataset before gave way{left_out}"
        tell(told, as_json=as_json, text=text + left_out)


@feedback_app.command("withdraw")
def withdraw_feedback(
    person: Annotated[str, typer.Argument(help="Who leaves, as verdicts name them.")],
    journal: JOURNAL = None,
    store: _STORE = _DEFAULT,
    folder: _FOLDER = None,
    as_json: AS_JSON = False,
) -> None:
    """Remove all that one person said. The datasets, jobs and models that hold it are printed."""
    with plain_errors():
        from ragtune.journal import Journal

        # With the journal, which knows what was trained on datasets that hold this person's words.
        found = _store(store, folder).withdraw(by=person, runs=Journal(journal).runs())
        nothing = found.verdicts == found.answers == 0
        said = in_flags(f"nothing that is kept is by {person!r}; `ragtune feedback list` shows the names")
        tell(found, as_json=as_json, text=said if nothing else str(found))


@feedback_app.command("remove")
def remove_feedback(
    numbers: Annotated[list[int], typer.Argument(help="Numbers of answers, as `list --json` tells them.")],
    store: _STORE = _DEFAULT,
    folder: _FOLDER = None,
    as_json: AS_JSON = False,
) -> None:
    """Remove answers and all that was said about them."""
    with plain_errors():
        kept = _store(store, folder)
        for number in numbers:
            kept.remove(number)
        tell({"removed": numbers}, as_json=as_json, text="\n".join(f"answer {number} is gone" for number in numbers))


@feedback_app.command("export")
def export_feedback(
    out: Annotated[Path, typer.Argument(help="The file to write, .jsonl or .csv; `import` reads it again.")],
    by: Annotated[str | None, typer.Option(help="Of one person alone.")] = None,
    model: Annotated[str | None, typer.Option(help="About one model alone.")] = None,
    store: _STORE = _DEFAULT,
    folder: _FOLDER = None,
    as_json: AS_JSON = False,
) -> None:
    """Write the verdicts into a file."""
    with plain_errors():
        count = _store(store, folder).export(out, by=by, model=model)
        tell(
            {"path": str(out), "verdicts": count},
            as_json=as_json,
            text=f"{out}: {count:,} verdict{'' if count == 1 else 's'}",
        )
