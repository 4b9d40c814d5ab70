"""One way to open a database, from many threads and many processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ragtune._sqlite import Database
from ragtune.errors import BackendError, JournalError

TABLE = ["CREATE TABLE note (text TEXT); CREATE INDEX note_text ON note (text)"]

OPEN_AND_WRITE = """
import sys
from pathlib import Path
from ragtune._sqlite import Database
database = Database(Path(sys.argv[1]), migrations=["CREATE TABLE note (text TEXT)"])
for number in range(100):
    with database.transaction() as connection:
        connection.execute("INSERT INTO note VALUES (?)", (str(number),))
"""


def texts(database: Database) -> list[str]:
    return [row["text"] for row in database.rows("SELECT text FROM note ORDER BY rowid")]


@pytest.mark.parametrize("number", [10**20, -(10**20)])
def test_a_number_beyond_sqlites_finds_nothing_and_limits_nothing(tmp_path: Path, number: int) -> None:
    with closing(Database(tmp_path / "notes.sqlite3", migrations=TABLE)) as database:
        with database.transaction() as connection:
            connection.execute("INSERT INTO note VALUES ('a')")
        assert database.row("SELECT * FROM note WHERE rowid = ?", (number,)) is None
        assert len(database.rows("SELECT * FROM note LIMIT ?", (number,))) == 1


def test_a_transaction_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite3", migrations=TABLE)
    with database.transaction() as connection:
        connection.execute("INSERT INTO note VALUES ('kept')")

    def write_and_stumble() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO note VALUES ('lost')")
            with database.transaction() as inner:
                inner.execute("INSERT INTO note VALUES ('lost, too')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_stumble()
    assert texts(database) == ["kept"]
    assert database.row("SELECT text FROM note WHERE text = 'lost'") is None
    database.close()


@pytest.mark.parametrize("version", [0, 1])
def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path, version: int) -> None:
    """To be moved away is no advice for what is sound and belongs to somebody else."""
    path = tmp_path / "x.sqlite3"
    with closing(sqlite3.connect(path)) as other:
        other.executescript(f"CREATE TABLE shop (price REAL); PRAGMA user_version = {version}")
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(JournalError, match="a database of another program; name another file"):
            Database(path, migrations=TABLE, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_six_processes_that_open_a_new_file_at_once_all_succeed(tmp_path: Path) -> None:
    """One migrates, the others wait; all 600 rows arrive."""
    path = tmp_path / "x.sqlite3"
    writers = [subprocess.Popen([sys.executable, "-c", OPEN_AND_WRITE, str(path)]) for _ in range(6)]
    assert [writer.wait(60) for writer in writers] == [0] * 6
    database = Database(path, migrations=["CREATE TABLE note (text TEXT)"])
    assert len(texts(database)) == 600
    database.close()


def test_threads_share_one_connection(tmp_path: Path) -> None:
    """Eight threads add one to a number 50 times each; no addition is lost."""
    database = Database(
        tmp_path / "x.sqlite3", migrations=["CREATE TABLE sum (n INTEGER)", "INSERT INTO sum VALUES (0)"]
    )

    def add() -> None:
        for _ in range(50):
            with database.transaction() as connection:
                n = connection.execute("SELECT n FROM sum").fetchone()["n"]
                connection.execute("UPDATE sum SET n = ?", (n + 1,))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.rows("SELECT n FROM sum")[0]["n"] == 400
    database.close()


def test_many_small_writes_do_not_let_the_log_grow(tmp_path: Path) -> None:
    """A training of some thousand steps on a disk that is nearly full: its checkpoints need the room."""
    path = tmp_path / "x.sqlite3"
    database = Database(path, migrations=TABLE, synchronous="NORMAL")
    for number in range(1000):
        with database.transaction() as connection:
            connection.execute("INSERT INTO note VALUES (?)", (f"{number:04}" * 20,))
    assert path.with_name("x.sqlite3-wal").stat().st_size < 640 * 1024
    database.close()


def test_an_older_file_is_lifted_and_a_newer_one_refused(tmp_path: Path) -> None:
    """Version 1 gets the second script; a program that knows only one script refuses version 2."""
    path = tmp_path / "x.sqlite3"
    Database(path, migrations=TABLE).close()
    newer = [*TABLE, "ALTER TABLE note ADD COLUMN author TEXT"]
    database = Database(path, migrations=newer)
    assert database.rows("SELECT author FROM note") == []
    database.close()
    with pytest.raises(JournalError, match="newer version of ragtune"):
        Database(path, migrations=TABLE)


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite3"
    Database(path, migrations=TABLE).close()
    with pytest.raises(BackendError, match="cannot be used as a database"):
        Database(path, migrations=[*TABLE, "ALTER TABLE note ADD COLUMN a TEXT; CREATE NONSENSE"], error=BackendError)
    database = Database(path, migrations=TABLE)
    assert [row["name"] for row in database.rows("PRAGMA table_info(note)")] == ["text"]
    database.close()


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 500])
def test_what_is_no_database_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.sqlite3"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="move the file away"):
        Database(path, migrations=TABLE)
