"""Files of answers and verdicts that other programs wrote, told apart by their shape."""

from __future__ import annotations

from ragtune.feedback.imports.importing import SHAPES, Imported, write_file

__all__ = ["SHAPES", "Imported", "write_file"]
