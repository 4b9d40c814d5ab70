"""The manifest of an archive: one line for each thing that was fetched, whole whenever the program is killed.

The first line says whose account it is, each further one what was fetched and by which hash its content goes, or why
the server did not give it. The last line of a whole archive holds the hash of all lines before it, so that one that was
cut off or changed can be told.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from ragtune._version import __version__
from ragtune.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

__all__ = ["MANIFEST", "ArchiveEntry", "Manifest", "ManifestWriter", "make_folder", "read_manifest"]

VERSION = 1
MANIFEST = "manifest.jsonl"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ArchiveEntry:
    """One thing of an archive.

    Attributes:
        kind: `job` or `file`.
        id: the server's name for it.
        sha256: of its content, in hex; None where the server did not give it.
        bytes: size of its content.
        lost: why the server did not give it, or a part of it; None where it gave all.
        about: what the account's list says of it.
    """

    kind: str
    id: str
    sha256: str | None = None
    bytes: int | None = None
    lost: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """Return it as a line of the manifest holds it."""
        values = {"type": self.kind, "id": self.id, "sha256": self.sha256, "bytes": self.bytes, "lost": self.lost}
        return {key: value for key, value in values.items() if value is not None} | {"about": dict(self.about)}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest that was read.

    Attributes:
        account: whose it is.
        server: the account's address, without anything secret.
        dialect: name of the server's dialect.
        begun_at: when the archive was begun (UTC, ISO text).
        entries: what was fetched, by kind and id; of several lines the last one counts.
        is_whole: whether the last line is there and holds the hash of all before it.
        whole_bytes: where the last whole line ends.
    """

    account: str
    server: str
    dialect: str
    begun_at: str
    entries: Mapping[tuple[str, str], ArchiveEntry]
    is_whole: bool
    whole_bytes: int


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an archive.

    Raises:
        ArchiveError: there is none, it is of another version, or a line was changed.
    """
    path = folder / MANIFEST
    try:
        file = path.open("rb")
    except OSError as error:
        message = (
            f"{folder} holds no archive ({MANIFEST}: {error.strerror}); rt.Archive.create(client, folder) makes one"
        )
        raise ArchiveError(message) from error
    head: dict[str, Any] | None = None
    entries: dict[tuple[str, str], ArchiveEntry] = {}
    digest, is_whole, offset = hashlib.sha256(), False, 0
    with file:
        for number, content in enumerate(file, start=1):
            if not content.endswith(b"\n"):
                # Half a line: the program was killed while it wrote.
                is_whole = False
                break
            line = _line(content, path, number=number)
            offset += len(content)
            if head is None:
                head = _head(line, path)
            # A line behind the last one: somebody went on, and was cut off since.
            is_whole = line["type"] == "end"
            if is_whole and line.get("sha256") != digest.hexdigest():
                message = f"{path} line {number}: lines before it were changed after they were written; fetch it anew"
                raise ArchiveError(message)
            if line["type"] in ("job", "file"):
                entry = _entry(line, path, number=number)
                entries[entry.kind, entry.id] = entry
            digest.update(content)
    if head is None:
        raise ArchiveError(f"{path} is empty; rt.Archive.create(client, {str(folder)!r}) begins it anew")
    told = {name: str(head.get(name, "")) for name in ("account", "server", "dialect", "begun_at")}
    return Manifest(**told, entries=entries, is_whole=is_whole, whole_bytes=offset)


def _line(content: bytes, path: Path, *, number: int) -> dict[str, Any]:
    try:
        line = json.loads(content)
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict) or "type" not in line:
        raise _damaged(path, number, "this is no line of a manifest")
    return line


def _head(line: dict[str, Any], path: Path) -> dict[str, Any]:
    if line["type"] != "archive":
        raise ArchiveError(f"{path} does not begin as the manifest of an archive does; give another folder")
    if line.get("version") != VERSION:
        message = f"{path} is of version {line.get('version')!r} and this ragtune reads {VERSION}; use a newer ragtune"
        raise ArchiveError(message)
    return line


def _entry(line: dict[str, Any], path: Path, *, number: int) -> ArchiveEntry:
    kinds = {"id": str, "sha256": str | None, "bytes": int | None, "lost": str | None, "about": dict | None}
    for name, kind in kinds.items():
        if not isinstance(line.get(name), kind):
            raise _damaged(path, number, f"{name} = {line.get(name)!r:.60}")
    sha256 = line.get("sha256")
    # It becomes a path below the archive, which nobody may lead elsewhere.
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise _damaged(path, number, f"sha256 = {sha256!r:.60} is not 64 hex digits")
    return ArchiveEntry(
        kind=line["type"],
        id=line["id"],
        sha256=sha256,
        bytes=line.get("bytes"),
        lost=line.get("lost"),
        about=line.get("about") or {},
    )


def _damaged(path: Path, number: int, what: str) -> ArchiveError:
    return ArchiveError(
        f"{path} line {number}: {what}; the archive was changed or damaged, take a copy of it that is whole"
    )


def make_folder(folder: Path) -> None:
    """Make the folder of an archive.

    Raises:
        ArchiveError: it cannot be made, or it is something else.
    """
    if folder.exists() and not folder.is_dir():
        raise ArchiveError(f"{folder} is a file; give the path of a folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = [found.name for found in folder.iterdir() if not found.name.startswith(".")]
    except OSError as error:
        message = f"{folder}: the archive cannot be written ({error.strerror or error}); give another folder"
        raise ArchiveError(message) from error
    if others and MANIFEST not in others:
        raise ArchiveError(f"{folder} is no archive (it holds {min(others)!r}); give another folder")


class ManifestWriter:
    """Writes a manifest, a line at a time; nobody else may write it meanwhile.

    Args:
        folder: the archive's, which exists.
        head: what the first line says of the account.

    Raises:
        ArchiveError: the archive is of another account, is damaged, or somebody else writes it now.
    """

    def __init__(self, folder: Path, *, head: Mapping[str, str]) -> None:
        self._path = folder / MANIFEST
        self._writing = threading.Lock()
        # Not bound to a thread: whoever closes the archive lets it go.
        self._lock = FileLock(folder / ".lock", timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise ArchiveError(f"{folder}: another program is writing this archive; wait for its end") from error
        except OSError as error:
            message = f"{folder}: the archive cannot be written ({error.strerror or error}); give another folder"
            raise ArchiveError(message) from error
        try:
            self.known = self._open(folder, head)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, folder: Path, head: Mapping[str, str]) -> dict[tuple[str, str], ArchiveEntry]:
        begun = self._path.exists() and self._path.stat().st_size > 0
        found = read_manifest(folder) if begun else None
        # Ids of two accounts may be the same, and the one's contents would be taken for the other's.
        if found is not None and found.account != head["account"]:
            message = (
                f"{folder} is the archive of the account {found.account!r} and this client speaks to "
                f"{head['account']!r}; give another folder"
            )
            raise ArchiveError(message)
        # Windows would write other ends of lines in text mode, and the hash of all lines would not fit.
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        if found is None:
            self._append({"type": "archive", "version": VERSION, "ragtune": __version__, **head})
            return {}
        # Half a line that a kill left: what is added must begin a line of its own.
        os.ftruncate(self._file, found.whole_bytes)
        return dict(found.entries)

    def add(self, entry: ArchiveEntry) -> None:
        """Write down what was fetched; its content is on disk already."""
        self._append(entry.line())
        self.known[entry.kind, entry.id] = entry

    def finish(self) -> None:
        """Write the last line, unless it stands there already."""
        digest, last = hashlib.sha256(), b""
        with self._path.open("rb") as file:
            for last in file:
                digest.update(last)
        # A second call that found nothing new must not change a whole archive.
        if json.loads(last)["type"] != "end":
            self._append({"type": "end", "sha256": digest.hexdigest()})
        # At the end alone: lines that a power cut takes before it are fetched once more.
        os.fsync(self._file)

    def _append(self, line: Mapping[str, Any]) -> None:
        # In ASCII: half a surrogate pair in a file's name has no bytes of its own.
        content = json.dumps(line, ensure_ascii=True).encode() + b"\n"
        with self._writing:
            # One call of the system, which a kill leaves done or not begun.
            written = os.write(self._file, content)
            # Half a line on a full disk: what another thread adds to it would be read as a damaged manifest.
            if written != len(content):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
        if written != len(content):
            raise OSError(f"{self._path}: the disk took only {written} of {len(content)} bytes; is it full?")

    def close(self) -> None:
        """Let others write."""
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def lines_of(entries: Mapping[tuple[str, str], ArchiveEntry], kind: str) -> Iterator[ArchiveEntry]:
    """Iterate the entries of one kind, in the order in which they were fetched."""
    return (entry for entry in entries.values() if entry.kind == kind)
