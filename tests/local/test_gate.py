"""What every request meets: the key, the envelope, the ids, and raw bytes that are no request."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from collections.abc import Callable
from typing import Any

import openai
import pytest

from ragtune.local import LocalBackend
from ragtune.testing import ScriptedBackend

Send = Callable[..., tuple[int, dict[str, str], Any]]


@pytest.fixture
def send(backend: LocalBackend) -> Send:
    """Send a raw request; gives status, headers and the decoded body."""
    place = urllib.parse.urlsplit(backend.base_url)

    def send(
        method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
        default = {"Authorization": f"Bearer {backend.api_key}", "Content-Type": "application/json"}
        connection.request(method, path, body=body, headers=default if headers is None else headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        found = {name.lower(): value for name, value in response.getheaders()}
        connection.close()
        return response.status, found, answer

    return send


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer \u00e9\u00e9\u00e9"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/"])
def test_nobody_comes_in_without_the_key(send: Send, headers: dict[str, str], path: str) -> None:
    """Not even to learn which routes there are."""
    status, found, body = send("GET", path, headers=headers)
    assert (status, body["error"]["code"], body["error"]["type"]) == (401, "invalid_api_key", "invalid_request_error")
    assert found["www-authenticate"] == "Bearer"


def test_a_body_that_is_too_deep_to_be_repeated_is_refused() -> None:
    """A response says its tools again, a few levels deeper than they came."""
    deep = b'{"items":' * 1_010 + b"{}" + b"}" * 1_010
    tool = b'{"type":"function","name":"f","parameters":' + deep + b"}"
    body = b'{"model":"tiny-random","input":"Hi","tools":[' + tool + b"]}"
    with ScriptedBackend() as backend:
        place = urllib.parse.urlsplit(backend.base_url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
        headers = {"Authorization": f"Bearer {backend.api_key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/responses", body=body, headers=headers)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["error"]["code"]) == (400, "invalid_json")
        connection.close()


def test_a_wrong_key_is_the_clients_authentication_error(backend: LocalBackend) -> None:
    told = pytest.raises(openai.AuthenticationError, match=r"api_key\.txt in its folder")
    with backend.client(api_key="wrong", max_retries=0) as client, told:
        client.models.list()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/"),
        ("GET", "/v1/files/"),
        ("POST", "/v1/fine_tuning/alpha/graders/run"),
        ("GET", "/v1/../etc/passwd"),
        ("GET", "/v1/files/..%2f..%2faccount.json/content"),
    ],
)
def test_an_unknown_route_names_itself(send: Send, method: str, path: str) -> None:
    status, _, body = send(method, path)
    assert status == 404
    assert set(body["error"]) == {"message", "type", "param", "code"}
    if "files" not in path:
        assert f"({method} {path})" in body["error"]["message"]


@pytest.mark.parametrize("path", ["/models", "/fine_tuning/jobs", "/fine_tuning/jobs?limit=100&metadata%5Bk%5D=v"])
def test_a_base_url_without_v1_is_told_the_right_one(backend: LocalBackend, send: Send, path: str) -> None:
    assert send("GET", path)[2]["error"]["message"].endswith(f"set the client's base_url to {backend.base_url}")
    assert "base_url" not in send("GET", "/v1/nothing")[2]["error"]["message"]


def test_a_wrong_method_is_told(send: Send) -> None:
    status, _, body = send("DELETE", "/v1/models")
    assert (status, body["error"]["code"]) == (405, "method_not_allowed")


def test_every_answer_tells_whose_it_is_and_how_long_it_took(send: Send, backend: LocalBackend) -> None:
    """The headers that clients log: good answers and bad ones carry them."""
    for path in ("/v1/models", "/v1/nothing"):
        _, found, _ = send("GET", path)
        assert found["openai-organization"] == backend.account
        assert found["openai-processing-ms"].isdigit()
        assert found["openai-version"] == "2020-10-01"
        assert found["x-content-type-options"] == "nosniff"


def test_every_answer_has_an_id_of_its_own(send: Send) -> None:
    """Good and bad ones; the client shows it as `request_id`."""
    ids = {send("GET", path)[1]["x-request-id"] for path in ("/v1/models", "/v1/nothing", "/v1/files/file-none")}
    assert len(ids) == 3
    assert all(request_id.startswith("req_") for request_id in ids)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"x"', "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"model": "\\ud800"}', "invalid_json"),
        (b'{"model": NaN}', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b"{}", "missing_required_parameter"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/fine_tuning/jobs", "/v1/chat/completions", "/v1/completions"])
def test_a_body_that_is_no_request_is_refused(send: Send, path: str, body: bytes, code: str) -> None:
    status, _, answer = send("POST", path, body)
    assert (status, answer["error"]["code"]) == (400, code)


def test_a_body_that_is_too_large_is_refused(send: Send) -> None:
    status, _, answer = send("POST", "/v1/completions", b'{"prompt": "' + b"x" * (33 * 2**20))
    assert (status, answer["error"]["code"]) == (413, "request_too_large")


FLOODS = {
    "fields": (b'"messages": [{"role": "user", "content": "x"}]', b'"k%d": 1', None),
    "metadata": (b'"messages": [{"role": "user", "content": "x"}], "metadata": {', b'"k%d": 1', "metadata"),
    "biases": (b'"messages": [{"role": "user", "content": "x"}], "logit_bias": {', b'"k%d": 1', "logit_bias"),
    "messages": (b'"messages": [', b'{"k%d": 1}', "messages"),
    "fields of a message": (b'"messages": [{', b'"k%d": 1', "messages.[0]"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_fields_holds_up_nobody(send: Send, kind: str) -> None:
    """400,000 things that are wrong in one body: the refusal is about the flood, not about each of them."""
    begin, one, param = FLOODS[kind]
    closing = {b"{": b"}", b"[": b"]", b"[{": b"}]"}
    opened = begin[-2:].strip() if begin.endswith(b"[{") else begin[-1:]
    items = b", ".join(one % number for number in range(400_000))
    comma = b", " if opened not in closing else b""
    body = b'{"model": "tiny-random", ' + begin + comma + items + closing.get(opened, b"") + b"}"
    status, _, answer = send("POST", "/v1/chat/completions", body)
    assert status == 400
    assert (answer["error"]["param"] or "").startswith(param or "")
    assert len(answer["error"]["message"]) < 300


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=-1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("after=nothing", "after"),
        ("order=up", "order"),
        ("colour=red", "colour"),
    ],
)
def test_a_wrong_query_is_refused_by_name(send: Send, query: str, param: str) -> None:
    status, _, body = send("GET", f"/v1/files?{query}")
    assert (status, body["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        bytes(range(256)) * 4,
    ],
)
def test_raw_garbage_does_not_hurt(backend: LocalBackend, client: openai.OpenAI, raw: bytes) -> None:
    """What is no HTTP is turned away, and the next client is served."""
    place = urllib.parse.urlsplit(backend.base_url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=5) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
        except OSError:
            # The server may hang up in the middle of the garbage.
            answer = b""
    assert not answer or answer.split(b" ")[1] in (b"400", b"401", b"431")
    assert client.models.list().data


def test_a_header_cannot_be_smuggled_in_through_a_name(client: openai.OpenAI) -> None:
    """Line breaks in ids come back as data, never as header lines."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("x\r\nSet-Cookie: a=b")
    assert "set-cookie" not in caught.value.response.headers
