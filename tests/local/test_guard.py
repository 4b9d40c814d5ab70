"""Strangers and slow clients: raw sockets against the server's deadlines, caps and name check."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE

import openai
import pytest

from ragtune.local import LocalBackend, app, services
from ragtune.local.http import limits, protocol
from ragtune.local.lifespan.embedded_server import EmbeddedServer
from ragtune.testing import ScriptedBackend
from tests.local.kit import trainer, upload

FORM = b"multipart/form-data; boundary=x"
BEGIN = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@contextmanager
def connection(backend: EmbeddedServer) -> Iterator[socket.socket]:
    place = urllib.parse.urlsplit(backend.base_url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=30) as made:
        yield made


def head(backend: EmbeddedServer, line: str = "GET /v1/models", host: str = "localhost", **headers: object) -> bytes:
    given = {"host": host, "authorization": f"Bearer {backend.api_key}", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join([f"{line} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer to the end of what the server sends."""
    data = b""
    while True:
        try:
            piece = sock.recv(65536)
        except ConnectionResetError:
            piece = b""
        data += piece
        top, found, body = data.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in top.decode("latin-1").split("\r\n")[1:]) if found else {}
        if not piece or (found and len(body) >= int(headers.get("content-length", 1 << 40))):
            return (int(top.split(b" ")[1]) if top else 0), headers, body


def ask(backend: EmbeddedServer, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    with connection(backend) as sock:
        sock.sendall(raw)
        return answer(sock)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:80", "LOCALHOST.", "[::1]:8000"])
def test_this_machines_own_names_are_served(backend: LocalBackend, host: str) -> None:
    assert ask(backend, head(backend, host=host))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "0.0.0.0", "["]
)
def test_another_name_that_points_here_is_refused(backend: LocalBackend, host: str) -> None:
    """A page in a browser reaches this machine under a name of its own; the key would not help it either."""
    status, headers, body = ask(backend, head(backend, host=host))
    assert (status, json.loads(body)["error"]["code"]) == (403, "host_not_allowed")
    assert headers["x-request-id"].startswith("req_")


def test_a_server_for_other_machines_goes_by_any_name(tmp_path: Path) -> None:
    with LocalBackend(tmp_path, host="127.0.0.2", key="a-key-of-my-own-1", trainer=trainer()) as backend:
        assert ask(backend, head(backend, host="tuning.example"))[0] == 200


def test_no_page_of_another_site_may_read_or_send(backend: LocalBackend) -> None:
    """No answer carries a CORS header, and the question before a request with a key is answered no."""
    origin = {"origin": "https://evil.example", "access_control_request_method": "POST"}
    for line in ("OPTIONS /v1/fine_tuning/jobs", "GET /v1/models"):
        status, headers, _ = ask(backend, head(backend, line, **origin))
        assert not [name for name in headers if name.startswith("access-control")]
        assert status == (405 if line.startswith("OPTIONS") else 200)
        assert headers["x-content-type-options"] == "nosniff"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.4)
    monkeypatch.setattr(limits, "BODY_GRACE_S", 0.4)


@pytest.mark.usefixtures("hurried")
def test_a_head_that_drips_in_is_given_up(backend: LocalBackend, client: openai.OpenAI) -> None:
    """Slowloris: a byte now and then gains no time; the answer is 408 in the envelope."""
    with connection(backend) as sock:
        begin = time.monotonic()
        sock.sendall(b"GET /v1/models HTTP/1.1\r\n")
        sock.settimeout(0.05)
        while time.monotonic() - begin < 30:
            try:
                sock.sendall(b"x")
                if sock.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        assert time.monotonic() - begin < 20
        sock.settimeout(5)
        status, headers, body = answer(sock)
    assert (status, json.loads(body)["error"]["code"]) == (408, "timeout")
    assert headers["x-request-id"].startswith("req_")
    assert client.models.list().data


