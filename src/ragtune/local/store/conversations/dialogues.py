"""Dialogues that were saved in the playground."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ragtune.local.ids import new_id
from ragtune.local.store.schema import DialogueRow, fields

if TYPE_CHECKING:
    import sqlite3

    from ragtune._sqlite import Database

__all__ = ["Dialogues"]

_TITLE = 60


class Dialogues:
    """Every saved dialogue, as the JSON that the playground sent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, body: str, *, title: str) -> str:
        """Keep a dialogue; gives its id."""
        dialogue_id = new_id("dialogue-", length=12)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO dialogue (id, title, body, created_at) VALUES (?, ?, ?, ?)",
                (dialogue_id, title if len(title) <= _TITLE else f"{title[:_TITLE]}…", body, int(time.time())),
            )
        return dialogue_id

    def find(self, dialogue_id: str) -> DialogueRow | None:
        """One dialogue."""
        row = self._database.row("SELECT * FROM dialogue WHERE id = ?", (dialogue_id,))
        return None if row is None else _dialogue(row)

    def all(self) -> list[DialogueRow]:
        """All dialogues, newest first."""
        return [_dialogue(row) for row in self._database.rows("SELECT * FROM dialogue ORDER BY seq DESC")]

    def delete(self, dialogue_id: str) -> None:
        """Forget a dialogue; one that is not there is no error."""
        with self._database.transaction() as connection:
            # The row as well: dialogues are listed whole, so no page goes on past it.
            connection.execute("DELETE FROM dialogue WHERE id = ?", (dialogue_id,))


def _dialogue(row: sqlite3.Row) -> DialogueRow:
    return DialogueRow(**fields(row, *DialogueRow.__dataclass_fields__))
