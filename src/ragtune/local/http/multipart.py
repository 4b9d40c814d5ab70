"""Multipart bodies straight to disk: hashed as they come, at flat memory, with or without a content length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from ragtune.local.http.errors import ApiError, invalid

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks
    from starlette.requests import Request

    from ragtune.local.http.slots import Slots
    from ragtune.local.store.blobs import BlobStore, BlobWriter

__all__ = ["Form", "receive"]

_MAX_FIELD_BYTES = 4096
# No form that is served here has more than four parts.
_MAX_PARTS = 32
_BATCH_BYTES = 1024 * 1024


@dataclass(kw_only=True)
class Form:
    """A received form: small fields in memory, the one file on disk.

    Attributes:
        file_field: name of the field that holds the file.
        max_file_bytes: most bytes that the file may have.
        fields: the other fields.
        filename: what the sender called the file.
        content: the file's bytes, None when no file came; to be committed or discarded.
    """

    file_field: str
    max_file_bytes: int
    fields: dict[str, str] = field(default_factory=dict)
    filename: str = ""
    content: BlobWriter | None = None

    def taken(self) -> BlobWriter:
        """The file's bytes; `receive` has seen to it that they came."""
        if self.content is None:
            message = "a form without its file"
            raise ValueError(message)
        return self.content


async def receive(request: Request, blobs: BlobStore, *, slots: Slots, file_field: str, max_file_bytes: int) -> Form:
    """Read a multipart request.

    Args:
        request: the request, whose body was not read yet.
        blobs: where the file's bytes go.
        slots: how many forms are received at the same time.
        file_field: name of the field that holds the file.
        max_file_bytes: a larger file is refused while it comes.

    Raises:
        ApiError: no multipart body, broken, too slow, too large, without the file, or too many come at the same time;
            nothing is left on disk then.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        message = "The request must be multipart/form-data with a boundary."
        raise ApiError(415, message, code="unsupported_media_type")
    async with slots.one():
        return await _receive(request, boundary, Form(file_field=file_field, max_file_bytes=max_file_bytes), blobs)


async def _receive(request: Request, boundary: bytes, form: Form, blobs: BlobStore) -> Form:
    complete = False
    try:
        reader = _Reader(form, blobs)
        # Not Starlette's `request.form()`, which writes the whole file to the temporary folder first and knows no most
        # bytes.
        parser = MultipartParser(boundary, reader.callbacks())
        batch = bytearray()
        async for chunk in request.stream():
            batch += chunk
            if len(batch) >= _BATCH_BYTES:
                # The parser hashes and writes what it reads, which would hold up all other connections in the loop.
                await run_in_threadpool(parser.write, bytes(batch))
                batch.clear()
        await run_in_threadpool(parser.write, bytes(batch))
        parser.finalize()
        # The parser is content with a body that breaks off; the file in it would be kept cut.
        if not reader.ended:
            raise invalid("The multipart body ended before its closing boundary.", code="invalid_multipart")
        if form.content is None:
            message = f"Missing required parameter: '{form.file_field}'."
            raise invalid(message, param=form.file_field, code="missing_required_parameter")
        complete = True
    except FormParserError as error:
        raise invalid(f"The multipart body could not be parsed: {error}.", code="invalid_multipart") from error
    finally:
        if not complete and form.content is not None:
            form.content.discard()
    return form


class _Reader:
    """Turns the parser's callbacks into a form."""

    def __init__(self, form: Form, blobs: BlobStore) -> None:
        self._form = form
        self._blobs = blobs
        self._parts = 0
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._is_file = False
        self._value = bytearray()
        self.ended = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise invalid(f"The multipart body has more than {_MAX_PARTS} parts.", code="invalid_multipart")
        self._headers, self._value = {}, bytearray()

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = _text(options.get(b"name", b""))
        self._is_file = self._name == self._form.file_field
        if not self._is_file:
            return
        if b"filename" not in options:
            message = f"'{self._name}' must be a file: its part needs a filename."
            raise invalid(message, param=self._name, code="invalid_value")
        if self._form.content is not None:
            raise invalid(f"'{self._name}' was given twice.", param=self._name, code="invalid_value")
        self._form.filename = _unescaped(_text(options[b"filename"]))
        self._form.content = self._blobs.writer()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        content = self._form.content
        if self._is_file and content is not None:
            # While it comes, since a length that was told beforehand may be missing or wrong.
            if content.size + end - start > self._form.max_file_bytes:
                message = (
                    f"The file is larger than {self._form.max_file_bytes} bytes, the most that one request may carry."
                )
                raise ApiError(413, message, param=self._name, code="file_too_large")
            content.write(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > _MAX_FIELD_BYTES:
            message = f"The field '{self._name[:80]}' is longer than {_MAX_FIELD_BYTES} bytes."
            raise invalid(message, param=self._name[:80], code="invalid_value")

    def _part_end(self) -> None:
        if not self._is_file:
            self._form.fields[self._name] = _text(bytes(self._value))

    def _end(self) -> None:
        self.ended = True


def _unescaped(name: str) -> str:
    """Undo what forms write for the three characters that a quoted name cannot hold (WHATWG, multipart/form-data)."""
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