@pytest.mark.usefixtures("hurried")
def test_a_connection_that_says_nothing_is_closed(backend: LocalBackend) -> None:
    with connection(backend) as sock:
        assert sock.recv(10) == b""


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("line", ["POST /v1/files", "POST /v1/completions"])
def test_a_body_that_drips_in_is_given_up(backend: LocalBackend, line: str) -> None:
    """A form and a JSON body, both of a million bytes that never come; nothing stays on disk."""
    kind = FORM.decode() if "files" in line else "application/json"
    with connection(backend) as sock:
        sock.sendall(head(backend, line, content_type=kind, content_length=1_000_000) + BEGIN)
        status, _, body = answer(sock)
        assert (status, json.loads(body)["error"]["code"]) == (408, "timeout")
        assert sock.recv(10) == b"", "the connection is closed"
    assert list((backend.folder / "partial").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
def test_a_slow_body_that_keeps_its_pace_is_taken(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 kB in a second, where a body may take 0.4 s and 0.1 s for each 2 kB."""
    monkeypatch.setattr(limits, "BODY_BYTES_PER_S", 20_000)
    end = b'\r\n--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--x--\r\n'
    with connection(backend) as sock:
        length = len(BEGIN) + 20_000 + len(end)
        sock.sendall(head(backend, "POST /v1/files", content_type=FORM.decode(), content_length=length) + BEGIN)
        for _ in range(10):
            sock.sendall(b"y" * 2000)
            time.sleep(0.1)
        sock.sendall(end)
        assert answer(sock)[0] == 200


@pytest.mark.usefixtures("hurried")
def test_a_client_that_was_refused_and_goes_on_sending_is_cut_off(backend: LocalBackend) -> None:
    """No key, and a body without end: the answer comes at once, the end soon after."""
    with connection(backend) as sock:
        sock.sendall(b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begin < 30:
                sock.sendall(b"4\r\nbody\r\n")
                time.sleep(0.01)
    assert time.monotonic() - begin < 20


@pytest.mark.slow
def test_a_client_that_reads_nothing_is_cut_off(
    backend: LocalBackend, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download of 30 MB whose first byte is never read ends on the server's side."""
    monkeypatch.setattr(protocol, "STALL_S", 0.4)
    file = client.files.create(file=("a", b"z" * 30_000_000), purpose="fine-tune")
    with connection(backend) as sock:
        sock.sendall(head(backend, f"GET /v1/files/{file.id}/content"))
        time.sleep(1.5)
        read = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(1 << 20):
                read += len(piece)
    assert read < 30_000_000


def test_connections_beyond_the_cap_are_told_to_come_back(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are held open; the third hears 503, may retry, and is served when one has left."""
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 2)
    with ExitStack() as held:
        first = held.enter_context(connection(backend))
        held.enter_context(connection(backend))
        time.sleep(0.1)
        status, headers, body = ask(backend, head(backend))
        assert (status, json.loads(body)["error"]["code"]) == (503, "server_is_overloaded")
        assert (headers["x-should-retry"], headers["retry-after"]) == ("true", "1")
        first.close()
        time.sleep(0.1)
        assert ask(backend, head(backend))[0] == 200


def test_an_upload_beyond_the_cap_is_answered_when_it_is_through(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is closed on bytes that nobody read is reset, and the answer is lost with it."""
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 1)
    request = head(backend, "POST /v1/files", content_type=FORM.decode(), content_length=len(BEGIN))
    with connection(backend), connection(backend) as sender:
        sender.sendall(request)
        sender.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sender.recv(1)
        sender.settimeout(30)
        sender.sendall(BEGIN)
        assert answer(sender)[0] == 503


@pytest.mark.slow
def test_uploads_beyond_the_places_wait_their_turn_and_are_then_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen forms are half sent; of two more one is taken when there is room, the other has waited long enough."""
    monkeypatch.setattr(services, "_UPLOAD_WAIT_S", 1.0)
    whole = BEGIN + b'y\r\n--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nevals\r\n--x--\r\n'
    with ExitStack() as held:
        backend = held.enter_context(ScriptedBackend(tmp_path / "backend"))
        request = head(backend, "POST /v1/files", content_type=FORM.decode(), content_length=len(whole))
        senders = [held.enter_context(connection(backend)) for _ in range(16)]
        for sender in senders:
            sender.sendall(request + whole[:20])
        time.sleep(0.3)
        waiting = [held.enter_context(connection(backend)) for _ in range(2)]
        for sender in waiting:
            sender.sendall(request + whole)
            time.sleep(0.1)
        senders[0].sendall(whole[20:])
        assert answer(senders[0])[0] == answer(waiting[0])[0] == answer(waiting[1])[0] == 200
        senders[0].sendall(request + whole[:20])  # all places are taken again
        time.sleep(0.3)
        status, headers, _ = ask(backend, request + whole)
        assert (status, headers["x-should-retry"], headers["retry-after"]) == (503, "true", "1")


def test_many_small_bodies_that_are_half_sent_keep_nobody_waiting(backend: LocalBackend) -> None:
    with ExitStack() as held:
        for _ in range(100):
            sender = held.enter_context(connection(backend))
            sender.sendall(head(backend, "POST /v1/uploads", content_length=100) + b"{")
        time.sleep(0.3)
        assert ask(backend, head(backend, "POST /v1/uploads", content_length=2) + b"{}")[0] == 400


CROWDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (300, int(sys.argv[2])))
from ragtune.testing import ScriptedBackend
with ScriptedBackend(sys.argv[1]) as backend:
    print(backend.base_url, backend.api_key, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limit")
@pytest.mark.parametrize(("most", "served"), [(300, 75), (4_096, 400)])
def test_a_crowd_of_connections_leaves_the_server_the_files_that_it_needs(
    tmp_path: Path, most: int, served: int
) -> None:
    """400 connections, while the system allows 300 open files: more are asked for, and where there are no more, those
    who were first are served and the others told to come back or cut off."""
    program = [sys.executable, "-c", CROWDED, str(tmp_path / "backend"), str(most)]
    with ExitStack() as held:
        process = held.enter_context(subprocess.Popen(program, stdin=PIPE, stdout=PIPE, text=True))
        held.callback(process.kill)
        assert process.stdout is not None
        base_url, key = process.stdout.readline().split()
        client = held.enter_context(openai.OpenAI(base_url=base_url, api_key=key, max_retries=0))
        first = upload(client)
        place = urllib.parse.urlsplit(base_url)
        line = f"GET /v1/files/{first} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n".encode()
        crowd = [
            held.enter_context(socket.create_connection((place.hostname or "", place.port or 0))) for _ in range(399)
        ]
        assert [upload(client) for _ in range(3)]
        statuses = Counter(said(sock, line) for sock in crowd)
    assert statuses[200] == served - 1  # one connection is the client's
    assert set(statuses) <= {200, 503, 0}


def said(sock: socket.socket, line: bytes) -> int:
    """The status of an answer, 0 where the connection was cut off."""
    try:
        sock.sendall(line)
    except OSError:
        return 0
    return answer(sock)[0]


@pytest.mark.slow
def test_large_bodies_beyond_the_places_wait_a_moment_and_are_then_told_to_come_back(backend: LocalBackend) -> None:
    request = head(backend, "POST /v1/uploads", content_length=100_000)
    with ExitStack() as held:
        senders = [held.enter_context(connection(backend)) for _ in range(64)]
        for sender in senders:
            sender.sendall(request + b" " * 99_999)
        time.sleep(0.5)
        assert ask(backend, request + b" " * 100_000)[0] == 503
        waits = held.enter_context(connection(backend))
        waits.sendall(request + b" " * 100_000)
        time.sleep(0.3)
        senders[0].sendall(b" ")
        assert answer(waits)[0] == 400  # no JSON, but it was read


@pytest.mark.parametrize("size", [20_000, 200_000, 1_000_000])
def test_huge_headers_are_refused(backend: LocalBackend, client: openai.OpenAI, size: int) -> None:
    """In one header or in many."""
    for headers in ({"x": "y" * size}, {f"x{number}": "y" * 50 for number in range(size // 50)}):
        status, _, body = ask(backend, head(backend, **headers))
        assert status in (200, 400, 431, 0)
        assert status != 200 or size <= limits.MAX_HEAD_BYTES
        assert not body or "error" in json.loads(body) or status == 200
    assert client.models.list().data


def test_what_is_no_http_is_answered_in_the_envelope(backend: LocalBackend) -> None:
    status, headers, body = ask(backend, b"GARBAGE\r\n\r\n")
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_http")
    assert headers["x-request-id"].startswith("req_")


def test_a_body_that_breaks_its_framing_is_refused(backend: LocalBackend, client: openai.OpenAI) -> None:
    """A chunk without a length in the middle of an upload: 400, and no partial file."""
    with connection(backend) as sock:
        sock.sendall(head(backend, "POST /v1/files", content_type=FORM.decode(), transfer_encoding="chunked"))
        sock.sendall(f"{len(BEGIN):x}\r\n".encode() + BEGIN + b"\r\nzz\r\n")
        assert answer(sock)[0] == 400
    for _ in range(100):
        if not list((backend.folder / "partial").iterdir()):
            break
        time.sleep(0.02)
    else:
        pytest.fail("the partial upload is still there")
    assert client.models.list().data


def test_every_route_refuses_what_it_does_not_know_before_it_looks_for_anything() -> None:
    """A misspelt `limit` must not be passed over, nor be told as a job that is not there."""
    with ScriptedBackend() as backend:
        for method, path in [
            (method, re.sub(r"\{[^}]*\}", "x", route.path))
            for route in app._ROUTES
            for method in (route.methods or set()) - {"HEAD"}
        ]:
            code, _, body = ask(backend, head(backend, f"{method} {path}?limitt=1", content_length=0))
            message = json.loads(body)["error"]["message"]
            assert (code, "'limitt'" in message) == (400, True), (method, path, message)
