"""Copies of checkpoints at an fsspec address: a run whose machine is gone goes on from them on another one.

Below `ADDRESS/JOB_ID` lie `blobs/SHA256`, the files of a run's folder, each once, and `checkpoint-N.json`, which names
the files of one checkpoint. The latter is written last: what it names is there, and is whole when it has that hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import tenacity

from ragtune._atomic import draft_folder_of
from ragtune.errors import BackendError
from ragtune.train.checkpoints.folders import last_whole_checkpoint
from ragtune.train.placement import SPEC_FILE, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Copies", "CopiesError", "checked_address", "is_inside"]

logger = logging.getLogger("ragtune")

# The checkpoint itself, and what a run that goes on looks at beside it.
_BESIDE = (SPEC_FILE, "events.jsonl", "best", "epochs")
_KEPT = 2
# A start waits about a minute for a store that is started again; a run that trains 3.5 s, since each checkpoint is
# copied with all that the one before would have brought.
_ATTEMPTS, _ATTEMPTS_WHILE_TRAINING = 8, 4
_FIRST_WAIT_S = 0.5
_MANIFEST = re.compile(r"checkpoint-(\d+)\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IN_MEMORY = re.compile(r"(^|::)memory:")

Found = TypeVar("Found")


class CopiesError(BackendError):
    """The address of checkpoints cannot be used."""


# What is refused now is refused in a minute.
_LASTING = (PermissionError, NotADirectoryError, FileExistsError, NotImplementedError, CopiesError)


class _OthersError(CopiesError):
    """Copies of another run lie there."""


@dataclass(frozen=True, kw_only=True)
class _Manifest:
    step: int
    files: dict[str, str]  # path below the run's folder, and the content's sha256
    run: str  # what was trained on what


def checked_address(address: str | os.PathLike[str]) -> str:
    """The address, once a file system of fsspec takes it; a path of this machine is made absolute.

    Raises:
        CopiesError: it is no text, no file system knows it, the package for it is missing, or nothing that is copied
            there would be found again.
    """
    if not isinstance(address, str | os.PathLike) or not (address := os.fspath(address)):
        raise CopiesError(f"checkpoints: {address!r:.60} is neither a folder nor an address such as s3://bucket/runs")
    files, root = _file_system(address)
    return root if _is_local(files) else address


def is_inside(address: str, folder: Path) -> bool:
    """Whether an address leads into a folder of this machine."""
    files, root = _file_system(address)
    return _is_local(files) and Path(root).resolve().is_relative_to(folder.resolve())


def _is_local(files: Any) -> bool:
    return "file" in (files.protocol, *files.protocol)


def _file_system(address: str) -> tuple[Any, str]:
    import fsspec

    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    except ImportError as error:
        # fsspec says in its own words which package that is, for people alone.
        missing = getattr(error.__cause__, "name", None) or "fsspec[full]"
        message = f"checkpoints {_shown(address)!r}: {error}; run: python -m pip install {missing.partition('.')[0]!r}"
        raise CopiesError(message) from error
    except (ValueError, TypeError, AttributeError, OSError) as error:
        message = (
            f"checkpoints {_shown(address)!r}: {error}; give a folder, or an address of fsspec such as s3://bucket/runs"
        )
        raise CopiesError(message) from error
    _refuse_lost(address, *found)
    return found


def _refuse_lost(address: str, files: Any, root: str) -> None:
    """Refuse what keeps nothing."""
    if _IN_MEMORY.search(address):
        raise CopiesError(
            f"checkpoints {address!r}: what lies in memory is gone with the process that put it there, and its copies "
            "with it; give a folder, or an address such as s3://bucket/runs"
        )
    if not _is_local(files):
        return
    place = next(place for place in (Path(root), *Path(root).parents) if place.exists())
    if not place.is_dir():
        raise CopiesError(
            f"checkpoints {address!r}: {place} is a file; give a folder, which is made where there is none"
        )


def _shown(address: str) -> str:
    """The address without a password that it may hold."""
    parts = urlsplit(address)
    return address.replace(f"{parts.username}:{parts.password}@", "") if parts.password else address


class Copies:
    """The copies of one run's checkpoints.

    Args:
        address: where those of all runs lie.
        job_id: the run's name.
        run: what it trains on what, as `TrainSpec.fingerprint` says: another run of that name is no part of this one.

    Raises:
        CopiesError: no file system knows the address.
    """

    def __init__(self, address: str, job_id: str, *, run: str = "") -> None:
        self._files, root = _file_system(address)
        self._run = run
        self._place = f"{address.rstrip('/')}/{job_id}"
        self._root = f"{root.rstrip('/')}/{job_id}"
        self.address = f"{_shown(address).rstrip('/')}/{job_id}"

    def keep(self, output_dir: Path, step: int) -> None:
        """Copy the whole checkpoint of a step, and forget those before the last two.

        Raises:
            CopiesError: it could not be copied, also not after some seconds, or copies of another run lie there.
        """
        found = dict(_contents(output_dir, step))
        upload = partial(self._upload, output_dir, _Manifest(step=step, files=found, run=self._run))
        self._insist(upload, attempts=_ATTEMPTS_WHILE_TRAINING)

    def restore(self, output_dir: Path) -> int | None:
        """Bring back the newest whole checkpoint into a run's folder that has none, or an older one.

        Every process of a run may call it at the same time, on one disk or each on its own.

        Args:
            output_dir: the run's folder; files that are there stay.

        Returns:
            The step; None where there is nothing to bring back.

        Raises:
            CopiesError: the address cannot be read and written, also not after a minute; copies of another run lie
                there; or it is the run's own folder, which they would take with them when they are removed.
        """
        if is_inside(self._place, output_dir):
            raise CopiesError(f"checkpoints at {self.address} is the run's own folder; give another address")
        newest = last_whole_checkpoint(output_dir / "checkpoints")
        here = -1 if newest is None else newest[0]
        # Told before the first step and not at the first checkpoint: what can only be read, and what is no folder.
        self._insist(partial(self._files.makedirs, f"{self._root}/blobs", exist_ok=True))
        self._insist(self._refuse_others)
        for step in reversed(self._insist(self._steps)):
            if step <= here:
                break
            if self._insist(partial(self._bring_back, step, output_dir)):
                return step
            logger.warning("the copy of checkpoint %d at %s is damaged and passed over", step, self.address)
        return None

    def drop(self) -> None:
        """Remove all copies of the run; nothing is left to go on from.

        Raises:
            CopiesError: they cannot be removed, or are those of another run.
        """
        self._insist(self._remove, attempts=_ATTEMPTS_WHILE_TRAINING)

    def _remove(self) -> None:
        if self._files.exists(self._root):
            self._refuse_others()
            self._files.rm(self._root, recursive=True)

    def _refuse_others(self) -> None:
        others = (
            manifest for step in self._steps() if (manifest := self._manifest(step)) and manifest.run != self._run
        )
        if (other := next(others, None)) is not None:
            message = (
                f"checkpoints at {self.address} are those of a run with other data or settings (step {other.step}); "
                "give this run another name or address, or remove them"
            )
            raise _OthersError(message)

    def _insist(self, act: Callable[[], Found], *, attempts: int = _ATTEMPTS) -> Found:
        """Do it again a few times: an address that is away for a moment comes back."""
        # Stores may have kept a listing from before.
        self._files.invalidate_cache()
        try:
            return tenacity.Retrying(
                stop=tenacity.stop_after_attempt(attempts),
                wait=tenacity.wait_exponential(multiplier=_FIRST_WAIT_S),
                retry=tenacity.retry_if_not_exception_type(_LASTING),
                reraise=True,
            )(act)
        except _OthersError:
            raise
        # Packages of the stores have errors of their own beside OSError.
        except Exception as error:
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            raise CopiesError(f"checkpoints at {self.address} cannot be reached ({told})") from error

    def _upload(self, output_dir: Path, manifest: _Manifest) -> None:
        self._refuse_others()
        self._files.makedirs(f"{self._root}/blobs", exist_ok=True)
        there = set(self._names(f"{self._root}/blobs"))
        for path, sha256 in manifest.files.items():
            # One of another size was cut after it was copied.
            if sha256 not in there or self._size(sha256) != (output_dir / path).stat().st_size:
                # An upload that breaks off must not leave half a blob under a whole one's name.
                draft = f"{self._root}/blobs/{sha256}.part"
                self._files.put_file(str(output_dir / path), draft)
                self._files.mv(draft, f"{self._root}/blobs/{sha256}")
                there.add(sha256)
        told = json.dumps({"step": manifest.step, "run": manifest.run, "files": manifest.files}, indent=1)
        self._files.pipe_file(f"{self._root}/checkpoint-{manifest.step}.json", told.encode())
        self._forget_others(there, manifest.step)

    def _size(self, sha256: str) -> int | None:
        size: int | None = self._files.info(f"{self._root}/blobs/{sha256}").get("size")
        return size

    def _forget_others(self, blobs: set[str], newest: int) -> None:
        """Keep the newest and the one before; what lies there of later steps was damaged and passed over."""
        steps = self._steps()
        wanted = [step for step in steps if step <= newest][-_KEPT:]
        for step in steps:
            if step not in wanted:
                self._files.rm_file(f"{self._root}/checkpoint-{step}.json")
        kept = [manifest for step in wanted if (manifest := self._manifest(step)) is not None]
        for name in blobs.difference(*(manifest.files.values() for manifest in kept)):
            self._files.rm_file(f"{self._root}/blobs/{name}")

    def _steps(self) -> list[int]:
        return sorted(int(match[1]) for match in map(_MANIFEST.fullmatch, self._names(self._root)) if match)

    def _names(self, folder: str) -> list[str]:
        try:
            return [PurePosixPath(path).name for path in self._files.ls(folder, detail=False)]
        except FileNotFoundError:  # object stores have no folder before there is something in it
            return []

    def _manifest(self, step: int) -> _Manifest | None:
        """What a manifest says; None where it is damaged or would lead out of the run's folder."""
        try:
            told = json.loads(self._files.cat_file(f"{self._root}/checkpoint-{step}.json"))
            files = {str(path): str(sha256) for path, sha256 in told["files"].items()}
            run = str(told["run"])
        except (
            FileNotFoundError,
            IsADirectoryError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ):
            return None
        sound = all(_is_below(path) and _SHA256.fullmatch(sha256) for path, sha256 in files.items())
        whole = any(path.startswith(f"checkpoints/checkpoint-{step}/") for path in files)
        return _Manifest(step=step, files=files, run=run) if sound and whole else None

    def _bring_back(self, step: int, output_dir: Path) -> bool:
        """Bring a checkpoint's files back; False where one is gone or is not what it was."""
        manifest = self._manifest(step)
        if manifest is None:
            return False
        # Not beside the events, where the first process tidies up while another may already be here.
        with draft_folder_of(output_dir / "checkpoints" / "restored") as draft:
            for path, sha256 in manifest.files.items():
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._files.get_file(f"{self._root}/blobs/{sha256}", str(draft / path))
                    is_whole = _sha256(draft / path) == sha256
                except (FileNotFoundError, IsADirectoryError):
                    return False
                if not is_whole:
                    return False
            _take_beside(draft, output_dir)
            # Last, with its mark inside: from here on the run has a checkpoint.
            _take(draft / "checkpoints" / f"checkpoint-{step}", output_dir / "checkpoints" / f"checkpoint-{step}")
        return True


def _contents(output_dir: Path, step: int) -> Iterator[tuple[str, str]]:
    for name in (f"checkpoints/checkpoint-{step}", *_BESIDE):
        place = output_dir / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file():
                yield path.relative_to(output_dir).as_posix(), _sha256(path)


def _take_beside(draft: Path, output_dir: Path) -> None:
    for name in ("best", "epochs"):
        for folder in (draft / name).glob("*"):
            _take(folder, output_dir / name / folder.name)
    # Linked: in one step, and never over events that are there by now.
    with suppress(FileExistsError, FileNotFoundError):
        os.link(draft / "events.jsonl", output_dir / "events.jsonl")
    here, there = settled(output_dir), settled(draft)
    if there is not None and (here is None or here.dtype is None):
        there.save(output_dir / SPEC_FILE)


def _take(folder: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    try:
        os.replace(folder, target)
    except OSError:
        if not target.is_dir():  # else another process of the run was quicker
            raise


def _is_below(path: str) -> bool:
    parts = PurePosixPath(path).parts
    odd = ".." in parts or "\\" in path or "\0" in path
    return bool(parts) and not odd and not PurePosixPath(path).is_absolute()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
