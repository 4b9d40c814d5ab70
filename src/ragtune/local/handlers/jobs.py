"""Fine-tuning jobs: create, list, retrieve, cancel, pause, resume, events, checkpoints."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from ragtune.local.auth.account import ORGANIZATION
from ragtune.local.http.body import limit_of, metadata_of, parse, query
from ragtune.local.http.errors import invalid, not_found
from ragtune.local.ids import new_id
from ragtune.local.models.registry import find_model
from ragtune.local.runner.outcomes import tidy
from ragtune.local.services import services
from ragtune.local.store.schema import TERMINAL, JobRow, JobStatus, NewEvent
from ragtune.local.wire.jobs import JobRequest
from ragtune.local.wire.objects import checkpoint_body, event_body, job_body, list_body
from ragtune.train.checkpoints.folders import hold_adapter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from ragtune.local.models.registry import ServedModel
    from ragtune.local.services import Services
    from ragtune.local.store import Store
    from ragtune.local.store.schema import FileRow


async def create(request: Request) -> Response:
    """Make a job; its files are looked at when the queue comes to it."""
    query(request)
    own = services(request)
    asked = await parse(request, JobRequest, slots=own.reading)
    # One transaction: what is deleted just now is either still needed by the job or not found here.
    with own.store.transaction():
        model = _trainable(own, asked.model)
        training = _training_file(own, asked.training_file, param="training_file")
        validation = asked.validation_file and _training_file(own, asked.validation_file, param="validation_file")
        job = _new_job(asked, model, training=training, validation=validation or None)
        own.store.jobs.add(job)
    own.runner.wake()
    return JSONResponse(job_body(job, own.account.id))


def list_(request: Request) -> Response:
    """One page of jobs; `metadata[key]=value` narrows it, `metadata=null` keeps jobs without any."""
    parameters, metadata = metadata_of(request, "after", "limit", "metadata")
    if parameters.get("metadata", "null") != "null":
        message = "Invalid 'metadata': give metadata[key]=value, or metadata=null for jobs without any."
        raise invalid(message, param="metadata", code="invalid_value")
    own = services(request)
    rows, more = own.store.jobs.page(
        after=parameters.get("after"),
        limit=limit_of(parameters, default=20, most=1000),
        metadata=metadata,
        without_metadata="metadata" in parameters,
    )
    return JSONResponse(list_body([job_body(row, own.account.id) for row in rows], has_more=more))


# Coroutines, unlike the lists: a row by its id is found before a thread would have begun.
async def retrieve(request: Request) -> Response:
    """One job."""
    query(request)
    own = services(request)
    return JSONResponse(job_body(_find(request, own.store), own.account.id))


async def cancel(request: Request) -> Response:
    """End a job that has not ended."""
    note = NewEvent(message="Fine-tuning job cancelled")
    living: tuple[JobStatus, ...] = ("validating_files", "queued", "running", "paused")
    return await _move(request, services(request), "cancelled", come_from=living, note=note)


async def pause(request: Request) -> Response:
    """Stop a job at a checkpoint, to go on later."""
    note = NewEvent(message="Fine-tuning job paused")
    return await _move(
        request, services(request), "paused", come_from=("validating_files", "queued", "running"), note=note
    )


async def resume(request: Request) -> Response:
    """Let a paused job go on."""
    query(request)
    note = NewEvent(message="Fine-tuning job resumed")
    own = services(request)
    # Files that were not looked at before the pause are looked at now.
    target: JobStatus = "validating_files" if _find(request, own.store).resolved is None else "queued"
    return await _move(request, own, target, come_from=("paused",), note=note)


def events(request: Request) -> Response:
    """One page of a job's events, newest first."""
    parameters = query(request, "after", "limit")
    store = services(request).store
    rows, more = store.jobs.events(
        _find(request, store).id, after=parameters.get("after"), limit=limit_of(parameters, default=20, most=1000)
    )
    return JSONResponse(list_body([event_body(row) for row in rows], has_more=more))


async def checkpoints(request: Request) -> Response:
    """One page of a job's checkpoints, newest first."""
    parameters = query(request, "after", "limit")
    store = services(request).store
    rows, more = store.models.checkpoints(
        _find(request, store).id, after=parameters.get("after"), limit=limit_of(parameters, default=10, most=1000)
    )
    return JSONResponse(list_body([checkpoint_body(row) for row in rows], has_more=more))


async def _move(
    request: Request, own: Services, to: JobStatus, *, come_from: Sequence[JobStatus], note: NewEvent
) -> Response:
    query(request)
    moved = own.store.jobs.move(_find(request, own.store).id, come_from=come_from, to=to, note=note)
    if moved is None:
        job = _find(request, own.store)
        verb = {"cancelled": "cancelled", "paused": "paused"}.get(to, "resumed")
        message = f"The fine-tuning job {job.id} is {job.status} and cannot be {verb}."
        raise invalid(message, code="invalid_job_state")
    own.runner.wake()
    if moved.status in TERMINAL:
        await run_in_threadpool(tidy, moved, own.store)
    return JSONResponse(job_body(moved, own.account.id))


def _find(request: Request, store: Store) -> JobRow:
    job_id = request.path_params["job_id"]
    row = store.jobs.find(job_id)
    if row is None:
        raise not_found(f"Could not find fine tune: {job_id}", param="fine_tune_id", code="fine_tune_not_found")
    return row


def _trainable(own: Services, name: str) -> ServedModel:
    model = find_model(name, bases=own.bases, store=own.store)
    if model is not None and model.adapter is not None:
        try:
            # The worker of a job that still trains would remove it three epochs later, long before this job's turn.
            hold_adapter(model.adapter)
        except OSError:
            model = None  # it was removed just now
    if model is None:
        message = (
            f"Model {name[:120]} is not available for fine-tuning or does not exist. "
            f"This server trains: {', '.join(own.bases.names())}."
        )
        raise invalid(message, param="model", code="model_not_available")
    return model


def _training_file(own: Services, file_id: str, *, param: str) -> FileRow:
    row = own.store.files.find(file_id)
    if row is None:
        raise invalid(f"invalid {param}: {file_id[:80]}", param=param, code="file_not_found")
    if row.purpose != "fine-tune":
        message = f"{param}: {file_id} was uploaded with the purpose {row.purpose!r}, it must be 'fine-tune'."
        raise invalid(message, param=param, code="invalid_file_purpose")
    return row


def _new_job(asked: JobRequest, model: ServedModel, *, training: FileRow, validation: FileRow | None) -> JobRow:
    tuned = model.adapter is not None
    # In a tuned model's name the base comes second: ft:<base>:<organization>:<suffix>:<id>.
    base_in_name = asked.model.split(":")[1] if tuned else asked.model
    # Above all no colon, at which names of models are parted.
    suffix = re.sub(r"[^A-Za-z0-9._-]+", "-", asked.suffix or "")
    return JobRow(
        id=new_id("ftjob-"),
        status="validating_files",
        model=asked.model,
        base=model.base,
        parent=asked.model if tuned else None,
        training_file=training.id,
        validation_file=None if validation is None else validation.id,
        training_sha256=training.sha256,
        validation_sha256=None if validation is None else validation.sha256,
        suffix=asked.suffix,
        tuned_name=f"ft:{base_in_name}:{ORGANIZATION}:{suffix}:{new_id('', length=8)}",
        # OpenAI's range. Not `random`, which a program around the server may have seeded.
        seed=secrets.randbelow(2**31) if asked.seed is None else asked.seed,
        method=asked.full_method(),
        metadata=asked.metadata,
        created_at=int(time.time()),
    )
