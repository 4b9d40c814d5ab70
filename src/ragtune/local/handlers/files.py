"""Files: create, list, retrieve, content, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse

from ragtune.limits import MAX_EXPIRY_S, MAX_FILE_BYTES, MIN_EXPIRY_S
from ragtune.local.http.body import limit_of, newest_first, query
from ragtune.local.http.errors import invalid, not_found
from ragtune.local.http.multipart import receive
from ragtune.local.services import services
from ragtune.local.wire.objects import file_body, list_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ragtune.local.store import Store
    from ragtune.local.store.schema import FileRow

_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


async def create(request: Request) -> Response:
    """Take a file, streamed to disk."""
    query(request)
    own = services(request)
    files = own.store.files
    form = await receive(request, files.blobs, slots=own.uploading, file_field="file", max_file_bytes=MAX_FILE_BYTES)
    with form.taken() as content:
        # Only now: fields may stand behind the file in a form, as the client likes.
        allowed = {"purpose", "expires_after[anchor]", "expires_after[seconds]"}
        for name in form.fields.keys() - allowed:
            raise invalid(
                f"Unrecognized request argument supplied: {name[:80]}", param=name[:80], code="unknown_parameter"
            )
        purpose = form.fields.get("purpose")
        if purpose is None:
            message = "Missing required parameter: 'purpose'."
            raise invalid(message, param="purpose", code="missing_required_parameter")
        if purpose not in _PURPOSES:
            message = f"{purpose[:80]!r} is not one of {list(_PURPOSES)} - 'purpose'"
            raise invalid(message, param="purpose", code="invalid_value")
        if content.size == 0:
            raise invalid("The file is empty.", param="file", code="invalid_value")
        expiry = _expiry(form.fields) or default_life_s(purpose)
        name = form.filename or "file"
        row = await run_in_threadpool(files.add, content, filename=name, purpose=purpose, expires_after_s=expiry)
    return JSONResponse(file_body(row))


# Lists are no coroutines, so that Starlette runs them beside the event loop: others are answered while a page of up to
# ten thousand rows is made.
def list_(request: Request) -> Response:
    """One page of files."""
    parameters = query(request, "purpose", "limit", "order", "after")
    rows, more = services(request).store.files.page(
        purpose=parameters.get("purpose"),
        after=parameters.get("after"),
        # OpenAI's numbers: who names no limit expects to get nearly all.
        limit=limit_of(parameters, default=10000, most=10000),
        newest_first=newest_first(parameters, default=True),
    )
    return JSONResponse(list_body([file_body(row) for row in rows], has_more=more))


async def retrieve(request: Request) -> Response:
    """One file's object."""
    query(request)
    return JSONResponse(file_body(_find(request, services(request).store)))


async def content(request: Request) -> Response:
    """One file's bytes, as they came; a result file is base64 text, as at OpenAI."""
    query(request)
    store = services(request).store
    path = store.files.path(_find(request, store))
    return FileResponse(path, media_type="application/octet-stream")


async def delete(request: Request) -> Response:
    """Delete a file."""
    query(request)
    file_id = request.path_params["file_id"]
    if not await run_in_threadpool(services(request).store.files.delete, file_id):
        raise not_found(f"No such File object: {file_id}")
    return JSONResponse({"object": "file", "id": file_id, "deleted": True})


def default_life_s(purpose: str) -> int | None:
    """How long a file is kept when nothing is said, in seconds; None for ever. OpenAI's rule."""
    return MAX_EXPIRY_S if purpose == "batch" else None


def _find(request: Request, store: Store) -> FileRow:
    file_id = request.path_params["file_id"]
    row = store.files.find(file_id)
    if row is None:
        raise not_found(f"No such File object: {file_id}")
    return row


def _expiry(fields: dict[str, str]) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        message = "Invalid value for 'expires_after[anchor]': must be 'created_at'."
        raise invalid(message, param="expires_after[anchor]", code="invalid_value")
    # Digits of other scripts pass isdigit, and int() ends with an error beyond 4,300 of them.
    if seconds is None or not (
        seconds.isascii() and seconds.isdigit() and len(seconds) < 10 and MIN_EXPIRY_S <= int(seconds) <= MAX_EXPIRY_S
    ):
        message = (
            f"Invalid value for 'expires_after[seconds]': must be a whole number from {MIN_EXPIRY_S} to {MAX_EXPIRY_S}."
        )
        raise invalid(message, param="expires_after[seconds]", code="invalid_value")
    return int(seconds)
