"""Chat completions that their clients wanted kept, each with what was asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ragtune.local.store import paging
from ragtune.local.store.schema import CompletionRow, encode, fields

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from ragtune._sqlite import Database

__all__ = ["Completions"]


class Completions:
    """Every kept chat completion; kept until it is deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, answer: Mapping[str, object], *, messages: Sequence[Mapping[str, Any]], metadata: Mapping[str, str]
    ) -> None:
        """Keep an answer, whose body it is, with the messages that were asked."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO completion (id, model, messages, answer, metadata, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    answer["id"],
                    answer["model"],
                    encode("messages", messages),
                    encode("answer", answer),
                    encode("metadata", metadata),
                    answer["created"],
                ),
            )

    def find(self, completion_id: str) -> CompletionRow | None:
        """One completion."""
        row = self._database.row("SELECT * FROM completion WHERE id = ? AND deleted_at IS NULL", (completion_id,))
        return None if row is None else _completion(row)

    def page(
        self, *, after: str | None, limit: int, newest_first: bool, model: str | None, metadata: Mapping[str, str]
    ) -> tuple[list[CompletionRow], bool]:
        """One page; `model` keeps those of one model, `metadata` those that carry all of its pairs."""
        where, parameters = ["deleted_at IS NULL"], []
        if model is not None:
            where.append("model = ?")
            parameters.append(model)
        for key, value in metadata.items():
            where.append("EXISTS (SELECT 1 FROM json_each(completion.metadata) WHERE key = ? AND value = ?)")
            parameters += [key, value]
        rows, more = paging.page(
            self._database,
            "completion",
            where=" AND ".join(where),
            parameters=parameters,
            after=after,
            limit=limit,
            newest_first=newest_first,
        )
        return [_completion(row) for row in rows], more

    def note(self, completion_id: str, metadata: Mapping[str, str]) -> CompletionRow | None:
        """Put other metadata in place of a completion's; None when there is no such completion."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE completion SET metadata = ? WHERE id = ? AND deleted_at IS NULL",
                (encode("metadata", metadata), completion_id),
            )
            return self.find(completion_id)

    def delete(self, completion_id: str) -> bool:
        """Forget what was said; the row stays for listings that page past it. False when there is none."""
        with self._database.transaction() as connection:
            done = connection.execute(
                "UPDATE completion SET deleted_at = ?, messages = '[]', answer = '{}', metadata = '{}'"
                " WHERE id = ? AND deleted_at IS NULL",
                (int(time.time()), completion_id),
            )
        return done.rowcount > 0


def _completion(row: sqlite3.Row) -> CompletionRow:
    return CompletionRow(**fields(row, *CompletionRow.__dataclass_fields__))
