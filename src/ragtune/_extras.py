"""One guard for optional dependencies: the first line of a room that needs an extra."""

from __future__ import annotations

from importlib.util import find_spec

from ragtune.errors import MissingExtraError


def require(extra: str, *modules: str, reason: str) -> None:
    """Raise a clear error when a module of an extra is missing.

    Args:
        extra: name of the extra, for example `local`.
        modules: top-level module names that the extra brings.
        reason: what the caller wanted to do, for the message.

    Raises:
        MissingExtraError: at least one of `modules` cannot be imported.
    """
    # Looked for and not imported: torch alone takes seconds.
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        install = f"python -m pip install 'ragtune[{extra}]'"
        are = "is" if len(missing) == 1 else "are"
        message = f"{reason} needs {', '.join(missing)}, which {are} not installed; run: {install}"
        raise MissingExtraError(message)
