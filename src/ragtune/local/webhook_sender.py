"""WebhookSender: the end of a job is told to the owner's own address, signed, again and again until it is taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import logging
import re
import secrets
import ssl
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from ragtune.local.store.outbox import Outbox
    from ragtune.local.store.schema import DeliveryRow

__all__ = ["WebhookSender", "check_url", "new_secret", "sign"]

logger = logging.getLogger("ragtune")

TIMEOUT_S = 10.0
"""How long a receiver may take for each step of an answer."""
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3600.0
GIVE_UP_S = 72 * 3600
"""How long an event is tried; OpenAI's number."""
_STOP_S = 2.0
_IDLE_S = 60.0


def new_secret() -> str:
    """Make a signing secret in the form that receivers expect, `whsec_` and base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` of a message: HMAC-SHA256 of id, time and body, as standardwebhooks.com describes it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def check_url(url: str) -> str:
    """Return a URL that events can be sent to.

    Raises:
        BackendError: it is no http or https URL with a host.
    """
    try:
        parts = urlsplit(url)
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # As connecting does: a host with an empty or too long label would fail at every try, and be tried for ever.
        (parts.hostname or "").encode("idna")
    except ValueError:
        well = False
    if not well or not url.isascii() or not url.isprintable() or " " in url:
        # What stands before the host may be a password, and the message goes into logs.
        shown = re.sub(r"//.*@", "//...@", url)
        message = (
            f"webhook {shown!r}: is no http:// or https:// URL with a host, for example http://127.0.0.1:9000/hook"
        )
        raise BackendError(message)
    return url


class WebhookSender:
    """Sends what is in the outbox, in a thread of its own, so that no request and no job ever waits for a receiver.

    Only 2xx counts as taken; a redirect is not followed. After a failure the next attempt waits twice as long as the
    one before, up to an hour; after three days the event is given up. An event may arrive twice: its `webhook-id`
    stays the same.

    Args:
        outbox: what is to be sent; it survives a restart.
        url: where to; a user and password in it go as HTTP basic authentication.
        secret: with which the messages are signed.
    """

    def __init__(self, outbox: Outbox, *, url: str, secret: str) -> None:
        self._outbox = outbox
        self._url = check_url(url)
        self._secret = secret
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ragtune-webhooks", daemon=True)
        outbox.open = True

    def start(self) -> None:
        """Begin to send, first what an earlier server left."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what was not taken yet stays for the next start."""
        self._stopping.set()
        self._outbox.changed.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            # Before the look: what is put in during it is not slept through.
            self._outbox.changed.clear()
            try:
                delivery = self._outbox.next()
                wait_s = _IDLE_S if delivery is None else delivery.due_at - time.time()
                if delivery is not None and wait_s <= 0:
                    self._try(delivery)
                    continue
            except Exception:
                # For example a full disk: a receiver may then be told again.
                logger.exception("webhooks stumbled; they go on in a minute")
                wait_s = _IDLE_S
            # The wait comes from the clock on the wall, which may be set: a minute is the most that this can cost.
            self._outbox.changed.wait(min(wait_s, _IDLE_S))

    def _try(self, delivery: DeliveryRow) -> None:
        problem = self._send(delivery)
        if self._stopping.is_set():
            # The store may be closed by now; a message that did arrive is sent once more, which receivers must bear.
            return
        if problem is None:
            self._outbox.done(delivery.id)
            return
        now = time.time()
        if now - delivery.created_at > GIVE_UP_S:
            logger.error("webhook %s for %s was not taken in three days: %s", delivery.type, delivery.job, problem)
            self._outbox.done(delivery.id)
            return
        wait_s = min(FIRST_WAIT_S * 2.0 ** min(delivery.attempts, 30), LONGEST_WAIT_S)
        logger.warning(
            "webhook %s for %s was not taken (%s); next try in %.0f s", delivery.type, delivery.job, problem, wait_s
        )
        self._outbox.later(delivery.id, due_at=now + wait_s)

    def _send(self, delivery: DeliveryRow) -> str | None:
        """Send one event; None when it was taken, else what was wrong."""
        body = json.dumps(
            {
                "id": delivery.id,
                "object": "event",
                "created_at": delivery.created_at,
                "type": delivery.type,
                # The id alone, as OpenAI sends it: the receiver asks for the job itself, with its key.
                "data": {"id": delivery.job},
            }
        ).encode()
        now, message_id = int(time.time()), "wh_" + delivery.id.removeprefix("evt_")
        headers = {
            "content-type": "application/json",
            "user-agent": "ragtune",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(self._secret, message_id=message_id, timestamp=now, body=body),
        }
        try:
            status = _post(self._url, body, headers)
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        return None if 200 <= status < 300 else f"answered {status}"


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.username is not None:
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers = {**headers, "authorization": "Basic " + base64.b64encode(who).decode()}
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=TIMEOUT_S, context=ssl.create_default_context()
        )
    else:
        # Follows no redirect and asks no proxy of the environment: the signed message goes to the owner's address
        # alone.
        connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        # The body is left unread: a receiver cannot keep the sender busy with a long one.
        return connection.getresponse().status
    finally:
        connection.close()
