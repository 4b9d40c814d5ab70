"""Webhooks: real signatures, real deliveries over loopback, each handled once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import openai
import pytest
import uvicorn

import ragtune as rt
from examples.webhooks import application
from ragtune.testing import ScriptedBackend
from ragtune.webhooks import JobEnded, Webhooks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = b"a secret of thirty-two bytes, ok"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def body(kind: str = "fine_tuning.job.succeeded", **data: Any) -> bytes:
    data = data or {"id": "ftjob-1"}
    return json.dumps(
        {"id": "evt_1", "object": "event", "created_at": 1_800_000_000, "type": kind, "data": data}
    ).encode()


def signed(payload: bytes, *, id: str = "wh_1", age_s: float = 0, key: bytes = KEY) -> dict[str, str]:
    """The headers that the Standard Webhooks scheme asks for."""
    stamp = str(int(time.time() - age_s))
    mac = hmac.new(key, f"{id}.{stamp}.".encode() + payload, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(mac).decode()
    return {"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": f"v1,old {signature}"}


@pytest.fixture
def anyone() -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test", webhook_secret=SECRET)


def received(webhooks: Webhooks, payload: bytes, headers: dict[str, str]) -> JobEnded | None:
    with webhooks.delivery(payload, headers) as event:
        return event


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "paused"])
def test_an_event_names_the_job_and_how_it_ended(anyone: openai.OpenAI, status: str) -> None:
    """A status that nobody knows yet passes through; so do header names as other frameworks write them."""
    payload = body(f"fine_tuning.job.{status}")
    headers = {name.title(): value for name, value in signed(payload).items()}
    event = received(Webhooks(anyone), payload, headers)
    assert event is not None
    assert (event.id, event.job_id, event.status) == ("wh_1", "ftjob-1", status)
    assert event.created_at is not None
    assert event.created_at.timestamp() == 1_800_000_000


def test_the_asynchronous_client_verifies_too() -> None:
    client = openai.AsyncOpenAI(api_key="sk-test", webhook_secret=SECRET)
    assert received(Webhooks(client), body(), signed(body())) is not None


@pytest.mark.parametrize("kind", ["batch.completed", "response.completed", "fine_tuning.job.succeeded", ""])
def test_what_tells_of_no_job_is_left_alone(anyone: openai.OpenAI, kind: str) -> None:
    payload = body(kind, other=1)
    assert received(Webhooks(anyone), payload, signed(payload)) is None
    assert received(Webhooks(anyone), b"[1]", signed(b"[1]", id="wh_2")) is None


# Signed when a test runs: minutes after this file was read the times would mean something else.
FORGED: dict[str, tuple[bytes, Callable[[], dict[str, str]]]] = {
    "wrong key": (body(), lambda: signed(body(), key=b"another key")),
    "changed body": (body(id="ftjob-2"), lambda: signed(body())),
    "too old": (body(), lambda: signed(body(), age_s=400)),
    "from the future": (body(), lambda: signed(body(), age_s=-400)),
    "no headers": (body(), dict),
    "not ASCII": (body(), lambda: signed(body()) | {"webhook-signature": "v1,\u00fc"}),
    "no time": (body(), lambda: signed(body()) | {"webhook-timestamp": "now"}),
    "no text": (b"\xff\xfe", lambda: signed(b"\xff\xfe")),
    "no JSON": (b"{", lambda: signed(b"{")),
}


@pytest.mark.parametrize("forged", FORGED)
def test_what_is_not_from_openai_is_refused(anyone: openai.OpenAI, forged: str) -> None:
    payload, headers = FORGED[forged]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        received(Webhooks(anyone), payload, headers())


def test_a_stricter_tolerance_holds(anyone: openai.OpenAI) -> None:
    headers = signed(body(), age_s=60)
    with pytest.raises(openai.InvalidWebhookSignatureError, match="too old"):
        received(Webhooks(anyone, tolerance_s=30), body(), headers)
    assert received(Webhooks(anyone), body(), headers) is not None
    with pytest.raises(ValueError, match="from 1 to 300"):
        Webhooks(anyone, tolerance_s=301)


def test_without_a_secret_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_WEBHOOK_SECRET", raising=False)
    with pytest.raises(rt.MissingKey, match="OPENAI_WEBHOOK_SECRET"):
        Webhooks(openai.OpenAI(api_key="sk-test"))


def test_a_repeated_delivery_is_handed_out_once(anyone: openai.OpenAI) -> None:
    """Repetitions carry the same id and a new time."""
    webhooks = Webhooks(anyone)
    events = [received(webhooks, body(), signed(body(), age_s=age)) for age in (9, 5, 0)]
    assert [event is None for event in events] == [False, True, True]
    assert received(webhooks, body(), signed(body(), id="wh_2")) is not None


def test_a_delivery_that_was_not_handled_comes_again(anyone: openai.OpenAI) -> None:
    webhooks = Webhooks(anyone)
    with pytest.raises(ZeroDivisionError), webhooks.delivery(body(), signed(body())):
        _ = 1 / 0
    assert received(webhooks, body(), signed(body())) is not None


def test_a_delivery_that_is_being_handled_is_put_off(anyone: openai.OpenAI) -> None:
    """Saying 2xx to the second would lose the event if the first fails; a holder that died does not hold for ever."""
    seconds = 0.0
    webhooks = Webhooks(anyone, now=lambda: seconds)
    with webhooks.delivery(body(), signed(body())) as event:
        assert event is not None
        with pytest.raises(rt.RagtuneError, match="being handled right now"):
            received(webhooks, body(), signed(body()))
        seconds = 601
        assert received(webhooks, body(), signed(body())) is not None


def test_a_restart_remembers_and_old_deliveries_are_forgotten(anyone: openai.OpenAI, tmp_path: Path) -> None:
    seconds = 0.0
    path = tmp_path / "state" / "seen.sqlite3"
    for expected in (True, False):
        webhooks = Webhooks(anyone, path=path, now=lambda: seconds)
        assert (received(webhooks, body(), signed(body())) is not None) is expected
        webhooks.close()
    seconds = 97 * 3600
    webhooks = Webhooks(anyone, path=path, now=lambda: seconds)
    received(webhooks, body(), signed(body(), id="wh_2"))
    assert [row["id"] for row in webhooks._seen.rows("SELECT id FROM delivery")] == ["wh_2"]
    webhooks.close()


def test_memory_is_bounded(anyone: openai.OpenAI) -> None:
    """The last 10,000 are remembered, the one that was handled just now among them."""
    webhooks = Webhooks(anyone)
    with webhooks._seen.transaction() as connection:
        rows = ((f"old_{n}", time.time(), 1) for n in range(10_500))
        connection.executemany("INSERT INTO delivery VALUES (?, ?, ?)", rows)
    assert received(webhooks, body(), signed(body())) is not None
    assert received(webhooks, body(), signed(body())) is None
    assert len(webhooks._seen.rows("SELECT id FROM delivery")) == 10_000


@pytest.fixture
def endpoint(client: openai.OpenAI, tmp_path: Path) -> Iterator[tuple[str, list[rt.FineTuneJob], list[Exception]]]:
    """The example's application, served; with the jobs it was told of, and errors that it shall run into."""
    told: list[rt.FineTuneJob] = []
    troubles: list[Exception] = []

    def ended(job: rt.FineTuneJob) -> None:
        if troubles:
            raise troubles.pop()
        told.append(job)

    app = application(client.with_options(webhook_secret=SECRET), ended, str(tmp_path / "seen.sqlite3"))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/webhooks", told, troubles
    server.should_exit = True
    thread.join()


