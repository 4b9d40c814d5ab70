"""Uploads in parts on the wire, through the official client."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.local import LocalBackend
from tests.local.kit import create as create_job
from tests.local.kit import rows, trainer, until, wait_for

PARTS = (b"first\n", b"second\n", b"third\n")
WHOLE = b"".join(PARTS)


def begin(client: openai.OpenAI, size: int = len(WHOLE), **options: Any) -> openai.types.Upload:
    return client.uploads.create(
        **{"bytes": size, "filename": "train.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune", **options}
    )


def add(client: openai.OpenAI, upload_id: str, *contents: bytes) -> list[str]:
    return [client.uploads.parts.create(upload_id, data=content).id for content in contents]


def blobs(backend: LocalBackend) -> list[bytes]:
    return sorted(path.read_bytes() for path in (backend.folder / "blobs").rglob("*") if path.is_file())


def change(backend: LocalBackend, sql: str) -> None:
    with sqlite3.connect(backend.folder / "state.sqlite3") as database:
        database.execute(sql)
    database.close()


def test_parts_are_joined_in_the_order_that_is_asked_for(backend: LocalBackend, client: openai.OpenAI) -> None:
    """Sent as third, first, second, with one that is not wanted; the file is first, second, third."""
    upload = begin(client)
    assert (upload.object, upload.status, upload.file, upload.bytes) == ("upload", "pending", None, len(WHOLE))
    assert upload.expires_at == upload.created_at + 3600
    third, first, _, second = add(client, upload.id, PARTS[2], PARTS[0], b"not wanted", PARTS[1])
    done = client.uploads.complete(upload.id, part_ids=[first, second, third], md5=hashlib.md5(WHOLE).hexdigest())
    assert (done.id, done.status) == (upload.id, "completed")
    assert done.file is not None
    assert done.file == client.files.retrieve(done.file.id)
    assert (done.file.filename, done.file.purpose, done.file.bytes) == ("train.jsonl", "fine-tune", len(WHOLE))
    assert client.files.content(done.file.id).read() == WHOLE
    assert blobs(backend) == [WHOLE], "the parts are gone"


def test_the_clients_own_chunking_feeds_a_job(backend: LocalBackend, client: openai.OpenAI, tmp_path: Path) -> None:
    """`upload_file_chunked`, from disk and from memory: the joined file trains."""
    path = tmp_path / "train.jsonl"
    path.write_bytes(rows())
    size = path.stat().st_size
    upload = client.uploads.upload_file_chunked(
        file=path, mime_type="text/jsonl", purpose="fine-tune", part_size=size // 3
    )
    again = client.uploads.upload_file_chunked(
        file=rows(), filename="b.jsonl", bytes=size, mime_type="text/jsonl", purpose="fine-tune", part_size=size
    )
    assert upload.file is not None
    assert again.file is not None
    assert client.files.content(upload.file.id).read() == client.files.content(again.file.id).read() == rows()
    assert wait_for(client, create_job(client, training_file=upload.file.id).id).status == "succeeded"


def test_the_async_client_uploads_in_parts(backend: LocalBackend, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(rows(50))

    async def run() -> bytes:
        async with backend.async_client(max_retries=0) as client:
            upload = await client.uploads.upload_file_chunked(
                file=path,
                mime_type="text/jsonl",
                purpose="fine-tune",
                part_size=1000,
                md5=hashlib.md5(rows(50)).hexdigest(),
            )
            given_up = await client.uploads.create(bytes=5, filename="x", mime_type="text/jsonl", purpose="evals")
            await client.uploads.parts.create(given_up.id, data=b"hello")
            assert (await client.uploads.cancel(given_up.id)).status == "cancelled"
            assert upload.file is not None
            return (await client.files.content(upload.file.id)).read()

    assert asyncio.run(run()) == rows(50)
    assert blobs(backend) == [rows(50)]


def test_parts_arrive_side_by_side(client: openai.OpenAI) -> None:
    """Eight threads send a part each; the order of the ids decides, not that of the arrivals."""
    contents = [os.urandom(200_000) for _ in range(8)]
    upload = begin(client, size=8 * 200_000)
    ids = [""] * 8

    def send(number: int) -> None:
        (ids[number],) = add(client, upload.id, contents[number])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = client.uploads.complete(upload.id, part_ids=ids)
    assert done.file is not None
    assert client.files.content(done.file.id).read() == b"".join(contents)


@pytest.mark.parametrize(
    ("choose", "options", "param", "code"),
    [
        (lambda ids: ids[:2], {}, "part_ids", "invalid_upload_size"),
        (lambda ids: [*ids[:2], ids[0]], {}, "part_ids", "invalid_value"),
        (lambda ids: [*ids, "part_none"], {}, "part_ids", "invalid_value"),
        (lambda ids: [], {}, "part_ids", "array_below_min_length"),
        (lambda ids: ids, {"md5": "0" * 32}, "md5", "invalid_checksum"),
        (lambda ids: ids, {"extra_body": {"colour": "red"}}, "colour", "unknown_parameter"),
    ],
)
def test_a_wrong_completion_is_refused_and_a_right_one_still_works(
    backend: LocalBackend, client: openai.OpenAI, choose: Any, options: Any, param: str, code: str
) -> None:
    """Nothing is lost: the parts stay until the upload has ended."""
    upload = begin(client)
    ids = add(client, upload.id, *PARTS)
    with pytest.raises(openai.BadRequestError) as caught:
        client.uploads.complete(upload.id, part_ids=choose(ids), **options)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert list((backend.folder / "partial").iterdir()) == []
    assert client.uploads.complete(upload.id, part_ids=ids).status == "completed"


def test_an_upload_ends_once(backend: LocalBackend, client: openai.OpenAI) -> None:
    """Completed or cancelled, it takes no parts, and can be neither completed nor cancelled again."""
    completed, cancelled = begin(client), begin(client)
    ids = add(client, completed.id, *PARTS)
    done = client.uploads.complete(completed.id, part_ids=ids)
    add(client, cancelled.id, b"given up")
    assert client.uploads.cancel(cancelled.id).status == "cancelled"
    assert blobs(backend) == [WHOLE]
    for upload, state in ((completed, f"completed as {done.file and done.file.id}"), (cancelled, "cancelled")):
        for call in (
            lambda upload=upload: client.uploads.parts.create(upload.id, data=b"more"),
            lambda upload=upload: client.uploads.complete(upload.id, part_ids=["part_none"]),
            lambda upload=upload: client.uploads.cancel(upload.id),
        ):
            with pytest.raises(openai.BadRequestError, match=f"is {state} and"):
                call()


def test_of_two_completions_at_once_one_makes_the_file(client: openai.OpenAI) -> None:
    upload = begin(client, size=3_000_000)
    ids = add(client, upload.id, os.urandom(3_000_000))
    told: list[str] = []

    def finish() -> None:
        try:
            told.append(client.uploads.complete(upload.id, part_ids=ids).status)
        except openai.APIStatusError as error:
            told.append(f"{error.status_code} {error.code}")

    threads = [threading.Thread(target=finish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count("completed") == 1
    # Who came after the end is told the state; who was under way, that it has changed meanwhile.
    assert {*told} <= {"completed", "400 invalid_upload_state", "409 upload_changed"}
    assert len(client.files.list().data) == 1


def test_a_completion_whose_upload_ends_while_its_body_comes_is_told_the_state(
    backend: LocalBackend, client: openai.OpenAI
) -> None:
    """Its parts are gone with the upload, and were not wrong."""
    upload = begin(client)
    ids = add(client, upload.id, *PARTS)
    body = json.dumps({"part_ids": ids}).encode()
    address = urllib.parse.urlsplit(backend.base_url)
    late = http.client.HTTPConnection(address.hostname or "", address.port or 0, timeout=30)
    try:
        late.putrequest("POST", f"{address.path}/uploads/{upload.id}/complete")
        for name, value in {
            "Authorization": f"Bearer {backend.api_key}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }.items():
            late.putheader(name, value)
        late.endheaders(body[:5])
        time.sleep(0.3)  # the server has seen a pending upload and waits for the rest
        client.uploads.complete(upload.id, part_ids=ids)
        late.send(body[5:])
        answer = late.getresponse()
        assert (answer.status, json.load(answer)["error"]["code"]) == (400, "invalid_upload_state")
    finally:
        late.close()


def test_a_part_whose_upload_ends_while_it_comes_is_a_conflict(backend: LocalBackend, client: openai.OpenAI) -> None:
    """The part was welcome when it began; nothing of it stays."""
    upload = begin(client)
    head = b'--x\r\nContent-Disposition: form-data; name="data"; filename="p"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head + b"x" * 2_000_000  # more than is taken at a time
        until(lambda: list((backend.folder / "partial").iterdir()))
        client.uploads.cancel(upload.id)
        yield b"\r\n--x--\r\n"

    place = urllib.parse.urlsplit(backend.base_url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
    headers = {"Authorization": f"Bearer {backend.api_key}", "Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", f"/v1/uploads/{upload.id}/parts", body(), headers, encode_chunked=True)
    response = connection.getresponse()
    error = json.loads(response.read())["error"]
    assert (response.status, error["code"], error["param"]) == (409, "upload_changed", "upload_id")
    assert response.getheader("x-should-retry") == "false"
    assert (blobs(backend), list((backend.folder / "partial").iterdir())) == ([], [])
    connection.close()


def test_an_upload_that_waits_too_long_is_given_up(backend: LocalBackend, client: openai.OpenAI) -> None:
    """After an hour it is expired, and its bytes are gone."""
    upload = begin(client)
    ids = add(client, upload.id, *PARTS)
    change(backend, "UPDATE upload SET expires_at = created_at")
    with pytest.raises(openai.BadRequestError, match="is expired and cannot be completed"):
        client.uploads.complete(upload.id, part_ids=ids)
    assert blobs(backend) == []


def test_a_restart_keeps_the_parts_and_drops_what_has_expired(tmp_path: Path) -> None:
    """Half of the parts before the restart, half after it; another upload's time was over meanwhile."""
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        upload, late = begin(client), begin(client)
        ids = add(client, upload.id, *PARTS[:2])
        add(client, late.id, b"too late")
    change(backend, f"UPDATE upload SET expires_at = created_at WHERE id = '{late.id}'")
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        assert blobs(backend) == sorted(PARTS[:2])
        ids += add(client, upload.id, PARTS[2])
        done = client.uploads.complete(upload.id, part_ids=ids)
        assert done.file is not None
        assert client.files.content(done.file.id).read() == WHOLE


