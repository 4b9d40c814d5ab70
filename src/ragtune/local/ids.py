"""Random ids of objects and requests."""

from __future__ import annotations

import secrets
import string

__all__ = ["new_id", "new_request_id"]

_LETTERS = string.ascii_letters + string.digits


def new_id(prefix: str, *, length: int = 24) -> str:
    """Make a new random id, for example `file-` followed by 24 letters and digits."""
    # Not `random`: programs seed it, and would be given the same ids again.
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(length))


def new_request_id() -> str:
    """Make the id of a request, `req_` and 32 hexadecimal digits."""
    return f"req_{secrets.token_hex(16)}"
