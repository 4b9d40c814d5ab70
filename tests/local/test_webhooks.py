"""Webhooks: a real receiver on loopback, which checks every signature with the official client."""

from __future__ import annotations

import base64
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.errors import BackendError
from ragtune.local import LocalBackend, webhook_sender
from tests.local.kit import create, rows, trainer, until, upload, wait_for

SIGN = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1").webhooks


@dataclass
class Receiver:
    """What came in, and what the next messages are answered with (a status, or None to hang up)."""

    url: str
    messages: queue.Queue[tuple[bytes, dict[str, str]]] = field(default_factory=queue.Queue)
    answers: list[int | None] = field(default_factory=list)

    def next(self, timeout_s: float = 20.0) -> tuple[bytes, dict[str, str]]:
        return self.messages.get(timeout=timeout_s)


@contextmanager
def receiving(*answers: int | None, port: int = 0) -> Iterator[Receiver]:
    """A receiver on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.messages.put((body, {"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}))
            status = receiver.answers.pop(0) if receiver.answers else 204
            if status is None:
                return
            self.send_response(status)
            if status == 302:
                self.send_header("Location", receiver.url + "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook?from=ragtune", answers=list(answers))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once, so that a test need not wait."""
    monkeypatch.setattr(webhook_sender, "FIRST_WAIT_S", 0.01)


@pytest.mark.slow
def test_the_three_ends_of_a_job_are_told_and_signed(tmp_path: Path) -> None:
    """Succeeded, failed, cancelled: `webhooks.unwrap` accepts each and gives the typed event."""
    with (
        receiving() as receiver,
        LocalBackend(tmp_path, trainer=trainer(), webhook=receiver.url) as backend,
        backend.client() as client,
    ):
        told: dict[str, tuple[str, Any]] = {}
        succeeded = create(client).id
        failed = create(client, training_file=upload(client, rows(3))).id
        wait_for(client, succeeded)
        wait_for(client, failed)
        paused = create(client).id
        client.fine_tuning.jobs.pause(paused)
        client.fine_tuning.jobs.cancel(paused)
        for _ in range(3):
            body, headers = receiver.next()
            event: Any = SIGN.unwrap(body, headers, secret=backend.webhook_secret)
            assert headers["webhook-id"].startswith("wh_")
            assert headers["path"] == "/hook?from=ragtune"
            told[event.data.id] = (event.type, event)
    assert {job: kind for job, (kind, _) in told.items()} == {
        succeeded: "fine_tuning.job.succeeded",
        failed: "fine_tuning.job.failed",
        paused: "fine_tuning.job.cancelled",
    }
    assert type(told[succeeded][1]).__name__ == "FineTuningJobSucceededWebhookEvent"
    assert receiver.messages.empty()


def test_user_and_password_of_the_address_are_sent(tmp_path: Path) -> None:
    """As HTTP basic authentication, percent signs decoded; the message is signed all the same."""
    with receiving() as receiver:
        url = receiver.url.replace("http://", "http://bob:s%40cret@")
        with LocalBackend(tmp_path, trainer=trainer(), webhook=url) as backend, backend.client() as client:
            client.fine_tuning.jobs.cancel(create(client).id)
            body, headers = receiver.next()
            SIGN.unwrap(body, headers, secret=backend.webhook_secret)
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"bob:s@cret"


def test_an_address_that_is_refused_does_not_show_its_password() -> None:
    """The message may end up in a log."""
    with pytest.raises(BackendError, match="is no http") as told:
        webhook_sender.check_url("ftp://bob:secret@host/hook")
    assert "secret" not in str(told.value)


def test_a_message_that_was_tampered_with_is_not_accepted(tmp_path: Path) -> None:
    """Another body, another time or another secret do not fit the signature."""
    backend = LocalBackend(tmp_path)
    secret, other = backend.webhook_secret, LocalBackend(tmp_path / "other").webhook_secret
    now = int(time.time())
    signature = webhook_sender.sign(secret, message_id="wh_1", timestamp=now, body=b"{}")
    headers = {"webhook-id": "wh_1", "webhook-timestamp": str(now), "webhook-signature": signature}
    SIGN.verify_signature(b"{}", headers, secret=secret)
    for body, changed, used in (
        (b"{ }", headers, secret),
        (b"{}", {**headers, "webhook-timestamp": str(now + 1)}, secret),
        (b"{}", {**headers, "webhook-id": "wh_2"}, secret),
        (b"{}", headers, other),
    ):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            SIGN.verify_signature(body, changed, secret=used)


