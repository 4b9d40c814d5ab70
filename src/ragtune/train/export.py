"""Folders that outlive the run: resumable checkpoints that are known to be whole, and adapters that can be served."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["keep_newest", "last_whole_checkpoint", "mark_whole", "save_adapter"]

_WHOLE = "whole"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_STEP = re.compile(r"step-(\d+)")


def save_adapter(model: Any, folder: Path) -> None:
    """Save the adapter as safetensors under its final name in one step; an adapter that is there already stays."""
    if folder.is_dir():
        return
    half = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(half, ignore_errors=True)
    # The vocabulary never changes, and looking it up would ask the network.
    model.save_pretrained(half, safe_serialization=True, save_embedding_layers=False)
    (half / "README.md").unlink(missing_ok=True)  # an empty model card
    _flush(half)
    os.replace(half, folder)


def keep_newest(folder: Path, count: int) -> None:
    """Remove all but the newest adapters `step-N` of a folder."""
    for _, path in sorted(_numbered(folder, _STEP))[:-count]:
        shutil.rmtree(path)


def mark_whole(checkpoint: Path) -> None:
    """Note in a checkpoint that everything of it is on the disk."""
    _flush(checkpoint)
    (checkpoint / _WHOLE).touch()


def last_whole_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """The newest checkpoint that was marked whole, with its step; what a killed writer left half is removed."""
    whole = []
    for step, path in _numbered(folder, _CHECKPOINT):
        if (path / _WHOLE).exists():
            whole.append((step, path))
        else:
            shutil.rmtree(path)
    return max(whole, default=None)


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = ((pattern.fullmatch(path.name), path) for path in folder.iterdir())
    return [(int(match[1]), path) for match, path in matches if match]


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
