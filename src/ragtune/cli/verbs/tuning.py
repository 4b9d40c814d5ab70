"""`ragtune plan`, `ragtune tune` and `ragtune watch`: from a dataset to a tuned model."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from pathlib import Path  # typer reads the signatures
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import typer

from ragtune.cli.common import again, as_line, in_flags, plain_errors, server, tell
from ragtune.cli.options import AS_JSON, BASE_URL, BATCH_SIZE, DATA, DRY_RUN, EPOCHS, FOLDER, JOURNAL, KEY_FILE
from ragtune.cli.verbs.training_files import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openai

    from ragtune.dataset import Dataset
    from ragtune.job import FineTuneJob
    from ragtune.journal import Journal
    from ragtune.model import TunedModel
    from ragtune.monitor import JobEvent
    from ragtune.plan import Plan
    from ragtune.spec import TuneSpec

_MODEL = Annotated[str, typer.Option(help="Base model, or a tuned one to train further.")]
_METHOD = Annotated[Literal["supervised", "dpo", "kto"], typer.Option(help="How it learns.")]
_MULTIPLIER = Annotated[float | None, typer.Option(help="Factor on the server's own learning rate (OpenAI).")]
_RATE = Annotated[float | None, typer.Option(help="The learning rate itself, where the server takes one.")]
_BETA = Annotated[float | None, typer.Option(help="dpo, kto: how closely to stay with the model as it was.")]
_GOOD = Annotated[float | None, typer.Option(help="kto: how much good answers count; default: 1.")]
_BAD = Annotated[float | None, typer.Option(help="kto: how much bad answers count; default: 1.")]
_SEED = Annotated[int | None, typer.Option(help="Same seed and settings should give the same model.")]
_SUFFIX = Annotated[str | None, typer.Option(help="Part of the tuned model's name.")]
_PROBE = Annotated[bool, typer.Option("--probe", help="Of a plan: really look at the account; nothing is changed.")]
_ANYHOW = Annotated[
    bool, typer.Option("--force", help="Past the dates of catalogue and server, and past the catalogue's methods.")
]
_UNKNOWN = Annotated[bool, typer.Option("--allow-unknown-cost", help="Go on where there is no estimate.")]
_NEW = Annotated[bool, typer.Option("--new", help="Make another job although one exists for data and settings.")]
_WAIT = Annotated[bool, typer.Option("--wait", help="Wait until the model is there.")]
_SAVE = Annotated[Path | None, typer.Option(metavar="FILE", help="Save the job, or with --wait the model.")]
_MOST = Annotated[float | None, typer.Option(min=0, help="Refuse above this estimate, in US dollars.")]


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.command()(plan)
    app.command()(tune)
    app.command()(watch)


def plan(
    data: DATA,
    model: _MODEL,
    method: _METHOD = "supervised",
    epochs: EPOCHS = None,
    batch_size: BATCH_SIZE = None,
    learning_rate_multiplier: _MULTIPLIER = None,
    learning_rate: _RATE = None,
    beta: _BETA = None,
    desirable_weight: _GOOD = None,
    undesirable_weight: _BAD = None,
    seed: _SEED = None,
    suffix: _SUFFIX = None,
    max_cost_usd: _MOST = None,
    force: _ANYHOW = False,
    probe: _PROBE = False,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    journal: JOURNAL = None,
    as_json: AS_JSON = False,
) -> None:
    """Say what `tune` would do, and send nothing. Its calls, its price, and what speaks against it."""
    tune(
        data,
        model,
        method=method,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate_multiplier=learning_rate_multiplier,
        learning_rate=learning_rate,
        beta=beta,
        desirable_weight=desirable_weight,
        undesirable_weight=undesirable_weight,
        seed=seed,
        suffix=suffix,
        max_cost_usd=max_cost_usd,
        force=force,
        folder=folder,
        base_url=base_url,
        key_file=key_file,
        journal=journal,
        dry_run=True,
        probe=probe,
        as_json=as_json,
    )


def tune(
    data: DATA,
    model: _MODEL,
    method: _METHOD = "supervised",
    epochs: EPOCHS = None,
    batch_size: BATCH_SIZE = None,
    learning_rate_multiplier: _MULTIPLIER = None,
    learning_rate: _RATE = None,
    beta: _BETA = None,
    desirable_weight: _GOOD = None,
    undesirable_weight: _BAD = None,
    seed: _SEED = None,
    suffix: _SUFFIX = None,
    max_cost_usd: _MOST = None,
    allow_unknown_cost: _UNKNOWN = False,
    force: _ANYHOW = False,
    new: _NEW = False,
    wait: _WAIT = False,
    save: _SAVE = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    journal: JOURNAL = None,
    dry_run: DRY_RUN = False,
    probe: _PROBE = False,
    as_json: AS_JSON = False,
) -> None:
    """Upload a dataset and create its job, exactly once. The same command finds the job again.

    With --folder this command is the server, unless one runs there, so it is best given --wait: without a server the
    job rests until `ragtune watch` or `ragtune serve` lets it go on.
    """
    with plain_errors():
        from ragtune.recipe_file.sections import JobSection

        settings = JobSection(
            method=method,
            n_epochs=epochs or "auto",
            batch_size=batch_size or "auto",
            learning_rate_multiplier=learning_rate_multiplier,
            learning_rate=learning_rate,
            beta=beta,
            desirable_weight=desirable_weight,
            undesirable_weight=undesirable_weight,
            seed=seed,
            suffix=suffix,
        )
        spec, dataset = settings.spec(model), opened(data)
        keyless = dry_run and not probe  # such a plan sends nothing
        with server(folder=folder, base_url=base_url, key_file=key_file, make=True, keyless=keyless) as client:
            from ragtune.job import FineTuneJob
            from ragtune.journal import Journal

            terms = _Terms(new=new, force=force, max_cost_usd=max_cost_usd, journal=Journal(journal))
            if dry_run:
                # To ask this machine sends nothing anywhere, and tells a base that it does not have.
                planned = _planned(client, dataset, spec, terms, probe=probe or folder is not None)
                tell(planned, as_json=as_json, text=in_flags(str(planned)))
                return
            job = FineTuneJob.create(client, dataset, spec, allow_unknown_cost=allow_unknown_cost, **terms)
            on = again(f"watch {job.id}", folder=folder, base_url=base_url, key_file=key_file)
            with _comes_back(job, on, folder):
                # Before the waiting: what was bought is told even if the terminal is closed meanwhile.
                typer.echo(f"{'found' if job.reused else 'created'} {job.id}; {on}", err=True)
                made = _waited(client, job) if wait else job
            if save is not None:
                made.save(save)
            _tell_job(job, as_json=as_json)


class _Terms(TypedDict):
    """On which terms a job is made, or planned."""

    new: bool
    force: bool
    max_cost_usd: float | None
    journal: Journal


def _planned(client: openai.OpenAI, dataset: Dataset, spec: TuneSpec, terms: _Terms, *, probe: bool) -> Plan:
    from ragtune.errors import ExpiryWarning
    from ragtune.job import FineTuneJob

    with warnings.catch_warnings():
        # The plan tells the same among its own warnings.
        warnings.simplefilter("ignore", ExpiryWarning)
        return FineTuneJob.plan(client, dataset, spec, probe=probe, **terms)


def watch(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="The job, ftjob-...; default: the newest.")] = None,
    timeout_s: Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most.")] = None,
    folder: FOLDER = None,
    base_url: BASE_URL = None,
    key_file: KEY_FILE = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a line for each event, and the job's own as the last one.")
    ] = False,
) -> None:
    """Print a job's events as they come, until it has ended. Ctrl-C ends the watching, not the job."""
    with plain_errors(), server(folder=folder, base_url=base_url, key_file=key_file) as client:
        from ragtune.errors import RagtuneError
        from ragtune.job import FineTuneJob, list_jobs

        if job is None:
            newest = list_jobs(client, limit=1)
            if not len(newest):
                raise RagtuneError("there is no job to watch; `ragtune tune` makes one")
            job = newest[0].id
        found = FineTuneJob.get(client, job)
        on = again(f"watch {job}", folder=folder, base_url=base_url, key_file=key_file)

        def show(event: JobEvent) -> None:
            moment = "" if event.created_at is None else f"{event.created_at:%H:%M:%S} "
            tell(event, as_json=as_json, text=f"{moment}{event.message}")

        with _comes_back(found, on, folder):
            from ragtune.monitor import JobMonitor

            JobMonitor(found).wait(timeout_s, progress=False, on_event=show)
        if as_json:
            typer.echo(as_line(found.details))
        else:
            _tell_job(found, as_json=False)


def _waited(client: openai.OpenAI, job: FineTuneJob) -> TunedModel:
    from ragtune.monitor import JobMonitor
    from ragtune.recipe_file.telling import told_from_now

    # A bar is drawn at a terminal, and lines between would tear it.
    at_terminal = sys.stderr.isatty()
    show = None if at_terminal else told_from_now(client, job, lambda words: typer.echo(words, err=True))
    return JobMonitor(job).wait(on_event=show)


@contextmanager
def _comes_back(job: FineTuneJob, on: str, folder: Path | None) -> Iterator[None]:
    """Whoever stops the waiting is told how to go on, in the words of the command line.

    Args:
        job: what was waited for.
        on: the command that goes on.
        folder: of the embedded backend, whose server this command may be.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        follows = "goes on with it" if folder is not None else f"follows {job.id} as long as its server runs"
        stop.args = (f"waiting ended; {on} {follows}",)
        raise


def _tell_job(job: FineTuneJob, *, as_json: bool) -> None:
    details = job.details
    made = "" if details.fine_tuned_model is None else f": {details.fine_tuned_model}"
    tell(details, as_json=as_json, text=f"{job.id} {details.status}{made}")
