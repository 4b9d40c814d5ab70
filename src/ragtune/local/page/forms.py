"""What a form of the page sent."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

__all__ = ["form_fields"]


async def form_fields(request: Request, *, most_bytes: int) -> Mapping[str, str] | None:
    """The fields by name, the first of each; None where the form is larger than it can be."""
    body = b""
    async for piece in request.stream():
        body += piece
        # While it comes: a length in its head may be missing or wrong.
        if len(body) > most_bytes:
            return None
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
