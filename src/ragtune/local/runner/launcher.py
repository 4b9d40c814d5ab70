"""What starts the training program in place of Python: looked at when a server starts, for a job would be too late."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from ragtune._extras import require
from ragtune.errors import BackendError, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["launcher_words"]


def launcher_words(launcher: str | Sequence[str] | None) -> list[str]:
    """The words of a launcher; this Python where there is none, and our program for `ray`.

    Raises:
        BackendError: it is no command line, or one of Ray's options is none.
        MissingExtraError: it asks for Ray, and that is not installed.
    """
    try:
        words = shlex.split(launcher) if isinstance(launcher, str) else list(launcher or [sys.executable])
    except ValueError as error:  # a quotation that does not end
        message = f"launcher: {launcher!r} is no command line ({error}); give one such as 'accelerate launch'"
        raise BackendError(message) from error
    if not words:
        raise BackendError("launcher: it is empty; give a command such as 'accelerate launch', or None")
    if words[0] != "ray":
        return words
    from ragtune.train.on_ray.options import check_options

    try:
        check_options(words[1:])
    except SpecError as error:
        message = f"launcher: {error}"
        raise BackendError(message) from error
    require("ray", "ray", reason="launcher 'ray'")
    return [sys.executable, "-m", "ragtune.train.on_ray", *words[1:]]
