"""The files of the account: rows in the database, contents in blobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ragtune.local.ids import new_id
from ragtune.local.store import paging
from ragtune.local.store.schema import UNFINISHED, FileRow, fields

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from ragtune._sqlite import Database
    from ragtune.local.store.blobs import BlobStore, BlobWriter

__all__ = ["Files"]


class Files:
    """Every file that was uploaded or produced and is not deleted."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self.blobs = blobs

    def add(self, content: BlobWriter, *, filename: str, purpose: str, expires_after_s: int | None = None) -> FileRow:
        """Keep written bytes as a new file."""
        file_id, now = new_id("file-"), int(time.time())
        expires_at = None if expires_after_s is None else now + expires_after_s
        # Before the transaction, for which all others wait: gigabytes take a while to reach the disk.
        content.flush()
        # Inside the transaction, so that a delete of an equal file cannot take the blob away in between.
        with self._database.transaction() as connection:
            content.commit()
            connection.execute(
                "INSERT INTO file (id, filename, bytes, purpose, sha256, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (file_id, filename, content.size, purpose, content.sha256, now, expires_at),
            )
        return FileRow(
            id=file_id,
            filename=filename,
            bytes=content.size,
            purpose=purpose,
            sha256=content.sha256,
            created_at=now,
            expires_at=expires_at,
        )

    def add_bytes(self, content: bytes, *, filename: str, purpose: str) -> FileRow:
        """Keep bytes at hand as a new file."""
        with self.blobs.writer() as writer:
            writer.write(content)
            return self.add(writer, filename=filename, purpose=purpose)

    def find(self, file_id: str) -> FileRow | None:
        """Look up one file."""
        self.expire()
        row = self._database.row("SELECT * FROM file WHERE id = ? AND deleted_at IS NULL", (file_id,))
        return None if row is None else _file(row)

    def page(
        self, *, purpose: str | None, after: str | None, limit: int, newest_first: bool
    ) -> tuple[list[FileRow], bool]:
        """One page of files; `purpose` narrows it."""
        self.expire()
        where, parameters = "deleted_at IS NULL", []
        if purpose is not None:
            where, parameters = f"{where} AND purpose = ?", [purpose]
        rows, more = paging.page(
            self._database,
            "file",
            where=where,
            parameters=parameters,
            after=after,
            limit=limit,
            newest_first=newest_first,
        )
        return [_file(row) for row in rows], more

    def path(self, file: FileRow) -> Path:
        """Where the file's bytes lie."""
        return self.blobs.path(file.sha256)

    def delete(self, file_id: str) -> bool:
        """Delete a file, and its bytes when nothing else needs them; False when there is no such file."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "UPDATE file SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL RETURNING sha256",
                (int(time.time()), file_id),
            ).fetchone()
            if row is not None:
                # In this transaction: an equal file that comes meanwhile writes its bytes after it, and not before.
                self.drop_unused(row["sha256"])
        return row is not None

    def drop_unused(self, *hashes: str | None) -> None:
        """Delete blobs that no file, no part of an upload and no unfinished job needs."""
        for sha256 in filter(None, hashes):
            with self._database.transaction() as connection:
                # Jobs as well: their files may be deleted while they wait for their turn.
                used = connection.execute(
                    "SELECT 1 FROM file WHERE sha256 = :hash AND deleted_at IS NULL"
                    " UNION ALL SELECT 1 FROM part WHERE sha256 = :hash"
                    f" UNION ALL SELECT 1 FROM job WHERE training_sha256 = :hash AND {UNFINISHED}"
                    f" UNION ALL SELECT 1 FROM job WHERE validation_sha256 = :hash AND {UNFINISHED} LIMIT 1",
                    {"hash": sha256},
                ).fetchone()
                if used is None:
                    self.blobs.remove(sha256)

    def expire(self) -> None:
        """Delete files whose time is over."""
        # When somebody looks, and not by a clock: a server that was off catches up by itself.
        due = self._database.rows(
            "SELECT id FROM file WHERE deleted_at IS NULL AND expires_at <= ?", (int(time.time()),)
        )
        for row in due:
            self.delete(row["id"])


def _file(row: sqlite3.Row) -> FileRow:
    return FileRow(**fields(row, "id", "filename", "bytes", "purpose", "sha256", "created_at", "expires_at"))
