"""Large files go up in parts: what a dropped connection costs is one part, not the whole file."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from ragtune._api.calls import FilePart
from ragtune._api.fields import object_of, required, whole
from ragtune._retry import patiently
from ragtune.limits import MAX_PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune._api import Api
    from ragtune._api.calls import Json, LocalFile

__all__ = ["create_file"]

logger = logging.getLogger("ragtune")

# Half of what OpenAI takes: a smaller part costs less when it is lost.
PART_BYTES = MAX_PART_BYTES // 2
IN_PARTS_FROM_BYTES = 4 * PART_BYTES
# How long one part, or the order to put the parts together, is tried again.
PATIENCE_S = 600.0


async def create_file(api: Api, file: LocalFile) -> Json:
    """Upload a training file: in parts from 128 MB on where the server has the routes for it, else in one request.

    Returns:
        The server's file object.
    """
    import openai

    if file.bytes < IN_PARTS_FROM_BYTES or api.dialect.uploads_in_parts is False:
        return await api.create_file(file)
    try:
        upload = await api.begin_upload(file)
    except openai.APIStatusError as error:
        # No such route: 404, or 405 where another method lives at its address.
        if error.status_code not in (404, 405, 501):
            raise
        logger.info("%s takes no uploads in parts; %s is sent in one request", api.port.base_url, file.name)
        return await api.create_file(file)
    upload_id = required(upload, "upload")
    try:
        return await _send(api, file, upload_id)
    except BaseException:
        # Ctrl-C included: the server need not keep parts that nobody will put together.
        await _abandon(api, upload_id)
        raise


async def _send(api: Api, file: LocalFile, upload_id: str) -> Json:
    import openai
    from tqdm.auto import tqdm

    ids: list[str] = []
    # None: only on a terminal or in a notebook.
    with tqdm(total=file.bytes, unit="B", unit_scale=True, desc=file.name, disable=None) as bar:
        for part in parts_of(file):
            body = await patiently(api, partial(api.add_part, upload_id, part), window_s=PATIENCE_S)
            ids.append(required(body, "part"))
            bar.update(part.bytes)
            logger.info("%s: %d of %d bytes are on the server", file.name, part.offset + part.bytes, file.bytes)
    try:
        done = await patiently(api, partial(api.complete_upload, upload_id, ids), window_s=PATIENCE_S)
    except openai.BadRequestError:
        # A lost answer makes the order come twice; the second is refused because the first was carried out.
        async for body in api.files(purpose="fine-tune"):
            if body.get("filename") == file.name and whole(body.get("bytes")) == file.bytes:
                return body
        raise
    return object_of(done.get("file"))


async def _abandon(api: Api, upload_id: str) -> None:
    try:
        await api.cancel_upload(upload_id)
    except Exception as error:
        logger.info("%s could not be cancelled (%s); the server lets it expire", upload_id, type(error).__name__)


def parts_of(file: LocalFile) -> Iterator[FilePart]:
    """Cut a file into parts, in order."""
    for offset in range(0, file.bytes, PART_BYTES):
        size = min(PART_BYTES, file.bytes - offset)
        yield FilePart(path=file.path, name=file.name, offset=offset, bytes=size)
