"""Which model names the server knows, and what stands behind each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.local.store import Store

__all__ = ["BaseModels", "ServedModel", "find_model", "located"]

# As the Hub names models: an owner, rarely none, and a name.
_HUB_ID = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*")


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

    def check(self) -> None:
        """See that every name leads somewhere, before anything is served.

        Raises:
            BackendError: a name is empty or has a colon, a base is a path without a folder, or an alias names no base.
        """
        for name, place in self.extra.items():
            if not name or ":" in name:
                message = f"base {name!r}: the name of a base must not be empty nor hold a colon; choose another name"
                raise BackendError(message)
            if not Path(place).is_dir() and (isinstance(place, Path) or not _HUB_ID.fullmatch(place)):
                message = f"base {name!r}: there is no folder {str(place)!r}; give the folder of a model, or a Hub id"
                raise BackendError(message)
        for alias, target in self.aliases.items():
            if self.real_name(target) is None or ":" in alias:
                message = (
                    f"alias {alias!r} -> {target!r}: an alias has no colon and names a base model; "
                    f"there are {', '.join(replace(self, aliases={}).names())}"
                )
                raise BackendError(message)

    def names(self) -> list[str]:
        """All base names and aliases, sorted."""
        from ragtune.modelling.bases import BASES

        return sorted({*BASES, *self.extra, *self.aliases})

    def real_name(self, name: str) -> str | None:
        """The base behind a name or alias, None when there is none."""
        from ragtune.modelling.bases import BASES

        target = self.aliases.get(name, name)
        return target if target in self.extra or target in BASES else None

    def folder(self, base: str) -> Path:
        """The folder with the weights of a base.

        Raises:
            BackendError: the weights are not on this machine; the message says how to get them.
        """
        from ragtune.modelling.bases import resolve_base

        return resolve_base(self.extra.get(base, base), cache_dir=self.cache_dir)


def located(place: str | Path) -> str | Path:
    """Where the owner says that a base is: a folder as an absolute path, since the program may change its directory.

    A name that ragtune knows means the base of that name, whatever lies in the working directory.
    """
    from ragtune.modelling.bases import BASES

    known = isinstance(place, str) and place in BASES
    return Path(place).resolve() if not known and Path(place).is_dir() else place


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
