"""Text files that people write for a command: questions, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["lines_of"]


def lines_of(path: Path) -> list[str]:
    """The lines of a text file.

    Raises:
        RagtuneError: it is not UTF-8.
    """
    data = path.read_bytes()
    try:
        # Editors on Windows write a mark before the first line of a file in UTF-8.
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        from ragtune.errors import RagtuneError

        line = data.count(b"\n", 0, error.start) + 1
        raise RagtuneError(f"{path} line {line}: is not UTF-8 ({error.reason}); save it as UTF-8") from None
