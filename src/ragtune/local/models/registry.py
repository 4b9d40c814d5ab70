"""Which model names the server knows, and what stands behind each."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
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
            # The base stands between colons in the names of its tuned models.
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
            BackendError: the weights are not on this machine, or the server was started without this base; the message
                says how to get them.
        """
        from ragtune.modelling.bases import resolve_base

        if self.real_name(base) is None:
            # A model may outlive the option that named its base: the name is no path and no id of the Hub.
            way = f"start it with bases={{{base!r}: ...}} or `ragtune serve --base {base}=FOLDER`"
            raise BackendError(f"this server was started without the base {base!r}; {way}")
        return resolve_base(self.extra.get(base, base), cache_dir=self.cache_dir)

    def weights_sha256(self, base: str) -> str | None:
        """The sha256 of a base of the owner's own; None for those that ragtune knows, whose names stand for one recipe.

        Raises:
            BackendError: the weights are not on this machine.
        """
        return weights_sha256(self.folder(base)) if base in self.extra else None


def weights_sha256(folder: Path) -> str:
    """The sha256 over the weights in a folder; read once as long as they are not written anew."""
    files = sorted(folder.glob("*.safetensors"))
    # This is asked at every question: gigabytes are not read again as long as size and time of change stay.
    return _sha256(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=64)
def _sha256(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        with open(path, "rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def located(place: str | Path) -> str | Path:
    """Where the owner says that a base is: a folder as an absolute path, since the program may change its directory.

    A name that ragtune knows means the base of that name, whatever lies in the working directory.
    """
    from ragtune.modelling.bases import BASES

    if isinstance(place, str) and place in BASES:
        # A name of ours wins over a folder that happens to be called so.
        return place
    folder = Path(place).expanduser()
    return folder.resolve() if folder.is_dir() else place


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that can be asked or trained further.

    Attributes:
        name: as it was asked for.
        base: name of its base model.
        adapter: folder of its adapter, None for a base model.
        base_sha256: of the base's weights that the adapter fits, None where any will do.
    """

    name: str
    base: str
    adapter: Path | None
    base_sha256: str | None = None


def find_model(name: str, *, bases: BaseModels, store: Store) -> ServedModel | None:
    """Look up a base model, an alias, a tuned model or a checkpoint by its name."""
    base = bases.real_name(name)
    if base is not None:
        return ServedModel(name=name, base=base, adapter=None)
    tuned = store.models.find(name)
    if tuned is None:
        return None
    return ServedModel(name=name, base=tuned.base, adapter=tuned.adapter, base_sha256=tuned.base_sha256)
