"""One dataset takes the place of another: the old or the new one is there whole, wherever the process ends.

A build works in `.ragtune-building` beside the files. The rename to `.ragtune-finished` decides: before it the old
dataset stands; behind it the files take their places, moved by this process or, if it died, by whoever opens the folder
next. The manifest leaves first and comes last, so a folder with a manifest is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager, suppress
from itertools import product
from typing import TYPE_CHECKING

import orjson

from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

MANIFEST, REPORT = "manifest.json", "report.json"
OWN_FILES = (
    MANIFEST,
    REPORT,
    *map(".".join, product(("train", "validation", "test"), ("jsonl", "rows.txt"))),
)
BUILDING, _FINISHED, _LOCK = ".ragtune-building", ".ragtune-finished", ".ragtune-lock"
_HIDDEN = (BUILDING, _FINISHED, _LOCK)
_OLD, _PLAN = "old", "plan.json"
# Moves take milliseconds; who waits this long waits for a process that hangs.
_LONGEST_MOVE_S = 60.0


@contextmanager
def only_one(folder: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the folder until the block ends or the process dies.

    Raises:
        DatasetError: another build holds it.
    """
    from filelock import FileLock, Timeout

    path = folder / _LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise DatasetError(
            f"another build is at work in {folder}; wait until it has ended, or choose another folder"
        ) from None
    try:
        yield
    finally:
        # While it is held: whoever gets a lock on a file without a name tries again.
        with suppress(OSError):
            path.unlink()
        lock.release()


def refuse_occupied(folder: Path, *, overwrite: bool) -> None:
    """Refuse a target that is a file, or that holds something while `overwrite` is false.

    Raises:
        DatasetError: it is so; `overwrite` is only named where it would help.
    """
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file; give the path of a folder")
    if folder.is_dir() and not overwrite:
        content = sorted(path.name for path in folder.iterdir() if path.name not in _HIDDEN)
        if content:
            held = ", ".join(content[:4])
            way_out = " or pass overwrite=True" if not _in_the_way(folder, OWN_FILES, listed(folder)) else ""
            raise DatasetError(f"{folder} is not empty (it holds {held}); choose another folder{way_out}")


def refuse_losses(folder: Path, names: Iterable[str], *, old: Mapping[str, str], sources: Sequence[Path]) -> None:
    """Refuse to replace what is not the old dataset's, or what the new one is made of.

    Args:
        folder: the target.
        names: the files that will be written.
        old: sha256 of the files that may be replaced, see `listed`.
        sources: the files that the rows come from.

    Raises:
        DatasetError: it is so.
    """
    present = [path for name in (*names, *old) if (path := folder / name).exists()]
    for source in sources:
        # One that is gone cannot be lost; whoever reads it says so.
        if source.exists() and any(path.samefile(source) for path in present):
            raise DatasetError(f"{source} is the source of this build and would be replaced; choose another folder")
    if name := next(iter(_in_the_way(folder, names, old)), None):
        changed = "was changed since it was built" if name in old else "belongs to no dataset that stands there"
        raise DatasetError(f"{folder / name} {changed}, so it is not replaced; move it away, or choose another folder")


