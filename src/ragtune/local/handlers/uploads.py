"""Uploads in parts: create, add a part, complete, cancel."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from ragtune.limits import MAX_EXPIRY_S, MAX_PART_BYTES, MAX_UPLOAD_BYTES, MIN_EXPIRY_S
from ragtune.local.handlers.files import default_life_s
from ragtune.local.http.body import parse, query
from ragtune.local.http.errors import ApiError, conflict, invalid, not_found
from ragtune.local.http.multipart import receive
from ragtune.local.services import services
from ragtune.local.wire.base import RequestBody, Strict
from ragtune.local.wire.objects import part_body, upload_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from ragtune.local.store import Store
    from ragtune.local.store.blobs import BlobWriter
    from ragtune.local.store.schema import FileRow, PartRow, UploadRow

MAX_PARTS = 10_000
_CHUNK_BYTES = 1024 * 1024


class _ExpiresAfter(Strict):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=MIN_EXPIRY_S, le=MAX_EXPIRY_S)]


class UploadRequest(RequestBody):
    """Body of `POST /v1/uploads`."""

    filename: Annotated[str, Field(min_length=1, max_length=1024)]
    purpose: Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
    # Nothing is what OpenAI's schema allows; the parts are held against it at the end.
    bytes: Annotated[int, Field(ge=0, le=MAX_UPLOAD_BYTES)]
    mime_type: Annotated[str, Field(min_length=1, max_length=255)]
    expires_after: _ExpiresAfter | None = None


class CompleteRequest(RequestBody):
    """Body of `POST /v1/uploads/{upload_id}/complete`."""

    # `fail_fast`: of ten thousand wrong ids the first is told, where pydantic would tell each.
    part_ids: Annotated[list[str], Field(min_length=1, max_length=MAX_PARTS, fail_fast=True)]
    md5: str | None = None


async def create(request: Request) -> Response:
    """Begin an upload."""
    query(request)
    own = services(request)
    asked = await parse(request, UploadRequest, slots=own.reading)
    upload = own.store.uploads.add(
        filename=asked.filename,
        bytes=asked.bytes,
        purpose=asked.purpose,
        file_expires_after_s=asked.expires_after.seconds if asked.expires_after else default_life_s(asked.purpose),
    )
    return JSONResponse(upload_body(upload))


async def add_part(request: Request) -> Response:
    """Take one part, streamed to disk."""
    query(request)
    own = services(request)
    store = own.store
    # Before the bytes are received, and again with the row that they get.
    upload = _pending(request, store, "takes no parts")
    held = store.uploads.parts(upload.id).values()
    room = MAX_UPLOAD_BYTES - sum(part.bytes for part in held)
    if len(held) >= MAX_PARTS or room <= 0:
        message = f"The upload {upload.id} holds as many parts as one may; complete or cancel it."
        raise invalid(message, code="too_many_parts")
    limit = min(MAX_PART_BYTES, room)
    form = await receive(request, store.files.blobs, slots=own.uploading, file_field="data", max_file_bytes=limit)
    with form.taken() as content:
        for name in form.fields:
            message = f"Unrecognized request argument supplied: {name[:80]}"
            raise invalid(message, param=name[:80], code="unknown_parameter")
        part = await run_in_threadpool(store.uploads.add_part, upload.id, content)
    if part is None:
        raise _ended_meanwhile(request, store)
    return JSONResponse(part_body(part))


async def complete(request: Request) -> Response:
    """Put the parts together in the order that is asked for, and make the whole a file."""
    query(request)
    own = services(request)
    store = own.store
    upload = _pending(request, store, "cannot be completed")
    asked = await parse(request, CompleteRequest, slots=own.reading)
    held = store.uploads.parts(upload.id)
    # An upload that ended while the body came has dropped its parts: told by its state, not as unknown part ids.
    # Asked after the parts were read, so that parts read from a pending upload are all of them.
    upload = _pending(request, store, "cannot be completed")
    parts = _chosen(asked.part_ids, held, upload)
    try:
        file = await run_in_threadpool(_join, store, upload, parts=parts, md5=asked.md5)
    except FileNotFoundError:
        # Another request has ended the upload meanwhile, and its parts are dropped.
        file = None
    if file is None:
        raise _ended_meanwhile(request, store)
    return JSONResponse(upload_body(_find(request, store), file=file))


async def cancel(request: Request) -> Response:
    """Give up an upload and its parts."""
    query(request)
    store = services(request).store
    upload = _pending(request, store, "cannot be cancelled")
    if not await run_in_threadpool(store.uploads.cancel, upload.id):
        raise _ended_meanwhile(request, store)
    return JSONResponse(upload_body(_find(request, store)))


def _chosen(part_ids: Sequence[str], held: dict[str, PartRow], upload: UploadRow) -> list[PartRow]:
    if len(set(part_ids)) < len(part_ids):
        raise invalid("'part_ids' names a part twice.", param="part_ids", code="invalid_value")
    for part_id in part_ids:
        if part_id not in held:
            message = f"'part_ids': {part_id[:80]} is no part of {upload.id}."
            raise invalid(message, param="part_ids", code="invalid_value")
    parts = [held[part_id] for part_id in part_ids]
    size = sum(part.bytes for part in parts)
    if size != upload.bytes:
        message = f"The parts hold {size} bytes together, but the upload was announced with {upload.bytes}."
        raise invalid(message, param="part_ids", code="invalid_upload_size")
    return parts


def _join(store: Store, upload: UploadRow, *, parts: Sequence[PartRow], md5: str | None) -> FileRow | None:
    # OpenAI's field, against mistakes in transport; a machine in FIPS mode refuses md5 without this word.
    whole = hashlib.md5(usedforsecurity=False)
    with store.files.blobs.writer() as content:
        for part in parts:
            _append(store, part, content=content, whole=whole)
        if md5 is not None and md5.lower() != whole.hexdigest():
            message = f"The md5 checksum of the joined parts is {whole.hexdigest()}, not {md5[:40]}."
            raise invalid(message, param="md5", code="invalid_checksum")
        return store.uploads.complete(upload, content)


def _append(store: Store, part: PartRow, *, content: BlobWriter, whole: hashlib._Hash) -> None:
    with store.files.blobs.path(part.sha256).open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            content.write(chunk)
            whole.update(chunk)


def _find(request: Request, store: Store) -> UploadRow:
    upload_id = request.path_params["upload_id"]
    upload = store.uploads.find(upload_id)
    if upload is None:
        raise not_found(f"No such Upload object: {upload_id}", param="upload_id")
    return upload


def _pending(request: Request, store: Store, otherwise: str) -> UploadRow:
    """The upload that is asked for; one that has ended is refused."""
    upload = _find(request, store)
    if upload.status != "pending":
        become = "" if upload.file is None else f" as {upload.file}"
        message = f"The upload {upload.id} is {upload.status}{become} and {otherwise}."
        raise invalid(message, param="upload_id", code="invalid_upload_state")
    return upload


def _ended_meanwhile(request: Request, store: Store) -> ApiError:
    """The upload was pending when this request began, and another request has ended it since."""
    upload = _find(request, store)
    message = f"Another request made the upload {upload.id} {upload.status} at the same time; look at it again."
    return conflict(message, param="upload_id", code="upload_changed", again=False)
