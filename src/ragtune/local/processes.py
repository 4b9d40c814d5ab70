"""Processes of one's own: in a group that a Ctrl-C in the terminal does not reach, ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

__all__ = ["OWN_GROUP", "kill_with_children", "last_line"]

# A group of its own (a session on POSIX): a Ctrl-C in the terminal reaches the server alone, which stops this in order.
if sys.platform == "win32":
    OWN_GROUP = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    OWN_GROUP = 0
"""Flags with which such a process is made, beside `start_new_session=True`."""


def kill_with_children(pid: int) -> None:
    """End a process of one's own and all that it started, at once."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(pid)], capture_output=True, check=False)
    else:
        with contextlib.suppress(ProcessLookupError):
            # Such a process leads its own session, so its id is the group's too.
            os.killpg(pid, signal.SIGKILL)


def last_line(log: str | os.PathLike[str]) -> str:
    """The last line that a process printed into a file, or an empty string."""
    try:
        with open(log, "rb") as handle:
            # The end alone, however much a process printed in days; the cut may fall inside a letter.
            handle.seek(max(0, handle.seek(0, os.SEEK_END) - 4096))
            lines = handle.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
