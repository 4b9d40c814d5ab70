"""One way to open a database: safe for several threads and several processes, migrated, never half-written."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from ragtune.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Database"]


class Database:
    """One SQLite file behind one connection that all threads of a process may share.

    Several processes may open the same file. Every transaction is `BEGIN IMMEDIATE`, so a writer waits for its turn at
    the start and never fails in the middle.

    Args:
        path: the file; its folder must exist.
        migrations: SQL scripts, oldest first; entry N lifts the file from version N to N + 1.
        synchronous: `FULL` survives a power cut, `NORMAL` survives a crash of the process only.
        timeout_s: how long to wait for another process's transaction, in seconds.
        error: what to raise when the file cannot be used.

    Raises:
        JournalError: (or what `error` makes) the file is no database, is damaged, or was written by a newer version.

    Example:
        ```python
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from ragtune._sqlite import Database

        with TemporaryDirectory() as folder:
            database = Database(Path(folder) / "notes.sqlite3", migrations=["CREATE TABLE note (text TEXT)"])
            with database.transaction() as connection:
                connection.execute("INSERT INTO note VALUES (?)", ("kept",))
            print(database.rows("SELECT text FROM note")[0]["text"])
            #> kept
            database.close()
        ```
    """

    def __init__(
        self,
        path: Path,
        *,
        migrations: Sequence[str],
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        timeout_s: float = 30.0,
        error: Callable[[str], Exception] = JournalError,
    ) -> None:
        self._lock = threading.RLock()
        self._error = error
        self.path = path
        try:
            # Transactions are written out below, so the module must not open its own.
            self._connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as problem:
            raise self._unusable(problem) from problem
        try:
            self._connection.row_factory = sqlite3.Row
            _use_wal(self._connection, timeout_s)
            self._connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(migrations)
        except BaseException as problem:
            self._connection.close()
            if isinstance(problem, sqlite3.Error):
                raise self._unusable(problem) from problem
            raise

    def _unusable(self, problem: sqlite3.Error) -> Exception:
        message = f"{self.path}: cannot be used as a database ({problem}); move the file away to begin anew"
        return self._error(message)

    def _migrate(self, migrations: Sequence[str]) -> None:
        # The version is read inside the transaction: of several first openers one migrates and the others wait.
        with self.transaction() as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > len(migrations):
                message = (
                    f"{self.path}: written by a newer version of ragtune (schema {version}, this one knows "
                    f"{len(migrations)}); update ragtune or use another folder"
                )
                raise self._error(message)
            for script in migrations[version:]:
                for statement in script.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(migrations)}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction: committed at the end, rolled back on any exception.

        Nested use inside one thread joins the outer transaction.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Read all rows of one query."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        """Read the first row of one query, or None."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
            return found

    def close(self) -> None:
        """Close the file; later calls fail."""
        with self._lock:
            self._connection.close()


def _use_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    # The switch to WAL ignores the busy timeout, so first openers that meet would fail without this loop.
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as problem:
            if "locked" not in str(problem) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
