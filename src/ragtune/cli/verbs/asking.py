"""`ragtune ask` and `ragtune evaluate`: questions to models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ragtune.cli.common import NOT_WELL, as_line, in_flags, plain_errors, server, tell
from ragtune.cli.model_names import explaining, look_for, model_behind, named_model
from ragtune.cli.options import ALIASES, AS_JSON, BASE_URL, DRY_RUN, FOLDER, KEY_FILE, MAX_TOKENS, MODEL
from ragtune.cli.text_files import lines_of
from ragtune.cli.verbs.training_files import opened

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openai

    from ragtune.evaluation import Answerer
    from ragtune.model import Answer, TunedModel


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.command()(ask)
    app.command()(evaluate)


def ask(
    model: MODEL,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="What is asked; without one a chat begins.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Questions, one a line: of text, or objects with 'question'.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System prompt; default: the one it was trained with.")] = None,
    no_system: Annotated[bool, typer.Option("--no-system", help="Send no system prompt.")] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of an answer.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 takes the likeliest words.")] = 0.0,
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it comes; a chat always does.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions of a file under way at once.")] = 8,
    registry: ALIASES = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    dry_run: DRY_RUN = False,
    as_json: AS_JSON = False,
) -> None:
    """Ask a model a question, those of a file, or chat with it. In a chat what was said before goes along.

    In a chat `/new` forgets what was said, Ctrl-D ends it, and Ctrl-C stops an answer.
    """
    if question is not None and file is not None:
        raise typer.BadParameter("a question and a file are given; leave one of them out", param_hint="--file")
    if system is not None and no_system:
        raise typer.BadParameter("says the opposite of --system; leave one of them out", param_hint="--no-system")
    with plain_errors():
        # Before a server is begun with: a file that cannot be read is told at once.
        questions = [] if file is None else _questions(file)
        with (
            server(folder=folder, base_url=base_url, key_file=key_file) as client,
            explaining(client, model, registry=registry, or_latest=True),
        ):
            from ragtune.model import TRAINED

            # A dry run asks nobody, not even whether the model is there.
            asked = named_model(client, model_behind(model, registry) if dry_run else model, registry=registry)
            parameters: dict[str, object] = {"system": None if no_system else TRAINED if system is None else system}
            parameters |= {"temperature": temperature, "max_tokens": max_tokens}
            if dry_run:
                tell(asked.ask(question or "...", dry_run=True, **parameters), as_json=as_json)  # type: ignore[call-overload]
            elif file is not None:
                _ask_all(asked, questions, concurrency=concurrency, parameters=parameters, as_json=as_json)
            elif question is None:
                _chat(asked, parameters, as_json=as_json)
            else:
                _ask_one(asked, question, parameters, stream=stream, as_json=as_json)


_COMPARED = Annotated[
    str | None, typer.Option(help="Base model, or another one, that is asked the same, for comparison.")
]
_DATASET = Annotated[
    Path | None, typer.Option(metavar="DATA", help="Ask what this dataset teaches: its questions and rewordings.")
]
_SPLIT = Annotated[Literal["train", "validation", "test"], typer.Option(help="The part of the dataset that is asked.")]
_SCORER = Annotated[
    list[str] | None, typer.Option(help="contains, f1, exact, rouge_l ...; may repeat, the first is shown.")
]
_LOG = Annotated[Path, typer.Option(metavar="FILE", help="Every answer as it comes; the same command goes on there.")]


def evaluate(
    model: MODEL,
    base: _COMPARED = None,
    dataset: _DATASET = None,
    facts: Annotated[Path | None, typer.Option(metavar="FILE", help="Ask these facts (JSONL).")] = None,
    split: _SPLIT = "train",
    reword: Annotated[int, typer.Option(min=0, help="Rewordings per question, made by rules.")] = 1,
    questions: Annotated[int | None, typer.Option(min=1, help="At most so many facts.")] = None,
    scorer: _SCORER = None,
    max_tokens: MAX_TOKENS = 64,
    max_cost_usd: Annotated[float | None, typer.Option(min=0, help="What all answers may cost, in US dollars.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions under way at once.")] = 8,
    log: _LOG = Path("evaluation.jsonl"),
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the page with every answer.")] = None,
    registry: ALIASES = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    dry_run: DRY_RUN = False,
    as_json: AS_JSON = False,
) -> None:
    """Ask a model and its base what was taught, and compare. The result comes in figures, in a sentence, on a page."""
    if (facts is None) == (dataset is None):
        raise typer.BadParameter("say what is asked: one of --dataset DATA and --facts FILE", param_hint="--facts")
    with plain_errors():
        from ragtune.recipe_file.sections import EvaluationSection
        from ragtune.recipe_file.teaching import in_words

        wanted = EvaluationSection(
            facts=None if facts is None else str(facts), split=split, reword=reword, questions=questions
        )
        asked = wanted.facts_of(None if dataset is None else opened(dataset))
        if dry_run:
            tell(
                asked.counts,
                as_json=as_json,
                text=f"{in_words(asked)}; nothing was asked, the answers would go to {log}",
            )
            return
        with server(folder=folder, base_url=base_url, key_file=key_file) as client:
            from ragtune.evaluation import evaluate as score

            card = score(
                _arms(client, model, base=base, registry=registry),
                asked,
                tuple(scorer or ("contains", "f1")),
                log=log,
                max_cost_usd=max_cost_usd,
                max_tokens=max_tokens,
                concurrency=concurrency,
            )
        if report is not None:
            typer.echo(f"the page with every answer: {card.to_html(report)}", err=True)
        # On the other output, so that with --json the card stands alone.
        typer.echo(in_flags(f"the log: {log} (for `ragtune registry add MODEL --scorecard {log}`)"), err=True)
        typer.echo(card.to_json() if as_json else str(card))


def _arms(client: openai.OpenAI, model: str, *, base: str | None, registry: Path | None) -> Mapping[str, Answerer]:
    """Who is asked: the model and, for comparison, its base; both are looked for before they are asked much."""
    from ragtune.evaluation import arms

    tuned = named_model(client, model, registry=registry)
    compared = None if base is None else model_behind(base, registry)
    for name in (tuned.name, compared):
        if name is not None:
            look_for(client, name, registry=registry)
    return arms(base=None if compared is None else (client, compared), tuned=tuned)


def _questions(file: Path) -> list[str]:
    """The questions of a file, whose lines are text or objects.

    Raises:
        RagtuneError: it cannot be read, or a line holds no question.
    """
    import json

    from ragtune.errors import RagtuneError

    found = []
    lines = sys.stdin if str(file) == "-" else lines_of(file)
    for number, line in enumerate(lines, 1):
        text: object = line.strip()
        if text and file.suffix == ".jsonl":
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise RagtuneError(f"{file} line {number} is no JSON: {error}") from None
            text = row.get("question") if isinstance(row, dict) else row
            if not isinstance(text, str):
                raise RagtuneError(
                    f"{file} line {number} has no text under 'question'; write it so, or one question a line"
                )
        if text:
            found.append(str(text))
    if not found:
        raise RagtuneError(f"{file} holds no question; write one a line")
    return found


def _ask_one(model: TunedModel, question: str, parameters: dict[str, object], *, stream: bool, as_json: bool) -> None:
    if as_json or not stream:
        answer = model.ask(question, **parameters)  # type: ignore[call-overload]
        # So wide that lines stay as the model wrote them; it is for the hint below the text.
        tell(_said(question, answer), as_json=as_json, text=answer.wrapped(10_000))
        return
    _streamed(model, question, parameters)


def _ask_all(
    model: TunedModel, questions: list[str], *, concurrency: int, parameters: dict[str, object], as_json: bool
) -> None:
    failed = 0
    answers = model.ask_many(questions, concurrency=concurrency, **parameters)  # type: ignore[arg-type]
    if isinstance(answers[0], Exception) and getattr(answers[0], "status_code", None) == 404:
        # A model that is not there fails all questions alike: it is told once.
        raise answers[0]
    for question, answer in zip(questions, answers, strict=True):
        if isinstance(answer, Exception):
            failed += 1
            typer.echo(f"error: {question!r:.60}: {in_flags(str(answer))}", err=True)
            if as_json:
                typer.echo(as_line({"question": question, "error": str(answer)}))
        else:
            tell(_said(question, answer), as_json=as_json, text=f"Q: {question}\nA: {answer.said}\n")
    if failed:
        typer.echo(f"{failed} of {len(questions)} questions have no answer", err=True)
        raise typer.Exit(NOT_WELL)


def _chat(model: TunedModel, parameters: dict[str, object], *, as_json: bool) -> None:
    """Talk until the end of the input; on a terminal with a prompt and its line editor."""
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        import readline  # noqa: F401  # `input` edits lines and remembers them once it is loaded

        typer.echo(f"{model.name}: /new forgets what was said, Ctrl-D ends", err=True)
    messages: list[dict[str, object]] = []
    while True:
        try:
            said = input("> " if at_terminal else "").strip()
        except EOFError:
            return
        if said == "/new":
            messages = []
        elif said:
            asked: list[dict[str, object]] = [*messages, {"role": "user", "content": said}]
            answer = _turn(model, asked, parameters, as_json=as_json)
            # What was stopped half-way is no answer that the next question could stand on.
            if answer is not None:
                messages = [*asked, {"role": "assistant", "content": answer.said}]


def _turn(
    model: TunedModel, messages: list[dict[str, object]], parameters: dict[str, object], *, as_json: bool
) -> Answer | None:
    try:
        if not as_json:
            return _streamed(model, messages, parameters)
        answer = model.chat(messages, **parameters)  # type: ignore[arg-type]
        typer.echo(as_line(_said(str(messages[-1]["content"]), answer)))
        return answer
    # An answer that goes on and on ends without the chat.
    except KeyboardInterrupt:
        typer.echo("\n[stopped]", err=True)
        return None


def _streamed(model: TunedModel, asked: str | list[dict[str, object]], parameters: dict[str, object]) -> Answer:
    with model.stream(asked, **parameters) as pieces:  # type: ignore[arg-type]
        for piece in pieces:
            typer.echo(piece, nl=False)
        typer.echo()
        if pieces.answer.hint:
            typer.echo(f"[{pieces.answer.hint}]", err=True)
        return pieces.answer


def _said(question: str, answer: Answer) -> dict[str, object]:
    return {
        "question": question,
        # Not `answer.text`, which raises where the model refused or only thought.
        "answer": answer.choices[0].text if answer.choices else None,
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "usage": answer.usage,
    }
