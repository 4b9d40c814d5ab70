"""The manifest of a dataset's folder: read, and held against the files that it lists."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from ragtune.errors import DatasetError
from ragtune.records import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
_ENDINGS = {"files": "jsonl", "row_maps": "rows.txt"}
_SPLITS = ("train", "validation", "test")
_FACTS = {"name": str, "sha256": str, "bytes": int, "rows": int}
# What a manifest may say besides; the report reads it.
_FURTHER = {"rows": Mapping, "gaps": Mapping, "overlap": Mapping | None, "system": str | None}


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest at a path, when it has the shape that a build writes.

    Raises:
        OSError: there is none, or it cannot be read.
        DatasetError: it is damaged, or a later version wrote it.
    """
    try:
        manifest = orjson.loads(path.read_bytes())
        faults = _faults(manifest)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged: {error}; build the dataset again") from error
    for fault in faults:
        raise DatasetError(f"{path} is damaged: {fault}; build the dataset again")
    found: dict[str, Any] = manifest
    return found


def _faults(manifest: object) -> list[str]:
    if not isinstance(manifest, dict):
        return [f"it holds {type(manifest).__name__}, not an object"]
    if (version := manifest.get("manifest")) != VERSION:
        return [f"'manifest' is {version!r}, and this version of ragtune reads {VERSION}"]
    if (format := manifest.get("format")) not in FORMATS:
        return [f"'format' is {format!r}, not one of {', '.join(FORMATS)}"]
    further = [
        f"{key!r} is {manifest[key]!r:.60}"
        for key, kind in _FURTHER.items()
        if key in manifest and not isinstance(manifest[key], kind)
    ]
    return [*_faults_of_files(manifest, "files"), *_faults_of_files(manifest, "row_maps"), *further]


def _faults_of_files(manifest: Mapping[str, Any], key: str) -> list[str]:
    # The first versions wrote no maps.
    files = manifest.get(key, {} if key == "row_maps" else None)
    if not isinstance(files, dict) or (key == "files" and "train" not in files):
        return [f"{key!r} is {files!r:.60}, not an object with 'train'"]
    faults = []
    for split, facts in files.items():
        place = f"{key}.{split}"
        if split not in _SPLITS or not isinstance(facts, dict) or facts.keys() != _FACTS.keys():
            faults.append(f"{place!r} is {facts!r:.60}")
        elif facts["name"] != (name := f"{split}.{_ENDINGS[key]}"):
            # Another name might lead out of the folder.
            faults.append(f"'{place}.name' is {facts['name']!r:.60}, not {name!r}")
        else:
            # By the very type: to `isinstance` true is a whole number.
            wrong = [fact for fact, kind in _FACTS.items() if type(facts[fact]) is not kind]
            faults += [f"'{place}.{fact}' is {facts[fact]!r:.60}" for fact in wrong]
    return faults


def refuse_changed(path: Path, name: str, known: object, found: object) -> None:
    """Refuse a file that is not what the manifest says.

    Raises:
        DatasetError: it is not.
    """
    if known != found:
        raise DatasetError(
            f"{path} was changed after the build (its {name} differs from the manifest: {found} instead of {known}); "
            f"build again, or open it with Dataset.from_files"
        )


def refuse_changed_row_maps(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse maps from records to source rows that are not those of the build.

    Raises:
        DatasetError: one is gone or was changed.
    """
    for facts in manifest.get("row_maps", {}).values():
        path = folder / facts["name"]
        try:
            with path.open("rb") as file:
                refuse_changed(path, "sha256", facts["sha256"], hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise DatasetError(
                f"{path} cannot be read: {error.strerror}; it says which source row each record is made of: build again"
            ) from error
