"""Which encoding a file that is not UTF-8 has most likely."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def likely_encoding(path: Path) -> str:
    """UTF-16 shows itself by the mark at its start; what else is not UTF-8 is most often from Windows."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "cp1252"
