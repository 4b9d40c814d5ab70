"""Folders that outlive the run: resumable checkpoints that are known to be whole, and adapters that can be served."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from ragtune._atomic import draft_folder_of

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftModel

__all__ = ["hold_adapter", "keep_newest", "last_whole_checkpoint", "mark_whole", "remove_torn", "save_adapter"]

_WHOLE = "whole"
_HELD = "held"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_STEP = re.compile(r"step-(\d+)")


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Save the adapter as safetensors under its final name in one step; an adapter that is there already stays."""
    if folder.is_dir():
        return
    with draft_folder_of(folder) as draft:
        # The vocabulary never changes, and looking it up would ask the network.
        # A preference run holds its reference as a second adapter, which stays behind.
        model.save_pretrained(
            str(draft), safe_serialization=True, save_embedding_layers=False, selected_adapters=["default"]
        )
        (draft / "README.md").unlink(missing_ok=True)  # an empty model card
        _flush(draft)
        os.replace(draft, folder)


def hold_adapter(folder: Path) -> None:
    """Keep an adapter from `keep_newest`, for another run that trains it further.

    Raises:
        OSError: it is gone.
    """
    (folder / _HELD).touch()


def keep_newest(folder: Path, count: int) -> None:
    """Remove all but the newest adapters `step-N` of a folder, and those that are held."""
    # By number: as a text, step-100 stands before step-20.
    for _, path in sorted(_numbered(folder, _STEP))[:-count]:
        if not (path / _HELD).exists():
            shutil.rmtree(path)


def mark_whole(checkpoint: Path) -> None:
    """Note in a checkpoint that everything of it is on the disk."""
    _flush(checkpoint)
    (checkpoint / _WHOLE).touch()


def last_whole_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """The newest checkpoint that was marked whole, with its step."""
    return max((found for found in _numbered(folder, _CHECKPOINT) if (found[1] / _WHOLE).exists()), default=None)


def remove_torn(output_dir: Path) -> None:
    """Remove what a killed writer left half: checkpoints without their mark, and what stands under a temporary name."""
    for _, path in _numbered(output_dir / "checkpoints", _CHECKPOINT):
        if not (path / _WHOLE).exists():
            shutil.rmtree(path)
    for folder in (output_dir, output_dir / "epochs", output_dir / "best"):
        for path in folder.glob(".*.tmp"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)  # a worker that still runs may just have named it


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = ((pattern.fullmatch(path.name), path) for path in folder.iterdir())
    return [(int(match[1]), path) for match, path in matches if match]


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as handle:  # Windows flushes only what may be written
                os.fsync(handle.fileno())
