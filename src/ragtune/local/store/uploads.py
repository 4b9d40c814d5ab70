"""Files that come in parts: each part is a blob until the whole is put together, or given up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ragtune.local.ids import new_id
from ragtune.local.store.schema import FileRow, PartRow, UploadRow, UploadStatus, fields

if TYPE_CHECKING:
    import sqlite3

    from ragtune._sqlite import Database
    from ragtune.local.store.blobs import BlobWriter
    from ragtune.local.store.files import Files

__all__ = ["UPLOAD_LIFE_S", "Uploads"]

UPLOAD_LIFE_S = 3600
"""How long an upload waits for its parts, in seconds; OpenAI's number."""


class Uploads:
    """Every upload in parts that was ever begun, and the parts of those that are pending.

    An upload leaves the state `pending` once; of two requests that want to move it the first wins, and then its parts
    are dropped.
    """

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files
        self.expire()

    def add(self, *, filename: str, bytes: int, purpose: str, file_expires_after_s: int | None) -> UploadRow:
        """Begin an upload of so many bytes."""
        self.expire()
        now = int(time.time())
        upload = UploadRow(
            id=new_id("upload_"),
            filename=filename,
            bytes=bytes,
            purpose=purpose,
            status="pending",
            created_at=now,
            expires_at=now + UPLOAD_LIFE_S,
            file_expires_after_s=file_expires_after_s,
            file=None,
        )
        names = UploadRow.__dataclass_fields__
        with self._database.transaction() as connection:
            connection.execute(
                f"INSERT INTO upload ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
                [getattr(upload, name) for name in names],
            )
        return upload

    def find(self, upload_id: str) -> UploadRow | None:
        """Look up one upload."""
        self.expire()
        row = self._database.row("SELECT * FROM upload WHERE id = ?", (upload_id,))
        return None if row is None else _upload(row)

    def parts(self, upload_id: str) -> dict[str, PartRow]:
        """The parts of a pending upload by their ids, in the order they came."""
        rows = self._database.rows("SELECT * FROM part WHERE upload = ? ORDER BY seq", (upload_id,))
        return {row["id"]: _part(row) for row in rows}

    def add_part(self, upload_id: str, content: BlobWriter) -> PartRow | None:
        """Keep written bytes as a part; None when the upload is not pending any more."""
        # Before the transaction, for which all others wait.
        content.flush()
        part = PartRow(
            id=new_id("part_"),
            upload=upload_id,
            bytes=content.size,
            sha256=content.sha256,
            created_at=int(time.time()),
        )
        names = PartRow.__dataclass_fields__
        with self._database.transaction() as connection:
            # Asked inside the transaction: of a part and the end of its upload one comes first.
            if not self._is_pending(connection, upload_id):
                return None
            content.commit()
            connection.execute(
                f"INSERT INTO part ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
                [getattr(part, name) for name in names],
            )
        return part

    def complete(self, upload: UploadRow, content: BlobWriter) -> FileRow | None:
        """Turn a pending upload into a file with these bytes; None when it is not pending any more."""
        content.flush()
        with self._database.transaction() as connection:
            if not self._is_pending(connection, upload.id):
                return None
            # Joins this transaction: the file, the end of the upload and the going of its parts are one step.
            file = self._files.add(
                content,
                filename=upload.filename,
                purpose=upload.purpose,
                expires_after_s=upload.file_expires_after_s,
            )
            connection.execute("UPDATE upload SET file = ? WHERE id = ?", (file.id, upload.id))
            self._end(connection, upload.id, "completed")
        return file

    def cancel(self, upload_id: str) -> bool:
        """Give up a pending upload; False when it is not pending."""
        with self._database.transaction() as connection:
            pending = self._is_pending(connection, upload_id)
            if pending:
                self._end(connection, upload_id, "cancelled")
        return pending

    def expire(self) -> None:
        """Give up the uploads whose time is over."""
        due = "SELECT id FROM upload WHERE status = 'pending' AND expires_at <= ?"
        # Nearly always there is none; a transaction would wait for whoever writes.
        if not self._database.rows(due, (int(time.time()),)):
            return
        with self._database.transaction() as connection:
            for row in connection.execute(due, (int(time.time()),)).fetchall():
                self._end(connection, row["id"], "expired")

    def _is_pending(self, connection: sqlite3.Connection, upload_id: str) -> bool:
        asked = "SELECT 1 FROM upload WHERE id = ? AND status = 'pending'"
        return connection.execute(asked, (upload_id,)).fetchone() is not None

    def _end(self, connection: sqlite3.Connection, upload_id: str, status: UploadStatus) -> None:
        connection.execute("UPDATE upload SET status = ? WHERE id = ?", (status, upload_id))
        dropped = connection.execute("DELETE FROM part WHERE upload = ? RETURNING sha256", (upload_id,)).fetchall()
        self._files.drop_unused(*{row["sha256"] for row in dropped})


def _upload(row: sqlite3.Row) -> UploadRow:
    return UploadRow(**fields(row, *UploadRow.__dataclass_fields__))


def _part(row: sqlite3.Row) -> PartRow:
    return PartRow(**fields(row, *PartRow.__dataclass_fields__))
