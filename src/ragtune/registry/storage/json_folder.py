"""A registry as a folder of JSON that lives in a repository: a model a file, a decision a file.

Two branches that move the same alias write the same file, so that git calls it the conflict that it is.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from filelock import FileLock, Timeout

from ragtune._atomic import write_whole
from ragtune.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ragtune.registry.storage.records import Body, Found

__all__ = ["JsonFolder"]

VERSION = 1
_MARK, _MODELS, _PROMOTIONS = "registry.json", "models", "promotions"
# Of the 255 bytes that most file systems give a name; the rest is for the hash, the ending and a temporary file.
_LONGEST = 120


class JsonFolder:
    """A registry in a folder.

    Args:
        path: the folder.
        timeout_s: how long to wait for another process that writes, in seconds.
    """

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self.path = path
        self._timeout_s = timeout_s

    @contextmanager
    def reading(self) -> Iterator[_Files]:
        """Open it to read."""
        self._check()
        yield _Files(self.path)

    @contextmanager
    def writing(self) -> Iterator[_Files]:
        """Open it to write."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / ".lock", timeout=self._timeout_s):
                # Behind the lock: another program may have begun this folder, or another version of it, meanwhile.
                self._check()
                self._begin()
                yield _Files(self.path)
        except Timeout as error:
            message = f"{self.path}: another program writes it since {self._timeout_s:g} s; try again when it is done"
            raise RegistryError(message) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise RegistryError(f"{self.path}: cannot be written ({reason}); look at its rights") from error

    def _check(self) -> None:
        """Refuse a folder of something else, and one of a newer version.

        Raises:
            RegistryError: it is one of these.
        """
        mark = self.path / _MARK
        if not mark.exists():
            # Nobody's data begins with a dot: `.git`, and the lock that a writer has just made.
            others = [found.name for found in self.path.glob("*") if not found.name.startswith(".")]
            if others:
                raise RegistryError(f"{self.path}: is no registry (it holds {others[0]!r}); name another folder")
            return
        version = _read(mark).get("registry")
        if version != VERSION:
            raise RegistryError(
                f"{self.path}: is a registry of version {version!r}, and this version of ragtune reads {VERSION}; "
                "update ragtune"
            )

    def _begin(self) -> None:
        if not (self.path / _MARK).exists():
            # A lock and a file that is half written belong to one machine and one moment.
            write_whole(self.path / ".gitignore", ".lock\n*.tmp\n")
            write_whole(self.path / _MARK, json.dumps({"registry": VERSION}) + "\n")


class _Files:
    """The files while the folder is open."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def versions(self) -> list[Found]:
        """Return all models."""
        found = [(path, _read(path)) for path in sorted((self._path / _MODELS).glob("*.json"))]
        # Files come in the order of their names, models in that in which they were added.
        return sorted(found, key=lambda one: str(one[1].get("added_at")))

    def put_version(self, body: Mapping[str, Any]) -> None:
        """Keep a model."""
        _write(self._path / _MODELS / f"{_file_name(body['name'])}.json", body)

    def promotions(self) -> list[Found]:
        """Return all decisions."""
        found = [(path, _read(path)) for path in sorted((self._path / _PROMOTIONS).glob("*/*.json"))]
        # The number is looked at when it is known to be one.
        return sorted(found, key=lambda one: str(one[1].get("at")))

    def add_promotion(self, body: Mapping[str, Any]) -> None:
        """Keep a decision."""
        # Named by number: two branches that move one alias write one file, so that git shows the conflict.
        _write(self._path / _PROMOTIONS / _file_name(body["alias"]) / f"{body['number']:04}.json", body)


def _file_name(name: str) -> str:
    # Names of tuned models hold colons, which no file on Windows may have.
    quoted = quote(name, safe="")
    if len(quoted) <= _LONGEST:
        return quoted
    # The hash tells apart what begins alike.
    return f"{quoted[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _write(path: Path, body: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A key a line, in one order: what git shows as changed is what changed.
    write_whole(path, json.dumps(body, ensure_ascii=False, indent=1, sort_keys=True) + "\n", flush=True)


def _read(path: Path) -> Body:
    try:
        body = json.loads(path.read_bytes())
    except OSError as error:
        raise RegistryError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{path}: is no JSON ({error}); was a merge left half done? git checkout it") from error
    if not isinstance(body, dict):
        raise RegistryError(f"{path}: holds {type(body).__name__}, not an object; git checkout it")
    return body
