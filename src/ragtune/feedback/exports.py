"""Verdicts as files: JSON lines or CSV, which `import_file` reads again."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from ragtune._atomic import write_whole
from ragtune.errors import FeedbackError
from ragtune.feedback.checking import COLUMNS
from ragtune.feedback.formulas import protected

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ragtune.feedback.rows import Feedback

__all__ = ["write_rows"]


def write_rows(path: Path, rows: Iterable[Feedback]) -> int:
    """Write verdicts into a file in one step, and return how many.

    Raises:
        FeedbackError: its name ends neither in .jsonl nor in .csv, or it cannot be written.
    """
    found = [_cells(row) for row in rows]
    if path.suffix not in (".jsonl", ".csv"):
        raise FeedbackError(f"{path}: the name must end in .jsonl or .csv, which says how it is written")
    text = (
        _csv(found) if path.suffix == ".csv" else "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    )
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise FeedbackError(f"{path}: cannot be written ({error.strerror or error})") from error
    return len(found)


def _cells(row: Feedback) -> dict[str, object]:
    cells: dict[str, object] = {name: getattr(row, name) for name in COLUMNS}
    return cells | {"created": row.created.isoformat()}


def _csv(rows: Iterable[dict[str, object]]) -> str:
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, fieldnames=(*COLUMNS, "created"))
    writer.writeheader()
    for row in rows:
        for name in ("history", "passages"):
            row[name] = json.dumps(row[name], ensure_ascii=False) if row[name] else ""
        writer.writerow({name: protected(cell) if isinstance(cell, str) else cell for name, cell in row.items()})
    return written.getvalue()
