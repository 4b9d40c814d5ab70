"""One way to open a database: safe for several threads and several processes, migrated, never half-written."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from ragtune.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Database"]

# SQLite's own 1000 pages are 4 MB beside a file that may hold 100 kB: on a disk that is nearly full, the log of a slow
# training's many small writes would take the room that its checkpoints need.
_LOG_PAGES = 128
_MOST = 2**63 - 1
# What ragtune's own files are, by a table that each of them alone has.
_OURS = {
    "run": "a ragtune journal",
    "feedback_answer": "a ragtune feedback store",
    "checkpoint": "the state of a ragtune backend",
}


class Database:
    """One SQLite file behind one connection that all threads of a process may share.

    Several processes may open the same file. Every transaction is `BEGIN IMMEDIATE`, so a writer waits for its turn at
    the start and never fails in the middle.

    Args:
        path: the file; its folder must exist.
        migrations: SQL scripts, oldest first; entry N lifts the file from version N to N + 1.
        synchronous: `FULL` survives a power cut, `NORMAL` survives a crash of the process only.
        timeout_s: how long to wait for another process's transaction, in seconds.
        reserve_bytes: size of a file `<name>.reserve` that is given up when the disk is full, so that what happened can
            still be written down; 0 makes none. It is made again when the file is next opened.
        read_only: open a copy in memory, so that the file is not touched, not even by a migration.
        error: what to raise when the file cannot be used.

    Raises:
        JournalError: (or what `error` makes) the file is no database, is damaged, belongs to another program, or was
            written by a newer version.

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
        reserve_bytes: int = 0,
        read_only: bool = False,
        error: Callable[[str], Exception] = JournalError,
    ) -> None:
        # Re-entrant: rows are read inside a transaction of the same thread.
        self._lock = threading.RLock()
        self._error = error
        self.path = path
        try:
            self._connection = _copy(path, timeout_s) if read_only else _connect(path, timeout_s)
        except sqlite3.Error as problem:
            raise self._unusable(problem) from problem
        try:
            self._connection.row_factory = sqlite3.Row
            self._refuse_strangers(migrations)
            _use_wal(self._connection, timeout_s)
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            self._connection.execute(f"PRAGMA synchronous = {synchronous}")
            # SQLite leaves them off for each new connection, whatever the schema says.
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(migrations)
            self._set_aside(reserve_bytes)
        except BaseException as problem:
            self._connection.close()
            if isinstance(problem, sqlite3.Error):
                raise self._unusable(problem) from problem
            raise

    def _unusable(self, problem: sqlite3.Error) -> Exception:
        return self._error(f"{self.path}: {trouble(problem)}")

    def _refuse_strangers(self, migrations: Sequence[str]) -> None:
        """Leave a sound database of another program alone, before a bit of it is changed."""
        # One transaction, so that a first opener who migrates at this moment is seen before or after, never in between.
        self._connection.execute("BEGIN")
        try:
            version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
            names = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        finally:
            self._connection.rollback()
        tables = {name[0] for name in names}
        first = re.search(r"CREATE TABLE (\w+)", migrations[0])
        other = next((what for table, what in _OURS.items() if table in tables), None)
        if version == 0:
            ours = not tables
        elif first and first[1] in tables:
            ours = True
        else:
            # A newer version may call its tables otherwise.
            ours = not first or (other is None and version > len(migrations))
        if not ours:
            raise self._error(f"{self.path}: is {other or 'a database of another program'}; name another file")

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
                # Not `executescript`, which would commit the transaction around it; so no statement may hold a
                # semicolon inside.
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
            # Ctrl-C included: a transaction left open would lock every other process out.
            except BaseException as problem:
                self._connection.rollback()
                if is_full(problem):
                    self._give_back()
                raise

    @property
    def _reserve(self) -> Path:
        return self.path.with_name(f"{self.path.name}.reserve")

    def _set_aside(self, size: int) -> None:
        if size and not self._reserve.exists():
            try:
                self._reserve.write_bytes(os.urandom(size))  # random, so that no file system stores it as nothing
            except OSError:
                self._reserve.unlink(missing_ok=True)

    def _give_back(self) -> None:
        # The log beside may be what takes the last room; written back, it is empty, but that may need room itself.
        with suppress(OSError, sqlite3.Error):
            self._reserve.unlink(missing_ok=True)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Read all rows of one query."""
        with self._lock:
            return self._read(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Row | None:
        """Read the first row of one query, or None."""
        with self._lock:
            found: sqlite3.Row | None = self._read(sql, parameters).fetchone()
            return found

    def _read(self, sql: str, parameters: Sequence[object]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, parameters)
        except OverflowError:
            # A number beyond SQLite's 64 bits: nothing has it, and as a limit it stops nothing, as the largest one.
            taken = [min(max(one, -_MOST - 1), _MOST) if isinstance(one, int) else one for one in parameters]
            return self._connection.execute(sql, taken)

    def close(self) -> None:
        """Close the file; later calls fail."""
        with self._lock:
            self._connection.close()


def is_full(problem: BaseException) -> bool:
    """Tell whether a write failed since the disk is full."""
    return getattr(problem, "sqlite_errorname", None) == "SQLITE_FULL"


def trouble(problem: sqlite3.Error) -> str:
    """Say what an error of SQLite's means and what to do about it; moving a sound file away would lose it."""
    name = getattr(problem, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another program holds it ({problem}); end that program, or try again when it is done"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_FULL", "SQLITE_IOERR")):
        return f"cannot be read or written ({problem}); look at its rights and at the space on its disk"
    return f"cannot be used as a database ({problem}); move the file away to begin anew"


def _connect(path: Path, timeout_s: float) -> sqlite3.Connection:
    # Transactions are written out, so the module must not open its own.
    return sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def _copy(path: Path, timeout_s: float) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if not path.exists():
        return memory
    try:
        try:
            _read_into(memory, path, "mode=ro", timeout_s=timeout_s)
        except sqlite3.OperationalError:
            # A folder that cannot be written has no room for the file that readers of a WAL share.
            _read_into(memory, path, "immutable=1", timeout_s=timeout_s)
    except BaseException:
        memory.close()
        raise
    return memory


def _read_into(memory: sqlite3.Connection, path: Path, how: str, *, timeout_s: float) -> None:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=timeout_s)) as source:
        # Not a copy of the file: the newest rows may stand in the log beside it.
        source.backup(memory)


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
