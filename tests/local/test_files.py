"""Files on the wire."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from ragtune.local import LocalBackend


def create(client: openai.OpenAI, name: str, content: bytes = b"{}\n", **options: object) -> str:
    return client.files.create(file=(name, content), purpose="fine-tune", **options).id  # type: ignore[arg-type]


def test_a_file_comes_back_byte_for_byte(client: openai.OpenAI) -> None:
    """What was uploaded is downloaded, whatever bytes it holds."""
    content = bytes(range(256)) * 5000 + b"\r\n--boundary\r\n"
    file = client.files.create(file=("odd \u00e9 \u2028 name.jsonl", content), purpose="fine-tune")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "odd \u00e9 \u2028 name.jsonl", "fine-tune")
    assert client.files.content(file.id).read() == content
    assert client.files.retrieve(file.id) == file
    assert client.files.wait_for_processing(file.id).status == "processed"


def test_a_name_with_quotes_is_kept_as_it_was_given(client: openai.OpenAI) -> None:
    """A form writes them, and line ends, with a percent sign, and no other character."""
    for name in ('the "best" rows.jsonl', "two\r\nlines.jsonl", "100%25.jsonl", "%41.jsonl"):
        assert client.files.retrieve(create(client, name)).filename == name


def test_lists_page_in_both_directions(client: openai.OpenAI) -> None:
    """Newest first by default; `after` is exclusive; pages of two show all five files once."""
    ids = [create(client, f"{number}.jsonl") for number in range(5)]
    assert [file.id for file in client.files.list(limit=2)] == ids[::-1]
    assert [file.id for file in client.files.list(limit=2, order="asc")] == ids
    page = client.files.list(limit=2, after=ids[3])
    assert [file.id for file in page.data] == [ids[2], ids[1]]
    assert page.has_more


def test_a_list_goes_on_past_a_file_that_was_deleted(client: openai.OpenAI) -> None:
    """A program that deletes while it pages does not lose its place."""
    ids = [create(client, f"{number}.jsonl") for number in range(3)]
    client.files.delete(ids[2])
    assert [file.id for file in client.files.list(after=ids[2])] == [ids[1], ids[0]]


def test_purpose_narrows_the_list(client: openai.OpenAI) -> None:
    create(client, "train.jsonl")
    other = client.files.create(file=("eval.jsonl", b"{}"), purpose="evals")
    assert [file.id for file in client.files.list(purpose="evals")] == [other.id]


def test_equal_contents_share_their_bytes_until_the_last_file_is_deleted(
    backend: LocalBackend, client: openai.OpenAI
) -> None:
    """Two uploads of the same rows lie on disk once; deleting one leaves the other whole."""
    first, second = create(client, "a.jsonl", b"same"), create(client, "b.jsonl", b"same")
    assert len(blobs(backend)) == 1
    client.files.delete(first)
    assert client.files.content(second).read() == b"same"
    client.files.delete(second)
    assert blobs(backend) == []


def blobs(backend: LocalBackend) -> list[Path]:
    return [path for path in (backend.folder / "blobs").rglob("*") if path.is_file()]


def test_a_deleted_file_is_gone(client: openai.OpenAI) -> None:
    file_id = create(client, "a.jsonl")
    assert client.files.delete(file_id).deleted
    for call in (client.files.retrieve, client.files.delete, client.files.content):
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {file_id}"):
            call(file_id)


def test_expiry_is_kept_and_obeyed(backend: LocalBackend, client: openai.OpenAI) -> None:
    """A file whose time is over is gone with its bytes."""
    file = client.files.create(
        file=("a.jsonl", b"{}"), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.expires_at == file.created_at + 3600
    with sqlite3.connect(backend.folder / "state.sqlite3") as database:
        database.execute("UPDATE file SET expires_at = created_at - 1")
    database.close()
    assert list(client.files.list()) == []
    assert blobs(backend) == []


def test_files_for_batches_are_kept_a_month_unless_told_otherwise(client: openai.OpenAI) -> None:
    """Also those that come in parts; every other file stays until it is deleted."""
    batch = client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    upload = client.uploads.create(bytes=2, filename="a.jsonl", mime_type="text/jsonl", purpose="batch")
    part = client.uploads.parts.create(upload.id, data=b"{}")
    joined = client.uploads.complete(upload.id, part_ids=[part.id]).file
    for file in (batch, joined):
        assert file is not None
        assert file.expires_at == file.created_at + 30 * 24 * 3600
    assert client.files.retrieve(create(client, "b.jsonl")).expires_at is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"purpose": "fine-tune"}, "file"),
        ({"file": ("a.jsonl", b"{}")}, "purpose"),
        ({"file": ("a.jsonl", b"{}"), "purpose": "fine tune"}, "purpose"),
        ({"file": ("a.jsonl", b""), "purpose": "fine-tune"}, "file"),
        ({"file": ("a.jsonl", b"{}"), "purpose": "fine-tune", "colour": "red"}, "colour"),
        ({"file": ("a.jsonl", b"{}"), "purpose": "fine-tune", "expires_after[anchor]": "now"}, "expires_after[anchor]"),
    ],
)
def test_a_wrong_upload_is_refused_by_name_and_leaves_nothing(
    backend: LocalBackend, client: openai.OpenAI, body: dict[str, object], param: str
) -> None:
    """The envelope names the parameter at fault, and no byte stays on disk."""
    boundary = "xXx"
    data = b""
    for name, value in body.items():
        filename, content = value if isinstance(value, tuple) else (None, str(value).encode())
        extra = f'; filename="{filename}"' if filename else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
        data += head.encode() + content + b"\r\n"
    data += f"--{boundary}--\r\n".encode()
    status, error = send(backend, data, f"multipart/form-data; boundary={boundary}")
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert blobs(backend) == []
    assert list((backend.folder / "partial").iterdir()) == []


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "text/plain; boundary=x", ""])
def test_a_body_that_is_no_form_is_refused(backend: LocalBackend, kind: str) -> None:
    status, error = send(backend, b"{}", kind)
    assert (status, error["code"]) == (415, "unsupported_media_type")


def test_a_form_that_breaks_off_is_refused_and_leaves_nothing(backend: LocalBackend) -> None:
    """A body without its closing boundary is no upload, however many bytes of the file came."""
    data = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"y" * 3_000_000
    status, error = send(backend, data, "multipart/form-data; boundary=x")
    assert (status, error["code"]) == (400, "invalid_multipart")
    assert list((backend.folder / "partial").iterdir()) == []


def test_a_client_that_hangs_up_leaves_nothing(backend: LocalBackend) -> None:
    """The bytes of an upload that was never finished are removed."""
    partial = backend.folder / "partial"
    connection = connect(backend)
    connection.putrequest("POST", "/v1/files")
    connection.putheader("Authorization", f"Bearer {backend.api_key}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", "100000000")
    connection.endheaders()
    connection.send(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"y" * 3_000_000)
    gone = threading.Event()
    for _ in range(200):
        if any(path.stat().st_size for path in partial.iterdir()):
            break
        gone.wait(0.02)
    connection.close()
    for _ in range(200):
        if not list(partial.iterdir()):
            return
        gone.wait(0.02)
    pytest.fail("the partial upload is still there")


def test_a_chunked_body_without_a_length_is_taken(backend: LocalBackend, client: openai.OpenAI) -> None:
    """OpenAI's client for Node sends multipart bodies this way."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n',
        *[b"z" * 70_000 for _ in range(30)],
        b"\r\n--x--\r\n",
    ]

    def body() -> Iterator[bytes]:
        yield from parts

    connection = connect(backend)
    headers = {"Authorization": f"Bearer {backend.api_key}", "Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/v1/files", body=body(), headers=headers, encode_chunked=True)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["bytes"] == 2_100_000
    assert client.files.content(answer["id"]).read() == b"z" * 2_100_000


def connect(backend: LocalBackend) -> http.client.HTTPConnection:
    place = urllib.parse.urlsplit(backend.base_url)
    return http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)


def send(backend: LocalBackend, body: bytes, content_type: str) -> tuple[int, dict[str, str]]:
    connection = connect(backend)
    headers = {"Authorization": f"Bearer {backend.api_key}", "Content-Type": content_type}
    connection.request("POST", "/v1/files", body=body, headers=headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer["error"]
