"""How many tokens each model read and wrote, day by day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ragtune.local.store.schema import UsageRow, fields

if TYPE_CHECKING:
    from ragtune._sqlite import Database

__all__ = ["UsageCounts"]


class UsageCounts:
    """One row per model and day (UTC)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, model: str, *, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one request, answered whole or in part."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO usage (day, model, requests, prompt_tokens, completion_tokens) VALUES (?, ?, 1, ?, ?)"
                " ON CONFLICT (day, model) DO UPDATE SET requests = requests + 1,"
                " prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
                " completion_tokens = completion_tokens + excluded.completion_tokens",
                (datetime.now(UTC).date().isoformat(), model, prompt_tokens, completion_tokens),
            )

    def days(self, number: int) -> list[UsageRow]:
        """The rows of the last days on which anything was asked, newest day first, then by model."""
        rows = self._database.rows(
            "SELECT * FROM usage WHERE day IN (SELECT DISTINCT day FROM usage ORDER BY day DESC LIMIT ?)"
            " ORDER BY day DESC, model",
            (number,),
        )
        return [UsageRow(**fields(row, *UsageRow.__dataclass_fields__)) for row in rows]
