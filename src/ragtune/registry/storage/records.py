"""What a registry reads and writes, wherever it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["Body", "Found", "Records", "Storage"]

Body = dict[str, Any]
# What was read, behind the file that it stands in.
Found = tuple["Path", Body]


class Records(Protocol):
    """The contents of a registry for as long as it is open."""

    def versions(self) -> list[Found]:
        """Return all models, in the order in which they were added."""

    def put_version(self, body: Mapping[str, Any]) -> None:
        """Keep a model in the place of the one of its name."""

    def promotions(self) -> list[Found]:
        """Return all decisions, oldest first."""

    def add_promotion(self, body: Mapping[str, Any]) -> None:
        """Keep a decision."""


class Storage(Protocol):
    """A place for a registry."""

    @property
    def path(self) -> Path:
        """The file or the folder."""

    def reading(self) -> AbstractContextManager[Records]:
        """Open it to read; what is not there is empty.

        Raises:
            RegistryError: it is damaged, no registry, or a newer version wrote it.
        """

    def writing(self) -> AbstractContextManager[Records]:
        """Open it to write; all others who write wait until it is closed.

        Raises:
            RegistryError: as for reading, or it cannot be written.
        """
