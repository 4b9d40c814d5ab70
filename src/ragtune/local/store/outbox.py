"""Webhook events that are still to be sent: written with what they tell of, or not at all."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ragtune.local.ids import new_id
from ragtune.local.store.schema import DeliveryRow, JobStatus, fields

if TYPE_CHECKING:
    from ragtune._sqlite import Database

__all__ = ["Outbox"]


class Outbox:
    """The events of ended jobs that the owner's webhook has not taken yet.

    Attributes:
        open: whether events are collected; a server without a webhook collects none.
        changed: set when there is something new.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.open = False
        self.changed = threading.Event()

    def add(self, job_id: str, status: JobStatus) -> None:
        """Put in that a job has ended; called inside the transaction that ends it."""
        if not self.open:
            return
        now = time.time()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO delivery (id, type, job, created_at, due_at) VALUES (?, ?, ?, ?, ?)",
                (new_id("evt_", length=32), f"fine_tuning.job.{status}", job_id, int(now), now),
            )
        # The outer transaction is still open; whoever wakes waits for the database's lock until it has ended.
        self.changed.set()

    def next(self) -> DeliveryRow | None:
        """The event that is due first, whether its time has come or not."""
        row = self._database.row("SELECT * FROM delivery WHERE due_at IS NOT NULL ORDER BY due_at, seq LIMIT 1")
        return None if row is None else DeliveryRow(**fields(row, *DeliveryRow.__dataclass_fields__))

    def done(self, delivery_id: str) -> None:
        """Take an event out: it has arrived, or is given up."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE delivery SET due_at = NULL WHERE id = ?", (delivery_id,))

    def later(self, delivery_id: str, *, due_at: float) -> None:
        """Note a vain attempt and when to make the next one (Unix seconds)."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE delivery SET attempts = attempts + 1, due_at = ? WHERE id = ?", (due_at, delivery_id)
            )