def test_the_files_own_life_begins_when_it_is_whole(client: openai.OpenAI) -> None:
    upload = begin(client, expires_after={"anchor": "created_at", "seconds": 7200})
    done = client.uploads.complete(upload.id, part_ids=add(client, upload.id, *PARTS))
    assert done.file is not None
    assert done.file.expires_at == done.file.created_at + 7200


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"bytes": -1}, "bytes"),
        ({"bytes": 8 * 1024**3 + 1}, "bytes"),
        ({"filename": ""}, "filename"),
        ({"mime_type": ""}, "mime_type"),
        ({"purpose": "fun"}, "purpose"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3599}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
def test_a_wrong_upload_is_refused_by_name(client: openai.OpenAI, options: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        begin(client, **options)
    assert caught.value.param == param


def test_an_upload_of_nothing_is_taken_and_judged_at_its_end(client: openai.OpenAI) -> None:
    """As OpenAI's schema allows; its parts are more than was announced."""
    upload = begin(client, bytes=0)
    part = client.uploads.parts.create(upload.id, data=b"x")
    with pytest.raises(openai.BadRequestError, match="announced with 0"):
        client.uploads.complete(upload.id, part_ids=[part.id])


def test_an_unknown_upload_is_not_found_whatever_is_said_of_it(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.post("/uploads/upload_none/complete", body={"nonsense": True}, cast_to=object)


def test_an_unknown_upload_is_not_found(client: openai.OpenAI) -> None:
    for call in (
        lambda: client.uploads.parts.create("upload_none", data=b"x"),
        lambda: client.uploads.complete("upload_none", part_ids=["x"]),
        lambda: client.uploads.cancel("upload_none"),
    ):
        with pytest.raises(openai.NotFoundError, match="No such Upload object: upload_none"):
            call()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test can reach."""
    monkeypatch.setattr("ragtune.local.handlers.uploads.MAX_PART_BYTES", 1000)
    monkeypatch.setattr("ragtune.local.handlers.uploads.MAX_PARTS", 3)


@pytest.mark.usefixtures("small_parts")
def test_a_part_and_their_number_are_limited(client: openai.OpenAI) -> None:
    """A part beyond 64 MB is refused while it comes, and so is a part too many."""
    upload = begin(client)
    with pytest.raises(openai.APIStatusError) as caught:
        add(client, upload.id, b"x" * 1001)
    assert (caught.value.status_code, caught.value.code) == (413, "file_too_large")
    add(client, upload.id, b"x" * 1000, b"y", b"z")
    with pytest.raises(openai.BadRequestError, match="as many parts as one may"):
        add(client, upload.id, b"w")
