"""Models: list, retrieve, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from ragtune.local.http.body import query
from ragtune.local.http.errors import ApiError, conflict, model_not_found
from ragtune.local.services import services
from ragtune.local.wire.objects import model_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ragtune.local.services import Services


def list_(request: Request) -> Response:
    """All base models, then the tuned ones and their checkpoints, newest first."""
    query(request)
    own = services(request)
    bodies = [_base_body(name, own) for name in own.bases.names()]
    bodies += [model_body(row.id, created=row.created_at, owned_by=own.account.id) for row in own.store.models.all()]
    return JSONResponse({"object": "list", "data": bodies})


async def retrieve(request: Request) -> Response:
    """One model."""
    query(request)
    own, name = services(request), request.path_params["model"]
    if own.bases.real_name(name) is not None:
        return JSONResponse(_base_body(name, own))
    row = own.store.models.find(name)
    if row is None:
        raise model_not_found(name, deleted_at=own.store.models.deleted_at(name))
    return JSONResponse(model_body(row.id, created=row.created_at, owned_by=own.account.id))


async def delete(request: Request) -> Response:
    """Delete a tuned model or a checkpoint with its weights."""
    query(request)
    own, name = services(request), request.path_params["model"]
    if own.bases.real_name(name) is not None:
        message = f"The model `{name}` is a base model and cannot be deleted; only tuned models can."
        raise ApiError(403, message, param="model", code="model_not_deletable")
    row = own.store.models.find(name)
    if row is None or not await run_in_threadpool(_delete, own, name):
        raise model_not_found(name)
    own.inference.forget(row.adapter)
    return JSONResponse({"object": "model", "id": name, "deleted": True})


def _delete(own: Services, name: str) -> bool:
    # Looked up and deleted in one: a job that is made at this moment comes before or finds no model.
    with own.store.transaction():
        job = own.store.models.needed_by(name)
        if job is not None:
            message = f"The model `{name}` is being trained further by {job}; cancel that job or wait for its end."
            raise conflict(message, param="model", code="model_in_use", again=False)
        return own.store.models.delete(name)


def _base_body(name: str, own: Services) -> dict[str, object]:
    # A base has no time of its own, and OpenAI's schema lets none be missing.
    return model_body(name, created=own.account.created_at, owned_by="ragtune")