def listed(folder: Path) -> dict[str, str]:
    """The sha256 of each file of the dataset in the folder, as its manifest has it; empty where there is none."""
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest = orjson.loads(data)
        parts = [*manifest["files"].values(), *manifest["row_maps"].values()]
        # Manifests of earlier versions do not list the report.
        parts += [manifest["report"]] if "report" in manifest else _unlisted_report(folder)
        known = {str(part["name"]): str(part["sha256"]) for part in parts}
    except (FileNotFoundError, IsADirectoryError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        # Other programs have a manifest.json, too.
        return {}
    # A name such as ../notes.txt is no file of a dataset, whoever wrote it there.
    return {MANIFEST: hashlib.sha256(data).hexdigest(), **{name: known[name] for name in OWN_FILES if name in known}}


def _unlisted_report(folder: Path) -> list[dict[str, str]]:
    path = folder / REPORT
    return [{"name": REPORT, "sha256": _sha256(path)}] if path.is_file() else []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_the_way(folder: Path, names: Iterable[str], old: Mapping[str, str]) -> list[str]:
    """Those of the names that stand in the folder and are not what `old` says."""
    return [name for name in names if os.path.lexists(folder / name) and not _is(folder / name, old.get(name))]


def _is(path: Path, sha256: str | None) -> bool:
    return sha256 is not None and path.is_file() and _sha256(path) == sha256


def replace_files(building: Path, folder: Path, old: Mapping[str, str]) -> None:
    """Let the files of a finished build take their places, and those of the old dataset go.

    Args:
        building: holds the new files; gone afterwards.
        folder: the target.
        old: sha256 of the files of the old dataset, which go where they still are what they were.

    Raises:
        OSError: a file could not be moved; the old dataset stands again.
    """
    names = [name for name in OWN_FILES if (building / name).exists()]
    leaving = [name for name in old if _is(folder / name, old[name])]
    (building / _OLD).mkdir()
    # Before the folder gets the name that makes it count: who finds that name finds a whole plan.
    (building / _PLAN).write_bytes(orjson.dumps({"new": names, "old": {name: old[name] for name in leaving}}))
    finished = folder / _FINISHED
    building.rename(finished)
    try:
        _move_forward(finished, folder=folder, names=names, leaving=leaving)
    except OSError:
        _move_back(finished, folder=folder, names=names, leaving=leaving)
        # Under its first name nobody takes it for a replacement that must be finished.
        finished.rename(building)
        raise
    # The new dataset stands; leavings go with the next opening.
    with suppress(OSError):
        finished.rename(building)
    shutil.rmtree(building, ignore_errors=True)


def _move_forward(finished: Path, *, folder: Path, names: Sequence[str], leaving: Sequence[str]) -> None:
    # Each move is done once, so that it goes on from wherever it was cut off.
    for name in leaving:
        is_placed = name in names and not (finished / name).exists()
        if not is_placed and (folder / name).exists():
            (folder / name).rename(finished / _OLD / name)
    # The manifest is the first name: first to leave above, last to come here.
    for name in reversed(names):
        if (finished / name).exists():
            (finished / name).rename(folder / name)


def _move_back(finished: Path, *, folder: Path, names: Sequence[str], leaving: Sequence[str]) -> None:
    for name in names:
        if not (finished / name).exists():
            (folder / name).rename(finished / name)
    for name in reversed(leaving):
        if (finished / _OLD / name).exists():
            (finished / _OLD / name).rename(folder / name)


def settle(folder: Path) -> None:
    """Finish a replacement whose process died in the middle; nothing happens where there is none.

    Raises:
        DatasetError: a file is in its way, or the folder cannot be written.
    """
    if not (folder / _FINISHED).is_dir():
        return
    try:
        with only_one(folder, wait_s=_LONGEST_MOVE_S):
            settle_held(folder)
    except OSError as error:
        raise DatasetError(
            f"a replacement in {folder} was cut off and cannot be finished ({error.strerror or error}); "
            f"open it once where it can be written"
        ) from error


def settle_held(folder: Path) -> None:
    """The same for somebody who holds the folder; leavings of builds that died go, too.

    Raises:
        DatasetError: a file is in the way.
        OSError: the folder cannot be written.
    """
    finished = folder / _FINISHED
    if finished.is_dir():
        plan = orjson.loads((finished / _PLAN).read_bytes())
        waiting = [name for name in plan["new"] if (finished / name).exists()]
        for name in _in_the_way(folder, waiting, plan["old"]):
            raise DatasetError(
                f"a replacement in {folder} was cut off, and {name} is in the way of finishing it; move it away"
            )
        _move_forward(finished, folder=folder, names=plan["new"], leaving=list(plan["old"]))
        shutil.rmtree(folder / BUILDING, ignore_errors=True)
        # Renamed before it is emptied: half gone under its name it would look like a replacement to finish.
        finished.rename(folder / BUILDING)
    shutil.rmtree(folder / BUILDING, ignore_errors=True)
