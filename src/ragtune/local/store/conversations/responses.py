"""Responses and the items of their conversations, so that a later one can go on from them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ragtune.local.store import paging
from ragtune.local.store.schema import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ragtune._sqlite import Database

__all__ = ["BrokenChainError", "Responses"]

KEPT_S = 30 * 24 * 3600
"""How long a response is kept after it was made or last gone on from, as at OpenAI: by default all are kept."""

# A response and those that it goes on from, back to the first.
_CHAIN = (
    # It ends: a response goes on only from one that stood here before it.
    "WITH RECURSIVE chain (id, previous, answer) AS ("
    "SELECT id, previous, answer FROM response WHERE id = ? UNION ALL "
    "SELECT older.id, older.previous, older.answer FROM response AS older JOIN chain ON older.id = chain.previous) "
)


class BrokenChainError(LookupError):
    """A response goes on from one that was deleted or has expired, whose id is told."""


class Responses:
    """Every kept response; what one deleted held is gone, its row stays so that its followers can say so."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, answer: Mapping[str, Any], *, items: Sequence[Mapping[str, object]]) -> None:
        """Keep a response, whose body it is, with the items of its own input; forget those that have expired."""
        now = int(time.time())
        made, previous = answer["id"], answer["previous_response_id"]
        with self._database.transaction() as connection:
            # Who goes on from a response keeps its whole chain: without its first link the last one says nothing.
            if previous is not None:
                sql = _CHAIN + "UPDATE response SET used_at = ? WHERE id IN (SELECT id FROM chain)"
                connection.execute(sql, (previous, now))
            connection.execute(
                "INSERT INTO response (id, previous, answer, used_at) VALUES (?, ?, ?, ?)",
                (made, previous, encode("answer", answer), now),
            )
            rows = [(item["id"], made, True, encode("content", item)) for item in items]
            rows += [(item["id"], made, False, encode("content", item)) for item in answer["output"]]
            connection.executemany("INSERT INTO item (id, response, is_input, content) VALUES (?, ?, ?, ?)", rows)
            # Here, since only new ones make the folder grow; nothing need run by a clock.
            expired = "SELECT id FROM response WHERE answer IS NOT NULL AND used_at < ?"
            for row in connection.execute(expired, (now - KEPT_S,)).fetchall():
                self.delete(row["id"])

    def find(self, response_id: str) -> dict[str, Any] | None:
        """The body of a response."""
        row = self._database.row("SELECT answer FROM response WHERE id = ? AND answer IS NOT NULL", (response_id,))
        return None if row is None else json.loads(row["answer"])

    def item(self, item_id: str) -> dict[str, Any] | None:
        """One item, of whatever response."""
        row = self._database.row("SELECT content FROM item WHERE id = ?", (item_id,))
        return None if row is None else json.loads(row["content"])

    def conversation(self, response_id: str) -> list[dict[str, Any]]:
        """What was said up to the end of a response that is there, oldest first.

        Raises:
            BrokenChainError: a part of it is gone.
        """
        gone = self._database.row(_CHAIN + "SELECT id FROM chain WHERE answer IS NULL", (response_id,))
        if gone is not None:
            raise BrokenChainError(gone["id"])
        # By `seq` over the whole chain: what a response was given was written after all that came before it.
        sql = _CHAIN + "SELECT content FROM item WHERE response IN (SELECT id FROM chain) ORDER BY seq"
        return [json.loads(row["content"]) for row in self._database.rows(sql, (response_id,))]

    def input_page(
        self, response_id: str, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[list[dict[str, Any]], bool]:
        """One page of what a response was made from: the conversation before it and its own input."""
        rows, more = paging.page(
            self._database,
            "item",
            where=f"response IN ({_CHAIN} SELECT id FROM chain) AND (is_input OR response != ?)",
            parameters=(response_id, response_id),
            after=after,
            limit=limit,
            newest_first=newest_first,
        )
        return [json.loads(row["content"]) for row in rows], more

    def delete(self, response_id: str) -> bool:
        """Forget a response and what was said in it; False when there is none."""
        with self._database.transaction() as connection:
            done = connection.execute(
                "UPDATE response SET answer = NULL WHERE id = ? AND answer IS NOT NULL", (response_id,)
            )
            connection.execute("DELETE FROM item WHERE response = ?", (response_id,))
        return done.rowcount > 0
