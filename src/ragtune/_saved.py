"""Handles on disk: a small JSON file each, without keys and without addresses, so that it can be shared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._atomic import write_whole
from ragtune.errors import RagtuneError

if TYPE_CHECKING:
    import os

    from ragtune._api.calls import Json

VERSION = 1
# What each kind of handle cannot do without; what else stands in a file may be missing.
_NEEDED = {"model": ("name", "system", "fingerprint"), "job": ("job_id",)}


def write_saved(path: str | os.PathLike[str], kind: str, body: Json) -> Path:
    """Write a saved handle under its name only when it is whole; missing folders are made.

    Raises:
        RagtuneError: `path` names no file.
        OSError: the folder or file cannot be written.
    """
    target = Path(path)
    if not target.name:
        message = f"save: {str(path)!r} names no file; for example {kind}.json"
        raise RagtuneError(message)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"ragtune": VERSION, "kind": kind} | body, indent=2, ensure_ascii=False) + "\n"
    write_whole(target, text, private=True)
    return target


def read_saved(path: str | os.PathLike[str], kind: str) -> Json:
    """Read a saved handle of the right kind.

    Raises:
        RagtuneError: the file is missing, no saved handle, of another kind, or of a newer version.
    """
    name = str(path)
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot read the saved {kind} {name!r}: {error.strerror}; write one with .save({name!r})"
        raise RagtuneError(message) from error
    except (ValueError, RecursionError) as error:
        message = f"{name!r} is no saved {kind}: it is not JSON; write one with .save({name!r})"
        raise RagtuneError(message) from error
    found = body.get("kind") if isinstance(body, dict) else None
    if found != kind:
        message = f"{name!r} is no saved {kind}" + (f" but a saved {found}" if found else "")
        raise RagtuneError(message)
    if body.get("ragtune") != VERSION:
        message = f"{name!r} was saved by another version (format {body.get('ragtune')!r}, this one reads {VERSION})"
        raise RagtuneError(message)
    # Files are passed on and edited by hand.
    if missing := [key for key in _NEEDED[kind] if key not in body]:
        message = f"{name!r} is a damaged {kind}: it has no {missing[0]!r}; write another one with .save({name!r})"
        raise RagtuneError(message)
    saved: Json = body
    return saved