def delivered(url: str, payload: bytes, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, payload, headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code


def test_the_example_hears_of_each_job_once(stub: Any, wire: Any, endpoint: Any) -> None:
    """Forged, in trouble, delivered, delivered again: over loopback, with real signatures."""
    url, told, troubles = endpoint
    stub.on("GET", "/fine_tuning/jobs/ftjob-1", wire.job(status="succeeded", fine_tuned_model="ft:base:o::1"))
    assert delivered(url, body(), signed(body(), key=b"another key")) == 400
    assert stub.requests == []
    troubles.append(OSError("disk full"))
    assert delivered(url, body(), signed(body())) == 503
    assert delivered(url, body(), signed(body())) == 204
    assert delivered(url, body(), signed(body())) == 204
    assert [(job.id, job.details.fine_tuned_model) for job in told] == [("ftjob-1", "ft:base:o::1")]


def test_the_embedded_backend_and_the_receiver_understand_each_other(
    anyone: openai.OpenAI, dataset: rt.Dataset
) -> None:
    """A job that ends on one side is told on the other, over loopback, by the backend's own sender."""
    heard: queue.Queue[JobEnded | None] = queue.Queue()
    webhooks = Webhooks(anyone, secret=SECRET)

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = self.rfile.read(int(self.headers["content-length"]))
            with webhooks.delivery(payload, self.headers) as event:  # type: ignore[arg-type]
                heard.put(event)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True).start()
        backend = ScriptedBackend(webhook=f"http://127.0.0.1:{receiver.server_port}/webhooks")
        webhooks._secret = backend.webhook_secret
        with backend, backend.client() as client:
            job = rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model="tiny-random"), journal=None)
            rt.JobMonitor(job).wait()
            event = heard.get(timeout=20)
            assert event is not None
            assert (event.job_id, event.status) == (job.id, "succeeded")
            assert rt.FineTuneJob.get(client, event.job_id, journal=None).details.fine_tuned_model is not None
        receiver.shutdown()
