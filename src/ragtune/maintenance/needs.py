"""Why a model or a file must stay: an alias leads to it, a living model learned from it, it is the last copy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune.dataset.dataset import dataset_of
from ragtune.dataset.manifest import read_manifest
from ragtune.dataset.writing.replacement import MANIFEST
from ragtune.errors import DatasetError
from ragtune.maintenance.account import CHECKPOINT

if TYPE_CHECKING:
    from collections.abc import Collection

    from ragtune.files import UploadedFile
    from ragtune.maintenance.account import AccountListing
    from ragtune.registry import ModelVersion, Registry

__all__ = ["Needs"]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a registry knows to be needed.

    Attributes:
        versions: the models of the registry.
        aliases: where each alias leads.
    """

    versions: tuple[ModelVersion, ...] = ()
    aliases: dict[str, str]

    @classmethod
    def of(cls, registry: Registry | None) -> Needs:
        """Read them; without a registry nobody knows of any."""
        if registry is None:
            return cls(aliases={})
        return cls(versions=tuple(registry.models()), aliases=registry.aliases())

    def of_model(self, name: str) -> str | None:
        """Why a model must stay, None where nothing says so."""
        led = [alias for alias, model in sorted(self.aliases.items()) if model == name]
        if len(led) > 1:
            return f"the aliases {' and '.join(led)} lead to it"
        return f"the alias {led[0]} leads to it" if led else None

    def of_file(self, file: str, account: AccountListing, *, going: Collection[str] = ()) -> str | None:
        """Why a file must stay, None where nothing says so.

        Args:
            file: its id.
            account: what lies on the account.
            going: models that are about to be deleted.
        """
        jobs = account.readers.get(file, ())
        for job in jobs:
            if not job.is_final:
                return f"{job.id}, which is {job.status}, still reads it"
        trained = {job.fine_tuned_model for job in jobs if job.training_file == file and job.fine_tuned_model}
        trained |= {version.name for version in self.versions if version.lives and version.training_file == file}
        # A checkpoint outlives its model, and not every server lists it.
        held = {version.name for version in self.versions if version.lives and self.of_model(version.name)}
        there = {*account.model_names, *filter(_parent, held)} - set(going)
        parents = trained | {version.name for version in self.versions if version.training_file == file}
        living = [name for name in there if name in trained or _parent(name) in parents]
        if living:
            # One is enough to say, and it is the same one each time.
            return f"{min(living)}, which lives, was trained on it"
        return self._last_copy(file, account)

    def _last_copy(self, file: str, account: AccountListing) -> str | None:
        learned = [version for version in self.versions if version.training_file == file]
        lost = [version for version in learned if not _holds(version)]
        if not lost or _lies_twice(file, account.files or ()):
            return None
        where = f"{lost[0].dataset} does not hold it" if lost[0].dataset else "no folder of its dataset is registered"
        return f"it is the last known copy of what {lost[0].name} learned from: {where}"


def _parent(name: str) -> str | None:
    """The model that a checkpoint is of, None for what is none."""
    parent, mark, _ = name.partition(CHECKPOINT)
    return parent if mark else None


def _lies_twice(file: str, files: tuple[UploadedFile, ...]) -> bool:
    # Our own names hold the sha256 of the content; the size makes sure of names that do not.
    named = {found.id: (found.filename, found.bytes) for found in files}
    return file in named and named[file][1] is not None and Counter(named.values())[named[file]] > 1


def _holds(version: ModelVersion) -> bool:
    """Whether the dataset of a model is where the registry says, by its manifest and its files' sizes."""
    if version.dataset is None:
        return False
    folder = Path(version.dataset)
    try:
        dataset = dataset_of(folder, read_manifest(folder / MANIFEST))
        # Sizes and not hashes: a plan asks for every file of an account, and datasets may be large.
        sizes = [split.path.stat().st_size == split.bytes for split in dataset.splits if split.path is not None]
    except (OSError, DatasetError):
        return False
    return dataset.fingerprint == version.fingerprint and all(sizes)
