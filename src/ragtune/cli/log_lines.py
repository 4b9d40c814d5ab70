"""What a server says on stderr while it runs: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from enum import StrEnum

__all__ = ["LogFormat", "speak"]


class LogFormat(StrEnum):
    """How lines look."""

    text = "text"
    json = "json"


def speak(log_format: LogFormat, *, quiet: bool) -> None:
    """Let the log `ragtune` be heard on stderr.

    Args:
        log_format: how lines look.
        quiet: only what goes wrong.
    """
    handler = logging.StreamHandler()
    lines = _JsonLines() if log_format is LogFormat.json else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(lines)
    logging.basicConfig(handlers=[handler])
    logging.getLogger("ragtune").setLevel(logging.WARNING if quiet else logging.INFO)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One record as one line: time, level, message, and the facts that came with it."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)