@pytest.mark.slow
def test_what_is_not_taken_is_sent_again_with_the_same_id(tmp_path: Path) -> None:
    """500, a redirect, a hang-up and 204: four attempts, one `webhook-id`; the redirect is not followed."""
    with (
        receiving(500, 302, None) as receiver,
        LocalBackend(tmp_path, trainer=trainer(), webhook=receiver.url) as backend,
        backend.client() as client,
    ):
        wait_for(client, create(client).id)
        came = [receiver.next() for _ in range(4)]
        assert len({headers["webhook-id"] for _, headers in came}) == 1
        assert {headers["path"] for _, headers in came} == {"/hook?from=ragtune"}
        assert len({body for body, _ in came}) == 1
        for body, headers in came:
            SIGN.unwrap(body, headers, secret=backend.webhook_secret)
        with pytest.raises(queue.Empty):
            receiver.next(0.3)


@pytest.mark.slow
def test_a_restart_sends_what_was_not_taken(tmp_path: Path) -> None:
    """The receiver was away while the job ended; it is told after the next start, with the same secret."""
    with receiving() as receiver:
        away = receiver.url
    port = int(away.split(":")[2].split("/")[0])
    with LocalBackend(tmp_path, trainer=trainer(), webhook=away) as backend, backend.client() as client:
        secret = backend.webhook_secret
        job = create(client).id
        wait_for(client, job)
    with (
        receiving(port=port) as receiver,
        LocalBackend(tmp_path, trainer=trainer(), webhook=receiver.url) as backend,
    ):
        event: Any = SIGN.unwrap(*receiver.next(), secret=secret)
        assert (event.type, event.data.id) == ("fine_tuning.job.succeeded", job)
        assert backend.webhook_secret == secret


@pytest.mark.slow
def test_a_receiver_that_hangs_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are answered and the backend stops in order while a message is on its way."""
    monkeypatch.setattr(webhook_sender, "TIMEOUT_S", 90)
    release = threading.Event()

    class Hanging(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hanging.set()
            release.wait(90)

        def log_message(self, *_: object) -> None:
            pass

    hanging = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hanging) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        try:
            with LocalBackend(tmp_path, trainer=trainer(), webhook=url) as backend, backend.client() as client:
                wait_for(client, create(client).id)
                assert hanging.wait(10)
                begin = time.monotonic()
                assert client.models.list().data
                assert wait_for(client, create(client).id).status == "succeeded"
                assert time.monotonic() - begin < 40
                begin = time.monotonic()
            assert time.monotonic() - begin < 20
        finally:
            release.set()
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_after_three_days_an_event_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook_sender, "GIVE_UP_S", -1)
    with (
        receiving(500) as receiver,
        LocalBackend(tmp_path, trainer=trainer(), webhook=receiver.url) as backend,
        backend.client() as client,
    ):
        job = create(client).id
        receiver.next()
        until(lambda: f"for {job} was not taken in three days: answered 500" in caplog.text)
        with pytest.raises(queue.Empty):
            receiver.next(0.3)


@pytest.mark.slow
def test_without_a_webhook_nothing_is_collected(tmp_path: Path) -> None:
    """A webhook that is set later hears of later jobs only."""
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        wait_for(client, create(client).id)
    with (
        receiving() as receiver,
        LocalBackend(tmp_path, trainer=trainer(), webhook=receiver.url) as backend,
        backend.client() as client,
    ):
        job = create(client).id
        wait_for(client, job)
        event: Any = SIGN.unwrap(*receiver.next(), secret=backend.webhook_secret)
        assert event.data.id == job
        assert receiver.messages.empty()


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://", "http:///x", "http://x y", "http://x\r\nA: b", "http://[x", "http://a..b"]
)
def test_a_webhook_that_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BackendError, match="is no http:// or https:// URL with a host"):
        LocalBackend(tmp_path, webhook=url)


def test_the_secret_is_the_owners_alone(tmp_path: Path) -> None:
    secret = LocalBackend(tmp_path).webhook_secret
    assert secret.startswith("whsec_")
    assert (tmp_path / "webhook_secret.txt").stat().st_mode & 0o777 == 0o600
    assert LocalBackend(tmp_path).webhook_secret == secret
