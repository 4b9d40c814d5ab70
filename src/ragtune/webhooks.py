"""Hear when a job ends instead of asking: OpenAI's webhooks, verified, each delivery handled once.

OpenAI sends `fine_tuning.job.succeeded`, `.failed` and `.cancelled`, signed after the Standard Webhooks scheme. The
body names the job and nothing else. A delivery is repeated for up to 72 hours until it is answered with a 2xx status,
and now and then comes twice. Source: OpenAI's guide on webhooks, July 2026, and the client's `webhooks.unwrap`.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._api.times import moment
from ragtune._checked import checked
from ragtune._sqlite import Database
from ragtune.errors import MissingKey, RagtuneError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    import openai

__all__ = ["JobEnded", "Webhooks"]

logger = logging.getLogger("ragtune")

JOB = "fine_tuning.job."
# The client's own limit on the age of a delivery, in seconds.
LONGEST_TOLERANCE_S = 300
# A delivery is repeated for 72 hours; a day more for clocks and queues.
REMEMBERED_S = 96 * 3600.0
REMEMBERED = 10_000
# Whoever holds a delivery for longer has died with it.
HELD_S = 600.0
_MIGRATIONS = ["CREATE TABLE delivery (id TEXT PRIMARY KEY, at REAL NOT NULL, done INTEGER NOT NULL)"]


@dataclass(frozen=True, kw_only=True)
class JobEnded:
    """What a webhook says: that a job ended, and how.

    Attributes:
        id: the delivery's `webhook-id`, the same in each repetition.
        job_id: the job; `rt.FineTuneJob.get(client, event.job_id)` tells the rest.
        status: `succeeded`, `failed` or `cancelled`, or whatever else a server says of its jobs.
        created_at: when it happened (UTC), or None where the server does not say.

    Example:
        ```python
        from ragtune.webhooks import JobEnded

        print(JobEnded(id="wh_1", job_id="ftjob-1", status="succeeded"))
        #> JobEnded(id='wh_1', job_id='ftjob-1', status='succeeded', created_at=None)
        ```
    """

    id: str
    job_id: str
    status: str
    created_at: datetime | None = None


@checked("headers")
class Webhooks:
    """Verifies deliveries and hands each out until it was handled once.

    Args:
        client: an `openai.OpenAI` or `AsyncOpenAI`; its own code verifies, nothing is sent.
        secret: the endpoint's signing secret, `whsec_...`. Default: the client's, that is `OPENAI_WEBHOOK_SECRET`.
        path: SQLite file that remembers what was handled, so that a restart does not forget and several processes
            share it; its folder is made. None remembers in memory. Either keeps the last 10,000 deliveries of 96 hours.
        tolerance_s: oldest signature that is believed, in seconds, 1 to 300 (the client's own limit).
        now: clock, in seconds since 1970, for what is remembered; signatures go by the system's.

    Raises:
        MissingKey: there is no secret.
        JournalError: the file cannot be used.

    Example:
        ```python
        import openai

        from ragtune.webhooks import Webhooks

        webhooks = Webhooks(openai.OpenAI(api_key="sk-..."), secret="whsec_c2VjcmV0")
        try:
            with webhooks.delivery(b"{}", {"webhook-id": "wh_1"}) as event:
                print(event)
        except openai.InvalidWebhookSignatureError as refusal:
            print(refusal)
            #> Could not find webhook-signature header
        ```
    """

    def __init__(
        self,
        client: openai.OpenAI | openai.AsyncOpenAI,
        *,
        secret: str | None = None,
        path: str | os.PathLike[str] | None = None,
        tolerance_s: int = LONGEST_TOLERANCE_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not 1 <= tolerance_s <= LONGEST_TOLERANCE_S:
            message = f"tolerance_s: {tolerance_s!r} is out of range; it must be from 1 to {LONGEST_TOLERANCE_S}"
            raise ValueError(message)
        self._secret = secret or client.webhook_secret
        if not self._secret:
            message = (
                "there is no webhook secret: set OPENAI_WEBHOOK_SECRET or pass secret='whsec_...'; OpenAI shows it "
                "once, when the endpoint is made"
            )
            raise MissingKey(message)
        self._webhooks = client.webhooks
        self._tolerance_s = tolerance_s
        self._now = now
        file = Path(":memory:" if path is None else path)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._seen = Database(file, migrations=_MIGRATIONS)

    @contextmanager
    def delivery(self, payload: bytes | str, headers: Mapping[str, str]) -> Iterator[JobEnded | None]:
        """Open one delivery for the time of a `with` block.

        The block gets the event, or None where there is nothing to do: it was handled before, or tells of something
        else than a job. A block that ends well has handled it; one that raises has not, so that the server's next try
        comes through.

        Args:
            payload: the request's body as it came, not parsed.
            headers: the request's headers.

        Raises:
            openai.InvalidWebhookSignatureError: it is not from OpenAI, damaged or too old; answer with 400.
            RagtuneError: the same delivery is being handled right now; answer with 503, and it comes again.
        """
        event = self._verified(payload, headers)
        if event is None or not self._take(event.id):
            yield None
            return
        try:
            yield event
        # Ctrl-C as well: what was not handled is delivered again, and must then be taken.
        except BaseException:
            with self._seen.transaction() as connection:
                connection.execute("DELETE FROM delivery WHERE id = ?", (event.id,))
            raise
        with self._seen.transaction() as connection:
            connection.execute("UPDATE delivery SET done = 1 WHERE id = ?", (event.id,))

    def close(self) -> None:
        """Close the file."""
        self._seen.close()

    def _verified(self, payload: bytes | str, headers: Mapping[str, str]) -> JobEnded | None:
        import openai

        # Names of headers have no case, and keys of a mapping do.
        plain = {name.lower(): value for name, value in headers.items()}
        try:
            # `unwrap` takes no limit of one's own.
            if self._tolerance_s < LONGEST_TOLERANCE_S:
                self._webhooks.verify_signature(payload, plain, secret=self._secret, tolerance=self._tolerance_s)
            said: object = self._webhooks.unwrap(payload, plain, secret=self._secret)
        except openai.InvalidWebhookSignatureError:
            raise
        except (ValueError, TypeError) as error:
            # A missing header, a body that is no text, a signature outside ASCII: as little OpenAI's as a wrong one.
            raise openai.InvalidWebhookSignatureError(str(error)) from error
        kind, job_id = getattr(said, "type", None), getattr(getattr(said, "data", None), "id", None)
        if not isinstance(kind, str) or not kind.startswith(JOB) or not isinstance(job_id, str):
            logger.info("a webhook of type %r tells of no job and is left alone", kind)
            return None
        return JobEnded(
            id=plain["webhook-id"],
            job_id=job_id,
            status=kind.removeprefix(JOB),
            created_at=moment(getattr(said, "created_at", None)),
        )

    def _take(self, delivery: str) -> bool:
        """Whether a delivery is ours to handle; it is then held until it is done.

        Raises:
            RagtuneError: somebody else holds it.
        """
        now = self._now()
        with self._seen.transaction() as connection:
            connection.execute("DELETE FROM delivery WHERE at < ?", (now - REMEMBERED_S,))
            connection.execute(
                "DELETE FROM delivery WHERE rowid <= (SELECT max(rowid) FROM delivery) - ?", (REMEMBERED,)
            )
            row = connection.execute("SELECT at, done FROM delivery WHERE id = ?", (delivery,)).fetchone()
            if row is not None and row["done"]:
                return False
            # Another process is at it, or died with it; after a while it counts as dead.
            if row is not None and now - row["at"] < HELD_S:
                message = f"{delivery} is being handled right now; answer with 503, so that it is delivered again"
                raise RagtuneError(message)
            connection.execute("INSERT OR REPLACE INTO delivery VALUES (?, ?, 0)", (delivery, now))
        return True
