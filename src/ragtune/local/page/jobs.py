"""The list of jobs, and the page of one job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse

from ragtune.local.handlers import jobs as wire
from ragtune.local.http.errors import ApiError
from ragtune.local.page.rendering import render, render_text
from ragtune.local.services import services
from ragtune.local.store.schema import TERMINAL, JobStatus

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ragtune.local.services import Services
    from ragtune.local.store.schema import JobRow

__all__ = ["act", "list_", "live", "show"]

_PAGE = 50
# Each step is an event, and of a long training the newest tell what happens.
_EVENTS = 200
_STATES = get_args(JobStatus)
_ACTIONS = {"cancel": wire.cancel, "pause": wire.pause, "resume": wire.resume}


async def list_(request: Request) -> Response:
    """All jobs, or those in one state, newest first."""
    own = services(request)
    state = request.query_params.get("state")
    # Not an empty list, which would say that no job is in that state.
    if state is not None and state not in _STATES:
        return _problem(request, 404, f"There is no state {state[:40]!r}; the states are {', '.join(_STATES)}.")
    rows, more = await run_in_threadpool(
        own.store.jobs.page, after=request.query_params.get("after"), limit=_PAGE, status=state
    )
    counts = await run_in_threadpool(own.store.jobs.counts)
    states = [(name, counts[name]) for name in _STATES if name in counts]
    return render(request, "jobs.html", rows=rows, more=more, state=state, states=states, all=sum(counts.values()))


async def show(request: Request) -> Response:
    """One job, whole."""
    own = services(request)
    job = _job(request, own)
    if job is None:
        return _missing(request)
    values = await run_in_threadpool(_values, own, job)
    return render(request, "job.html", curves=_curves(values["metrics"]), **values)


async def live(request: Request) -> Response:
    """What changes while a job trains: two parts of its page, and the points of the curves."""
    own = services(request)
    job = _job(request, own)
    if job is None:
        # An envelope and no page: a script asks this.
        raise ApiError(404, f"There is no job {request.path_params['job_id'][:80]}.", code="fine_tune_not_found")
    values = await run_in_threadpool(_values, own, job)
    parts = {part: render_text(f"_job_{part}.html", **values) for part in ("now", "record")}
    return JSONResponse({"parts": parts, "curves": _curves(values["metrics"]), "done": values["done"]})


async def act(request: Request) -> Response:
    """Cancel, pause or resume a job as the wire does it, then show the job."""
    action = _ACTIONS.get(request.path_params["action"])
    job = _job(request, services(request))
    if action is None or job is None:
        return _missing(request)
    try:
        await action(request)
    except ApiError as error:
        return _problem(request, error.status, error.message)
    # 303, so that a browser asks with GET: a reload then cancels nothing a second time.
    return RedirectResponse(f"/jobs/{job.id}", status_code=303)


def _job(request: Request, own: Services) -> JobRow | None:
    return own.store.jobs.find(request.path_params["job_id"])


def _values(own: Services, job: JobRow) -> dict[str, Any]:
    events, _ = own.store.jobs.events(job.id, after=None, limit=_EVENTS)
    metrics = own.store.jobs.metrics(job.id)
    kind = job.method["type"]
    names = [("training", job.training_file), ("validation", job.validation_file), ("result", job.result_file)]
    return {
        "job": job,
        "kind": kind,
        # Until the files were looked at, `auto` is all that is known.
        "settings": job.resolved or job.method[kind]["hyperparameters"],
        "events": events,
        "metrics": metrics,
        "last": metrics[-1] if metrics else None,
        # As many as are kept.
        "checkpoints": own.store.models.checkpoints(job.id, after=None, limit=3)[0],
        "files": [(role, file_id, own.store.files.find(file_id)) for role, file_id in names if file_id],
        "answers": own.store.models.find(job.tuned_name) is not None,
        "done": job.status in TERMINAL,
    }


def _curves(metrics: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    """The columns of the curves, all of one length; None where nothing was measured."""
    columns = ("step", "created_at", *_LINES)
    return {name: [row.get(name) for row in metrics] for name in columns}


_LINES = (
    "train_loss",
    "valid_loss",
    "full_valid_loss",
    "train_mean_token_accuracy",
    "valid_mean_token_accuracy",
    "full_valid_mean_token_accuracy",
    "valid_fact_accuracy",
)


def _missing(request: Request) -> Response:
    return _problem(request, 404, f"There is no job {request.path_params['job_id'][:80]} on this server.")


def _problem(request: Request, status: int, message: str) -> Response:
    return render(request, "problem.html", status=status, message=message)
