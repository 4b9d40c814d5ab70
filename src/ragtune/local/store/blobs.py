"""File contents on disk, named by their sha256: written once, never half, shared by equal uploads."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["BlobStore", "BlobWriter"]


class BlobStore:
    """A folder of blobs plus a folder for those that are still being written.

    Example:
        ```python
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from ragtune.local.store.blobs import BlobStore

        with TemporaryDirectory() as folder:
            blobs = BlobStore(Path(folder))
            with blobs.writer() as writer:
                writer.write(b"kept once")
                writer.commit()
            print(blobs.path(writer.sha256).read_bytes())
            #> b'kept once'
        ```
    """

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._partial = folder / "partial"
        # What a crash left half-written belongs to no file.
        # Nobody else can be writing there, since a server holds the folder's lock before it opens its store.
        shutil.rmtree(self._partial, ignore_errors=True)
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._partial.mkdir(parents=True)

    def path(self, sha256: str) -> Path:
        """Where the blob with this sha256 lies."""
        # Over 256 folders: one that holds a hundred thousand files is slow to look through on some systems.
        return self._blobs / sha256[:2] / sha256

    def writer(self) -> BlobWriter:
        """Begin a new blob; as a context manager it leaves nothing behind unless it was committed."""
        return BlobWriter(self, self._partial)

    def remove(self, sha256: str) -> None:
        """Delete a blob if it is there."""
        self.path(sha256).unlink(missing_ok=True)


class BlobWriter:
    """Bytes on their way to a blob: hashed and written as they come, at flat memory."""

    def __init__(self, store: BlobStore, partial: Path) -> None:
        self._store = store
        # Beside the blobs and not in the system's own temporary folder: only within a file system is a new name one
        # step.
        handle, name = tempfile.mkstemp(dir=partial)
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._hash.update(data)
        self._file.write(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Hash of the bytes so far, in hex."""
        return self._hash.hexdigest()

    def flush(self) -> None:
        """Bring the bytes to disk, which may take a while; `commit` then only gives them their name."""
        if not self._file.closed:
            self._file.flush()
            # Before it gets its name: after a power cut a name without bytes would pass for the whole file.
            os.fsync(self._file.fileno())
            self._file.close()

    def commit(self) -> None:
        """Bring the bytes to disk under their final name."""
        self.flush()
        final = self._store.path(self.sha256)
        final.parent.mkdir(exist_ok=True)
        # Where an equal blob is there already, the same bytes take its place.
        self._path.replace(final)

    def discard(self) -> None:
        """Throw away what was written, unless it was committed."""
        self._file.close()
        # A committed one has another name by now.
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()
