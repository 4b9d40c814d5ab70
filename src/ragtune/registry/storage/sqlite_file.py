"""A registry in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from ragtune._sqlite import Database, trouble
from ragtune.errors import RegistryError
from ragtune.registry.bodies import reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ragtune.registry.storage.records import Body, Found

__all__ = ["SqliteFile"]

# Bodies are the same JSON as in a folder. A decision's place within its alias is a key, so that no two share it.
MIGRATIONS = (
    """
    CREATE TABLE registry_model (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL
    );
    CREATE TABLE registry_promotion (
        id INTEGER PRIMARY KEY,
        alias TEXT NOT NULL,
        number INTEGER NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (alias, number)
    )
    """,
)


class SqliteFile:
    """A registry in one SQLite file that several processes may use.

    Args:
        path: the file.
        timeout_s: how long to wait for another process that writes, in seconds.
    """

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self.path = path
        self._timeout_s = timeout_s

    @contextmanager
    def reading(self) -> Iterator[_RegistryTables]:
        """Open it to read."""
        with self._opened(read_only=True) as database:
            yield _RegistryTables(lambda sql: database.rows(sql), path=self.path)

    @contextmanager
    def writing(self) -> Iterator[_RegistryTables]:
        """Open it to write."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(f"{self.path}: cannot be written ({error.strerror}); name another file") from error
        # One transaction around what is read and what follows from it: two writers never take the same number.
        with self._opened() as database, database.transaction() as connection:
            yield _RegistryTables(lambda sql: database.rows(sql), connection=connection, path=self.path)

    @contextmanager
    def _opened(self, *, read_only: bool = False) -> Iterator[Database]:
        try:
            with closing(
                Database(
                    self.path,
                    migrations=MIGRATIONS,
                    timeout_s=self._timeout_s,
                    read_only=read_only,
                    error=RegistryError,
                )
            ) as database:
                yield database
        except sqlite3.Error as error:
            raise RegistryError(f"{self.path}: {trouble(error)}") from error


class _RegistryTables:
    """The tables while they are open."""

    def __init__(self, rows: Any, *, connection: sqlite3.Connection | None = None, path: Path) -> None:
        self._rows = rows
        self._path = path
        self._connection = connection

    def versions(self) -> list[Found]:
        """Return all models."""
        return self._found("SELECT body FROM registry_model ORDER BY id")

    def put_version(self, body: Mapping[str, Any]) -> None:
        """Keep a model."""
        self._write(
            "INSERT INTO registry_model (name, body) VALUES (?, ?)"
            # With its id, which is its place in the order of models; REPLACE would put it at the end.
            " ON CONFLICT (name) DO UPDATE SET body = excluded.body",
            (body["name"], json.dumps(body, ensure_ascii=False)),
        )

    def promotions(self) -> list[Found]:
        """Return all decisions."""
        return self._found("SELECT body FROM registry_promotion ORDER BY id")

    def add_promotion(self, body: Mapping[str, Any]) -> None:
        """Keep a decision."""
        self._write(
            "INSERT INTO registry_promotion (alias, number, body) VALUES (?, ?, ?)",
            (body["alias"], body["number"], json.dumps(body, ensure_ascii=False)),
        )

    def _found(self, sql: str) -> list[Found]:
        return [(self._path, _body(row["body"], f"{self._path}: a row")) for row in self._rows(sql)]

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        assert self._connection is not None
        self._connection.execute(sql, values)


def _body(text: str, what: str) -> Body:
    with reading(what):
        body = json.loads(text)
        if not isinstance(body, dict):
            raise TypeError(f"it holds {type(body).__name__}, not an object")
        return body
