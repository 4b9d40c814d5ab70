"""Which model names the server knows, and what stands behind each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ragtune.local.store import Store

__all__ = ["BaseModels", "ServedModel", "find_model"]


@dataclass(frozen=True, kw_only=True)
class BaseModels:
    """The base models that may be asked and trained: those that ragtune knows, and those that the owner added.

    A name from a request never becomes a path or a download: only what stands here is served.

    Attributes:
        extra: further base models, name to folder (or to an id of the Hugging Face Hub).
        aliases: further names for base models; a job made under an alias carries the alias in its tuned model's name.
        cache_dir: folder of converted bases, None for the user's cache folder.
    """

    extra: Mapping[str, str | Path] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    cache_dir: Path | None = None

    def names(self) -> list[str]:
        """All base names and aliases, sorted."""
        from ragtune.local.bases import BASES

        return sorted({*BASES, *self.extra, *self.aliases})

    def real_name(self, name: str) -> str | None:
        """The base behind a name or alias, None when there is none."""
        from ragtune.local.bases import BASES

        target = self.aliases.get(name, name)
        return target if target in self.extra or target in BASES else None

    def folder(self, base: str) -> Path:
        """The folder with the weights of a base.

        Raises:
            BackendError: the weights are not on this machine; the message says how to get them.
        """
        from ragtune.local.bases import resolve_base

        return resolve_base(str(self.extra.get(base, base)), cache_dir=self.cache_dir)


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that can be asked or trained further.

    Attributes:
        name: as it was asked for.
        base: name of its base model.
        adapter: folder of its adapter, None for a base model.
    """

    name: str
    base: str
    adapter: Path | None


def find_model(name: str, *, bases: BaseModels, store: Store) -> ServedModel | None:
    """Look up a base model, an alias, a tuned model or a checkpoint by its name."""
    base = bases.real_name(name)
    if base is not None:
        return ServedModel(name=name, base=base, adapter=None)
    tuned = store.models.find(name)
    return None if tuned is None else ServedModel(name=name, base=tuned.base, adapter=tuned.adapter)
