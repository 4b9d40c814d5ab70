"""Contents of an archive: files that go by the hash of what they hold, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

__all__ = ["Contents"]

_DRAFT = ".part-"
_READ_BYTES = 1 << 20


class Contents:
    """The folder of contents; equal ones are kept once.

    Args:
        folder: the archive's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "content"

    def make(self) -> None:
        """Make the folder, and remove what killed programs began; nobody else writes meanwhile."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for draft in self.folder.glob(f"{_DRAFT}*"):
            draft.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where a content lies, or would."""
        # In 256 folders, as git keeps its objects: many disks are slow with ten thousand files in one.
        return self.folder / sha256[:2] / sha256

    def has(self, sha256: str, size: int | None) -> bool:
        """Whether a content is there in its whole length; `digest` reads it."""
        try:
            # By its size alone: `verify` reads the contents, and to go on nobody need.
            return self.path(sha256).stat().st_size == size
        except OSError:
            return False

    async def keep(self, chunks: AsyncGenerator[bytes, None]) -> tuple[str, int]:
        """Write what comes and return its hash and size; what breaks off leaves nothing behind.

        Raises:
            OSError: the disk is full.
        """
        draft = self.folder / f"{_DRAFT}{secrets.token_hex(8)}"
        digest, size = hashlib.sha256(), 0
        try:
            # Training data may be private: readable by its owner alone, from the first byte.
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                async for chunk in chunks:
                    digest.update(chunk)
                    size += file.write(chunk)
            return self._placed(draft, digest.hexdigest()), size
        finally:
            draft.unlink(missing_ok=True)

    def put(self, content: bytes) -> tuple[str, int]:
        """Write a content that is at hand."""
        draft = self.folder / f"{_DRAFT}{secrets.token_hex(8)}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        return self._placed(draft, hashlib.sha256(content).hexdigest()), len(content)

    def _placed(self, draft: Path, sha256: str) -> str:
        target = self.path(sha256)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        # In one step: under the name of a hash nothing ever lies that is half.
        os.replace(draft, target)
        return sha256

    def digest(self, sha256: str) -> str | None:
        """Return the hash of what lies under a name, None where nothing does."""
        digest = hashlib.sha256()
        try:
            with self.path(sha256).open("rb") as file:
                # In pieces: a file of training data may be larger than the memory.
                while chunk := file.read(_READ_BYTES):
                    digest.update(chunk)
        except OSError:
            return None
        return digest.hexdigest()
